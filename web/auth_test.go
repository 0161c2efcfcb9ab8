package web

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

const rightKey = "the-right-key-of-this-server"

// keyed is a server with a key whose clock is the returned one.
func keyed(t *testing.T, change func(*Options)) (s *Server, now *time.Time, log *bytes.Buffer) {
	t.Helper()
	opts := DefaultOptions()
	opts.APIKey, opts.ProtectMetrics = rightKey, true
	if change != nil {
		change(&opts)
	}
	log = new(bytes.Buffer)
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	s = New(opts, Handlers{Metrics: ok, API: ok, Page: ok, Routes: []Routes{agentRoute{}}}, prometheus.NewRegistry(), slog.New(slog.NewTextHandler(log, nil)))
	clock := time.Now()
	s.failures.now = func() time.Time { return clock }
	return s, &clock, log
}

type agentRoute struct{}

func (agentRoute) Register(e *echo.Echo) {
	e.POST("/v1/ask", func(c echo.Context) error { return c.String(http.StatusOK, "ok") })
}

// send sends a request with a key as a bearer token, or without one, from an address.
func send(s *Server, method, path, key, from string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.RemoteAddr = from
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, r)
	return rec
}

// TestWrongKeys tries wrong keys on each kind of path: they are counted, logged without the key, and throttled, and the right
// one passes all the time.
func TestWrongKeys(t *testing.T) {
	for path, method := range map[string]string{"/": "GET", "/metrics": "GET", "/api/v1/query": "GET", "/v1/ask": "POST"} {
		s, now, log := keyed(t, nil)
		const from = "192.0.2.7:1000"
		for i := range 3 * maxWrongKeys {
			got := send(s, method, path, "wrong-"+strconv.Itoa(i), from)
			if i < maxWrongKeys {
				require.Equal(t, http.StatusUnauthorized, got.Code, path)
			} else {
				require.Equal(t, http.StatusTooManyRequests, got.Code, path)
				seconds, err := strconv.Atoi(got.Header().Get("Retry-After"))
				require.NoError(t, err)
				require.True(t, seconds > 0 && seconds <= 60)
			}
			require.Equal(t, http.StatusOK, send(s, method, path, rightKey, from).Code, path)
		}
		require.Equal(t, http.StatusUnauthorized, send(s, method, path, "wrong", "192.0.2.8:1").Code, "another client")
		require.Equal(t, http.StatusUnauthorized, send(s, method, path, "", from).Code, "without a key")
		require.InDelta(t, maxWrongKeys+1, testutil.ToFloat64(s.failures.total.WithLabelValues(authWrong)), 0)
		require.InDelta(t, 2*maxWrongKeys, testutil.ToFloat64(s.failures.total.WithLabelValues(authThrottled)), 0)
		require.InDelta(t, 1, testutil.ToFloat64(s.failures.total.WithLabelValues(authMissing)), 0)
		require.Equal(t, 3, strings.Count(log.String(), "authentication failed"), log.String())
		require.Contains(t, log.String(), "client=192.0.2.7 path="+path)
		require.NotContains(t, log.String(), "wrong-")

		*now = now.Add(authWindow)
		require.Equal(t, http.StatusUnauthorized, send(s, method, path, "wrong", from).Code, "after the window")
	}
}

