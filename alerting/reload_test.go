package alerting_test

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting"
	"github.com/cyberviser/hancock/alerting/internal/bubble"
)

// failing writes a rule file with an alert like HancockHighErrorRate, whose summary tells of the outside.
func failing(t *testing.T, file, hold, alert string) {
	t.Helper()
	require.NoError(t, os.WriteFile(file, []byte(`groups:
  - name: extra
    rules:
      - alert: `+alert+`
        expr: rate(hancock_errors_total[1m]) > 0
        for: `+hold+`
        annotations:
          summary: '{{ $externalLabels.site }} at {{ $externalURL }} {{ externalURL }}'
`), 0o600))
}

func (h *house) reload(change func(*alerting.Options)) error {
	o := h.options
	change(&o)
	return h.m.Reload(o)
}

// active is the one active alert of a rule.
func (h *house) active(rule string) *rules.Alert {
	h.t.Helper()
	all := find(h.t, h.m, rule).ActiveAlerts()
	require.Len(h.t, all, 1)
	return all[0]
}

// empty is a storage without samples.
var empty = storage.QueryableFunc(func(int64, int64) (storage.Querier, error) { return storage.NoopQuerier(), nil })

func TestReloadKeepsClocks(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "extra.yml")
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, o *alerting.Options)
		same   bool // The first group itself goes on, which is that of the file.
	}{
		{"nothing changes", func(*testing.T, *alerting.Options) {}, true},
		{"a file more", func(_ *testing.T, o *alerting.Options) {
			o.RuleFiles = append(o.RuleFiles, "testdata/extra.good.yml")
		}, true},
		{"another interval", func(_ *testing.T, o *alerting.Options) { o.EvaluationInterval = 5 * time.Second }, false},
		{"another offset", func(_ *testing.T, o *alerting.Options) { o.QueryOffset = time.Second }, false},
		{"another outside", func(_ *testing.T, o *alerting.Options) {
			o.ExternalLabels = labels.FromStrings("site", "b")
			o.ExternalURL = &url.URL{Scheme: "https", Host: "other.example"}
		}, false},
		{"another rule beside it", func(t *testing.T, _ *alerting.Options) {
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(file, append(content, "      - alert: Other\n        expr: up == 0\n"...), 0o600))
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				failing(t, file, "5m", "Failing")
				h := enter(t, t.TempDir())
				defer func() { h.stop() }()
				h.options.RuleFiles = []string{file}
				require.NoError(t, h.reload(func(*alerting.Options) {}))
				close(h.ready)
				var requests, errs float64
				h.pass(3*time.Minute, &requests, &errs, 10, 5)
				before, groups := h.active("Failing"), h.m.RuleGroups()
				require.Equal(t, rules.StatePending, before.State)

				require.NoError(t, h.reload(func(o *alerting.Options) { tt.change(t, o) }))
				h.pass(time.Minute, &requests, &errs, 10, 5)
				require.Equal(t, rules.StatePending, h.active("Failing").State)
				require.Equal(t, before.ActiveAt, h.active("Failing").ActiveAt)
				if tt.same {
					require.Same(t, groups[0], h.m.RuleGroups()[0])
				} else {
					require.NotSame(t, groups[0], h.m.RuleGroups()[0])
				}
				h.pass(90*time.Second, &requests, &errs, 10, 5)
				require.Equal(t, rules.StateFiring, h.active("Failing").State, "five minutes, not five after the reload")
			})
		})
	}
}

func TestReloadOutside(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "extra.yml")
		failing(t, file, "0s", "Failing")
		h := enter(t, t.TempDir())
		defer func() { h.stop() }()
		close(h.ready)
		var requests, errs float64
		h.pass(time.Minute, &requests, &errs, 10, 5)
		for _, outside := range []struct{ site, host string }{{"a", "one.example"}, {"b", "one.example"}, {"b", "two.example"}, {"a", "one.example"}} {
			require.NoError(t, h.reload(func(o *alerting.Options) {
				o.RuleFiles = []string{file}
				o.ExternalLabels = labels.FromStrings("site", outside.site)
				o.ExternalURL = &url.URL{Scheme: "http", Host: outside.host}
			}))
			h.pass(time.Minute, &requests, &errs, 10, 5)
			at := "http://" + outside.host
			require.Equal(t, outside.site+" at "+at+" "+at, h.active("Failing").Annotations.Get("summary"))
			h.sent.take()
			h.pass(2*time.Minute, &requests, &errs, 10, 5)
			sent := h.sent.take()
			require.NotEmpty(t, sent)
			require.True(t, strings.HasPrefix(sent[0].GeneratorURL, at+"/graph"), sent[0].GeneratorURL)
		}
	})
}

