package health_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cyberviser/hancock/agent/health"
	"github.com/cyberviser/hancock/agent/llm"
	"github.com/cyberviser/hancock/agent/llm/llmtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// *llm.Backend is what the checker looks at.
var _ health.Backend = (*llm.Backend)(nil)

// backend is a backend that answers as it is told.
type backend struct {
	name, model       string
	coder             string
	ids               []string
	err               error
	succeeded, failed time.Time
	latency           time.Duration
	asked             int
	mu                sync.Mutex
	hang              bool
}

func (b *backend) Name() string       { return b.name }
func (b *backend) Model() string      { return b.model }
func (b *backend) CoderModel() string { return b.coder }

func (b *backend) Traffic() (succeeded, failed time.Time, latency time.Duration) {
	return b.succeeded, b.failed, b.latency
}

func (b *backend) ListModels(ctx context.Context) ([]string, error) {
	b.mu.Lock()
	b.asked++
	b.mu.Unlock()
	if b.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return b.ids, b.err
}

// clock is the time of these tests.
func clock() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

func healthy() health.Deps {
	return health.Deps{
		LastSample: func() time.Time { return clock().Add(-3 * time.Second) },
		Memory:     func(context.Context) (uint64, error) { return 4096 << 20, nil },
		Disk:       func(context.Context, string) (uint64, error) { return 42 << 30, nil },
		Now:        func() time.Time { return clock() },
	}
}

// patient are the default options with a look that is in time on any machine.
func patient() health.Options {
	o := health.DefaultOptions()
	o.Timeout = time.Minute
	return o
}

func report(t *testing.T, o health.Options, d health.Deps) (int, health.Report, http.Header) {
	t.Helper()
	c, err := health.New(o, d)
	require.NoError(t, err)
	e := echo.New()
	c.Register(e)
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/health", nil))
	var r health.Report
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &r))
	return w.Code, r, w.Header()
}

