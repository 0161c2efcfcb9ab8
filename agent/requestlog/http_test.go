package requestlog_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent/requestlog"
)

// server mounts the search as the process does.
func server(l *requestlog.Log) *echo.Echo {
	e := echo.New()
	e.HTTPErrorHandler = func(err error, c echo.Context) {
		code, message := http.StatusInternalServerError, any("internal error")
		if he, ok := err.(*echo.HTTPError); ok { //nolint:errorlint // As handlers return it.
			code, message = he.Code, he.Message
		}
		_ = c.JSON(code, map[string]any{"error": message, "request_id": c.Response().Header().Get("X-Request-ID")})
	}
	e.Use(requestlog.Middleware(l.Logger(slog.LevelInfo)))
	e.GET("/v1/agents", func(c echo.Context) error { return c.NoContent(http.StatusNoContent) })
	l.Register(e)
	return e
}

func get(t *testing.T, e *echo.Echo, target string) (int, map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil))
	var body map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body), w.Body.String())
	return w.Code, body
}

func TestSearchOverHTTP(t *testing.T) {
	dir := t.TempDir()
	writeLog(t, dir, 1000)
	e := server(openLog(t, dir, io.Discard))
	for _, tc := range []struct {
		target string
		want   int
		next   bool
	}{
		{"/api/hancock/requests", 100, true},
		{"/api/hancock/requests?limit=5&status=5xx&mode=soc", 5, true},
		{"/api/hancock/requests?id=req-000001&cursor=&text=", 1, false},
		{"/api/hancock/requests?from=2026-01-02T03:04:05%2B00:00&to=1767323054.5&level=INFO", 10, false},
		{"/api/hancock/requests?endpoint=/v1/chat&model=llama3.1:8b&status=400-499&limit=1000", 200, false},
		{"/api/hancock/requests?mode=nothing", 0, false},
		{"/api/hancock/logs?id=req-000001&follow=false", 2, false},
		{"/api/hancock/logs?limit=1000", 1000, true},
		{"/api/hancock/logs?status=502&limit=300", 200, false},
	} {
		t.Run(tc.target, func(t *testing.T) {
			code, body := get(t, e, tc.target)
			require.Equal(t, http.StatusOK, code, body)
			list := "lines"
			if strings.Contains(tc.target, "requests") {
				list = "requests"
			}
			require.NotNil(t, body[list])
			require.Len(t, body[list], tc.want)
			require.Equal(t, tc.next, body["next_cursor"] != "")
		})
	}
	e.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/agents", nil))
	_, body := get(t, e, "/api/hancock/requests?limit=1&endpoint=/v1/agents")
	require.Equal(t, "192.0.2.1", body["requests"].([]any)[0].(map[string]any)["client"])
}

func TestParametersThatAreWrong(t *testing.T) {
	e := server(openLog(t, t.TempDir(), io.Discard))
	for query, want := range map[string]string{
		"from=yesterday":               "from: must be like 2026-01-31T12:00:00Z, or seconds since 1970",
		"to=-1":                        "to: must be like",
		"to=NaN":                       "to: must be like",
		"from=1e300":                   "from: must be like",
		"from=20&to=10":                "to: must not be before from",
		"status=oops":                  "status: must be like 502, 5xx or 400-499",
		"status=5":                     "status: must be like",
		"status=-500":                  "status: must be like",
		"status=500-400":               "status: must be like",
		"status=+50":                   "status: must be like",
		"level=loud":                   `level: unknown log level "loud"; valid: DEBUG, INFO, WARNING, ERROR`,
		"limit=0":                      "limit: must be between 1 and 1000",
		"limit=1001":                   "limit: must be between 1 and 1000",
		"limit=many":                   "limit: must be between 1 and 1000",
		"cursor=abc":                   "cursor: is not one that this server gave out",
		"follow=perhaps":               "follow: must be true or false",
		"follow=true&limit=5":          "follow: takes no from, to, limit or cursor",
		"mod=soc":                      "mod: no such parameter; there are: from",
		"mode=soc&mode=auto":           "mode: is given 2 times",
		"text=%ff":                     "text: must be UTF-8 of at most 256 bytes",
		"id=" + longValue():            "id: must be UTF-8 of at most 256 bytes",
		longValue() + longValue() + "": strings.Repeat("x", 32) + ": no such parameter",
	} {
		t.Run(query[:min(len(query), 20)], func(t *testing.T) {
			for _, path := range []string{requestlog.RequestsPath, requestlog.LogsPath} {
				code, body := get(t, e, path+"?"+query+map[bool]string{true: "=1"}[!strings.Contains(query, "=")])
				require.Equal(t, http.StatusBadRequest, code)
				require.True(t, strings.HasPrefix(body["error"].(string), want), body["error"])
				require.NotEmpty(t, body["request_id"])
			}
		})
	}
	code, body := get(t, server(requestlog.NewLog(io.Discard, slog.LevelInfo)), requestlog.LogsPath)
	require.Equal(t, http.StatusNotFound, code)
	require.Contains(t, body["error"], "no log files are kept")
}

func longValue() string { return strings.Repeat("x", 257) }

// watch opens a live tail over a real socket and returns its lines.
func watch(t *testing.T, base, path string) *bufio.Scanner {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+path, http.NoBody)
	require.NoError(t, err)
	r.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { resp.Body.Close() })
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
	s := bufio.NewScanner(resp.Body)
	require.True(t, s.Scan())
	require.Equal(t, ": new lines follow", s.Text())
	require.True(t, s.Scan())
	return s
}

