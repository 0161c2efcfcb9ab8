package rulecheck_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/rulecheck"
)

// golden is what a process of ours exposes.
const golden = "../../cmd/hancock/testdata/metrics.golden"

// house is what is known inside of one process without other targets.
func house(t testing.TB) rulecheck.Known {
	t.Helper()
	f, err := os.Open(golden)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	metrics, err := rulecheck.ParseContract(f)
	require.NoError(t, err)
	require.Equal(t, rulecheck.Metric{Type: model.MetricTypeHistogram, Labels: []string{"endpoint", "method", "status_code"}},
		metrics["hancock_request_duration_seconds"])
	k := rulecheck.DefaultKnown()
	k.Add(metrics)
	k.Jobs = []string{"hancock"}
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	families, err := reg.Gather()
	require.NoError(t, err)
	k.AddFamilies(families)
	k.Add(map[string]rulecheck.Metric{"hancock_requests_by_mode": {
		Type: model.MetricTypeCounter, Labels: []string{"mode"}, Values: map[string][]string{"mode": {"pentest", "soc", "other"}},
	}})
	return k
}

// store is a store that has these series.
func store(series ...labels.Labels) func(context.Context, ...*labels.Matcher) (bool, error) {
	return func(_ context.Context, matchers ...*labels.Matcher) (bool, error) {
	next:
		for _, s := range series {
			for _, m := range matchers {
				if !m.Matches(s.Get(m.Name)) {
					continue next
				}
			}
			return true, nil
		}
		return false, nil
	}
}

var errStore = errors.New("the disk is gone")

// ruleFile is a file with one alert on expr, and a recording rule.
func ruleFile(expr string) rulecheck.File {
	return rulecheck.File{Name: "f.yml", Groups: &rulefmt.RuleGroups{Groups: []rulefmt.RuleGroup{{Name: "g", Rules: []rulefmt.Rule{
		{Alert: "Tested", Expr: expr},
		{Record: "job:requests:rate5m", Expr: "sum by (job) (rate(hancock_requests_total[5m]))"},
	}}}}}
}

// want is a finding in short: severity and message, and after an arrow the suggestion.
func short(findings []rulecheck.Finding) []string {
	var all []string
	for _, f := range findings {
		text := string(f.Severity) + ": " + f.Message
		if f.Suggestion != "" {
			text += " -> " + f.Suggestion
		}
		all = append(all, text)
	}
	return all
}

