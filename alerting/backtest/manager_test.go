package backtest_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"
	promtsdb "github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/backtest"
)

const ruleFile = "rules.yml"

// textLoader loads the rules of a test.
type textLoader struct {
	parser.Parser
	text string
}

func (l textLoader) Load(string, bool, model.ValidationScheme) (*rulefmt.RuleGroups, []error) {
	return rulefmt.Parse([]byte(l.text), false, model.UTF8Validation, l.Parser, slog.New(slog.DiscardHandler))
}
func (l textLoader) Parse(q string) (parser.Expr, error) { return l.ParseExpr(q) }

// sent is what the manager sends.
type sent struct {
	at     time.Time
	alerts []rules.Alert
}

// live lets Prometheus' manager evaluate the rules while the samples come in, and returns how often each rule failed
// and what was sent.
func live(t *testing.T, db *promtsdb.DB, text string, samples []sample, d time.Duration) (map[string]int64, []sent) {
	t.Helper()
	var (
		out []sent
		now time.Time
	)
	m := rules.NewManager(&rules.ManagerOptions{
		ExternalURL: &url.URL{Scheme: "http", Host: "hancock.example"},
		QueryFunc:   rules.EngineQueryFunc(newEngine(), db),
		NotifyFunc: func(_ context.Context, _ string, alerts ...*rules.Alert) {
			s := sent{at: now}
			for _, a := range alerts {
				s.alerts = append(s.alerts, *a)
			}
			if len(alerts) > 0 {
				out = append(out, s)
			}
		},
		Appendable: db, Queryable: db, Context: t.Context(), Logger: slog.New(slog.DiscardHandler), ResendDelay: time.Minute,
		GroupLoader: textLoader{parser.NewParser(parser.Options{ExperimentalDurationExpr: true}), text},
	})
	groups, errs := m.LoadGroups(15*time.Second, labels.FromStrings("region", "eu"), "http://hancock.example", nil, false, ruleFile)
	require.Empty(t, errs)
	type turn struct {
		g  *rules.Group
		at time.Time
	}
	var turns []turn
	for _, g := range groups {
		for _, r := range g.AlertingRules() {
			r.SetRestored(true)
		}
		for at := g.EvalTimestamp(t0().UnixNano()); at.Before(t0().Add(d)); at = at.Add(g.Interval()) {
			if !at.Before(t0()) {
				turns = append(turns, turn{g, at})
			}
		}
	}
	slices.SortFunc(turns, func(a, b turn) int { return cmp.Or(a.at.Compare(b.at), strings.Compare(a.g.Name(), b.g.Name())) })
	failed := map[string]int64{}
	for _, turn := range turns {
		n, _ := slices.BinarySearchFunc(samples, turn.at.UnixMilli()+1, func(s sample, at int64) int { return cmp.Compare(s.t, at) })
		put(t, db, samples[:n])
		samples = samples[n:]
		now = turn.at
		turn.g.Eval(t.Context(), turn.at)
		for _, r := range turn.g.Rules() {
			if r.LastError() != nil {
				failed[r.Name()]++
			}
		}
	}
	put(t, db, samples)
	return failed, out
}

// course is an alert from beginning to end.
type course struct {
	Labels               string
	Active, Fired, Ended time.Time
	last                 int64
}

// stored reads the courses from the series ALERTS. What goes on at the end has no end. An alert goes on through a gap,
// in which its rule failed.
func stored(t *testing.T, q storage.Queryable, end time.Time, intervals map[string]time.Duration, gaps map[string]time.Duration) []course {
	t.Helper()
	type state struct {
		t      int64
		firing bool
	}
	states := map[string][]state{}
	name := map[string]string{}
	querier, err := q.Querier(math.MinInt64, math.MaxInt64)
	require.NoError(t, err)
	defer func() { require.NoError(t, querier.Close()) }()
	set := querier.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "ALERTS"))
	for set.Next() {
		b := labels.NewBuilder(set.At().Labels()).Del(model.MetricNameLabel, "alertstate")
		key := b.Labels().String()
		name[key] = set.At().Labels().Get(model.AlertNameLabel)
		it := set.At().Iterator(nil)
		for it.Next() == chunkenc.ValFloat {
			if at, v := it.At(); !value.IsStaleNaN(v) {
				states[key] = append(states[key], state{at, set.At().Labels().Get("alertstate") == "firing"})
			}
		}
	}
	require.NoError(t, set.Err())
	var out []course
	for key, all := range states {
		interval := intervals[name[key]]
		if interval == 0 {
			interval = 15 * time.Second
		}
		slices.SortFunc(all, func(a, b state) int { return cmp.Compare(a.t, b.t) })
		var c *course
		for _, s := range all {
			// One after a gap is a new one, as is a pending one after a firing one.
			if c == nil || s.t-c.last > (interval+gaps[name[key]]).Milliseconds() || !s.firing && !c.Fired.IsZero() {
				if c != nil {
					c.Ended = time.UnixMilli(c.last).Add(interval)
					out = append(out, *c)
				}
				c = &course{Labels: key, Active: time.UnixMilli(s.t)}
			}
			if s.firing && c.Fired.IsZero() {
				c.Fired = time.UnixMilli(s.t)
			}
			c.last = s.t
		}
		if ended := time.UnixMilli(c.last).Add(interval); ended.Before(end) {
			c.Ended = ended
		}
		out = append(out, *c)
	}
	return sorted(out)
}

