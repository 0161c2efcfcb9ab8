package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// routes are what another part of the process would mount.
type routes func(*echo.Echo)

func (r routes) Register(e *echo.Echo) { r(e) }

func text(s string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) })
}

func newServerOf(t *testing.T, opts Options, h Handlers) (*Server, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	return New(opts, h, reg, slog.New(slog.DiscardHandler)), reg
}

// newServer mounts small handlers of its own that say who answered.
func newServer(t *testing.T, opts Options, extra ...func(*echo.Echo)) (*Server, *prometheus.Registry) {
	t.Helper()
	require.NoError(t, opts.Validate())
	reg := prometheus.NewRegistry()
	return New(opts, Handlers{
		Log: func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c echo.Context) error {
				c.Response().Header().Set(echo.HeaderXRequestID, "req-1")
				return next(c)
			}
		},
		Outer: []echo.MiddlewareFunc{func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c echo.Context) error {
				if c.Path() == "/limited" {
					return echo.NewHTTPError(http.StatusTooManyRequests, "not so fast")
				}
				return next(c)
			}
		}},
		Routes: []Routes{routes(func(e *echo.Echo) {
			e.POST("/v1/chat", func(c echo.Context) error { return c.String(http.StatusOK, "agent") })
			e.GET("/limited", func(echo.Context) error { return nil })
			e.GET("/panics", func(echo.Context) error { panic("secret detail") })
			e.GET("/fails", func(echo.Context) error { return errors.New("secret detail") })
			for _, f := range extra {
				f(e)
			}
		})},
		Metrics: promhttp.HandlerFor(reg, promhttp.HandlerOpts{}),
		API:     text("api"),
		Page:    text("page"), PagePaths: []string{"/graph", "/classic/*"},
	}, reg, slog.New(slog.DiscardHandler)), reg
}

func withKey(key string) Options {
	o := DefaultOptions()
	o.APIKey = key
	return o
}

