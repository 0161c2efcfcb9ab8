package agent_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent/llm/llmtest"
)

func TestForwardedFor(t *testing.T) {
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	for _, tc := range []struct {
		name    string
		trusted []netip.Prefix
		headers []string
		want    string
	}{
		{"not trusted", nil, []string{"192.0.2.1"}, "127.0.0.1"},
		{"trusted", []netip.Prefix{loopback}, []string{"192.0.2.1"}, "192.0.2.1"},
		{"the client's own entry does not count", []netip.Prefix{loopback}, []string{"203.0.113.9, 192.0.2.1"}, "192.0.2.1"},
		{"two proxies", []netip.Prefix{loopback, netip.MustParsePrefix("10.0.0.0/8")}, []string{"203.0.113.9, 192.0.2.1, 10.1.2.3"}, "192.0.2.1"},
		{"two headers", []netip.Prefix{loopback}, []string{"203.0.113.9", "192.0.2.1"}, "192.0.2.1"},
		{"a private address is not trusted by itself", []netip.Prefix{loopback}, []string{"203.0.113.9, 10.1.2.3"}, "10.1.2.3"},
		{"IPv6 counts by its network", []netip.Prefix{loopback}, []string{"2001:db8:1:2:3:4:5:6"}, "2001:db8:1:2::/64"},
		{"mapped IPv4", []netip.Prefix{loopback}, []string{"::ffff:192.0.2.1"}, "192.0.2.1"},
		{"rubbish", []netip.Prefix{loopback}, []string{"<script>"}, "127.0.0.1"},
		{"empty", []netip.Prefix{loopback}, []string{""}, "127.0.0.1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAPI(t, llmtest.Say("ok"), func(s *settings) { s.agent.RateLimit, s.agent.TrustedProxies = 1, tc.trusted })
			var last int
			for range 1 + 50 {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.url+"/v1/agents", nil)
				require.NoError(t, err)
				req.Header["X-Forwarded-For"] = tc.headers
				res, err := a.client.Do(req)
				require.NoError(t, err)
				require.NoError(t, res.Body.Close())
				last = res.StatusCode
			}
			require.Equal(t, http.StatusTooManyRequests, last)
			require.InDelta(t, 1, a.moved()["hancock_rate_limit_exceeded_total{client_id="+tc.want+",endpoint=/v1/agents}"], 0)
		})
	}
}