// TestClosed has expressions where nothing but our own process is scraped, and there is no store.
func TestClosed(t *testing.T) {
	for expr, want := range map[string][]string{
		// What can fire.
		"hancock_memory_usage_bytes > 1":                    nil,
		"up == 0":                                           nil,
		`up{job="hancock", instance=~".+"}`:                 nil,
		`process_resident_memory_bytes / go_goroutines > 5`: nil,
		`histogram_quantile(0.99, sum by (le, endpoint) (rate(hancock_request_duration_seconds_bucket[5m]))) > 1`: nil,
		`histogram_quantile(0.99, rate(hancock_request_duration_seconds[5m])) > 1`:                                nil,
		`histogram_count(rate(hancock_request_duration_seconds[5m])) > 1`:                                         nil,
		`histogram_quantile(0.9, sum without (endpoint) (rate(hancock_request_duration_seconds_bucket[5m])))`:     nil,
		`prometheus_engine_query_duration_seconds{quantile="0.99"} > 1`:                                           nil,
		`prometheus_engine_query_duration_seconds_sum{slice="inner_eval"} > 1`:                                    nil,
		`job:requests:rate5m{anything="x"} > 1`:                                                                   nil,
		`ALERTS{alertname="Tested", alertstate="firing", severity="critical"}`:                                    nil,
		`ALERTS{alertname=~"Test.*"}`:                                                                             nil,
		`{__name__=~"hancock_.*_total"} > 5`:                                                                      nil,
		`{job="hancock"} > 5`:                                                                                     nil,
		`hancock_requests_by_mode{mode=~"soc|none", mode!="pentest"} > 1`:                                         nil,
		`hancock_requests_total{nosuch=""}`:                                                                       nil,
		`hancock_requests_total{nosuch!="x"}`:                                                                     nil,
		`hancock_log_lines_total{exported_job="x"}`:                                                               nil,
		`sum by (job) (hancock_requests_total) / on (job) group_left () sum by (job) (up)`:                        nil,
		`label_replace(hancock_requests_total, "host", "$1", "instance", "(.*):.*") * on (host) up`:               nil,
		`sum by (v) (count_values("v", hancock_requests_total))`:                                                  nil,
		`sum without (replica) (hancock_requests_total)`:                                                          nil,
		`vector(1)`: nil,
		`time() - process_start_time_seconds < 300`:            nil,
		`topk(3, hancock_requests_by_mode) > 1`:                nil,
		`max_over_time(rate(hancock_requests_total[5m])[1h:])`: nil,

		// Metrics that nothing emits.
		"hancock_requsts_total > 1":                       {"warning: hancock_requsts_total is emitted by nothing -> hancock_requests_total"},
		"hancock_reqeusts_total > 1":                      {"warning: hancock_reqeusts_total is emitted by nothing -> hancock_requests_total"},
		"hancock_requests_by_mode_total > 1":              {"warning: hancock_requests_by_mode_total is emitted by nothing -> hancock_requests_by_mode"},
		"hancock_errors > 1":                              {"warning: hancock_errors is emitted by nothing -> hancock_errors_total"},
		`{__name__="hancock_eror_total"} > 1`:             {"warning: hancock_eror_total is emitted by nothing -> hancock_errors_total"},
		"nothing_like_it > 1":                             {"warning: nothing_like_it is emitted by nothing"},
		"job:requests:rate1m > 1":                         {"warning: job:requests:rate1m is emitted by nothing -> job:requests:rate5m"},
		`{__name__=~"nginx_.*"} > 1`:                      {`warning: no metric has a name with __name__=~"nginx_.*"`},
		"hancock_memory_usage_bytes_bucket > 1":           {"warning: hancock_memory_usage_bytes_bucket is emitted by nothing: hancock_memory_usage_bytes is a gauge, which has no _bucket -> hancock_memory_usage_bytes"},
		"prometheus_engine_query_duration_seconds_bucket": {"warning: prometheus_engine_query_duration_seconds_bucket is emitted by nothing: prometheus_engine_query_duration_seconds is a summary, which has no _bucket -> prometheus_engine_query_duration_seconds"},
		"sum(nothing_a) / sum(nothing_b)":                 {"warning: nothing_a is emitted by nothing", "warning: nothing_b is emitted by nothing"},
		"nothing_a + nothing_a":                           {"warning: nothing_a is emitted by nothing"},
		"up unless nothing_a":                             {"warning: nothing_a is emitted by nothing"},

		// What may be missing.
		"absent(nothing_like_it)":                         nil,
		`absent(up{job="hancock"})`:                       nil,
		"absent_over_time(hancock_requsts_total[5m])":     {"warning: hancock_requsts_total is emitted by nothing, so it is absent for ever -> hancock_requests_total"},
		"absent(go_gorutines)":                            {"hint: go_gorutines is emitted by nothing -> go_goroutines"},
		`absent({__name__=~"nginx_.*"})`:                  nil,
		"nothing_old or hancock_requests_total":           nil,
		"hancock_requests_total or nothing_new":           nil,
		"hancock_requsts_total or hancock_requests_total": {"hint: hancock_requsts_total is emitted by nothing -> hancock_requests_total"},
		"sum(nothing_old) or vector(0)":                   nil,
		"nothing_a or nothing_b":                          {"warning: nothing_a is emitted by nothing", "warning: nothing_b is emitted by nothing"},
		"nothing_a or nothing_b or up":                    nil,
		"(nothing_a or nothing_b) and up":                 {"warning: nothing_a is emitted by nothing", "warning: nothing_b is emitted by nothing"},

		// Labels.
		`hancock_requests_by_mode{mod="soc"}`:         {`warning: hancock_requests_by_mode has no label mod (it has instance, job, mode), so mod="soc" matches nothing -> mode`},
		`absent(hancock_requests_by_mode{mod="soc"})`: {`warning: hancock_requests_by_mode has no label mod (it has instance, job, mode), so mod="soc" matches nothing -> mode`},
		`hancock_requests_by_mode{mode="sock"}`:       {`warning: hancock_requests_by_mode never has mode="sock" -> soc`},
		`hancock_requests_by_mode{mode=~"x.*"}`:       {`warning: hancock_requests_by_mode never has mode=~"x.*"`},
		`up{job="hankock"}`:                           {`warning: no target is scraped with job="hankock" -> hancock`},
		`hancock_errors_total{le="5"} or nothing_at_all`: {
			`warning: hancock_errors_total has no label le (it has instance, job), so le="5" matches nothing`, "warning: nothing_at_all is emitted by nothing",
		},
		`ALERTS{alertname="Testet"}`:                                                   {`warning: no rule raises an alert with alertname="Testet" -> Tested`},
		`sum by (mod) (hancock_requests_by_mode)`:                                      {"warning: by (mod): no series there has the label mod -> mode"},
		`sum by (cluster) (hancock_requests_by_mode)`:                                  {"hint: by (cluster): no series there has the label cluster"},
		`sum without (instanc) (hancock_requests_total)`:                               {"warning: without (instanc): no series there has the label instanc -> instance"},
		`sum by (mode) (sum by (job) (hancock_requests_by_mode))`:                      {"hint: by (mode): no series there has the label mode"},
		`up and on (jop) hancock_requests_total`:                                       {"warning: on (jop): no series there has the label jop -> job"},
		`up * on (job) group_left (verson) sum by (job, version) (hancock_build_info)`: {"warning: group_left (verson): no series there has the label verson -> version"},

		// Types.
		"histogram_quantile(0.9, rate(hancock_requests_total[5m]))":                                      {"warning: histogram_quantile needs a histogram, and hancock_requests_total is a counter"},
		"histogram_quantile(0.9, prometheus_engine_query_duration_seconds)":                              {"warning: histogram_quantile needs a histogram, and prometheus_engine_query_duration_seconds is a summary"},
		"histogram_quantile(0.9, rate(hancock_request_duration_seconds_count[5m]))":                      {"warning: histogram_quantile needs a histogram, and hancock_request_duration_seconds_count is not one but a part of it -> hancock_request_duration_seconds_bucket"},
		"histogram_quantile(0.9, sum by (endpoint) (rate(hancock_request_duration_seconds_bucket[5m])))": {"warning: histogram_quantile needs the label le of hancock_request_duration_seconds_bucket, which is aggregated away: keep it with by (le)"},
		"histogram_quantile(0.9, sum without (le) (rate(hancock_request_duration_seconds_bucket[5m])))":  {"warning: histogram_quantile needs the label le of hancock_request_duration_seconds_bucket, which is aggregated away: keep it with by (le)"},
		"histogram_avg(rate(hancock_request_duration_seconds_bucket[5m]))":                               {"warning: histogram_avg takes native histograms, and hancock_request_duration_seconds_bucket is buckets of a classic one -> hancock_request_duration_seconds"},
		"histogram_sum(rate(hancock_request_duration_seconds_sum[5m]))":                                  {"warning: histogram_sum needs a histogram, and hancock_request_duration_seconds_sum is not one but a part of it -> hancock_request_duration_seconds"},
		"rate(hancock_memory_usage_bytes[5m]) > 1":                                                       {"hint: rate over hancock_memory_usage_bytes: it is a gauge, which may fall: rate, irate and increase take that for a restart; delta or deriv may be meant"},
		"delta(hancock_requests_total[5m]) > 1":                                                          {"hint: delta over hancock_requests_total: it is a counter, which begins anew at a restart; increase may be meant"},

		strings.Repeat("(", 20_000) + "up" + strings.Repeat(")", 20_000): {"hint: the expression is longer than 32768 bytes and was not checked"},
	} {
		t.Run(expr[:min(80, len(expr))], func(t *testing.T) {
			got, err := rulecheck.Check(t.Context(), []rulecheck.File{ruleFile(expr)}, house(t))
			require.NoError(t, err)
			require.Equal(t, want, short(got))
		})
	}
}

