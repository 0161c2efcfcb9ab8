package alerting_test

import (
	"context"
	"log/slog"
	"math"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	promtsdb "github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting"
	"github.com/cyberviser/hancock/alerting/internal/bubble"
	"github.com/cyberviser/hancock/alerting/outgoing"
)

// house is a storage on disk and a manager over it, under test time.
type house struct {
	t       *testing.T
	db      *promtsdb.DB
	m       *alerting.Manager
	stop    func()
	sender  *outgoing.Sender // to sent
	sent    *outbox
	ready   chan struct{}
	options alerting.Options
	engine  *promql.Engine
}

// query asks the storage now.
func (h *house) query(expr string) (promql.Vector, error) {
	return rules.EngineQueryFunc(h.engine, h.db)(h.t.Context(), expr, time.Now())
}

// outbox is a Sender that keeps what it is given, but for the heartbeat.
type outbox struct {
	mtx    sync.Mutex
	alerts []*notifier.Alert
	// log has them, too, with the time.
	log []sent
}

type sent struct {
	*notifier.Alert
	at time.Time
}

func (o *outbox) Send(alerts ...*notifier.Alert) {
	o.mtx.Lock()
	defer o.mtx.Unlock()
	for _, a := range alerts {
		if a.Name() != "Watchdog" {
			o.alerts = append(o.alerts, a)
			o.log = append(o.log, sent{a, time.Now()})
		}
	}
}

// take empties the outbox.
func (o *outbox) take() []*notifier.Alert {
	o.mtx.Lock()
	defer o.mtx.Unlock()
	taken := o.alerts
	o.alerts, o.log = nil, nil
	return taken
}

// enter opens the storage in dir and starts the built-in rules over it, or what the changes of the options say. They
// begin when ready is closed.
func enter(t *testing.T, dir string, changes ...func(*alerting.Options)) *house {
	t.Helper()
	h := &house{t: t, sent: &outbox{}, ready: make(chan struct{}), options: alerting.DefaultOptions()}
	var err error
	h.db, err = promtsdb.Open(dir, slog.New(slog.DiscardHandler), nil, promtsdb.DefaultOptions(), nil)
	require.NoError(t, err)
	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1e6, Timeout: time.Minute, EnableAtModifier: true, EnableNegativeOffset: true,
		Parser: parser.NewParser(parser.Options{}),
	})
	h.engine = engine
	h.sender = outgoing.NewSender(nil, h.sent)
	h.options.ExternalURL = &url.URL{Scheme: "http", Host: "hancock.example"}
	h.options.StateFile = filepath.Join(dir, "alerting", "state.json")
	for _, change := range changes {
		change(&h.options)
	}
	h.m, err = alerting.New(h.options, alerting.Storage{
		Queryable: h.db, Appendable: h.db, Query: rules.EngineQueryFunc(engine, h.db), Ready: h.ready,
	}, h.sender, prometheus.NewRegistry(), logger(t))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.m.Run(ctx) }()
	h.stop = func() {
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, h.db.Close())
	}
	return h
}

// pass lets time go by, in which the process is scraped each 15 s with these increases of its counters.
func (h *house) pass(d time.Duration, requests, errors *float64, moreRequests, moreErrors float64) {
	h.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		*requests += moreRequests
		*errors += moreErrors
		app := h.db.Appender(h.t.Context())
		for name, v := range map[string]float64{"hancock_requests_total": *requests, "hancock_errors_total": *errors} {
			_, err := app.Append(0, labels.FromStrings(model.MetricNameLabel, name, "job", "hancock", "instance", "a:5000"),
				time.Now().UnixMilli(), v)
			require.NoError(h.t, err)
		}
		require.NoError(h.t, app.Commit())
		time.Sleep(15 * time.Second) // Test time.
		synctest.Wait()
	}
}

func (h *house) alert() *rules.AlertingRule { return find(h.t, h.m, "HancockHighErrorRate") }

// states are the alertstate labels for which ALERTS has a sample at each time, oldest first, each once.
func (h *house) states() []string {
	q, err := h.db.Querier(math.MinInt64, math.MaxInt64)
	require.NoError(h.t, err)
	defer func() { require.NoError(h.t, q.Close()) }()
	byTime := map[string]int64{}
	set := q.Select(h.t.Context(), false, nil,
		labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "ALERTS"),
		labels.MustNewMatcher(labels.MatchEqual, "alertname", "HancockHighErrorRate"))
	for set.Next() {
		it := set.At().Iterator(nil)
		require.Equal(h.t, chunkenc.ValFloat, it.Next())
		byTime[set.At().Labels().Get("alertstate")], _ = it.At()
	}
	require.NoError(h.t, set.Err())
	switch {
	case len(byTime) == 2 && byTime["pending"] < byTime["firing"]:
		return []string{"pending", "firing"}
	case len(byTime) == 0:
		return nil
	}
	var all []string
	for s := range byTime {
		all = append(all, s)
	}
	return all
}

