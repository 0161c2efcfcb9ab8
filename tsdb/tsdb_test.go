package tsdb_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cyberviser/hancock/tsdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// logger shows what the store has to say when a test fails.
func logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// lockedBuffer is a log that can be read while it is written.
type lockedBuffer struct {
	mtx sync.Mutex
	b   bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mtx.Lock()
	defer l.mtx.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mtx.Lock()
	defer l.mtx.Unlock()
	return l.b.String()
}

// options are those of a store in a folder of the test. It is scraped once, at its start: a test that needs more scrapes
// says so, and no other one depends on how many there were, or on whether one of them was in time. Nor is a query cut
// off that takes seconds to see that it was cancelled.
func options(t testing.TB) tsdb.Options {
	o := tsdb.DefaultOptions()
	o.Path = t.TempDir()
	o.ScrapeInterval = time.Hour
	o.ScrapeTimeout = time.Minute
	o.DrainTimeout = time.Minute
	o.FlushTimeout = 100 * time.Millisecond
	return o
}

// store is an open DB whose registry holds metrics as the agent has them.
type store struct {
	*tsdb.DB
	t        testing.TB
	reg      *prometheus.Registry
	requests prometheus.Counter
	duration prometheus.Histogram
	stop     func()
}

func open(t testing.TB, o tsdb.Options) *store {
	t.Helper()
	s := &store{
		t:        t,
		reg:      prometheus.NewRegistry(),
		requests: prometheus.NewCounter(prometheus.CounterOpts{Name: "hancock_requests_total", Help: "Requests."}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "hancock_request_duration_seconds", Help: "Latency.", Buckets: []float64{.1, 1},
			NativeHistogramBucketFactor: 1.1,
		}),
		stop: func() {},
	}
	s.reg.MustRegister(s.requests, s.duration)
	db, err := tsdb.Open(o, promhttp.HandlerFor(s.reg, promhttp.HandlerOpts{EnableOpenMetrics: true}), s.reg, logger(t))
	require.NoError(t, err)
	s.DB = db
	t.Cleanup(func() { s.close() })
	return s
}

// run starts scraping and waits for the first scrape.
func (s *store) run() *store {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	s.stop = func() {
		cancel()
		require.NoError(s.t, <-done)
		s.stop = func() {}
	}
	select {
	case <-s.FirstScrape():
	case <-time.After(time.Minute):
		require.FailNow(s.t, "no first scrape")
	}
	return s
}

func (s *store) close() {
	s.stop()
	require.NoError(s.t, s.Close())
}

// answer is what the API answers.
type answer struct {
	Status    string          `json:"status"`
	Data      json.RawMessage `json:"data"`
	ErrorType string          `json:"errorType"`
	Error     string          `json:"error"`
}

// ask sends a request to the API and decodes its answer.
func ask(t testing.TB, api http.Handler, method, target string, form url.Values) (int, answer) {
	t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req := httptest.NewRequest(method, "/api/v1/"+target, body)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	rec := httptest.NewRecorder()
	api.ServeHTTP(rec, req)
	var a answer
	if strings.HasPrefix(rec.Header().Get("Content-Type"), "application/json") {
		require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &a), rec.Body.String())
	}
	return rec.Code, a
}

func TestFirstScrapeAtOnce(t *testing.T) {
	s := open(t, options(t)) // Whose next scrape would be in an hour.
	s.requests.Add(3)
	start := time.Now()
	s.run()
	t.Logf("first scrape after %s", time.Since(start))
	require.WithinDuration(t, start, s.LastScrape(), time.Minute)

	v, err := s.QueryFunc()(t.Context(), `hancock_requests_total`, time.Now())
	require.NoError(t, err)
	require.Len(t, v, 1)
	require.InDelta(t, 3, v[0].F, 0)
	require.Equal(t, `{__name__="hancock_requests_total", instance="127.0.0.1:5000", job="hancock"}`, v[0].Metric.String())
}
