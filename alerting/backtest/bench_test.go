package backtest_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	promtsdb "github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/backtest"
)

// month is a generator of what a busy process exposes over the days of the benchmark.
type month struct {
	b    *testing.B
	db   *promtsdb.DB
	refs map[string]storage.SeriesRef
	sets map[string]labels.Labels
	app  storage.Appender
	t    int64
	rnd  *rand.Rand

	counters   map[string]float64
	histograms map[string]*histogram.Histogram
}

func (m *month) set(name string, pairs []string) (string, labels.Labels) {
	key := fmt.Sprint(name, pairs)
	if s, ok := m.sets[key]; ok {
		return key, s
	}
	b := labels.NewBuilder(labels.FromStrings("__name__", name, "job", "hancock", "instance", "127.0.0.1:5000"))
	for i := 0; i < len(pairs); i += 2 {
		b.Set(pairs[i], pairs[i+1])
	}
	m.sets[key] = b.Labels()
	return key, m.sets[key]
}

func (m *month) gauge(v float64, name string, pairs ...string) {
	key, set := m.set(name, pairs)
	ref, err := m.app.Append(m.refs[key], set, m.t, v)
	require.NoError(m.b, err)
	m.refs[key] = ref
}

func (m *month) counter(more float64, name string, pairs ...string) {
	key := fmt.Sprint(name, pairs)
	m.counters[key] += more
	m.gauge(m.counters[key], name, pairs...)
}

// durations adds observations to a native histogram with some 40 buckets.
func (m *month) durations(n int, name string, pairs ...string) {
	key, set := m.set(name, pairs)
	h := m.histograms[key]
	if h == nil {
		h = &histogram.Histogram{
			Schema: 3, ZeroThreshold: 1e-128, PositiveSpans: []histogram.Span{{Offset: -20, Length: 40}}, PositiveBuckets: make([]int64, 40),
		}
		m.histograms[key] = h
	}
	for range n {
		i := min(max(int(20+6*m.rnd.NormFloat64()), 0), 39)
		h.PositiveBuckets[i]++
		if i < 39 {
			h.PositiveBuckets[i+1]--
		}
		h.Count++
		h.Sum += 0.5
	}
	ref, err := m.app.AppendHistogram(m.refs[key], set, m.t, h.Copy(), nil)
	require.NoError(m.b, err)
	m.refs[key] = ref
}

// scrape is one scrape: traffic with a trouble of some minutes each nine hours, and a memory that grows and falls.
func (m *month) scrape(step int) {
	trouble := step%2160 < 40
	errors := 0.0
	if trouble {
		errors = 4
	}
	m.gauge(1, "up")
	m.gauge(float64(m.t/1000)-float64(step%20_000)*15, "process_start_time_seconds")
	m.gauge(50, "process_open_fds")
	m.gauge(1024, "process_max_fds")
	m.gauge(1, "hancock_config_last_reload_successful")
	m.gauge(200e6+50e3*float64(step%4000)+1e6*m.rnd.Float64(), "hancock_memory_usage_bytes")
	m.counter(30, "hancock_requests_total")
	m.counter(errors, "hancock_errors_total")
	up := 1.0
	if trouble {
		up = 0
	}
	for _, check := range []string{"memory", "disk", "prometheus", "ollama", "nim", "openai"} {
		m.gauge(up, "hancock_health_check_status", "check", check)
	}
	for i, provider := range []string{"ollama", "nim", "openai"} {
		for j := range 2 {
			model := fmt.Sprintf("model-%d-%d", i, j)
			m.counter(3, "hancock_llm_answers_total", "provider", provider, "model", model)
			m.latencies("hancock_llm_time_to_first_token_seconds", "provider", provider, "model", model)
			m.latencies("hancock_model_response_time_seconds", "model", model)
		}
		for _, kind := range []string{"canceled", "context_length", "timeout", "unreachable"} {
			m.counter(errors, "hancock_llm_errors_total", "provider", provider, "kind", kind)
		}
		m.counter(0, "hancock_llm_fallbacks_total", "from", provider)
	}
	for i, mode := range []string{"auto", "code", "explain", "fix", "review", "chat"} {
		m.counter(float64(i), "hancock_requests_by_mode_total", "mode", mode)
		m.durations(5, "hancock_request_duration_seconds", "mode", mode)
	}
	for _, outcome := range []string{"ok", "failed", "dropped", "empty_response"} {
		m.counter(0, "hancock_notification_attempts_total", "integration", "slack", "outcome", outcome)
		m.counter(0, "hancock_notifications_total", "integration", "slack", "outcome", outcome)
		m.counter(0, "hancock_webhook_events_total", "outcome", outcome)
	}
	for _, level := range []string{"INFO", "WARN", "ERROR"} {
		m.counter(errors/2, "hancock_log_lines_total", "level", level)
	}
	for i := range 10 {
		m.counter(0, "prometheus_rule_evaluation_failures_total", "rule_group", strconv.Itoa(i))
		m.counter(0, "prometheus_rule_group_iterations_missed_total", "rule_group", strconv.Itoa(i))
	}
	for _, name := range []string{
		"hancock_llm_rejected_total", "alertmanager_notifications_failed_total", "hancock_log_lines_lost_total",
		"prometheus_tsdb_wal_writes_failed_total", "prometheus_tsdb_compactions_failed_total",
		"prometheus_tsdb_wal_truncations_failed_total", "prometheus_tsdb_checkpoint_creations_failed_total",
		"prometheus_tsdb_reloads_failures_total", "prometheus_tsdb_wal_corruptions_total",
		"prometheus_tsdb_mmap_chunk_corruptions_total",
	} {
		m.counter(0, name)
	}
}

