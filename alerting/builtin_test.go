package alerting_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	amconfig "github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/cyberviser/hancock/alerting"
	"github.com/cyberviser/hancock/alerting/ruletest"
)

// builtin are the embedded groups, as the manager has them.
func builtin(t *testing.T) []*rules.Group {
	t.Helper()
	require.NoError(t, alerting.Check(alerting.DefaultOptions()))
	m, err := alerting.New(alerting.DefaultOptions(), alerting.Storage{}, nil, prometheus.NewRegistry(), logger(t))
	require.NoError(t, err)
	t.Cleanup(func() { m.Close() })
	return m.RuleGroups()
}

func TestBuiltinGroups(t *testing.T) {
	require.Contains(t, alerting.Builtin(), "hancock.availability")
	got := map[string][]string{}
	for _, g := range builtin(t) {
		require.Equal(t, alerting.BuiltinFile, g.File())
		require.Equal(t, 15*time.Second, g.Interval())
		for _, r := range g.Rules() {
			a, ok := r.(*rules.AlertingRule)
			require.True(t, ok)
			got[g.Name()] = append(got[g.Name()], a.Name()+" "+a.Labels().Get("severity"))
		}
	}
	// Those of the monitoring guide are as it has them.
	guide := map[string][]string{
		"hancock.requests":     {"HancockHighErrorRate warning"},
		"hancock.availability": {"HancockNoTraffic critical"},
		"hancock.memory":       {"HancockMemoryGrowth warning", "HancockHighMemoryUsage critical"},
	}
	for group, alerts := range guide {
		require.Equal(t, alerts, got[group])
	}
	require.Equal(t, []string{"Watchdog none"}, got["hancock.heartbeat"])
}

// TestBuiltinComplete wants of each alert what people need who get it: how bad it is, what it says, and a page about it.
func TestBuiltinComplete(t *testing.T) {
	const runbooks = "{{ $externalURL }}/docs/runbooks/"
	pages, err := filepath.Glob("../docs/runbooks/*.md")
	require.NoError(t, err)
	unused := map[string]bool{}
	for _, page := range pages {
		unused[page] = true
	}
	severities := map[string]bool{"critical": true, "warning": true, "none": true}
	names := map[string]bool{}
	for _, g := range builtin(t) {
		for _, a := range g.AlertingRules() {
			require.False(t, names[a.Name()], "%s stands there twice", a.Name())
			names[a.Name()] = true
			require.True(t, severities[a.Labels().Get("severity")], a.Name())
			require.NotEmpty(t, a.Annotations().Get("summary"), a.Name())
			require.NotEmpty(t, a.Annotations().Get("description"), a.Name())

			require.Equal(t, runbooks+a.Name(), a.Annotations().Get("runbook_url"))
			page := filepath.Join("../docs/runbooks", a.Name()+".md")
			content, err := os.ReadFile(page)
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(string(content), "# "+a.Name()+"\n"), page)
			for _, section := range []string{"## What it means", "## What people notice", "## How to find the cause", "## What to do", "## When to change the threshold"} {
				require.Contains(t, string(content), section+"\n", page)
			}
			for _, block := range promqlRE.FindAllStringSubmatch(string(content), -1) {
				for line := range strings.Lines(block[1]) {
					_, err := parser.NewParser(parser.Options{}).ParseExpr(line)
					require.NoError(t, err, "%s: %s", page, line)
				}
			}
			for _, link := range linkRE.FindAllStringSubmatch(string(content), -1) {
				require.FileExists(t, filepath.Join("../docs/runbooks", link[1]), page)
			}
			delete(unused, page)
		}
	}
	require.Empty(t, unused, "pages of no alert")
}

// promqlRE finds the queries of a page, linkRE where it leads to.
var (
	promqlRE = regexp.MustCompile("(?s)```promql\n(.*?)```")
	linkRE   = regexp.MustCompile(`\]\(([^)#]+)\)`)
)

// TestBuiltinUnitTests runs the files that say when each alert fires and when it does not.
func TestBuiltinUnitTests(t *testing.T) {
	files, err := filepath.Glob("testdata/*.test.yml")
	require.NoError(t, err)
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			var out bytes.Buffer
			err := ruletest.Run(t.Context(), &out, []string{file}, ruletest.DefaultOptions())
			require.NoError(t, err, out.String())
		})
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		var parsed struct {
			Tests []struct {
				AlertRuleTest []struct {
					Alertname string
					ExpAlerts []any `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			}
		}
		require.NoError(t, yaml.Unmarshal(content, &parsed))
		for _, test := range parsed.Tests {
			for _, at := range test.AlertRuleTest {
				fires[at.Alertname] = fires[at.Alertname] || len(at.ExpAlerts) > 0
				quiet[at.Alertname] = quiet[at.Alertname] || len(at.ExpAlerts) == 0
			}
		}
	}
	for _, g := range builtin(t) {
		for _, a := range g.AlertingRules() {
			require.True(t, fires[a.Name()], "no test has %s fire", a.Name())
			require.True(t, quiet[a.Name()] || a.Name() == "Watchdog", "no test has %s quiet", a.Name())
		}
	}
}

// TestAlertmanagerExample loads the example that has the guide's routes and their receivers.
func TestAlertmanagerExample(t *testing.T) {
	cfg, err := amconfig.LoadFile("../docs/alertmanager.example.yml")
	require.NoError(t, err)
	require.Equal(t, "slack-critical", cfg.Route.Receiver)
	root := dispatch.NewRoute(cfg.Route, nil)
	for alert, want := range map[string]string{
		"Watchdog none":               "dead-mans-switch",
		"HancockNoAnswers critical":   "pagerduty",
		"HancockSlowModel warning":    "slack-warnings",
		"SomethingElse informational": "slack-critical",
	} {
		name, severity, _ := strings.Cut(alert, " ")
		routes := root.Match(model.LabelSet{"alertname": model.LabelValue(name), "severity": model.LabelValue(severity)})
		require.Len(t, routes, 1)
		require.Equal(t, want, routes[0].RouteOpts.Receiver)
	}
}