func TestRequests(t *testing.T) {
	open, keyed, closed := DefaultOptions(), withKey("sesame"), withKey("sesame")
	closed.ProtectMetrics = true
	named := DefaultOptions()
	named.ExternalURL = &url.URL{Scheme: "https", Host: "SOC.example.org"}

	bearer := func(key string) map[string]string { return map[string]string{"Authorization": "Bearer " + key} }
	basic := map[string]string{"Authorization": "Basic YW55Ym9keTpzZXNhbWU="} // anybody:sesame
	for _, tc := range []struct {
		name         string
		opts         Options
		method, path string
		header       map[string]string
		status       int
		want, not    string
	}{
		{"page", open, "GET", "/", nil, 200, "page", ""},
		{"asset", open, "GET", "/assets/abc.js", nil, 200, "page", ""},
		{"view", open, "GET", "/graph?g0.expr=up", nil, 200, "page", ""},
		{"view below a prefix", open, "GET", "/classic/graph", nil, 200, "page", ""},
		{"view by POST", open, "POST", "/graph", nil, 405, "POST is not allowed here", ""},
		{"view without key", keyed, "GET", "/graph", nil, 401, "basic authentication", "page\n"},
		{"view with password", keyed, "GET", "/graph", basic, 200, "page", ""},
		{"query by GET", open, "GET", "/api/v1/query", nil, 200, "api", ""},
		{"query by POST", open, "POST", "/api/v1/query_range", nil, 200, "api", ""},
		{"agent", open, "POST", "/v1/chat", nil, 200, "agent", ""},
		{"metrics", open, "GET", "/metrics", nil, 200, "hancock_active_connections 0", ""},
		{"live", open, "GET", "/livez", nil, 200, "live", ""},
		{"healthy", open, "GET", "/-/healthy", nil, 200, "live", ""},
		{"not ready before serving", open, "GET", "/readyz", nil, 503, "starting", ""},
		{"unknown path", open, "GET", "/nowhere", nil, 404, `{"error":"no such path: /nowhere","request_id":"req-1"}`, ""},
		{"unknown path by HEAD", open, "HEAD", "/nowhere", nil, 404, "", ""},
		{"wrong method", open, "GET", "/v1/chat", nil, 405, `GET is not allowed here; allowed: OPTIONS, POST`, ""},
		{"panic", open, "GET", "/panics", nil, 500, `{"error":"internal error","request_id":"req-1"}`, "secret"},
		{"plain error", open, "GET", "/fails", nil, 500, `{"error":"internal error","request_id":"req-1"}`, "secret"},

		{"foreign host", open, "GET", "/api/v1/query", map[string]string{"Host": "evil.example"}, 403, "web.external_url", ""},
		{"loopback by name", open, "GET", "/", map[string]string{"Host": "localhost:5000"}, 200, "page", ""},
		{"loopback by IPv6", open, "GET", "/", map[string]string{"Host": "[::1]:5000"}, 200, "page", ""},
		{"external host", named, "GET", "/", map[string]string{"Host": "soc.example.org"}, 200, "page", ""},
		{"any host with a key", keyed, "GET", "/", map[string]string{"Host": "any.example", "Authorization": "Bearer sesame"}, 200, "page", ""},

		{"change from another origin", open, "POST", "/v1/chat", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403, "another origin", ""},
		{"change from another origin, old browser", open, "POST", "/v1/chat", map[string]string{"Origin": "https://evil.example"}, 403, "another origin", ""},
		{"read from another origin", open, "GET", "/", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403, "web.allowed_origins", ""},
		{"change from our page behind a proxy", named, "POST", "/v1/chat", map[string]string{"Host": "soc.example.org", "Origin": "https://soc.example.org"}, 200, "agent", ""},
		{"change from our page by name behind a proxy", named, "POST", "/v1/chat", map[string]string{"Origin": "https://soc.example.org"}, 200, "agent", ""},
		{"change from our page", open, "POST", "/v1/chat", map[string]string{"Sec-Fetch-Site": "same-origin"}, 200, "agent", ""},

		{"agent without key", keyed, "POST", "/v1/chat", nil, 401, "bearer token", "sesame"},
		{"agent with wrong key", keyed, "POST", "/v1/chat", bearer("sesam"), 401, "bearer token", "sesame"},
		{"agent with key", keyed, "POST", "/v1/chat", bearer("sesame"), 200, "agent", ""},
		{"agent with password", keyed, "POST", "/v1/chat", basic, 401, "bearer token", ""},
		{"page without key", keyed, "GET", "/", nil, 401, "basic authentication", "sesame"},
		{"page with password", keyed, "GET", "/", basic, 200, "page", ""},
		{"query with bearer", keyed, "GET", "/api/v1/query", bearer("sesame"), 200, "api", ""},
		{"live needs no key", keyed, "GET", "/livez", nil, 200, "live", ""},
		{"metrics need no key", keyed, "GET", "/metrics", nil, 200, "hancock_", ""},
		{"metrics closed", closed, "GET", "/metrics", nil, 401, "unauthorized", ""},
		{"metrics closed, with key", closed, "GET", "/metrics", bearer("sesame"), 200, "hancock_", ""},
		{"a path that only looks open", keyed, "GET", "/livez/../api/v1/query", nil, 404, "no such path", ""},
		{"an encoded slash", keyed, "GET", "/api%2fv1/query", nil, 404, "no such path", "api\n"},
		{"a path that does not exist", keyed, "GET", "/internal/diagnostics", nil, 404, "no such path", ""},
		{"a path below the API", keyed, "GET", "/api/v1/no/such/call", nil, 401, "unauthorized", ""},
		{"refused before it is looked at", open, "GET", "/limited", nil, 429, "not so fast", ""},
		{"wrong method", keyed, "DELETE", "/v1/chat", nil, 401, "unauthorized", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, _ := newServer(t, tc.opts)
			r := httptest.NewRequestWithContext(t.Context(), tc.method, "http://127.0.0.1:5000"+tc.path, http.NoBody)
			for k, v := range tc.header {
				r.Header.Set(k, v)
				if k == "Host" {
					r.Host = v
				}
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			require.Equal(t, tc.status, w.Code, w.Body.String())
			require.Contains(t, w.Body.String(), tc.want)
			require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
			if tc.not != "" {
				require.NotContains(t, w.Body.String(), tc.not)
			}
			if tc.status >= 400 && tc.status != 503 && tc.method != "HEAD" {
				var e map[string]string
				require.NoError(t, json.Unmarshal(w.Body.Bytes(), &e))
				require.Len(t, e, 2)
				require.NotEmpty(t, e["error"])
				require.Equal(t, "req-1", e["request_id"])
			}
		})
	}
}

