package notify

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secret is the part of a URL that lets one post.
const secret = "T000-B000-secret"

// receiver is Slack or Teams on a real socket.
type receiver struct {
	url    string
	mu     sync.Mutex
	bodies []string
}

func newReceiver(t *testing.T, answer http.HandlerFunc) *receiver {
	r := &receiver{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		r.bodies = append(r.bodies, string(body))
		r.mu.Unlock()
		if req.Method != http.MethodPost || req.Header.Get("Content-Type") != "application/json; charset=utf-8" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		answer(w, req)
	}))
	t.Cleanup(server.Close)
	r.url = server.URL + "/services/" + secret
	return r
}

func (r *receiver) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.bodies...)
}

func ok(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// bench is a notifier under test, with what it counted, logged and waited for.
type bench struct {
	*Notifier
	mu     sync.Mutex
	counts map[string]int
	waits  []time.Duration
	log    bytes.Buffer
}

func (b *bench) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.Write(p)
}

func (b *bench) count(key string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.counts[key]
}

func (b *bench) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.String()
}

func newBench(t *testing.T, change func(*Options)) *bench {
	opts := DefaultOptions()
	opts.Timeout, opts.DrainTimeout = time.Minute, time.Minute
	change(&opts)
	b := &bench{counts: make(map[string]int)}
	n, err := New(opts, func(integration, outcome string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.counts[integration+" "+outcome]++
	}, slog.New(slog.NewJSONHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug})))
	require.NoError(t, err)
	n.pause = func(ctx context.Context, d time.Duration) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.waits = append(b.waits, d)
		return ctx.Err()
	}
	b.Notifier = n
	t.Cleanup(func() { _ = n.Close() })
	return b
}

func message() Message {
	return Message{Source: "splunk", Severity: "High", Alert: "brute force", Triage: "block it", Model: "m", RequestID: "req-1"}
}

func TestBothAreTold(t *testing.T) {
	slack, teams := newReceiver(t, ok), newReceiver(t, status(http.StatusAccepted, ""))
	b := newBench(t, func(o *Options) { o.SlackURL, o.TeamsURL = slack.url, teams.url })
	require.Equal(t, []string{Slack, Teams}, b.Configured())
	ctx, cancel := context.WithCancel(t.Context())
	for range 20 {
		b.Notify(ctx, message())
	}
	cancel() // the request is over before its notification
	require.NoError(t, b.Close())
	require.NoError(t, b.Close(), "a second time")
	require.Len(t, slack.got(), 20)
	require.Len(t, teams.got(), 20)
	require.Equal(t, map[string]int{"slack sent": 20, "teams sent": 20}, b.counts)
	require.Contains(t, slack.got()[0], `"attachments"`)
	require.Contains(t, teams.got()[0], "AdaptiveCard")

	b.Notify(t.Context(), message())
	require.Equal(t, 1, b.count("slack dropped"))
	require.Equal(t, 1, b.count("teams dropped"))
	require.NotContains(t, b.text(), secret)
}

func TestNobodyIsTold(t *testing.T) {
	b := newBench(t, func(*Options) {})
	b.Notify(t.Context(), message())
	require.Empty(t, b.Configured())
	require.NoError(t, b.Close())
	require.Empty(t, b.counts)
}

