package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent/llm"
	"github.com/cyberviser/hancock/internal/clientip"
)

// Whatever the bytes, decode takes them or refuses them with a 400, and what
// it takes is fit for a model.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"message":"hi","mode":"soc","stream":true,"history":[{"role":"user","content":"a"}]}`,
		`{"question":"hi","mode":"wizard"}`, `{"message":null}`, `{"message":"\ud800"}`, `[]`, `null`, ``, "{\"message\":\"\xff\"}",
		`{"message":"a","message":1}`, `{"history":{},"message":"x"}`, " {\t\"a\" :\n[ {\"b\":\"]}\\\"\"} , 1e3 ],\r\"\\u0061\":-0 , \"\xff\":true}\n",
		`{}`, `{"":""}`, `{"a":[],"b":{}}`, `{"a":"\\"}`, `{"a":1}}`, `"a"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var object map[string]json.RawMessage
		_ = json.Unmarshal(body, &object)
		require.Equal(t, object, members(body))
		for _, raw := range object {
			var want string
			err := json.Unmarshal(raw, &want)
			got, ok := decodeText(raw)
			require.Equal(t, err == nil, ok)
			require.Equal(t, want, got)
		}
		for _, task := range tasks() {
			in, err := task.decode(body)
			if err != nil {
				he, ok := errors.AsType[*echo.HTTPError](err)
				require.True(t, ok)
				require.Equal(t, http.StatusBadRequest, he.Code)
				require.LessOrEqual(t, len(he.Message.(string)), 300)
				_, err = json.Marshal(he.Message)
				require.NoError(t, err)
				require.True(t, in.mode == "" || isMode(in.mode))
				continue
			}
			require.True(t, json.Valid(body))
			require.True(t, isMode(in.mode))
			require.NotEmpty(t, task.prompt(in))
			require.True(t, utf8.ValidString(task.prompt(in)))
			for _, m := range in.history {
				require.Contains(t, []string{llm.User, llm.Assistant}, m.Role)
				require.True(t, utf8.ValidString(m.Content))
			}
		}
	})
}

func FuzzClientKey(f *testing.F) {
	for _, seed := range []string{"192.0.2.1", "::ffff:192.0.2.1", "fe80::1%eth0", "", "x", "2001:db8::1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		require.Regexp(t, `^(unknown|[0-9.]{7,15}|[0-9a-f:]+/64)$`, clientip.Key(address))
	})
}

// Whatever a client writes into X-Forwarded-For, what the trusted proxy adds
// counts, and of a stranger nothing does.
func FuzzForwardedFor(f *testing.F) {
	for _, seed := range []string{
		"", "203.0.113.9", "203.0.113.9, 10.1.2.3", "[2001:db8::1]", "10.1.2.3,10.0.0.1", ",", "x, y", "203.0.113.9:80", "fe80::1%eth0", "192.0.2.7\x00",
	} {
		f.Add(seed)
	}
	client := clientip.Extractor([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	f.Fuzz(func(t *testing.T, header string) {
		from := func(remote string, headers ...string) string {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
			r.RemoteAddr, r.Header["X-Forwarded-For"] = remote, headers
			return clientip.Key(client(r))
		}
		require.Regexp(t, `^([0-9.]{7,15}|[0-9a-f:]+/64)$`, from("10.0.0.1:80", header))
		require.Equal(t, "192.0.2.7", from("10.0.0.1:80", header, "192.0.2.7"))
		require.Equal(t, "192.0.2.7", from("10.0.0.1:80", header+", 192.0.2.7, 10.9.9.9"))
		require.Equal(t, "192.0.2.8", from("192.0.2.8:80", header, "192.0.2.7"))
	})
}

func TestAliasesOfFields(t *testing.T) {
	f := field{name: "question", aliases: []string{"query", "message"}, required: true}
	for _, tc := range []struct {
		body, want, err string
	}{
		{`{"question":"a","query":"b"}`, "a", ""},
		{`{"query":"b","message":"c"}`, "b", ""},
		{`{"question":" ","message":"c"}`, "c", ""},
		{`{"question":"a","message":1}`, "", "message must be a string"},
		{`{"question":"","query":" "}`, "", "question required"},
		{`{}`, "", "question required"},
	} {
		t.Run(tc.body, func(t *testing.T) {
			var object map[string]json.RawMessage
			require.NoError(t, json.Unmarshal([]byte(tc.body), &object))
			got, err := f.decode(object)
			if tc.err != "" {
				require.ErrorContains(t, err, tc.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.want, got)
		})
	}
	got, err := field{name: "siem", fallback: "splunk"}.decode(nil)
	require.NoError(t, err)
	require.Equal(t, "splunk", got)
}

// A task of a fixed mode reads no mode and counts as its own, come what may.
func TestTaskWithAFixedMode(t *testing.T) {
	fixed := task{mode: "soc", fields: []field{{name: "alert", required: true}}}
	in, err := fixed.decode([]byte(`{"alert":"x","mode":7}`))
	require.NoError(t, err)
	require.Equal(t, "soc", in.mode)
	in, err = fixed.decode([]byte(`rubbish`))
	require.Error(t, err)
	require.Equal(t, "soc", in.mode)
	require.Equal(t, "soc", modeOf(route{modes: []string{"soc"}}, &outcome{}))
}

// limitsOf are limits whose clock is the returned one.
func limitsOf(perMinute int) (*limits, *time.Time) {
	l, now := newLimits(perMinute, nil), time.Now()
	l.now = func() time.Time { return now }
	return l, &now
}

func requestFrom(t *testing.T, address string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/agents", nil)
	r.RemoteAddr = address + ":1234"
	return r
}

// The number of allowances is bounded whatever the number of addresses, and a
// crowd does not take away those of clients that were there before.
func TestLimitsAreBounded(t *testing.T) {
	l, now := limitsOf(2)
	from := func(address string) bool {
		v, err := l.take(requestFrom(t, address))
		require.NoError(t, err)
		return v.ok
	}
	crowd := func(format string, n int) {
		for i := range n {
			l.admit(fmt.Sprintf(format, i), *now)
		}
	}
	require.True(t, from("203.0.113.1"))
	require.True(t, from("203.0.113.1"))
	crowd("crowd %d", 3*maxClients)
	require.Len(t, l.current, maxClients)
	require.False(t, from("203.0.113.1"), "the crowd has given it a new allowance")
	shared := make(map[*allowance]bool)
	for i := range 5 * sharedSlots {
		shared[l.admit(fmt.Sprint("late", i), *now)] = true
	}
	require.LessOrEqual(t, len(shared), sharedSlots)

	*now = now.Add(window)
	for _, client := range []string{"203.0.113.1", "late0"} {
		_, own := l.find(client, *now)
		require.True(t, own)
	}
	*now = now.Add(3 * window)
	l.admit("x", *now)
	require.LessOrEqual(t, len(l.current)+len(l.previous), 3)

	// Those that keep their allowances do not add up either.
	for n := range 3 {
		*now = now.Add(window)
		if n > 0 { // those of the window before come last
			crowd(fmt.Sprintf("new %d %%d", n), 3*maxClients)
		}
		crowd(fmt.Sprintf("new %d %%d", max(n-1, 0)), 3*maxClients)
		require.LessOrEqual(t, len(l.current), 2*maxClients)
	}
	require.Len(t, l.current, 2*maxClients)
}

// TestActiveClientsKeepTheirAllowance has a client ask once a second for an hour
// while crowds of new addresses come and go.
func TestActiveClientsKeepTheirAllowance(t *testing.T) {
	const perMinute = 10
	l, now := limitsOf(perMinute)
	granted := 0
	for second := range 3600 {
		if second%20 == 0 {
			for i := range 2 * maxClients / 10 {
				l.admit(fmt.Sprint(second, i), *now)
			}
		}
		v, err := l.take(requestFrom(t, "203.0.113.1"))
		require.NoError(t, err)
		if v.ok {
			granted++
		}
		*now = now.Add(time.Second)
	}
	require.Equal(t, 60*perMinute, granted)
}

// TestEveryLimitIsExact takes from several goroutines what a limit grants, or the
// first 300,000 of it.
func TestEveryLimitIsExact(t *testing.T) {
	for _, perMinute := range []int{1, 2, 60, 600, 245_000, 246_000, 100_000_000, 100_000_000_000, math.MaxInt} {
		t.Run(strconv.Itoa(perMinute), func(t *testing.T) {
			l, now := limitsOf(perMinute)
			const workers = 4
			tries := min(perMinute, 300_000)/workers + 1
			request := requestFrom(t, "203.0.113.1")
			var granted atomic.Int64
			var group sync.WaitGroup
			for range workers {
				group.Go(func() {
					for range tries {
						if v, err := l.take(request); err == nil && v.ok {
							granted.Add(1)
						}
					}
				})
			}
			group.Wait()
			want := min(perMinute, workers*tries)
			require.EqualValues(t, want, granted.Load())
			v := l.peek(request)
			require.EqualValues(t, perMinute, v.limit)
			require.EqualValues(t, perMinute-want, v.remaining)

			*now = now.Add(window - 1)
			require.EqualValues(t, perMinute-want, l.peek(request).remaining)
			*now = now.Add(1)
			v, err := l.take(request)
			require.NoError(t, err)
			require.True(t, v.ok)
			require.EqualValues(t, perMinute-1, v.remaining)
		})
	}
}

// TestNoLimit grants everything, keeps nothing and sends no header.
func TestNoLimit(t *testing.T) {
	l, _ := limitsOf(0)
	for range 1000 {
		v, err := l.take(requestFrom(t, "203.0.113.1"))
		require.NoError(t, err)
		require.True(t, v.ok)
		require.Equal(t, "203.0.113.1", v.client)
		h := http.Header{}
		v.setHeaders(h)
		l.peek(requestFrom(t, "203.0.113.1")).setHeaders(h)
		require.Empty(t, h)
	}
	require.Empty(t, l.current)
	l.close()
	_, err := l.take(requestFrom(t, "203.0.113.1"))
	require.ErrorIs(t, err, errClosed)
}

// TestReloadKeepsCounts changes the limit of a client that has used some of it.
func TestReloadKeepsCounts(t *testing.T) {
	l, now := limitsOf(3)
	request := requestFrom(t, "203.0.113.1")
	for range 2 {
		_, err := l.take(request)
		require.NoError(t, err)
	}
	for _, step := range []struct {
		perMinute int
		ok        bool
		remaining uint64
	}{{5, true, 2}, {1, false, 0}, {0, true, 0}, {4, true, 0}} {
		l.reload(step.perMinute, nil)
		v, err := l.take(request)
		require.NoError(t, err)
		require.Equal(t, step.ok, v.ok, step.perMinute)
		require.Equal(t, step.remaining, v.remaining, step.perMinute)
	}
	*now = now.Add(window)
	require.EqualValues(t, 4, l.peek(request).remaining)
}

// A look at an allowance keeps nothing of the addresses that look, and knows
// when the allowance is whole again.
func TestPeek(t *testing.T) {
	l, now := limitsOf(2)
	for i := range 1000 {
		require.Equal(t, uint64(2), l.peek(requestFrom(t, fmt.Sprintf("10.0.%d.%d", i>>8, i&0xff))).remaining)
	}
	require.Empty(t, l.current)

	client := requestFrom(t, "203.0.113.1")
	for want := uint64(1); ; want-- {
		v, err := l.take(client)
		require.NoError(t, err)
		require.Equal(t, want, v.remaining)
		require.Equal(t, want, l.peek(client).remaining)
		if want == 0 {
			break
		}
	}
	// Other clients' windows do not end this one's.
	l.rotated = now.Add(-window)
	require.Zero(t, l.peek(client).remaining)
	require.Empty(t, l.current)
	*now = now.Add(window + time.Second)
	require.Equal(t, uint64(2), l.peek(client).remaining)
}

func TestEveryModeHasAPrompt(t *testing.T) {
	require.Len(t, Modes(), 9)
	require.True(t, isMode(DefaultMode))
	for _, mode := range Modes() {
		p := systemPrompt(mode)
		require.Greater(t, len(p), len(common)+500, mode)
		require.Less(t, len(p), 6000, mode)
		require.True(t, utf8.ValidString(p))
	}
}