func TestStatuses(t *testing.T) {
	ollama := func(change func(*backend)) *backend {
		b := &backend{name: "ollama", model: "llama3.1:8b", ids: []string{"llama3.1:8b"}}
		change(b)
		return b
	}
	cloud := func(change func(*backend)) *backend {
		b := &backend{name: "openai", model: "gpt-4o-mini", ids: []string{"gpt-4o-mini"}}
		change(b)
		return b
	}
	same := func(*backend) {}
	down := func(b *backend) { b.err = errors.New("ollama: unavailable: connection refused") }
	for _, tc := range []struct {
		name     string
		backends []health.Backend
		change   func(*health.Deps)
		code     int
		status   health.Status
		check    string
		want     health.Status
		detail   string
	}{
		{name: "well", backends: []health.Backend{ollama(same)}, code: 200, status: "ok", check: "ollama", want: "ok"},
		{name: "down", backends: []health.Backend{ollama(down)}, code: 503, status: "error", check: "ollama", want: "error", detail: "ollama: unavailable: connection refused; is it running? start it with: ollama serve"},
		{name: "down with a fallback", backends: []health.Backend{ollama(down), cloud(same)}, code: 200, status: "degraded", check: "openai", want: "ok"},
		{name: "all down", backends: []health.Backend{ollama(down), cloud(down)}, code: 503, status: "error", check: "openai", want: "error", detail: "ollama: unavailable: connection refused"},
		{name: "fallback down", backends: []health.Backend{ollama(same), cloud(down)}, code: 200, status: "degraded", check: "openai", want: "error", detail: "ollama: unavailable: connection refused"},
		{name: "model not pulled", backends: []health.Backend{ollama(func(b *backend) { b.ids = []string{"mistral:7b"} })}, code: 503, status: "error", check: "ollama", want: "error", detail: "model llama3.1:8b is not there; get it with: ollama pull llama3.1:8b"},
		{name: "model without a tag", backends: []health.Backend{ollama(func(b *backend) { b.model, b.ids = "phi4", []string{"phi4:latest"} })}, code: 200, status: "ok", check: "ollama", want: "ok"},
		{name: "model not listed by a service", backends: []health.Backend{cloud(func(b *backend) { b.ids = nil })}, code: 200, status: "degraded", check: "openai", want: "degraded", detail: "model gpt-4o-mini is not listed"},
		{name: "traffic says it works", backends: []health.Backend{ollama(func(b *backend) { down(b); b.succeeded = clock().Add(-12 * time.Second) })}, code: 200, status: "ok", check: "ollama", want: "ok", detail: "answered 12s ago"},
		{name: "traffic was long ago", backends: []health.Backend{ollama(func(b *backend) { down(b); b.succeeded = clock().Add(-time.Hour) })}, code: 503, status: "error", check: "ollama", want: "error", detail: "ollama: unavailable: connection refused; is it running? start it with: ollama serve"},
		{name: "traffic fails", backends: []health.Backend{ollama(func(b *backend) { b.succeeded, b.failed = clock().Add(-12*time.Second), clock().Add(-4*time.Second) })}, code: 200, status: "degraded", check: "ollama", want: "degraded", detail: "reachable, but a call failed 4s ago"},
		{name: "little memory", backends: []health.Backend{ollama(same)}, change: func(d *health.Deps) {
			d.Memory = func(context.Context) (uint64, error) { return 511 << 20, nil }
		}, code: 200, status: "degraded", check: "memory", want: "degraded", detail: "available_mb=511"},
		{name: "memory", backends: []health.Backend{ollama(same)}, code: 200, status: "ok", check: "memory", want: "ok", detail: "available_mb=4096"},
		{name: "little disk", backends: []health.Backend{ollama(same)}, change: func(d *health.Deps) {
			d.Disk = func(context.Context, string) (uint64, error) { return 1<<30 - 1, nil }
		}, code: 200, status: "degraded", check: "disk", want: "degraded", detail: "available_gb=0"},
		{name: "disk", backends: []health.Backend{ollama(same)}, code: 200, status: "ok", check: "disk", want: "ok", detail: "available_gb=42"},
		{name: "disk cannot be read", backends: []health.Backend{ollama(same)}, change: func(d *health.Deps) {
			d.Disk = func(context.Context, string) (uint64, error) { return 0, errors.New("no such file or directory") }
		}, code: 200, status: "degraded", check: "disk", want: "degraded", detail: "free disk space cannot be read: no such file or directory"},
		{name: "samples", backends: []health.Backend{ollama(same)}, code: 200, status: "ok", check: "prometheus", want: "ok", detail: "last_sample_age_s=3"},
		{name: "no first sample yet", backends: []health.Backend{ollama(same)}, change: func(d *health.Deps) {
			d.LastSample = func() time.Time { return time.Time{} }
		}, code: 200, status: "ok", check: "prometheus", want: "ok", detail: "waiting for the first sample for 15 s at most"},
		{name: "no sample for long", backends: []health.Backend{ollama(same)}, change: func(d *health.Deps) {
			d.LastSample = func() time.Time { return clock().Add(-61 * time.Second) }
		}, code: 200, status: "degraded", check: "prometheus", want: "degraded", detail: "last_sample_age_s=61"},
		{
			name: "sample of the future", backends: []health.Backend{ollama(same)}, change: func(d *health.Deps) {
				d.LastSample = func() time.Time { return clock().Add(time.Hour) }
			}, code: 200, status: "degraded", check: "prometheus", want: "degraded",
			detail: "last_sample_age_s=-3600: the newest sample is ahead of the clock, which was set back: correct the clock",
		},
		{name: "a clock that was corrected a little", backends: []health.Backend{ollama(same)}, change: func(d *health.Deps) {
			d.LastSample = func() time.Time { return clock().Add(2 * time.Second) }
		}, code: 200, status: "ok", check: "prometheus", want: "ok", detail: "last_sample_age_s=-2"},
		{name: "samples in memory only", backends: []health.Backend{ollama(same)}, change: func(d *health.Deps) {
			d.StorageProblem = func() string { return "the disk is full" }
		}, code: 200, status: "degraded", check: "prometheus", want: "degraded", detail: "last_sample_age_s=3: the disk is full"},
		{name: "no first sample, and why", backends: []health.Backend{ollama(same)}, change: func(d *health.Deps) {
			d.LastSample = func() time.Time { return time.Time{} }
			d.StorageProblem = func() string { return "the disk is full" }
		}, code: 200, status: "degraded", check: "prometheus", want: "degraded", detail: "no sample was stored since the start: the disk is full"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := healthy()
			d.Backends = tc.backends
			if tc.change != nil {
				tc.change(&d)
			}
			code, r, _ := report(t, patient(), d)
			require.Equal(t, tc.code, code)
			require.Equal(t, tc.status, r.Status)
			require.Equal(t, tc.want, r.Checks[tc.check].Status)
			require.Equal(t, tc.detail, r.Checks[tc.check].Detail)
		})
	}
}