// TestOpen has expressions where other targets are scraped.
func TestOpen(t *testing.T) {
	series := store(
		labels.FromStrings("__name__", "node_load1", "job", "node", "instance", "n:9100"),
		labels.FromStrings("__name__", "node_cpu_seconds_total", "job", "node", "instance", "n:9100", "mode", "idle"),
		labels.FromStrings("__name__", "hancock_requests_total", "job", "hancock", "instance", "b:5000", "team", "red"),
		labels.FromStrings("__name__", "ALERTS", "alertname", "Elsewhere"),
		labels.FromStrings("__name__", "up", "job", "written"),
	)
	for name, tc := range map[string]struct {
		expr    string
		exists  func(context.Context, ...*labels.Matcher) (bool, error)
		closed  bool
		known   func(*rulecheck.Known)
		want    []string
		wantErr string
	}{
		"the store has it":                    {expr: `node_load1{job="node"} > 5`, exists: series},
		"the store has the label":             {expr: `rate(node_cpu_seconds_total{mode="steal"}[5m]) > 5`, exists: series},
		"the store has it by a pattern":       {expr: `{__name__=~"node_.*"} > 5`, exists: series},
		"the store has more labels of ours":   {expr: `hancock_requests_total{team="blue"} > 5`, exists: series},
		"the store has the alert":             {expr: `ALERTS{alertname="Elsewhere"}`, exists: series},
		"the store has the job":               {expr: `up{job="written"}`, exists: series},
		"the store has it, closed or not":     {expr: "node_load1 > 5", exists: series, closed: true},
		"the store has not":                   {expr: "node_load15 > 5", exists: series, want: []string{"warning: node_load15 is emitted by nothing"}},
		"the store has not the label":         {expr: `node_cpu_seconds_total{mod="idle"} > 5`, exists: series, want: []string{`warning: no series of node_cpu_seconds_total in the store has the label mod, so mod="idle" matches nothing`}},
		"the store has not the label of ours": {expr: `hancock_requests_total{color="blue"} > 5`, exists: series, want: []string{`warning: hancock_requests_total has no label color (it has instance, job), so color="blue" matches nothing`}},
		"the store has not the alert":         {expr: `ALERTS{alertname="Nowhere"}`, exists: series, want: []string{`warning: no rule raises an alert with alertname="Nowhere"`}},
		"the store has not the job":           {expr: `up{job="scribe"}`, exists: series, want: []string{`warning: no target is scraped with job="scribe"`}},
		"the store fails":                     {expr: "node_load1 > 5", exists: func(context.Context, ...*labels.Matcher) (bool, error) { return false, errStore }, wantErr: `f.yml: group "g", rule "Tested": asking the store for __name__="node_load1": the disk is gone`},
		"nobody to ask":                       {expr: "node_load1 > 5"},
		"nobody to ask, a pattern":            {expr: `{__name__=~"node_.*"} > 5`},
		"nobody to ask, a label":              {expr: `hancock_requests_total{color="blue"} > 5`},
		"nobody to ask, it looks mistyped":    {expr: `go_goroutine > 5`, want: []string{"hint: go_goroutine is not known here; perhaps another target emits it -> go_goroutines"}},
		"nobody to ask, its label does":       {expr: `hancock_requests_total{instnace="a"} > 5`, want: []string{`hint: hancock_requests_total has no label instnace (it has instance, job), so instnace="a" matches nothing -> instance`}},
		"nobody to ask, but it is ours":       {expr: "hancock_nothing_like_it > 5", want: []string{"warning: hancock_nothing_like_it is emitted by nothing"}},
		"labels of others are not known":      {expr: "sum by (mod) (hancock_requests_by_mode)"},
		"it comes with the configuration": {
			expr: "rate(prometheus_remote_storage_samples_failed_total[5m]) > 0", exists: series, closed: true,
			known: func(k *rulecheck.Known) { k.Later = []string{"prometheus_remote_storage_"} },
		},
		"an external label": {
			expr: `hancock_requests_total{region="eu"} > 5`, closed: true, known: func(k *rulecheck.Known) { k.ExternalLabels = []string{"region"} },
			want: []string{`warning: region is an external label: what is sent elsewhere has it, the store has not, so region="eu" matches nothing`},
		},
		"recorded and raised elsewhere": {
			expr: `other:record > 5 and ALERTS{alertname="Other"}`, closed: true,
			known: func(k *rulecheck.Known) { k.Recorded, k.Alerts = []string{"other:record"}, []string{"Other"} },
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := house(t)
			k.Open, k.Exists = !tc.closed, tc.exists
			if tc.known != nil {
				tc.known(&k)
			}
			got, err := rulecheck.Check(t.Context(), []rulecheck.File{ruleFile(tc.expr)}, k)
			if tc.wantErr != "" {
				require.EqualError(t, err, tc.wantErr)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.want, short(got))
		})
	}
}