// TestStalledBody sends a request whose body never comes: the refusal does, and
// the connection is not held.
func TestStalledBody(t *testing.T) {
	s, _ := newServer(t, withKey("sesame"))
	base, stop := start(t, s)
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "POST /v1/chat HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{")
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	answer, err := io.ReadAll(conn) // until the server closes it
	require.NoError(t, err)
	require.Contains(t, string(answer), "401 Unauthorized")
	require.NoError(t, stop())
}

// TestUsersOrKey refuses a configuration that no request can satisfy.
func TestUsersOrKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.yml")
	require.NoError(t, os.WriteFile(path, []byte("basic_auth_users: {alice: $2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi}\n"), 0o600))
	o := withKey("sesame")
	o.ConfigFile = path
	require.ErrorContains(t, o.Validate(), "basic_auth_users")
	o.APIKey, o.ListenAddress = "", "0.0.0.0:5000"
	require.NoError(t, o.Validate(), "users are an authentication, too")
}

// start serves on a free port until stop is called, which returns Serve's error.
func start(t *testing.T, s *Server) (base string, stop func() error) {
	t.Helper()
	opts := s.now.Load().opts
	opts.ListenAddress = "127.0.0.1:0"
	ln, err := Listen(t.Context(), opts)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	return "http://" + ln.Addr().String(), func() error { cancel(); return <-served }
}

