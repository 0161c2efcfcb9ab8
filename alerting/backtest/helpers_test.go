package backtest_test

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	promtsdb "github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/ruletemplate"
	"github.com/cyberviser/hancock/internal/amcompat"
	"github.com/cyberviser/hancock/internal/render"
)

// TestMain makes the test binary a template process if it was started as one, and initializes the syntax of matchers
// before any test loads a configuration.
func TestMain(m *testing.M) {
	render.Child(ruletemplate.Kind())
	amcompat.Init()
	os.Exit(m.Run())
}

// t0 is when the histories of the tests begin.
func t0() time.Time { return time.Date(2026, 11, 2, 6, 0, 0, 0, time.UTC) }

// history is a stored past: the value of each series at each scrape. Those that begin with native_ are histograms with
// ten times as many observations.
type history map[string]func(step int) (float64, bool)

const scrapeInterval = 15 * time.Second

// sample is one of a history.
type sample struct {
	series labels.Labels
	t      int64
	v      float64
	h      *histogram.Histogram
}

// samples of so much time, in order of time.
func (h history) samples(t testing.TB, d time.Duration) []sample {
	t.Helper()
	p := parser.NewParser(parser.Options{ExperimentalDurationExpr: true})
	var out []sample
	for _, name := range slices.Sorted(maps.Keys(h)) {
		series, err := p.ParseMetric(name)
		require.NoError(t, err)
		for step := range int(d / scrapeInterval) {
			if v, ok := h[name](step); ok {
				s := sample{series: series, t: t0().Add(time.Duration(step) * scrapeInterval).UnixMilli(), v: v}
				if strings.HasPrefix(name, "native_") {
					s.h = &histogram.Histogram{
						Count: 10 * uint64(v), Sum: v, PositiveSpans: []histogram.Span{{Offset: 0, Length: 2}},
						PositiveBuckets: []int64{int64(9 * v), int64(-8 * v)},
					}
				}
				out = append(out, s)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b sample) int { return cmp.Compare(a.t, b.t) })
	return out
}

func openDB(t testing.TB) *promtsdb.DB {
	t.Helper()
	db, err := promtsdb.Open(t.TempDir(), slog.New(slog.DiscardHandler), nil, promtsdb.DefaultOptions(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// put stores samples.
func put(t testing.TB, db *promtsdb.DB, samples []sample) {
	t.Helper()
	app := db.Appender(t.Context())
	for i, s := range samples {
		var err error
		if s.h != nil {
			_, err = app.AppendHistogram(0, s.series, s.t, s.h, nil)
		} else {
			_, err = app.Append(0, s.series, s.t, s.v)
		}
		require.NoError(t, err)
		if i%10_000 == 9_999 {
			require.NoError(t, app.Commit())
			app = db.Appender(t.Context())
		}
	}
	require.NoError(t, app.Commit())
}

func newEngine() *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{
		MaxSamples: 50_000_000, Timeout: time.Minute, EnableAtModifier: true, EnableNegativeOffset: true,
		NoStepSubqueryIntervalFn: func(int64) int64 { return 15_000 },
		Parser:                   parser.NewParser(parser.Options{ExperimentalDurationExpr: true}),
	})
}

// during is v in these minutes, from before to, and rest in the others.
func during(rest, v float64, minutes ...[2]int) func(int) (float64, bool) {
	return func(step int) (float64, bool) {
		for _, m := range minutes {
			if step >= m[0]*4 && step < m[1]*4 {
				return v, true
			}
		}
		return rest, true
	}
}

// only is v in these minutes, and nothing in the others.
func only(v float64, minutes ...[2]int) func(int) (float64, bool) {
	return func(step int) (float64, bool) {
		for _, m := range minutes {
			if step >= m[0]*4 && step < m[1]*4 {
				return v, true
			}
		}
		return 0, false
	}
}

// stuckQuerier waits for the end of the context.
type stuckQuerier struct {
	storage.Querier
	asked chan struct{}
}

func (q stuckQuerier) Select(ctx context.Context, _ bool, _ *storage.SelectHints, _ ...*labels.Matcher) storage.SeriesSet {
	q.asked <- struct{}{}
	<-ctx.Done()
	return storage.ErrSeriesSet(ctx.Err())
}

func (stuckQuerier) Close() error { return nil }