// TestBuiltinRules finds nothing in the rules that are built in.
func TestBuiltinRules(t *testing.T) {
	content, err := os.ReadFile("../rules.yml")
	require.NoError(t, err)
	for _, open := range []bool{false, true} {
		k := house(t)
		k.Open = open
		// These come with receivers and with a reload.
		k.Add(map[string]rulecheck.Metric{
			"alertmanager_notifications_failed_total": {Type: model.MetricTypeCounter, Labels: []string{"integration", "reason"}},
			"hancock_notification_attempts_total":     {Type: model.MetricTypeCounter, Labels: []string{"integration", "outcome"}},
			"hancock_config_last_reload_successful":   {Type: model.MetricTypeGauge},
		})
		got, err := rulecheck.Check(t.Context(), []rulecheck.File{{Name: "rules.yml", Content: content}}, k)
		require.NoError(t, err)
		require.Empty(t, got)
	}
	// One that has a letter too few is found, so it was not for want of looking.
	wrong := strings.ReplaceAll(string(content), "hancock_memory_usage_bytes >", "hancock_memory_usage_byte >")
	got, err := rulecheck.Check(t.Context(), []rulecheck.File{{Name: "rules.yml", Content: []byte(wrong)}}, house(t))
	require.NoError(t, err)
	require.NotEmpty(t, got)
	require.Equal(t, "HancockHighMemoryUsage", got[0].Rule)
	require.Equal(t, "hancock_memory_usage_bytes", got[0].Suggestion)
	require.Contains(t, strings.Split(wrong, "\n")[got[0].Line-1], "hancock_memory_usage_byte >")
}

