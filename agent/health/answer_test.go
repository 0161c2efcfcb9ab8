package health_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent/health"
)

// answer asks for the health with an Accept header.
func answer(t *testing.T, c *health.Checker, accept string) *httptest.ResponseRecorder {
	t.Helper()
	e := echo.New()
	c.Register(e)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/health", nil)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w
}

func TestAge(t *testing.T) {
	now := clock()
	d := healthy()
	d.Now = func() time.Time { return now }
	c, err := health.New(patient(), d)
	require.NoError(t, err)
	for _, step := range []struct {
		after time.Duration
		age   string
	}{{0, "0"}, {12900 * time.Millisecond, "12"}, {17 * time.Second, "29"}, {time.Second, "0"}, {-time.Minute, "0"}} {
		now = now.Add(step.after)
		w := answer(t, c, "")
		require.Equal(t, step.age, w.Header().Get("Age"))
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		require.Equal(t, "Accept", w.Header().Get("Vary"))
	}
}

func TestHealthJSON(t *testing.T) {
	d := healthy()
	d.Memory = func(context.Context) (uint64, error) { return 100 << 20, nil }
	d.Backends = []health.Backend{
		&backend{name: "ollama", model: "m", err: errors.New("ollama: unavailable")},
		&backend{name: "openai", model: "m", ids: []string{"m"}, succeeded: clock(), latency: 1234567 * time.Microsecond},
	}
	c, err := health.New(patient(), d)
	require.NoError(t, err)
	w := answer(t, c, "application/health+json")
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "application/health+json", w.Header().Get("Content-Type"))
	require.JSONEq(t, `{"status":"warn","description":"health of Hancock",
		"output":"degraded: memory degraded (available_mb=100), ollama error (ollama: unavailable; is it running? start it with: ollama serve)",
		"checks":{
		"ollama":[{"componentId":"ollama","componentType":"component","status":"fail","time":"2026-01-02T03:04:05Z",
			"output":"ollama: unavailable; is it running? start it with: ollama serve"}],
		"openai:responseTime":[{"componentId":"openai","componentType":"component","status":"pass","time":"2026-01-02T03:04:05Z",
			"observedValue":1234.567,"observedUnit":"ms"}],
		"memory:available":[{"componentId":"memory","componentType":"system","status":"warn","time":"2026-01-02T03:04:05Z",
			"observedValue":104857600,"observedUnit":"By","output":"available_mb=100"}],
		"disk:available":[{"componentId":"disk","componentType":"system","status":"pass","time":"2026-01-02T03:04:05Z",
			"observedValue":45097156608,"observedUnit":"By"}],
		"prometheus:sampleAge":[{"componentId":"prometheus","componentType":"datastore","status":"pass","time":"2026-01-02T03:04:05Z",
			"observedValue":3,"observedUnit":"s"}]}}`, w.Body.String())

	d.Backends = []health.Backend{&backend{name: "openai", err: errors.New("openai: auth")}}
	c, err = health.New(patient(), d)
	require.NoError(t, err)
	w = answer(t, c, "application/health+json")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Contains(t, w.Body.String(), `{"status":"fail"`)

	d.Backends = []health.Backend{&backend{name: "openai", model: "m", ids: []string{"m"}}}
	c, err = health.New(patient(), d)
	require.NoError(t, err)
	require.Regexp(t, `"openai:responseTime":\[\{.*"observedValue":[0-9.]+,"observedUnit":"ms"`, answer(t, c, "application/health+json").Body.String())
}

func TestAccept(t *testing.T) {
	c, err := health.New(patient(), healthy())
	require.NoError(t, err)
	for accept, want := range map[string]string{
		"":                 "application/json",
		"*/*":              "application/json",
		"application/json": "application/json",
		"application/health+json, application/json;q=0.5":      "application/health+json",
		"application/json, Application/Health+JSON":            "application/health+json",
		"application/json, application/health+json; q=0.9":     "application/json",
		"application/health+json;q=0":                          "application/json",
		"application/health+json;q=nonsense, application/json": "application/json",
		"application/health+jsonx":                             "application/json",
		";;,,q=":                                               "application/json",
	} {
		require.Equal(t, want, answer(t, c, accept).Header().Get("Content-Type"), accept)
	}
}

// Everybody may read the answer: addresses lose their credentials and files
// their names.
func TestDetailsLeakNothing(t *testing.T) {
	d := healthy()
	d.Backends = []health.Backend{&backend{name: "openai", err: errors.New(`get "https://user:hunter2@llm.example/v1": refused`)}}
	d.Disk = func(context.Context, string) (uint64, error) {
		return 0, &fs.PathError{Op: "statfs", Path: "/home/hunter2", Err: fs.ErrNotExist}
	}
	c, err := health.New(patient(), d)
	require.NoError(t, err)
	for _, accept := range []string{"", "application/health+json"} {
		w := answer(t, c, accept)
		require.NotContains(t, w.Body.String(), "hunter2")
		var body map[string]any
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body))
		require.Contains(t, w.Body.String(), `https://llm.example/v1`)
		require.Contains(t, w.Body.String(), "file does not exist")
	}
}

func TestProbe(t *testing.T) {
	d := healthy()
	b := &backend{name: "ollama", model: "m", ids: []string{"m"}}
	d.Backends = []health.Backend{b}
	for _, tc := range []struct {
		name   string
		change func()
		line   string
		fails  string
	}{
		{"ok", func() {}, "ok", ""},
		{"degraded", func() { b.coder = "c" }, "degraded: ollama degraded (model c is not there; get it with: ollama pull c; code tasks need it)", ""},
		{"error", func() { b.ids, b.coder = []string{"a\nb"}, ""; b.model = "x\n y" }, "error: ollama error (model x  y is not there; get it with: ollama pull x  y)", "error: ollama error"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.change()
			c, err := health.New(patient(), d)
			require.NoError(t, err)
			e := echo.New()
			c.Register(e)
			s := httptest.NewServer(e)
			defer s.Close()
			line, err := health.Probe(t.Context(), s.URL, nil)
			require.Equal(t, tc.line, line)
			if tc.fails == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tc.fails)
			}
		})
	}
}

func TestProbeOfSomethingElse(t *testing.T) {
	for _, body := range []string{"", "<html>", `{"status":"fine"}`, `[]`, `{"error":"no such path: /health"}`} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
		_, err := health.Probe(t.Context(), s.URL+"/prefix/", s.Client())
		require.ErrorContains(t, err, "/prefix/health answers with status 200 and no health report")
		s.Close()
	}
	_, err := health.Probe(t.Context(), "http://127.0.0.1:1", nil)
	require.ErrorContains(t, err, "no answer: ")
	for _, base := range []string{"", "127.0.0.1:5000", "ftp://a", "http://", "::"} {
		_, err := health.Probe(t.Context(), base, nil)
		require.ErrorContains(t, err, "the address must be like http://127.0.0.1:5000")
	}
}

func FuzzAccept(f *testing.F) {
	f.Add("application/health+json;q=0.5, application/json;q=1e309")
	f.Add(";,;q=,q=,=")
	c, err := health.New(patient(), healthy())
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, accept string) {
		w := answer(t, c, accept)
		require.Equal(t, http.StatusOK, w.Code)
		require.Contains(t, []string{"application/json", "application/health+json"}, w.Header().Get("Content-Type"))
	})
}