func get(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	resp, err := client.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

// ask is get for another goroutine than the test's: the body, or the error.
func ask(client *http.Client, url string) string {
	resp, err := client.Get(url)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}

func TestServeAnswersWhatIsInFlight(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	s, reg := newServer(t, DefaultOptions(), func(e *echo.Echo) {
		e.GET("/slow", func(c echo.Context) error {
			close(arrived)
			<-release
			return c.String(http.StatusOK, "answered")
		})
	})
	base, stop := start(t, s)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	code, _ := get(t, client, base+"/readyz")
	require.Equal(t, http.StatusOK, code)

	answers := make(chan string, 1)
	go func() {
		answers <- ask(client, base+"/slow")
	}()
	<-arrived
	// The request may have come over another connection than the one before it, which becomes idle behind its answer.
	require.Eventually(t, func() bool {
		return testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP hancock_active_connections Client connections with a request in progress.
# TYPE hancock_active_connections gauge
hancock_active_connections 1
`), "hancock_active_connections") == nil
	}, 20*time.Second, time.Millisecond)

	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	require.Eventually(t, func() bool { return s.state.Load() == stateStopping }, 20*time.Second, time.Millisecond)
	close(release)
	require.Equal(t, "answered", <-answers)
	require.NoError(t, <-stopped)
}

func TestServeCutsOffWhatDoesNotEnd(t *testing.T) {
	arrived, deaf := make(chan struct{}), make(chan struct{})
	for path, want := range map[string]string{"/endless": "shutting down", "/deaf": "EOF"} {
		t.Run(path, func(t *testing.T) {
			opts := DefaultOptions()
			opts.ShutdownTimeout = 10 * time.Millisecond
			s, _ := newServer(t, opts, func(e *echo.Echo) {
				e.GET("/endless", func(c echo.Context) error {
					arrived <- struct{}{}
					<-c.Request().Context().Done()
					return echo.NewHTTPError(http.StatusServiceUnavailable, "shutting down")
				})
				e.GET("/deaf", func(echo.Context) error {
					arrived <- struct{}{}
					<-deaf
					return nil
				})
			})
			if path == "/endless" {
				s.goodbye = time.Minute // It says so when it is scheduled, and nothing else is waited for.
			}
			base, stop := start(t, s)
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			told := make(chan string, 1)
			go func() { told <- ask(client, base+path) }()
			<-arrived
			require.ErrorContains(t, stop(), "cut off")
			require.Contains(t, <-told, want)
		})
	}
	close(deaf)
}

func TestServeEndsLiveNotifications(t *testing.T) {
	opts := DefaultOptions()
	s, _ := newServer(t, opts)
	streaming := make(chan struct{})
	s.echo.GET("/live", s.untilClosing(func(c echo.Context) error {
		close(streaming)
		<-c.Request().Context().Done()
		return nil
	}))
	base, stop := start(t, s)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	ended := make(chan struct{})
	go func() { ask(client, base+"/live"); close(ended) }()
	<-streaming
	require.NoError(t, stop())
	<-ended
}

func TestListenTellsOfATakenPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	opts := DefaultOptions()
	opts.ListenAddress = taken.Addr().String()
	_, err = Listen(t.Context(), opts)
	require.ErrorContains(t, err, opts.ListenAddress)
	require.ErrorContains(t, err, "address already in use")
	require.ErrorContains(t, err, "HANCOCK_PORT")
}

func TestValidate(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"defaults", func(*Options) {}, ""},
		{"no port", func(o *Options) { o.ListenAddress = "127.0.0.1" }, "web.listen_address"},
		{"open to the network without a key", func(o *Options) { o.ListenAddress = "0.0.0.0:5000" }, "HANCOCK_API_KEY"},
		{"all addresses without a key", func(o *Options) { o.ListenAddress = ":5000" }, "HANCOCK_API_KEY"},
		{"a name that may be anything", func(o *Options) { o.ListenAddress = "myhost:5000" }, "HANCOCK_API_KEY"},
		{"open with a key", func(o *Options) { o.ListenAddress, o.APIKey = "0.0.0.0:5000", "sixteen-letters-" }, ""},
		{"open with a short key", func(o *Options) { o.ListenAddress, o.APIKey = "0.0.0.0:5000", "fifteen-letters" }, `web.api_key: has fewer than 16 characters, and "0.0.0.0:5000" can be reached from other machines: use a longer one, such as the output of "openssl rand -hex 32"`},
		{"open with a short key of letters of two bytes", func(o *Options) { o.ListenAddress, o.APIKey = ":5000", "ääääääää" }, "web.api_key: has fewer than 16"},
		{"open with a short read-only key", func(o *Options) { o.ListenAddress, o.APIKey, o.ReadOnlyKey = "[::]:5000", rightKey, "short" }, "web.read_only_key: has fewer than 16"},
		{"a short key on loopback", func(o *Options) { o.APIKey, o.ReadOnlyKey = "k", "r" }, ""},
		{"a read-only key alone", func(o *Options) { o.ReadOnlyKey = rightKey }, "web.read_only_key: there is no API key"},
		{"one key for all", func(o *Options) { o.APIKey, o.ReadOnlyKey = rightKey, rightKey }, "web.read_only_key: equals web.api_key"},
		{"open in so many words", func(o *Options) { o.ListenAddress, o.AllowUnauthenticated = ":5000", true }, ""},
		{"IPv6 loopback", func(o *Options) { o.ListenAddress = "[::1]:5000" }, ""},
		{"not a port", func(o *Options) { o.ListenAddress = "127.0.0.1:99999" }, "is not a port"},
		{"no patience", func(o *Options) { o.ShutdownTimeout = 0 }, "web.shutdown_timeout"},
		{"no connections", func(o *Options) { o.MaxConnections = 0 }, "web.max_connections: must be at least 1"},
		{"no connections of a client", func(o *Options) { o.MaxConnectionsPerClient = -1 }, "web.max_connections_per_client: must be at least 1"},
		{"no time to write", func(o *Options) { o.WriteTimeout = 0 }, "web.write_timeout"},
		{"no scheme", func(o *Options) { o.ExternalURL = &url.URL{Path: "hancock.example"} }, "web.external_url"},
		{"no such TLS file", func(o *Options) { o.ConfigFile = "missing.yml" }, "web.config_file: missing.yml"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := DefaultOptions()
			tc.change(&o)
			if err := o.Validate(); tc.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tc.want)
			}
		})
	}
}