func TestAnswer(t *testing.T) {
	d := healthy()
	d.Backends = []health.Backend{&backend{name: "nvidia_nim", model: "m", ids: []string{"m"}}}
	o := patient()
	o.Model, o.Modes, o.Endpoints = "m", []string{"auto"}, []string{"/v1/chat"}
	c, err := health.New(o, d)
	require.NoError(t, err)
	e := echo.New()
	c.Register(e)
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/health", nil))
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.JSONEq(t, `{"status":"ok","agent":"Hancock","model":"m","modes":["auto"],"endpoints":["/v1/chat"],"checks":{
		"nvidia_nim":{"status":"ok","latency_ms":0},
		"memory":{"status":"ok","detail":"available_mb=4096"},
		"disk":{"status":"ok","detail":"available_gb=42"},
		"prometheus":{"status":"ok","detail":"last_sample_age_s=3"}}}`, w.Body.String())
	head := httptest.NewRecorder()
	e.ServeHTTP(head, httptest.NewRequestWithContext(t.Context(), http.MethodHead, "/health", nil))
	require.Equal(t, http.StatusOK, head.Code)
}

func TestCache(t *testing.T) {
	b := &backend{name: "ollama", model: "m", ids: []string{"m"}}
	now := clock()
	d := healthy()
	d.Backends, d.Now = []health.Backend{b}, func() time.Time { return now }
	c, err := health.New(health.DefaultOptions(), d)
	require.NoError(t, err)
	for _, step := range []struct {
		after time.Duration
		asked int
	}{{0, 1}, {29 * time.Second, 1}, {time.Second, 2}, {-time.Hour, 3}} {
		now = now.Add(step.after)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { c.Report() })
		}
		wg.Wait()
		require.Equal(t, step.asked, b.asked)
	}
}

// A look ends in time, and a client that goes away does not spoil it.
func TestLookIsBounded(t *testing.T) {
	o := health.DefaultOptions()
	o.Timeout = 50 * time.Millisecond
	d := healthy()
	slow := &backend{name: "ollama", model: "m", hang: true}
	d.Backends = []health.Backend{slow, &backend{name: "openai", model: "m", ids: []string{"m"}}}
	c, err := health.New(o, d)
	require.NoError(t, err)
	r := c.Report()
	require.Equal(t, health.Degraded, r.Status)
	require.Equal(t, health.OK, r.Checks["openai"].Status)
	require.Contains(t, r.Checks["ollama"].Detail, "deadline")
}

// A file system that hangs holds up neither a look nor Close, and is asked once.
func TestHungDisk(t *testing.T) { synctest.Test(t, testHungDisk) }

func testHungDisk(t *testing.T) {
	o := health.DefaultOptions()
	d := healthy()
	d.Now = time.Now
	d.LastSample = nil
	asked, hang, left := make(chan struct{}, 9), make(chan struct{}), make(chan struct{})
	d.Disk = func(context.Context, string) (uint64, error) {
		defer close(left)
		asked <- struct{}{}
		<-hang
		return 42 << 30, nil
	}
	c, err := health.New(o, d)
	require.NoError(t, err)
	for range 3 {
		r := c.Report()
		require.Equal(t, health.Degraded, r.Status)
		require.Equal(t, health.OK, r.Checks["memory"].Status)
		require.Equal(t, "free disk space cannot be read: it takes too long", r.Checks["disk"].Detail)
		time.Sleep(o.CacheTTL) // of the bubble's clock
	}
	require.NoError(t, c.Close())
	require.Len(t, asked, 1)
	close(hang)
	<-left
}

