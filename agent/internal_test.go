package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent/llm"
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
		require.Regexp(t, `^(unknown|[0-9.]{7,15}|[0-9a-f:]+/64)$`, clientKey(address))
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
	client := clientAddress([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	f.Fuzz(func(t *testing.T, header string) {
		from := func(remote string, headers ...string) string {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
			r.RemoteAddr, r.Header["X-Forwarded-For"] = remote, headers
			return clientKey(client(r))
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

// The number of allowances is bounded whatever the number of addresses, and a
// crowd does not take away those of clients that were there before.
func TestLimitsAreBounded(t *testing.T) {
	l, err := newLimits(2, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, l.close()) }()
	now := time.Now()
	l.now = func() time.Time { return now }
	from := func(address string) bool {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/agents", nil)
		r.RemoteAddr = address + ":1234"
		v, err := l.take(r)
		require.NoError(t, err)
		return v.ok
	}
	require.True(t, from("203.0.113.1"))
	require.True(t, from("203.0.113.1"))
	// The store goes by a clock of its own, which a crowd of real requests
	// could outlast on a busy machine.
	for i := range 3 * maxClients {
		l.slot(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&0xff, i&0xff))
	}
	require.Len(t, l.current, maxClients)
	require.False(t, from("203.0.113.1"), "the crowd has given it a new allowance")
	shared := make(map[string]bool)
	for i := range 5 * sharedSlots {
		slot, _ := l.slot(fmt.Sprint("late", i))
		shared[slot] = true
	}
	require.LessOrEqual(t, len(shared), sharedSlots)

	now = now.Add(window)
	for _, client := range []string{"203.0.113.1", "late0"} {
		slot, _ := l.slot(client)
		require.Equal(t, client, slot)
	}
	now = now.Add(3 * window)
	l.slot("x")
	require.LessOrEqual(t, len(l.current)+len(l.previous), 3)

	// Those that keep their places do not add up either.
	for n := range 3 {
		now = now.Add(window)
		for i := range 3 * maxClients {
			if n > 0 { // those of the window before come last
				l.slot(fmt.Sprintf("new %d %d", n, i))
			}
		}
		for i := range 3 * maxClients {
			l.slot(fmt.Sprintf("new %d %d", max(n-1, 0), i))
		}
		require.LessOrEqual(t, len(l.current), 2*maxClients)
	}
	require.Len(t, l.current, 2*maxClients)
}

// A look at an allowance keeps nothing of the addresses that look, and knows
// when the allowance is whole again.
func TestPeek(t *testing.T) {
	l, err := newLimits(2, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, l.close()) }()
	now := time.Now()
	l.now = func() time.Time { return now }
	from := func(address string) *http.Request {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.RemoteAddr = address + ":1234"
		return r
	}
	for i := range 1000 {
		require.Equal(t, uint64(2), l.peek(from(fmt.Sprintf("10.0.%d.%d", i>>8, i&0xff))).remaining)
	}
	require.Empty(t, l.current)
	limit, _, err := l.store.Get(t.Context(), "10.0.0.1")
	require.NoError(t, err)
	require.Zero(t, limit, "the store has kept an address that has only looked")

	client := from("203.0.113.1")
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
	now = now.Add(window + time.Second)
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