// TestTemplates has what an alert shows of its labels.
func TestTemplates(t *testing.T) {
	for name, tc := range map[string]struct {
		expr, text string
		want       []string
	}{
		"it has them":               {"sum by (job) (up) == 0", "{{ $labels.job }} {{ $value }}", nil},
		"it has another":            {"sum by (job) (up) == 0", "{{ $labels.jop }}", []string{"warning: the summary shows the label jop, which no alert of this rule has -> job"}},
		"it is asked for":           {"sum by (job) (up) == 0", "{{ with $labels.instance }}{{ . }}{{ end }}", nil},
		"nobody knows what it has":  {"info(up)", "{{ $labels.jop }}", nil},
		"what is absent has labels": {`absent(up{job="hancock", instance=~"b"})`, "{{ $labels.jop }} {{ $labels.instanc }}", []string{"warning: the summary shows the label jop, which no alert of this rule has -> job"}},
		"it gets it from another": {
			`up * on (job, instance) group_left (version) hancock_build_info`, "{{ $labels.verson }}",
			[]string{"warning: the summary shows the label verson, which no alert of this rule has -> version"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := ruleFile(tc.expr)
			f.Groups.Groups[0].Rules[0].Annotations = map[string]string{"summary": tc.text}
			got, err := rulecheck.Check(t.Context(), []rulecheck.File{f}, house(t))
			require.NoError(t, err)
			require.Equal(t, tc.want, short(got))
		})
	}
}

func TestFiles(t *testing.T) {
	const content = `groups:
  - name: first
    rules:
      - record: a:b
        expr: up
  - name: second
    rules:
      - alert: Plain
        expr: nothing_plain > 1
        for: 5m
      - alert: Folded
        for: 5m
        expr: >-
          up
          and on (jop)
          hancock_requests_total
        labels: {severity: info}
      - {alert: Flow, expr: 'a:b > sum(up{nosuch="x"})'}
`
	got, err := rulecheck.Check(t.Context(), []rulecheck.File{
		{Name: "one.yml", Content: []byte(content)},
		{Name: "two.yml", Content: []byte("groups: [{name: third, rules: [{alert: T, expr: 'a:b > a:c'}]}]")},
	}, house(t))
	require.NoError(t, err)
	var lines []string
	for _, f := range got {
		lines = append(lines, f.String())
	}
	require.Equal(t, []string{
		`one.yml:9: warning: group "second", rule "Plain": nothing_plain is emitted by nothing`,
		`one.yml:15: warning: group "second", rule "Folded": on (jop): no series there has the label jop; did you mean job?`,
		`one.yml:18: warning: group "second", rule "Flow": up has no label nosuch (it has instance, job), so nosuch="x" matches nothing`,
		`two.yml:1: warning: group "third", rule "T": a:c is emitted by nothing; did you mean a:b?`,
	}, lines)

	_, err = rulecheck.Check(t.Context(), []rulecheck.File{{Name: "bad.yml", Content: []byte("groups: [")}}, house(t))
	require.ErrorContains(t, err, "bad.yml: ")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = rulecheck.Check(ctx, []rulecheck.File{ruleFile("up")}, house(t))
	require.ErrorIs(t, err, context.Canceled)
}

