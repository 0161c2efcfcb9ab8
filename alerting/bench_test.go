package alerting_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote"
	promtsdb "github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting"
	"github.com/cyberviser/hancock/tsdb"
)

// What is evaluated: 100 groups of 10 rules, each over its own 100 series of 21 samples.
const (
	benchRules   = 1000
	benchSeries  = 100_000
	benchSamples = 21
)

// BenchmarkEvaluation evaluates 1,000 rules over 100,000 series once per iteration: through our manager and storage as
// they are wired, and by Prometheus' own manager, engine and storage with its defaults, on the same data in turns.
// ratio is our time by Prometheus', of the fastest evaluations.
func BenchmarkEvaluation(b *testing.B) {
	start := time.Now().Truncate(time.Second).Add(-time.Hour)
	file := benchFile(b)
	ours := ourGroups(b, file, start)
	theirs := theirGroups(b, file, start)
	at := start.Add((benchSamples - 1) * 15 * time.Second)
	evaluate := func(groups []*rules.Group) time.Duration {
		begin := time.Now()
		for _, g := range groups {
			g.Eval(b.Context(), at)
		}
		return time.Since(begin)
	}
	evaluate(ours)
	evaluate(theirs)
	sameAlerts(b, ours, theirs)

	var us, them []time.Duration
	for b.Loop() {
		// A time has room for one result of a rule.
		at = at.Add(time.Millisecond)
		// Neither is always the one that runs into the other's garbage.
		if len(us)%2 == 0 {
			us, them = append(us, evaluate(ours)), append(them, evaluate(theirs))
		} else {
			them, us = append(them, evaluate(theirs)), append(us, evaluate(ours))
		}
	}
	b.ReportMetric(slices.Min(us).Seconds(), "s/ours")
	b.ReportMetric(slices.Min(them).Seconds(), "s/prometheus")
	b.ReportMetric(slices.Min(us).Seconds()/slices.Min(them).Seconds(), "ratio")
	require.Less(b, slices.Min(us), 15*time.Second, "the interval")
}

// sameAlerts makes sure that both do the same work.
func sameAlerts(b *testing.B, ours, theirs []*rules.Group) {
	b.Helper()
	count := func(groups []*rules.Group) (n, firing int) {
		for _, g := range groups {
			for _, r := range g.Rules() {
				require.NoError(b, r.LastError())
				n++
				if a, ok := r.(*rules.AlertingRule); ok {
					firing += len(a.ActiveAlerts())
				}
			}
		}
		return n, firing
	}
	n, firing := count(ours)
	theirN, theirFiring := count(theirs)
	require.Equal(b, benchRules, n)
	require.Equal(b, n, theirN)
	require.Positive(b, firing)
	require.Equal(b, firing, theirFiring)
}

// ourGroups are those of our manager over our storage.
func ourGroups(b *testing.B, file string, start time.Time) []*rules.Group {
	b.Helper()
	o := tsdb.DefaultOptions()
	o.Path = b.TempDir()
	reg := prometheus.NewRegistry()
	db, err := tsdb.Open(o, http.NotFoundHandler(), reg, slog.New(slog.DiscardHandler))
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, db.Close()) })
	fill(b, db.Appendable(), start)
	ao := alerting.DefaultOptions()
	ao.BuiltinRules, ao.RuleFiles = false, []string{file}
	m, err := alerting.New(ao, alerting.Storage{
		Queryable: db.Queryable(), Appendable: db.Appendable(), Query: db.QueryFunc(),
	}, &outbox{}, reg, slog.New(slog.DiscardHandler))
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, m.Close()) })
	return m.RuleGroups()
}

// theirGroups are those of Prometheus, put together as its own server does it.
func theirGroups(b *testing.B, file string, start time.Time) []*rules.Group {
	b.Helper()
	log, reg := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	local, err := promtsdb.Open(b.TempDir(), log, reg, promtsdb.DefaultOptions(), nil)
	require.NoError(b, err)
	elsewhere := remote.NewStorage(log, reg, local.StartTime, b.TempDir(), time.Second, nil, false)
	db := storage.NewFanout(log, local, elsewhere)
	b.Cleanup(func() { require.NoError(b, db.Close()) })
	fill(b, db, start)
	running, err := promql.NewActiveQueryTracker(b.TempDir(), 20, log)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, running.Close()) })
	engine := promql.NewEngine(promql.EngineOpts{
		Logger: log, Reg: reg, ActiveQueryTracker: running, MaxSamples: 50_000_000, Timeout: 2 * time.Minute, LookbackDelta: 5 * time.Minute,
		EnableAtModifier: true, EnableNegativeOffset: true, Parser: parser.NewParser(parser.Options{}),
	})
	m := rules.NewManager(&rules.ManagerOptions{
		ExternalURL: &url.URL{}, QueryFunc: rules.EngineQueryFunc(engine, db), NotifyFunc: rules.SendAlerts(&outbox{}, ""),
		Context: b.Context(), Appendable: db, Queryable: local, Logger: log, Registerer: reg,
		OutageTolerance: time.Hour, ForGracePeriod: 10 * time.Minute, ResendDelay: time.Minute,
	})
	byKey, errs := m.LoadGroups(15*time.Second, labels.EmptyLabels(), "", nil, false, file)
	require.Empty(b, errs)
	var groups []*rules.Group
	for _, g := range byKey {
		groups = append(groups, g)
	}
	slices.SortFunc(groups, func(a, b *rules.Group) int { return strings.Compare(a.Name(), b.Name()) })
	return groups
}

// fill writes counters that grow at different speeds.
func fill(b *testing.B, to storage.Appendable, start time.Time) {
	b.Helper()
	refs := make([]storage.SeriesRef, benchSeries)
	all := make([]labels.Labels, benchSeries)
	for i := range all {
		all[i] = labels.FromStrings("__name__", "bench_total", "job", "bench", "rule", "r"+strconv.Itoa(i%benchRules),
			"instance", "i"+strconv.Itoa(i/benchRules))
	}
	for n := range benchSamples {
		app := to.Appender(b.Context())
		at := start.Add(time.Duration(n) * 15 * time.Second).UnixMilli()
		for i := range all {
			var err error
			refs[i], err = app.Append(refs[i], all[i], at, float64(n*(1+i%97)))
			require.NoError(b, err)
		}
		require.NoError(b, app.Commit())
	}
}

// benchFile is the file of rules: recording and alerting ones in turns; each of the latter has some series that fire.
func benchFile(b *testing.B) string {
	b.Helper()
	var out strings.Builder
	out.WriteString("groups:\n")
	for i := range benchRules {
		if i%10 == 0 {
			fmt.Fprintf(&out, "  - name: g%d\n    rules:\n", i/10)
		}
		if i%2 == 0 {
			fmt.Fprintf(&out, "      - record: job:bench:rate5m\n        expr: sum by (job) (rate(bench_total{rule=\"r%d\"}[5m]))\n        labels: {rule: r%d}\n", i, i)
			continue
		}
		fmt.Fprintf(&out, "      - alert: Bench%d\n        expr: rate(bench_total{rule=\"r%d\"}[5m]) > 6.2\n        for: 5m\n"+
			"        annotations: {summary: '{{ $labels.instance }} is at {{ $value | humanize }}'}\n", i, i)
	}
	file := filepath.Join(b.TempDir(), "bench.yml")
	require.NoError(b, os.WriteFile(file, []byte(out.String()), 0o600))
	return file
}