// TestWrongKeysBehindAProxy counts the client that a trusted proxy names, and IPv6 by its network.
func TestWrongKeysBehindAProxy(t *testing.T) {
	s, _, _ := keyed(t, func(o *Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")} })
	for i := range maxWrongKeys + 1 {
		send(s, "GET", "/metrics", "wrong", "192.0.2.1:1", "X-Forwarded-For", fmt.Sprintf("2001:db8:1:2::%d", i+1))
	}
	require.Equal(t, http.StatusTooManyRequests, send(s, "GET", "/metrics", "wrong", "192.0.2.1:1", "X-Forwarded-For", "2001:db8:1:2::ffff").Code)
	require.Equal(t, http.StatusUnauthorized, send(s, "GET", "/metrics", "wrong", "192.0.2.1:1", "X-Forwarded-For", "2001:db8:1:3::1").Code)
	// A client that is no proxy cannot choose whom it counts as.
	for i := range maxWrongKeys + 1 {
		send(s, "GET", "/metrics", "wrong", "192.0.2.9:1", "X-Forwarded-For", fmt.Sprintf("203.0.113.%d", i+1))
	}
	require.Equal(t, http.StatusTooManyRequests, send(s, "GET", "/metrics", "wrong", "192.0.2.9:1").Code)
}

// TestCrowdOfWrongKeys bounds the memory and the log lines of many clients.
func TestCrowdOfWrongKeys(t *testing.T) {
	s, now, log := keyed(t, nil)
	for i := range 3 * maxAuthClients {
		s.failures.wrong(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&0xff, i&0xff), "/")
	}
	require.LessOrEqual(t, len(s.failures.clients), maxAuthClients+1)
	require.Equal(t, maxAuthLines, strings.Count(log.String(), "authentication failed"))
	require.Equal(t, http.StatusOK, send(s, "GET", "/metrics", rightKey, "10.0.0.1:1").Code)
	*now = now.Add(authWindow)
	s.failures.wrong("10.0.0.1", "/")
	require.Contains(t, log.String(), "authentication failures were not logged")
	require.Len(t, s.failures.clients, 1)
}

// TestReadOnlyKey reads with the second key, and is refused everything else, unknown routes included.
func TestReadOnlyKey(t *testing.T) {
	const viewer = "the-key-of-those-who-read"
	s, _, _ := keyed(t, func(o *Options) { o.ReadOnlyKey = viewer })
	s.echo.POST("/-/reload", func(c echo.Context) error { return c.NoContent(http.StatusOK) })
	s.echo.GET("/new", func(c echo.Context) error { return c.NoContent(http.StatusOK) })
	s.echo.Any("/api/v2/*", func(c echo.Context) error { return c.NoContent(http.StatusOK) })
	for line, want := range map[string]int{
		"GET /":                          http.StatusOK,
		"HEAD /":                         http.StatusOK,
		"GET /assets/page.js":            http.StatusOK,
		"GET /metrics":                   http.StatusOK,
		"GET /api/v1/query":              http.StatusOK,
		"POST /api/v1/query":             http.StatusOK,
		"POST /api/v1/query_range":       http.StatusOK,
		"POST /api/v1/read":              http.StatusOK,
		"GET /api/v1/rules":              http.StatusOK,
		"GET /api/v2/alerts":             http.StatusOK,
		"POST /api/v2/alerts":            http.StatusForbidden,
		"POST /api/v2/silences":          http.StatusForbidden,
		"DELETE /api/v2/silence/x":       http.StatusForbidden,
		"PUT /api/v1/query":              http.StatusForbidden,
		"POST /api/v1/query/":            http.StatusForbidden,
		"POST /api/v1/write":             http.StatusForbidden,
		"POST /api/v1/otlp/v1/metrics":   http.StatusForbidden,
		"POST /api/v1/admin/tsdb/x":      http.StatusForbidden,
		"GET /api/v1/admin/tsdb/x":       http.StatusForbidden,
		"GET /api/v1/%61dmin/tsdb/x":     http.StatusForbidden,
		"PUT /api/v1/admin/tsdb/x":       http.StatusForbidden,
		"POST /-/reload":                 http.StatusForbidden,
		"GET /new":                       http.StatusForbidden,
		"POST /v1/ask":                   http.StatusForbidden,
		"POST /v1/ask/../../api/v1/read": http.StatusNotFound,
	} {
		method, path, _ := strings.Cut(line, " ")
		require.Equal(t, want, send(s, method, path, viewer, "192.0.2.1:1").Code, line)
		if want == http.StatusForbidden {
			require.Contains(t, send(s, method, path, viewer, "192.0.2.1:1").Body.String(), "read-only key")
			require.NotEqual(t, http.StatusForbidden, send(s, method, path, rightKey, "192.0.2.1:1").Code, line)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.SetBasicAuth("anybody", viewer)
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, r)
	require.Equal(t, http.StatusOK, rec.Code)
	require.Equal(t, http.StatusUnauthorized, send(s, http.MethodGet, "/", "another-key", "192.0.2.1:1").Code)

	// A reload replaces both keys.
	opts := s.now.Load().opts
	opts.APIKey, opts.ReadOnlyKey = "another-key-of-this-server", ""
	s.Reload(opts)
	require.Equal(t, http.StatusUnauthorized, send(s, http.MethodGet, "/", viewer, "192.0.2.1:1").Code)
	require.Equal(t, http.StatusUnauthorized, send(s, http.MethodGet, "/", rightKey, "192.0.2.1:1").Code)
	require.Equal(t, http.StatusOK, send(s, http.MethodGet, "/", opts.APIKey, "192.0.2.1:1").Code)
}