// replayed are the courses of a report.
func replayed(r *backtest.Report, offset time.Duration) []course {
	var out []course
	ms := func(t *time.Time) time.Time {
		if t == nil {
			return time.Time{}
		}
		return time.UnixMilli(t.Add(-offset).UnixMilli())
	}
	for _, a := range r.Alerts {
		out = append(out, course{Labels: labels.FromMap(a.Labels).String(), Active: ms(&a.ActiveAt), Fired: ms(a.FiredAt), Ended: ms(a.EndedAt)})
	}
	return sorted(out)
}

func sorted(all []course) []course {
	for i := range all {
		all[i].last = 0
	}
	slices.SortFunc(all, func(a, b course) int {
		return cmp.Or(strings.Compare(a.Labels, b.Labels), a.Active.Compare(b.Active))
	})
	return all
}

// machines is a history with something for each rule of the tests.
func machines() history {
	return history{
		`up{job="a",instance="1"}`:          during(1, 0, [2]int{20, 30}, [2]int{60, 62}),
		`up{job="a",instance="2"}`:          during(1, 0, [2]int{25, 50}, [2]int{170, 200}),
		`up{job="b",instance="3"}`:          only(1, [2]int{0, 40}, [2]int{70, 200}),
		`load{instance="1"}`:                func(i int) (float64, bool) { return 50 + 50*math.Sin(float64(i)/40), true },
		`load{instance="2"}`:                func(i int) (float64, bool) { return 50 + 50*math.Cos(float64(i)/23), i%7 != 0 },
		`requests_total{code="200"}`:        func(i int) (float64, bool) { return float64(i * 10), true },
		`requests_total{code="500"}`:        func(i int) (float64, bool) { return float64(max(0, i-200) * 3 % 2000), true },
		`queue{name="x"}`:                   func(i int) (float64, bool) { return float64(i % 97), true },
		`limits{name="x"}`:                  during(90, 20, [2]int{100, 110}),
		`doubled{side="left",kind="x"}`:     only(1, [2]int{10, 90}),
		`doubled{side="right",kind="x"}`:    only(1, [2]int{80, 130}),
		`native_seconds{path="/"}`:          func(i int) (float64, bool) { return float64(i / 40 * 20 % 3000), i%301 != 0 },
		`ALERTS{alertname="Foreign",a="b"}`: only(1, [2]int{40, 45}),
	}
}