// Any number of addresses over any time brings about 20 series at the most,
// and an address that comes most often can be told.
func TestClientsAreBounded(t *testing.T) {
	a := newAPI(t, llmtest.Say("ok"), func(s *settings) {
		s.agent.RateLimit = 1
		s.agent.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	const (
		insistent = 30
		refused   = 60
		crowd     = 100
	)
	clients := make(map[string]float64) // all that there ever were
	note := func() {
		for key, v := range a.counters() {
			if strings.HasPrefix(key, "hancock_rate_limit_exceeded_total{") && !strings.Contains(key, "client_id=other") {
				clients[key] = v
			}
		}
	}
	for i := range crowd {
		for range 2 {
			a.do(http.MethodGet, "/v1/agents", "", "X-Forwarded-For", fmt.Sprintf("192.0.2.%d", i))
		}
	}
	note()
	require.Empty(t, clients)
	for i := range insistent {
		for range 1 + refused {
			a.do(http.MethodGet, "/v1/agents", "", "X-Forwarded-For", fmt.Sprintf("203.0.113.%d", i))
		}
		note()
	}
	require.Len(t, clients, 20)
	for key, v := range clients {
		require.InDelta(t, refused-49, v, 0, key)
	}
	// What came before an address had its own value stays where it is.
	require.InDelta(t, crowd+20*49+(insistent-20)*refused,
		a.counters()["hancock_rate_limit_exceeded_total{client_id=other,endpoint=/v1/agents}"], 0)
}

func TestRetryAfter(t *testing.T) {
	a := newAPI(t, llmtest.Say("ok"), func(s *settings) { s.agent.RateLimit = 2 })
	first := a.post("/v1/chat", `{"message":"hi"}`)
	require.Equal(t, http.StatusOK, first.status)
	require.Equal(t, "2", first.header.Get("X-RateLimit-Limit"))
	require.Equal(t, "1", first.header.Get("X-RateLimit-Remaining"))
	require.Empty(t, first.header.Get("Retry-After"))
	require.Equal(t, "0", a.post("/v1/nothing", "").header.Get("X-RateLimit-Remaining"))

	got := a.do(http.MethodPost, "/v1/ask", `{"question":"hi"}`, "X-Request-ID", "req-429")
	require.Equal(t, http.StatusTooManyRequests, got.status)
	require.Equal(t, map[string]any{"error": "Rate limit exceeded: 2 requests/min", "request_id": "req-429"}, got.fields(t))
	require.Equal(t, "0", got.header.Get("X-RateLimit-Remaining"))
	seconds, err := strconv.Atoi(got.header.Get("Retry-After"))
	require.NoError(t, err)
	require.True(t, seconds >= 1 && seconds <= 60, "%d", seconds)
	require.Len(t, a.backend.Requests(), 1)
	// Other paths have no limit.
	require.Equal(t, http.StatusOK, a.do(http.MethodGet, "/health", "").status)

	a.completed("req-429")
	moved := a.moved()
	require.InDelta(t, 1, moved["hancock_rate_limit_exceeded_total{client_id=other,endpoint=/v1/ask}"], 0)
	require.InDelta(t, 3, moved["hancock_requests_total"], 0)
	require.InDelta(t, 2, moved["hancock_errors_total"], 0)
	// Nobody has read its body.
	require.InDelta(t, 1, moved["hancock_requests_by_mode{mode=invalid}"], 0)
}

// Every answer tells where the client stands, and only those below /v1 take
// from it.
func TestEveryAnswerTellsTheAllowance(t *testing.T) {
	a := newAPI(t, llmtest.Say("ok"), func(s *settings) { s.agent.RateLimit = 3 })
	for _, step := range []struct {
		method, path string
		status       int
		remaining    string
	}{
		{http.MethodGet, "/health", http.StatusOK, "3"},
		{http.MethodGet, "/nowhere", http.StatusNotFound, "3"},
		{http.MethodGet, "/v1/agents", http.StatusOK, "2"},
		{http.MethodGet, "/health", http.StatusOK, "2"},
		{http.MethodPost, "/health", http.StatusMethodNotAllowed, "2"},
		{http.MethodGet, "/v1/nowhere", http.StatusNotFound, "1"},
		{http.MethodGet, "/v1/panic", http.StatusInternalServerError, "0"},
		{http.MethodGet, "/v1/agents", http.StatusTooManyRequests, "0"},
		{http.MethodGet, "/health", http.StatusOK, "0"},
		{http.MethodGet, "/", http.StatusNotFound, "0"},
	} {
		got := a.do(step.method, step.path, "")
		require.Equal(t, step.status, got.status, step.path)
		require.Equal(t, []string{"3", step.remaining, "60s"}, []string{
			got.header.Get("X-RateLimit-Limit"), got.header.Get("X-RateLimit-Remaining"), got.header.Get("X-RateLimit-Window"),
		}, step.path)
		require.Equal(t, step.status == http.StatusTooManyRequests, got.header.Get("Retry-After") != "", step.path)
	}
	require.NoError(t, a.agent.Close())
	for path, want := range map[string]int{"/health": http.StatusOK, "/v1/agents": http.StatusServiceUnavailable} {
		got := a.do(http.MethodGet, path, "")
		require.Equal(t, want, got.status)
		require.Equal(t, "3", got.header.Get("X-RateLimit-Limit"))
		require.Equal(t, "0", got.header.Get("X-RateLimit-Remaining"))
	}
}