func TestParseContract(t *testing.T) {
	got, err := rulecheck.ParseContract(strings.NewReader("a{} COUNTER\n    Help.\n\nb_c{x,y} GAUGE_HISTOGRAM\n    Help {of} IT\n"))
	require.NoError(t, err)
	require.Equal(t, map[string]rulecheck.Metric{
		"a":   {Type: model.MetricTypeCounter},
		"b_c": {Type: model.MetricTypeGaugeHistogram, Labels: []string{"x", "y"}},
	}, got)
	for name, tc := range map[string]struct{ text, want string }{
		"no type":      {"a{} COUNTER\nb{}\n", `line 2: "b{}" is not like name{label,label} TYPE`},
		"wrong type":   {"a{} METER\n", "line 1: a is of no known type: METER"},
		"twice":        {"a{} GAUGE\na{} GAUGE\n", "line 2: a is there twice"},
		"wrong label":  {"a{1} GAUGE\n", `line 1: a: "1" is no name of a label`},
		"endless line": {strings.Repeat("a", 100_000), "reading metrics: bufio.Scanner: token too long"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := rulecheck.ParseContract(strings.NewReader(tc.text))
			require.EqualError(t, err, tc.want)
		})
	}
}

// TestBounded asks for more than a store should be asked.
func TestBounded(t *testing.T) {
	var rules []rulefmt.Rule
	for i := range 3000 {
		rules = append(rules, rulefmt.Rule{Alert: "A", Expr: "m" + strings.Repeat("x", 1+i%50) + strings.Repeat("y", 1+i/50)})
	}
	k := house(t)
	asked := 0
	k.Open = true
	k.Exists = func(context.Context, ...*labels.Matcher) (bool, error) { asked++; return true, nil }
	_, err := rulecheck.Check(t.Context(), []rulecheck.File{{Name: "f", Groups: &rulefmt.RuleGroups{Groups: []rulefmt.RuleGroup{{Name: "g", Rules: rules}}}}}, k)
	require.NoError(t, err)
	require.Equal(t, 2000, asked)
}

// TestAlerts asks for the labels that alerts can have.
func TestAlerts(t *testing.T) {
	files := []rulecheck.File{{Name: "f.yml", Content: []byte(`groups:
- name: g
  labels: {team: own, severity: info}
  rules:
  - {alert: Sum, expr: 'sum by (job) (up) > 1', labels: {severity: page}}
  - {alert: Templated, expr: 'sum(up) > 1', labels: {where: '{{ $labels.job }}'}}
  - {alert: Absent, expr: 'absent(up{job="a", instance=~"b"})'}
  - {alert: AbsentOverTime, expr: 'absent_over_time(up{job="a"}[5m])'}
  - {alert: AbsentSum, expr: 'absent(sum(up{job="a"}))'}
  - {alert: Unknown, expr: 'info(up)'}
  - {record: 'a:b', expr: up}
`)}}
	known := rulecheck.DefaultKnown()
	known.ExternalLabels = []string{"site"}
	alerts, err := rulecheck.Alerts(t.Context(), files, known)
	require.NoError(t, err)
	got := map[string]string{}
	for _, a := range alerts {
		got[a.Name] = fmt.Sprint(a.Fixed, slices.Sorted(maps.Keys(a.Labels)))
		require.Equal(t, a.Name != "Unknown", a.Labels != nil)
	}
	require.Equal(t, map[string]string{
		"Sum":            "map[alertname:Sum severity:page team:own] [alertname job severity site team]",
		"Templated":      "map[alertname:Templated severity:info team:own] [alertname severity site team where]",
		"Absent":         "map[alertname:Absent severity:info team:own] [alertname job severity site team]",
		"AbsentOverTime": "map[alertname:AbsentOverTime severity:info team:own] [alertname job severity site team]",
		"AbsentSum":      "map[alertname:AbsentSum severity:info team:own] [alertname severity site team]",
		"Unknown":        "map[alertname:Unknown severity:info team:own] []",
	}, got)
	_, err = rulecheck.Alerts(t.Context(), []rulecheck.File{{Name: "broken.yml", Content: []byte("groups: [")}}, known)
	require.ErrorContains(t, err, "broken.yml")
}