func TestAsTheManagerEvaluates(t *testing.T) {
	const d = 190 * time.Minute
	for _, tt := range []agreement{
		{name: "for and keep_firing_for", modes: "range range range", rules: `
groups:
  - name: a
    rules:
      - {alert: Down, expr: up == 0, for: 5m, labels: {severity: critical}, annotations: {summary: '{{ $labels.instance }} is down'}}
      - {alert: Kept, expr: load > 95, for: 1m, keep_firing_for: 10m}
      - {alert: AtOnce, expr: queue > 90, annotations: {now: '{{ $value }} in {{ $labels.name }}, {{ query "load" | sortByLabel "instance" | first | value }}'}}
`},
		{name: "labels from templates", modes: "range", rules: `
groups:
  - name: a
    labels: {team: core}
    rules:
      - {alert: Load, expr: load > 60, labels: {level: '{{ if gt $value 90.0 }}high{{ else }}low{{ end }}', at: '{{ $externalLabels.region }}'}, annotations: {itself: '{{ len (query "load > 60") }} of {{ $labels.instance }}', wrong: '{{ humanize "x" }}'}}
`},
		{name: "gone and absent", modes: "range range", rules: `
groups:
  - name: a
    interval: 1m
    rules:
      - {alert: Absent, expr: 'absent(up{job="b"})', for: 2m}
      - {alert: NoneAtAll, expr: 'absent_over_time(up{job="b"}[10m])'}
`},
		{name: "recording rules that are read", modes: "range range range", rules: `
groups:
  - name: b.records
    rules:
      - {record: 'code:requests:rate5m', expr: 'rate(requests_total[5m])', labels: {from: rule}}
      - {record: ratio, expr: 'sum(code:requests:rate5m{code="500"}) / sum(code:requests:rate5m)'}
  - name: a.reads
    rules:
      - {alert: Errors, expr: 'avg_over_time(ratio[10m]) > 0.2', for: 3m}
`},
		{name: "a series that goes stale", modes: "range range", rules: `
groups:
  - name: a
    rules:
      - {record: high, expr: load > 80}
      - {alert: High, expr: high}
`},
		{name: "a later rule of the same group", modes: "instant instant", rules: `
groups:
  - name: a
    interval: 1m
    rules:
      - {alert: Before, expr: later > 50}
      - {record: later, expr: queue}
`},
		{name: "its own results", modes: "instant range", rules: `
groups:
  - name: a
    rules:
      - {record: sum, expr: 'vector(1) + (sum offset 15s or vector(0))'}
      - {alert: Many, expr: sum % 100 > 90}
`},
		{name: "alerts about alerts", modes: "range range range instant", rules: `
groups:
  - name: a
    rules:
      - {alert: Down, expr: up == 0, for: 5m, labels: {severity: critical}}
      - {alert: SomeDown, expr: 'count(ALERTS{alertstate="firing",severity="critical"}) > 1', labels: {severity: warning}}
      - {alert: Foreigners, expr: 'ALERTS{alertname="Foreign"}', labels: {severity: none}}
      - {alert: Any, expr: 'count by (instance) (ALERTS{alertname!="Foreign"})', labels: {severity: none}}
`},
		{name: "what differs in range queries", modes: "instant instant instant instant", rules: `
groups:
  - name: a
    interval: 1m
    rules:
      - {alert: AtEnd, expr: 'load @ end() > 80'}
      - {alert: Top, expr: 'topk(1, queue or load) > 60'}
      - {alert: Future, expr: 'load offset -5m > 50'}
      - {alert: Fixed, expr: 'limits @ 1793606700 < 30'}
`},
		{name: "durations that are computed", modes: "range range instant instant instant", rules: `
groups:
  - name: a
    rules:
      - {record: recorded, expr: 'max_over_time(queue[1m + 1m])'}
      - {alert: Range, expr: 'min_over_time(recorded[2 * 5m]) > 20', for: 1m}
      - {alert: Step, expr: 'count_over_time(load{instance="1"}[max_of(step(), 1m)]) > 3 and queue > 50'}
      - {alert: Ahead, expr: 'load offset -(2m + 3m) > 50'}
      - {alert: Back, expr: 'sum_over_time(load[1m:15s * 2] offset (5m - 1m)) > 150'}
`},
		{name: "query offset", modes: "range range", offset: 90 * time.Second, rules: `
groups:
  - name: a
    query_offset: 90s
    rules:
      - {alert: Down, expr: up == 0, for: 5m}
      - {alert: Load, expr: load > 60, annotations: {first: '{{ query "load" | first | value }}'}}
`},
		{name: "a group that records later than it is read", modes: "instant instant", rules: `
groups:
  - name: late
    query_offset: 2m
    rules:
      - {record: late, expr: queue}
  - name: reader
    rules:
      - {alert: Late, expr: late > 50}
`},
		{name: "templates that query", modes: "range range instant", rules: `
groups:
  - name: a
    rules:
      - {record: recorded, expr: queue}
      - {alert: Reads, expr: load > 60, labels: {queue: '{{ with query "recorded" }}{{ if gt (. | first | value) 50.0 }}long{{ else }}short{{ end }}{{ end }}'}}
      - {alert: ReadsItself, expr: load > 60, labels: {seen: '{{ with query "ALERTS{alertname=''ReadsItself''}" }}yes{{ else }}no{{ end }}'}}
`},
		{name: "failures", gaps: map[string]time.Duration{"Same": 15 * time.Minute}, modes: "range range range range range range", rules: `
groups:
  - name: a
    rules:
      - {alert: TwoLeft, expr: 'up * on () doubled > 1'}
      - {alert: Same, expr: '{__name__=~"doubled"} > 0', labels: {side: one}}
      - {record: twice, expr: 'doubled', labels: {side: one}}
      - {alert: Reads, expr: twice}
  - name: few
    limit: 1
    rules:
      - {alert: Few, expr: load > 60}
` + "      - {record: too_many, expr: load > 60}\n"},
		{name: "histograms", modes: "range range range", rules: `
groups:
  - name: a
    rules:
      - {record: 'rate5m', expr: 'rate(native_seconds[5m])'}
      - {alert: Fast, expr: 'histogram_count(rate5m) > 0.5', annotations: {rate: '{{ $value }}'}}
      - {alert: Slow, expr: 'histogram_quantile(0.95, sum(rate(native_seconds[10m]))) > 1', for: 1m}
`},
		{name: "alerts of one name", modes: "instant range instant", ignore: `alertname="Load"`, rules: `
groups:
  - name: a
    rules:
      - {alert: Load, expr: load > 60, labels: {severity: warning}}
      - {alert: Other, expr: 'count by (instance) (ALERTS{severity="warning"})', labels: {severity: critical}}
  - name: b
    rules:
      - {alert: Load, expr: load > 80, labels: {severity: warning}}
`},
		{name: "the same series by two rules", modes: "instant instant range", rules: `
groups:
  - name: a
    rules:
      - {record: both, expr: 'load{instance="1"}'}
      - {record: both, expr: 'load{instance="1"} + 30 or load{instance="2"}'}
      - {alert: Both, expr: both > 80}
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db := openDB(t)
			failed, sent := live(t, db, tt.rules, machines().samples(t, d), d)
			for _, untrusted := range []bool{false, true} { // templates in this process, and in a child
				// What the manager stored is in the history that is replayed, and must not be seen.
				report, err := backtest.Run(t.Context(), backtest.Storage{Queryable: db, Engine: newEngine(), Oldest: backtest.StartTime(db)},
					backtest.Request{
						Files: []backtest.File{{Name: ruleFile, Text: tt.rules}}, From: t0(), To: t0().Add(d),
						ExternalLabels: labels.FromStrings("region", "eu"), Untrusted: untrusted,
					}, nil)
				require.NoError(t, err)
				compare(t, tt, d, db, report, failed, sent)
			}
		})
	}
}

// agreement is a case of the comparison with Prometheus' manager.
type agreement struct {
	name   string
	rules  string
	modes  string
	offset time.Duration
	gaps   map[string]time.Duration
	ignore string // Alerts whose series are those of others, too.
}

// compare holds a report to what the manager did.
func compare(t *testing.T, tt agreement, d time.Duration, db *promtsdb.DB, report *backtest.Report, failed map[string]int64, sent []sent) {
	t.Helper()
	var modes []string
	got := map[string]int64{}
	intervals := map[string]time.Duration{}
	for _, r := range report.Rules {
		modes = append(modes, r.Mode)
		if r.Errors > 0 {
			got[r.Name] += r.Errors
		}
		if strings.Contains(tt.rules, "interval: 1m") {
			intervals[r.Name] = time.Minute
		}
	}
	require.Equal(t, failed, got, "errors")
	ignored := func(c course) bool { return tt.ignore != "" && strings.Contains(c.Labels, tt.ignore) }
	want := slices.DeleteFunc(stored(t, db, t0().Add(d-tt.offset), intervals, tt.gaps), func(c course) bool { return strings.Contains(c.Labels, "Foreign\"") })
	want = slices.DeleteFunc(want, ignored)
	require.NotEmpty(t, want)
	require.Equal(t, lines(want), lines(slices.DeleteFunc(replayed(report, tt.offset), ignored)))
	for _, a := range report.Alerts {
		if a.FiredAt != nil {
			require.Equal(t, annotationsOf(sent, a), a.Annotations)
		}
	}
	require.Equal(t, tt.modes, strings.Join(modes, " "))
}

// lines are courses for people to compare.
func lines(all []course) string {
	var b strings.Builder
	for _, c := range all {
		fmt.Fprintf(&b, "%s %s %s %s\n", c.Active.Format(clock), c.Fired.Format(clock), c.Ended.Format(clock), c.Labels)
	}
	return b.String()
}

const clock = "15:04:05.000"

// annotationsOf are the annotations with which the manager sent an alert when it fired.
func annotationsOf(all []sent, a backtest.Alert) map[string]string {
	for _, s := range all {
		if s.at.Equal(*a.FiredAt) {
			for _, sa := range s.alerts {
				if labels.Equal(sa.Labels, labels.FromMap(a.Labels)) {
					return sa.Annotations.Map()
				}
			}
		}
	}
	return nil
}