func TestReloadBad(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		file := filepath.Join(dir, "extra.yml")
		failing(t, file, "0s", "Failing")
		h := enter(t, t.TempDir())
		defer func() { h.stop() }()
		close(h.ready)
		var requests, errs float64
		h.pass(time.Minute, &requests, &errs, 10, 5)
		require.NoError(t, h.reload(func(o *alerting.Options) { o.RuleFiles = []string{file} }))
		h.pass(time.Minute, &requests, &errs, 10, 5)
		groups, alert := h.m.RuleGroups(), h.active("Failing")

		bad := filepath.Join(dir, "bad.yml")
		require.NoError(t, os.WriteFile(bad, []byte("groups:\n  - name: a\n    rules:\n      - record: b\n        expr: sum(\n"), 0o600))
		for want, change := range map[string]func(*alerting.Options){
			bad + ":5:": func(o *alerting.Options) { o.RuleFiles = []string{file, bad} },
			"nothing.yml: file does not exist": func(o *alerting.Options) {
				o.RuleFiles = []string{filepath.Join(dir, "nothing.yml")}
			},
			"evaluation interval must be": func(o *alerting.Options) { o.EvaluationInterval = 0 },
		} {
			require.ErrorContains(t, h.reload(func(o *alerting.Options) {
				o.ExternalURL, o.ExternalLabels = &url.URL{Host: "bad"}, labels.FromStrings("site", "bad")
				change(o)
			}), want)
			h.pass(30*time.Second, &requests, &errs, 10, 5)
			require.Equal(t, groups, h.m.RuleGroups())
			require.Equal(t, alert.ActiveAt, h.active("Failing").ActiveAt)
			require.NotContains(t, h.active("Failing").Annotations.Get("summary"), "bad")
		}
	})
}

// TestReloadForgets is about a rule that goes: its series ends, and a rule of another name takes its file.
func TestReloadForgets(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "extra.yml")
		failing(t, file, "0s", "Before")
		h := enter(t, t.TempDir())
		defer func() { h.stop() }()
		h.options.RuleFiles = []string{file}
		require.NoError(t, h.reload(func(*alerting.Options) {}))
		close(h.ready)
		var requests, errs float64
		h.pass(2*time.Minute, &requests, &errs, 10, 5)
		require.NotEmpty(t, h.active("Before"))
		failing(t, file, "0s", "After")
		require.NoError(t, h.reload(func(*alerting.Options) {}))
		h.pass(time.Minute, &requests, &errs, 10, 5)
		require.NotEmpty(t, h.active("After"))
		v, err := h.query(`ALERTS{alertname=~"Before|After"}`)
		require.NoError(t, err)
		require.Len(t, v, 1)
		require.Equal(t, "After", v[0].Metric.Get("alertname"))

		require.NoError(t, h.reload(func(o *alerting.Options) { o.BuiltinRules, o.RuleFiles = false, nil }))
		require.Empty(t, h.m.RuleGroups())
		h.pass(2*time.Minute, &requests, &errs, 10, 5)
		v, err = h.query(`ALERTS`)
		require.NoError(t, err)
		require.Empty(t, v)
	})
}

// TestReloadBeforeRun is about a configuration that comes while the rules wait for the first samples.
func TestReloadBeforeRun(t *testing.T) {
	reg := prometheus.NewRegistry()
	ready := make(chan struct{})
	asked := make(chan string, 100)
	m, err := alerting.New(alerting.DefaultOptions(), alerting.Storage{
		Ready: ready, Appendable: discard{}, Queryable: empty,
		Query: func(_ context.Context, q string, _ time.Time) (promql.Vector, error) {
			select {
			case asked <- q:
			default:
			}
			return nil, nil
		},
	}, nil, reg, logger(t))
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- m.Run(t.Context()) }()
	o := alerting.Options{RuleFiles: []string{"testdata/extra.good.yml"}, EvaluationInterval: 10 * time.Millisecond}
	require.NoError(t, m.Reload(o))
	require.Len(t, m.RuleGroups(), 2)
	bad := o
	bad.RuleFiles = []string{"testdata/expression.bad.yml"}
	require.ErrorContains(t, m.Reload(bad), "testdata/expression.bad.yml:")
	require.Len(t, m.RuleGroups(), 2)
	n, err := testutil.GatherAndCount(reg, "prometheus_rule_group_rules")
	require.NoError(t, err)
	require.Zero(t, n, "groups that were never evaluated leave no metrics")

	close(ready)
	require.NotContains(t, <-asked, "hancock_requests_total")
	require.Len(t, m.RuleGroups(), 2)
	require.NoError(t, m.Close())
	require.NoError(t, <-done)
	require.ErrorContains(t, m.Reload(o), "closed")
}

// TestReloadWhileItRuns has reloads of all kinds at once with evaluations, readers and the end.
func TestReloadWhileItRuns(t *testing.T) {
	file := filepath.Join(t.TempDir(), "extra.yml")
	failing(t, file, "0s", "Failing")
	m, err := alerting.New(alerting.DefaultOptions(), alerting.Storage{
		Appendable: discard{}, Queryable: empty,
		Query: func(_ context.Context, _ string, at time.Time) (promql.Vector, error) {
			return promql.Vector{{T: at.UnixMilli(), F: 1, Metric: labels.FromStrings("instance", "a")}}, nil
		},
	}, &outbox{}, prometheus.NewRegistry(), logger(t))
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- m.Run(t.Context()) }()
	stop := make(chan struct{})
	var busy sync.WaitGroup
	for worker := range 3 {
		busy.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				o := alerting.DefaultOptions()
				o.EvaluationInterval = time.Duration(1+i%2) * time.Millisecond
				o.RuleFiles = []string{file}
				o.ExternalURL = &url.URL{Scheme: "http", Host: strings.Repeat("a", 1+worker)}
				if err := m.Reload(o); err != nil && !strings.Contains(err.Error(), "closed") {
					t.Error(err)
				}
				m.RuleGroups()
				m.AlertingRules()
			}
		})
	}
	require.Eventually(t, func() bool {
		for _, r := range m.AlertingRules() {
			if r.Name() == "Failing" && r.State() == rules.StateFiring {
				return true
			}
		}
		return false
	}, time.Minute, time.Millisecond)
	require.NoError(t, m.Close())
	close(stop)
	busy.Wait()
	require.NoError(t, <-done)
}