// latencies are a histogram of both kinds.
func (m *month) latencies(name string, pairs ...string) {
	m.durations(3, name, pairs...)
	for i, le := range []string{"0.1", "0.25", "0.5", "1", "2.5", "5", "10", "30", "60", "120", "+Inf"} {
		m.counter(float64(min(i, 3)), name+"_bucket", append([]string{"le", le}, pairs...)...)
	}
	m.counter(3, name+"_count", pairs...)
}

// generate fills a store with days of scrapes.
func generate(b *testing.B, days int) *promtsdb.DB {
	opts := promtsdb.DefaultOptions()
	opts.RetentionDuration = (40 * 24 * time.Hour).Milliseconds()
	db, err := promtsdb.Open(b.TempDir(), slog.New(slog.DiscardHandler), nil, opts, nil)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, db.Close()) })
	m := &month{
		b: b, db: db, refs: map[string]storage.SeriesRef{}, sets: map[string]labels.Labels{}, rnd: rand.New(rand.NewPCG(1, 2)),
		counters: map[string]float64{}, histograms: map[string]*histogram.Histogram{},
	}
	start := t0().Add(-time.Duration(days) * 24 * time.Hour)
	for step := range days * 5760 {
		m.t = start.Add(time.Duration(step) * scrapeInterval).UnixMilli()
		m.app = db.Appender(b.Context())
		m.scrape(step)
		require.NoError(b, m.app.Commit())
	}
	require.NoError(b, db.Compact(b.Context()))
	return db
}

const benchmarkRouting = `
route: {receiver: one, group_by: [alertname], group_wait: 30s, group_interval: 5m, repeat_interval: 4h}
receivers: [{name: one, webhook_configs: [{url: 'http://127.0.0.1:1/'}]}]
`

// BenchmarkFifteenDays replays the built-in rules, or those of HANCOCK_RULES, over 15 days. It needs a minute to make
// the days.
func BenchmarkFifteenDays(b *testing.B) {
	path := os.Getenv("HANCOCK_RULES")
	if path == "" {
		path = "../rules.yml"
	}
	text, err := os.ReadFile(path)
	require.NoError(b, err)
	cfg, err := config.Load(benchmarkRouting)
	require.NoError(b, err)
	db := generate(b, 15)
	runtime.GC()
	var peak atomic.Uint64
	done := make(chan struct{})
	defer close(done)
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	go func() {
		for tick := time.NewTicker(100 * time.Millisecond); ; {
			select {
			case <-done:
				tick.Stop()
				return
			case <-tick.C:
				var now runtime.MemStats
				runtime.ReadMemStats(&now)
				peak.Store(max(peak.Load(), now.HeapAlloc))
			}
		}
	}()
	for b.Loop() {
		begun := cpu(b)
		report, err := backtest.Run(b.Context(), backtest.Storage{Queryable: db, Engine: newEngine(), Oldest: backtest.StartTime(db)}, backtest.Request{
			Files: []backtest.File{{Name: "builtin:rules.yml", Text: string(text)}},
			From:  t0().Add(-15 * 24 * time.Hour), To: t0(), Routing: cfg, Untrusted: true,
		}, nil)
		require.NoError(b, err)
		require.Positive(b, report.AlertsTotal)
		b.ReportMetric(report.DurationSeconds, "seconds")
		b.ReportMetric((cpu(b) - begun).Seconds(), "cpu-seconds")
		b.ReportMetric(float64(report.Evaluations), "evaluations")
		b.ReportMetric(float64(report.Routing.MessagesTotal), "messages")
		b.ReportMetric(float64(len(report.Rules)), "rules")
	}
	b.ReportMetric((float64(peak.Load())-float64(before.HeapAlloc))/1e6, "peak-MB")
}

// cpu is the time that the process has had.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