func TestFailures(t *testing.T) {
	for _, tc := range []struct {
		name     string
		answer   http.HandlerFunc
		attempts int
		want     string // in the log
	}{
		{"refused for good", status(http.StatusForbidden, "invalid_token"), 1, "status 403: invalid_token"},
		{"no such channel", status(http.StatusNotFound, "no_service\n"), 1, "status 404: no_service"},
		{"a body that repeats the URL", status(http.StatusBadRequest, "bad "+secret), 1, `"status 400"`},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere/"+secret, http.StatusTemporaryRedirect)
		}, 1, "status 307"},
		{"out of order", status(http.StatusInternalServerError, ""), 3, "status 500"},
		{"rate limited", status(http.StatusTooManyRequests, "rate_limited"), 3, "status 429: rate_limited"},
		{"broken connection", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 3, "EOF"},
		{"down", nil, 3, "connection refused"},
		{"slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 2, "no answer in time"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			to := &receiver{url: "http://127.0.0.1:1/" + secret} // Nobody listens there.
			if tc.answer != nil {
				to = newReceiver(t, tc.answer)
			}
			b := newBench(t, func(o *Options) {
				o.SlackURL, o.Attempts = to.url, 3
				if tc.name == "slow" {
					// Long enough for the receiver to have read what it does not answer.
					o.Timeout, o.Attempts = 2*time.Second, 2
				}
			})
			b.Notify(t.Context(), message())
			require.NoError(t, b.Close())
			require.Equal(t, map[string]int{"slack failed": 1}, b.counts)
			require.Len(t, b.waits, tc.attempts-1)
			if tc.answer != nil {
				require.Len(t, to.got(), tc.attempts)
			}
			require.Contains(t, b.text(), `"event":"notification_failed"`)
			require.Contains(t, b.text(), tc.want)
			require.Contains(t, b.text(), `"attempts":`+strconv.Itoa(tc.attempts))
			require.NotContains(t, b.text(), secret)
			require.NotContains(t, b.text(), "brute force")
		})
	}
}

func TestRetriesSucceed(t *testing.T) {
	var r *receiver
	r = newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		switch len(r.got()) {
		case 1:
			w.WriteHeader(http.StatusBadGateway)
		case 2:
			w.Header().Set("Retry-After", "17")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	b := newBench(t, func(o *Options) { o.TeamsURL = r.url })
	b.Notify(t.Context(), message())
	require.NoError(t, b.Close())
	require.Equal(t, map[string]int{"teams sent": 1}, b.counts)
	require.Len(t, b.waits, 2)
	require.GreaterOrEqual(t, b.waits[0], time.Second)
	require.Less(t, b.waits[0], 2*time.Second)
	require.Equal(t, 17*time.Second, b.waits[1])
	got := r.got()
	require.Equal(t, got[0], got[2])
}

func TestTooLongARetryAfter(t *testing.T) {
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	b := newBench(t, func(o *Options) { o.SlackURL = r.url })
	b.Notify(t.Context(), message())
	require.NoError(t, b.Close())
	require.Equal(t, map[string]int{"slack failed": 1}, b.counts)
	require.Empty(t, b.waits)
}

func TestBackoffGrowsToItsBound(t *testing.T) {
	r := newReceiver(t, status(http.StatusInternalServerError, ""))
	b := newBench(t, func(o *Options) {
		o.SlackURL, o.Attempts, o.MaxBackoff = r.url, 6, 4*time.Second
	})
	b.Notify(t.Context(), message())
	require.NoError(t, b.Close())
	require.Len(t, b.waits, 5)
	for i, base := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 4 * time.Second, 4 * time.Second} {
		require.GreaterOrEqual(t, b.waits[i], base)
		require.LessOrEqual(t, b.waits[i], base*5/4)
	}
}