func TestLiveTail(t *testing.T) {
	l := openLog(t, t.TempDir(), io.Discard)
	s := httptest.NewServer(server(l))
	defer s.Close()
	requests := watch(t, s.URL, requestlog.RequestsPath+"?status=204")
	lines := watch(t, s.URL, requestlog.LogsPath+"?level=WARNING&text=DISK")
	log := l.Logger(slog.LevelInfo)
	log.Info("disk, but not bad")
	log.Warn("bad, but no d-i-s-k")
	log.Error("Disk \"full\"\n")
	resp, err := http.Get(s.URL + "/v1/agents") //nolint:gosec // Our own server.
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())

	require.True(t, lines.Scan())
	require.Contains(t, lines.Text(), `"message":"Disk \"full\"\n"`)
	require.True(t, requests.Scan())
	var record requestlog.Record
	require.NoError(t, json.Unmarshal([]byte(strings.TrimPrefix(requests.Text(), "data: ")), &record))
	require.Equal(t, "/v1/agents", record.Endpoint)
	require.Equal(t, http.StatusNoContent, record.Status)

	l.EndStreams()
	require.True(t, lines.Scan()) // the event's empty line
	require.False(t, lines.Scan())
	require.NoError(t, lines.Err())
	code, body := get(t, server(l), requestlog.LogsPath+"?follow=true")
	require.Equal(t, http.StatusServiceUnavailable, code, body)
}

// slowClient is a client that takes its first piece late.
type slowClient struct {
	*httptest.ResponseRecorder
	wait  chan struct{}
	piece chan struct{}
}

func (c *slowClient) Write(p []byte) (int, error) {
	if strings.HasPrefix(string(p), "data:") && c.piece != nil {
		close(c.piece)
		c.piece = nil
		<-c.wait
	}
	return c.ResponseRecorder.Write(p)
}

func TestSlowReaderOfALiveTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := requestlog.NewLog(io.Discard, slog.LevelInfo)
		log := l.Logger(slog.LevelInfo)
		client := &slowClient{httptest.NewRecorder(), make(chan struct{}), make(chan struct{})}
		writing := client.piece
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			server(l).ServeHTTP(client, httptest.NewRequestWithContext(ctx, http.MethodGet, requestlog.LogsPath+"?follow=true", nil))
		}()
		synctest.Wait()
		log.Info("first")
		<-writing
		for n := range 2000 { // none of them waits for the client
			log.Info("more", "number", n)
		}
		close(client.wait)
		synctest.Wait()
		log.Info("last")
		synctest.Wait()
		time.Sleep(31 * time.Second) // of the bubble's clock
		cancel()
		<-ended
		body := client.Body.String()
		require.Equal(t, 1+512+1, strings.Count(body, "\ndata: {\"timestamp\""))
		require.Contains(t, body, fmt.Sprintf("\nevent: lost\ndata: {\"lines\":%d}\n\n", 2000-512))
		require.Less(t, strings.Index(body, "event: lost"), strings.Index(body, `"last"`))
		require.Equal(t, 2, strings.Count(body, ": still here\n\n"))
		require.NoError(t, l.Close())
	})
}

func TestTooManyLiveTails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := requestlog.NewLog(io.Discard, slog.LevelInfo)
		e := server(l)
		for range 32 {
			go e.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, requestlog.LogsPath+"?follow=1", nil))
		}
		synctest.Wait()
		code, _ := get(t, e, requestlog.LogsPath+"?follow=1")
		require.Equal(t, http.StatusServiceUnavailable, code)
		l.EndStreams()
		synctest.Wait()
	})
}

func TestClientOfASearchGoesAway(t *testing.T) {
	dir := t.TempDir()
	writeLog(t, dir, 20000)
	e := server(openLog(t, dir, io.Discard))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, requestlog.LogsPath+"?text=nothing", nil))
	require.Equal(t, 499, w.Code)
}

// FuzzQuery throws parameters at the search: it answers 200 with what fits or
// 400 that names a parameter, and nothing else.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{
		"from=2026-01-02T03:04:05Z&to=1e9", "status=5xx", "status=400-599&mode=soc", "id=req-000001&level=error",
		"text=%22%5Cn%00&limit=3", "cursor=1-0&model=a&endpoint=/v1/chat", "mode=a&mode=b", "x=1", "follow=false",
	} {
		f.Add(seed)
	}
	dir := f.TempDir()
	writeLog(f, dir, 50)
	e := server(openLog(f, dir, io.Discard))
	f.Fuzz(func(t *testing.T, query string) {
		if params, err := url.ParseQuery(query); err != nil || params.Get("follow") != "" {
			return
		}
		for _, path := range []string{requestlog.RequestsPath, requestlog.LogsPath} {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
			r.URL.RawQuery = query
			w := httptest.NewRecorder()
			e.ServeHTTP(w, r)
			require.True(t, json.Valid(w.Body.Bytes()), w.Body.String())
			if w.Code != http.StatusOK {
				require.Equal(t, http.StatusBadRequest, w.Code)
				require.Regexp(t, `^\{"error":".*: `, w.Body.String())
			}
		}
	})
}
