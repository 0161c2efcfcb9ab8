package requestlog_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent/requestlog"
)

// serve sends one request through the middleware and returns the answer and
// the log.
func serve(t *testing.T, level slog.Level, r *http.Request) (*httptest.ResponseRecorder, []map[string]any) {
	t.Helper()
	var buf bytes.Buffer
	log := requestlog.New(&buf, level)
	e := echo.New()
	e.Use(requestlog.Middleware(log))
	e.POST("/v1/chat", func(c echo.Context) error {
		ctx := c.Request().Context()
		log.InfoContext(ctx, "inside")
		<-time.After(time.Millisecond) // Less than a hundredth of it would count as nothing.
		requestlog.Add(ctx, slog.String("mode", "auto"))
		requestlog.Add(ctx, slog.String("mode", "soc"), slog.String("model", "m"))
		return c.String(http.StatusOK, requestlog.ID(ctx))
	})
	e.GET("/v1/fail/:code", func(c echo.Context) error {
		if c.Param("code") == "500" {
			return errors.New("boom")
		}
		return echo.NewHTTPError(http.StatusBadRequest, "no")
	})
	e.GET("/v1/panic", func(echo.Context) error { panic("boom") })
	e.GET("/health", func(c echo.Context) error { return c.NoContent(http.StatusOK) })
	w := httptest.NewRecorder()
	func() {
		defer func() { _ = recover() }()
		e.ServeHTTP(w, r)
	}()
	return w, lines(t, &buf)
}

var uuidV4 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func TestRequestLines(t *testing.T) {
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/chat?key=secret", strings.NewReader(`{"message":"secret"}`))
	r.Header.Set("X-Request-ID", "req-a1b2c3d4")
	r.Header.Set("Authorization", "Bearer secret")
	w, got := serve(t, slog.LevelInfo, r)
	require.Equal(t, "req-a1b2c3d4", w.Header().Get("X-Request-ID"))
	require.Equal(t, "req-a1b2c3d4", w.Body.String())
	require.Len(t, got, 3)
	for _, line := range got {
		require.Equal(t, "req-a1b2c3d4", line["request_id"])
		require.NotContains(t, line, "secret")
	}
	require.Equal(t, "request_started", got[0]["event"])
	require.Equal(t, "inside", got[1]["message"])
	done := got[2]
	require.Equal(t, "request_completed", done["message"])
	require.Equal(t, "request_completed", done["event"])
	require.Equal(t, "POST", done["method"])
	require.Equal(t, "/v1/chat", done["endpoint"])
	require.Equal(t, "soc", done["mode"])
	require.Equal(t, "m", done["model"])
	require.InDelta(t, 200, done["status"], 0)
	require.GreaterOrEqual(t, done["latency_ms"], 1.0)
	require.Equal(t, "INFO", done["level"])
}

func TestOutcomes(t *testing.T) {
	for _, tc := range []struct {
		path, level, endpoint string
		status                float64
		lines                 int
	}{
		{"/v1/fail/400", "WARNING", "/v1/fail/:code", 400, 2},
		{"/v1/fail/500", "ERROR", "/v1/fail/:code", 500, 2},
		{"/v1/panic", "ERROR", "/v1/panic", 500, 2},
		{"/v1/nowhere", "WARNING", "/v1/nowhere", 404, 2},
		{"/v1/" + strings.Repeat("é", 5000), "WARNING", "/v1/" + strings.Repeat("é", 98), 404, 2},
		{"/health", "", "", 0, 0},
		{"/nowhere", "", "", 0, 0},
	} {
		t.Run(tc.path[:min(len(tc.path), 20)], func(t *testing.T) {
			w, got := serve(t, slog.LevelInfo, httptest.NewRequestWithContext(t.Context(), http.MethodGet, tc.path, nil))
			require.Regexp(t, uuidV4, w.Header().Get("X-Request-ID"))
			require.Len(t, got, tc.lines)
			if tc.lines > 0 {
				require.Equal(t, tc.level, got[1]["level"])
				require.Equal(t, tc.endpoint, got[1]["endpoint"])
				require.InDelta(t, tc.status, got[1]["status"], 0)
			}
		})
	}
	_, got := serve(t, slog.LevelDebug, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/health", nil))
	require.Len(t, got, 2)
	require.Equal(t, "DEBUG", got[1]["level"])
}

func TestRequestIDs(t *testing.T) {
	for _, tc := range []struct {
		name, given string
		taken       bool
	}{
		{"usual", "req-a1b2c3d4", true},
		{"trace", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true},
		{"longest", strings.Repeat("a", 64), true},
		{"too long", strings.Repeat("a", 65), false},
		{"empty", "", false},
		{"space", "a b", false},
		{"line break", "a\r\nX-Evil: 1", false},
		{"quote", `a"b`, false},
		{"markup", "<script>", false},
		{"not ASCII", "añb", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/chat", nil)
			r.Header["X-Request-Id"] = []string{tc.given}
			w, got := serve(t, slog.LevelInfo, r)
			id := w.Header().Get("X-Request-ID")
			if tc.taken {
				require.Equal(t, tc.given, id)
			} else {
				require.Regexp(t, uuidV4, id)
			}
			require.Equal(t, id, got[0]["request_id"])
		})
	}
}

func TestOutsideOfARequest(t *testing.T) {
	require.Empty(t, requestlog.ID(t.Context()))
	requestlog.Add(t.Context(), slog.String("mode", "soc"))
}

// Handlers of a request may add fields from several goroutines.
func TestAddConcurrently(t *testing.T) {
	e := echo.New()
	e.Use(requestlog.Middleware(slog.New(slog.DiscardHandler)))
	e.GET("/v1/x", func(c echo.Context) error {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { requestlog.Add(context.WithoutCancel(c.Request().Context()), slog.Int("n", 1)) })
		}
		wg.Wait()
		return c.NoContent(http.StatusNoContent)
	})
	e.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/x", nil))
}

func FuzzRequestID(f *testing.F) {
	f.Add("req-a1b2c3d4")
	f.Add("a\r\nb: c")
	f.Add(strings.Repeat("x", 65))
	e := echo.New()
	e.Use(requestlog.Middleware(slog.New(slog.DiscardHandler)))
	f.Fuzz(func(t *testing.T, given string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/x", nil)
		r.Header["X-Request-Id"] = []string{given}
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		id := w.Header().Get("X-Request-ID")
		require.Regexp(t, `^[0-9A-Za-z._:-]{1,64}$`, id)
		if id != given {
			require.Regexp(t, uuidV4, id)
			require.NotRegexp(t, `^[0-9A-Za-z._:-]{1,64}\z`, given)
		}
	})
}