// The machine's own figures, and a backend on a real socket that must not be
// asked for a completion.
func TestRealMachineAndBackend(t *testing.T) {
	server := llmtest.New(t, func(*llmtest.Call) { t.Error("a health check has run a model") })
	lo := llm.DefaultOptions()
	lo.Ollama = llm.Endpoint{BaseURL: server.URL, Model: "test-model", CoderModel: "test-coder"}
	client, err := llm.New(lo, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Close()) }()
	o := patient()
	o.DataDir, o.MinMemoryBytes, o.MinDiskBytes = t.TempDir(), 1, 1
	var d health.Deps
	for _, b := range client.Backends() {
		d.Backends = append(d.Backends, b)
	}
	code, r, _ := report(t, o, d)
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, health.OK, r.Status)
	require.NotNil(t, r.Checks["ollama"].LatencyMS)
	require.NotContains(t, r.Checks, "prometheus")
	require.NotNil(t, r.Modes)
}

// The latency is that of what the verdict is built on: of the last real
// request, or of the question for the models.
func TestLatency(t *testing.T) {
	for _, stream := range []bool{false, true} {
		server := llmtest.New(t, llmtest.Say("one two"))
		lo := llm.DefaultOptions()
		lo.Ollama = llm.Endpoint{BaseURL: server.URL, Model: "m", CoderModel: "m"}
		client, err := llm.New(lo, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		var last llm.Attempt
		q := llm.Request{MaxTokens: 1, Observe: func(at llm.Attempt) { last = at }}
		want := func() time.Duration { return last.Duration }
		if stream {
			_, err = client.Stream(t.Context(), q, func(string) error { return nil })
			want = func() time.Duration { return last.FirstToken }
		} else {
			_, err = client.Chat(t.Context(), q)
		}
		require.NoError(t, err)
		require.NotZero(t, want())
		d := healthy()
		d.Now, d.Backends = time.Now, []health.Backend{client.Backends()[0]}
		_, r, _ := report(t, patient(), d)
		check := r.Checks["ollama"]
		require.Regexp(t, `^answered \d+s ago$`, check.Detail)
		require.NotNil(t, check.LatencyMS)
		require.Equal(t, want().Milliseconds(), *check.LatencyMS)
		require.NoError(t, client.Close())
	}
}

// Everybody may read the report: where the backends are is for the log alone.
func TestReportTellsNoAddresses(t *testing.T) {
	const gone = "http://127.0.0.1:1" // Nobody listens there, and nobody is given that port.
	strange := httptest.NewUnstartedServer(nil)
	strange.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // of handshakes
	strange.StartTLS()
	defer strange.Close()
	for url, want := range map[string]string{
		gone:        "ollama: unavailable: connection refused; is it running? start it with: ollama serve",
		strange.URL: "ollama: unavailable: certificate not trusted; is it running? start it with: ollama serve",
	} {
		lo := llm.DefaultOptions()
		lo.Ollama = llm.Endpoint{BaseURL: url, Model: "m", CoderModel: "m"}
		client, err := llm.New(lo, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		var told bytes.Buffer
		d := healthy()
		d.Log = slog.New(slog.NewTextHandler(&told, nil))
		d.Backends = []health.Backend{client.Backends()[0]}
		_, r, _ := report(t, patient(), d)
		require.Equal(t, want, r.Checks["ollama"].Detail)
		if url == gone {
			require.Contains(t, told.String(), strings.TrimPrefix(url, "http://"))
		}
		require.NoError(t, client.Close())
	}
}

func TestValidate(t *testing.T) {
	for name, change := range map[string]func(*health.Options){
		"agent.health.cache_ttl":      func(o *health.Options) { o.CacheTTL = 0 },
		"agent.health.timeout":        func(o *health.Options) { o.Timeout = 0 },
		"agent.health.traffic_age":    func(o *health.Options) { o.TrafficAge = -1 },
		"agent.health.max_sample_age": func(o *health.Options) { o.MaxSampleAge = 0 },
	} {
		o := health.DefaultOptions()
		change(&o)
		_, err := health.New(o, health.Deps{})
		require.ErrorContains(t, err, name)
	}
}