// A receiver that does not answer fills its own queue and nobody else's; the
// caller never waits; Close ends within its bound.
func TestAFullQueue(t *testing.T) {
	stuck := newReceiver(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	healthy := newReceiver(t, ok)
	b := newBench(t, func(o *Options) {
		o.SlackURL, o.TeamsURL = stuck.url, healthy.url
		o.QueueSize, o.Workers, o.Timeout, o.DrainTimeout = 4, 1, time.Hour, 50*time.Millisecond
	})
	b.Notify(t.Context(), message())
	require.Eventually(t, func() bool { return len(stuck.got()) == 1 }, 20*time.Second, time.Millisecond)
	for i := range 10 {
		b.Notify(t.Context(), message())
		require.Eventually(t, func() bool { return b.count("teams sent") == i+2 }, 20*time.Second, time.Millisecond)
	}
	require.Equal(t, 6, b.count("slack dropped"))
	require.Contains(t, b.text(), "queue is full")
	begin := time.Now()
	require.ErrorContains(t, b.Close(), "given up")
	require.Less(t, time.Since(begin), time.Minute)
	require.Equal(t, map[string]int{"slack dropped": 10, "slack failed": 1, "teams sent": 11}, b.counts)
}

func TestCloseCutsAPauseShort(t *testing.T) {
	r := newReceiver(t, status(http.StatusServiceUnavailable, ""))
	b := newBench(t, func(o *Options) {
		o.SlackURL, o.Backoff, o.MaxBackoff, o.DrainTimeout = r.url, time.Hour, time.Hour, 20*time.Millisecond
	})
	b.pause = pause
	b.Notify(t.Context(), message())
	require.Eventually(t, func() bool { return len(r.got()) == 1 }, 20*time.Second, time.Millisecond)
	require.Error(t, b.Close())
	require.Equal(t, map[string]int{"slack failed": 1}, b.counts)
}

func TestOptions(t *testing.T) {
	for _, good := range []string{
		"", "https://hooks.slack.com/services/T/B/x", "https://prod-1.westeurope.logic.azure.com:443/workflows/a?sig=b",
		"http://127.0.0.1:80/x", "http://localhost:1/x", "http://[::1]:1/x",
	} {
		o := DefaultOptions()
		o.SlackURL, o.TeamsURL = good, good
		require.NoError(t, o.Validate(), good)
	}
	for _, bad := range []string{
		"http://hooks.slack.com/" + secret, "http://10.0.0.1/" + secret, "ftp://127.0.0.1/" + secret, "hooks.slack.com/" + secret,
		"https:///" + secret, "https:" + secret, "https://u:" + secret + "@hooks.slack.com/", "https://h/%zz" + secret, "http://localhost.example/" + secret,
		" https://h/" + secret,
	} {
		for _, set := range []func(*Options){func(o *Options) { o.SlackURL = bad }, func(o *Options) { o.TeamsURL = bad }} {
			o := DefaultOptions()
			set(&o)
			err := o.Validate()
			require.Error(t, err, bad)
			require.NotContains(t, err.Error(), secret)
		}
	}
	for name, change := range map[string]func(*Options){
		"queue_size": func(o *Options) { o.QueueSize = 0 },
		"workers":    func(o *Options) { o.Workers = 0 },
		"attempts":   func(o *Options) { o.Attempts = 0 },
		"timeout":    func(o *Options) { o.Timeout = 0 },
		"backoff":    func(o *Options) { o.Backoff = -1 },
	} {
		o := DefaultOptions()
		change(&o)
		require.ErrorContains(t, o.Validate(), name)
		_, err := New(o, nil, slog.New(slog.DiscardHandler))
		require.Error(t, err)
	}
}

func TestHTTPStaysOnThisMachine(t *testing.T) {
	for address, fine := range map[string]bool{
		"127.0.0.1:80": true, "[::1]:80": true, "[::ffff:127.0.0.1]:80": true, "10.0.0.1:80": false, "203.0.113.7:80": false, "x": false,
	} {
		require.Equal(t, fine, onlyLoopback(address) == nil, address)
	}
	client := newClient(true)
	_, err := client.Get("http://192.0.2.1/" + secret)
	require.ErrorContains(t, withoutURL(err), "loopback address only")
	require.NotContains(t, withoutURL(err).Error(), secret)
	require.EqualError(t, withoutURL(errors.New("x")), "x")
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "30": 30 * time.Second, "-1": 0, "1.5": 0, "soon": 0, "99999999999999": 0,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute, "Fri, 02 Jan 2026 03:03:05 GMT": 0,
	} {
		require.Equal(t, want, retryAfter(value, now), value)
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"", "30", "-1", "Fri, 02 Jan 2026 03:05:05 GMT", "99999999999", strings.Repeat("9", 400)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		require.GreaterOrEqual(t, retryAfter(value, time.Now()), time.Duration(0))
	})
}