func TestForStates(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		h := enter(t, t.TempDir())
		defer func() { h.stop() }()
		close(h.ready)
		var requests, errs float64

		h.pass(10*time.Minute, &requests, &errs, 10, 0)
		require.Equal(t, rules.StateInactive, h.alert().State())

		h.pass(time.Minute, &requests, &errs, 10, 5)
		require.Equal(t, rules.StatePending, h.alert().State())
		require.Equal(t, []string{"pending"}, h.states())
		require.Empty(t, h.sent.take(), "nobody is told of what is pending")

		h.pass(5*time.Minute, &requests, &errs, 10, 5)
		require.Equal(t, rules.StateFiring, h.alert().State())
		require.Equal(t, []string{"pending", "firing"}, h.states())
		sent := h.sent.take()
		require.NotEmpty(t, sent)
		require.Equal(t, "HancockHighErrorRate", sent[0].Name())
		require.Equal(t, "warning", sent[0].Labels.Get("severity"))
		require.Contains(t, sent[0].GeneratorURL, "http://hancock.example/graph?g0.expr=rate%28hancock_errors_total")
		require.Contains(t, sent[0].Annotations.Get("summary"), "of the requests fail")

		h.pass(6*time.Minute, &requests, &errs, 10, 0)
		require.Equal(t, rules.StateInactive, h.alert().State())
		sent = h.sent.take()
		require.NotEmpty(t, sent)
		require.True(t, sent[len(sent)-1].Resolved())
	})
}

func TestPendingSurvivesRestart(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before time.Duration // How long it fails before the stop.
		down   time.Duration
		after  time.Duration // How long it fails after the start.
		state  rules.AlertState
	}{
		{"pending goes on", 4 * time.Minute, 30 * time.Second, 2 * time.Minute, rules.StateFiring},
		{"time down does not count", 3 * time.Minute, 90 * time.Second, time.Minute, rules.StatePending},
		{"firing goes on at once", 8 * time.Minute, 30 * time.Second, time.Minute, rules.StateFiring},
		{"too long ago", 4 * time.Minute, 2 * time.Hour, 2 * time.Minute, rules.StatePending},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				var requests, errs float64
				h := enter(t, dir)
				close(h.ready)
				h.pass(10*time.Minute, &requests, &errs, 10, 0)
				h.pass(tt.before, &requests, &errs, 10, 5)
				require.NotEqual(t, rules.StateInactive, h.alert().State())
				h.stop()
				time.Sleep(tt.down) // Test time.

				requests, errs = 0, 0 // The counters of a new process.
				h = enter(t, dir)
				defer func() { h.stop() }()
				close(h.ready)
				h.pass(tt.after, &requests, &errs, 10, 5)
				require.Equal(t, tt.state.String(), h.alert().State().String())
			})
		})
	}
}

func TestWaitsForTheFirstScrape(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		h := enter(t, t.TempDir())
		defer func() { h.stop() }()
		time.Sleep(time.Hour) // Test time.
		synctest.Wait()
		require.True(t, h.alert().GetEvaluationTimestamp().IsZero())
		require.Equal(t, rules.StateUnknown, h.alert().State())
		close(h.ready)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.False(t, h.alert().GetEvaluationTimestamp().IsZero())
	})
}

func TestLife(t *testing.T) {
	never := make(chan struct{})
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, m *alerting.Manager)
	}{
		{"closed without running", func(*testing.T, *alerting.Manager) {}},
		{"closed twice at once", func(t *testing.T, m *alerting.Manager) {
			done := make(chan error, 1)
			go func() { done <- m.Close() }()
			require.NoError(t, m.Close())
			require.NoError(t, <-done)
		}},
		{"stopped before it began", func(t *testing.T, m *alerting.Manager) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			require.NoError(t, m.Run(ctx))
		}},
		{"closed while it waits", func(t *testing.T, m *alerting.Manager) {
			done := make(chan error, 1)
			go func() { done <- m.Run(t.Context()) }()
			require.NoError(t, m.Close())
			require.NoError(t, <-done)
		}},
		{"run after close", func(t *testing.T, m *alerting.Manager) {
			require.NoError(t, m.Close())
			require.NoError(t, m.Run(t.Context()))
		}},
		{"run twice", func(t *testing.T, m *alerting.Manager) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			require.NoError(t, m.Run(ctx))
			require.ErrorContains(t, m.Run(t.Context()), "only once")
		}},
	} {
		for name, ready := range map[string]chan struct{}{"always ready": nil, "never ready": never} {
			t.Run(tt.name+", "+name, func(t *testing.T) {
				m, err := alerting.New(alerting.DefaultOptions(), alerting.Storage{Ready: ready}, nil,
					prometheus.NewRegistry(), logger(t))
				require.NoError(t, err)
				tt.do(t, m)
				require.NoError(t, m.Close())
			})
		}
	}
}

// TestCloseCancels is about an evaluation that does not end by itself.
func TestCloseCancels(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		asked := make(chan struct{}, 10)
		m, err := alerting.New(alerting.DefaultOptions(), alerting.Storage{
			Query: func(ctx context.Context, _ string, _ time.Time) (promql.Vector, error) {
				asked <- struct{}{}
				<-ctx.Done()
				return nil, promql.ErrQueryCanceled("test")
			},
			Appendable: discard{},
		}, nil, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() { done <- m.Run(t.Context()) }()
		<-asked
		start := time.Now()
		require.NoError(t, m.Close())
		require.NoError(t, <-done)
		require.Equal(t, 5*time.Second, time.Since(start))
	})
}
