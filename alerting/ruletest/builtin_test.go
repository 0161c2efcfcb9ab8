package ruletest_test

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/timeinterval"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting"
	"github.com/cyberviser/hancock/alerting/ruletest"
)

// TestBuiltinRules has promtool say of the tests of our rules what we say: whoever takes rules.yml into a Prometheus
// gets what Hancock does. Those of the monitoring guide's rules are run here, the others where the rules are.
func TestBuiltinRules(t *testing.T) {
	path := promtool(t)
	all, err := filepath.Glob("../testdata/*.test.yml")
	require.NoError(t, err)
	guide, err := filepath.Glob("../testdata/builtin_*.test.yml")
	require.NoError(t, err)
	require.Len(t, guide, 3)

	out, err := run(t, ruletest.DefaultOptions(), guide...)
	require.NoError(t, err, out)
	theirs, err := exec.CommandContext(t.Context(), path, append([]string{"test", "rules"}, all...)...).CombinedOutput()
	require.NoError(t, err, string(theirs))
	for file, verdict := range byFile(out) {
		require.Equal(t, verdict, byFile(string(theirs))[file], file)
	}
}

// TestExportedRules has promtool accept the rules as `hancock rules` prints them, and say of tests on them what we say.
func TestExportedRules(t *testing.T) {
	path := promtool(t)
	hours := timeinterval.TimeInterval{Times: []timeinterval.TimeRange{{StartMinute: 8 * 60, EndMinute: 18 * 60}}}
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	hours.Location = &timeinterval.Location{Location: berlin}
	for name, choice := range map[string]alerting.Choice{
		"all":     {},
		"chosen":  {Disabled: []string{"HancockHighErrorRate", "Watchdog"}, Severity: map[string]string{"HancockNoTraffic": "a: 'b'"}, TrafficHours: []timeinterval.TimeInterval{hours}},
		"without": {Disabled: []string{"Watchdog"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := alerting.DefaultOptions()
			o.Choice, o.BuiltinRules = choice, name != "without"
			o.ExternalURL = &url.URL{Scheme: "https", Host: "hancock.example"}
			text, err := o.Export()
			require.NoError(t, err)
			dir := t.TempDir()
			rules := filepath.Join(dir, "rules.yml")
			require.NoError(t, os.WriteFile(rules, []byte(text), 0o600))
			out, err := exec.CommandContext(t.Context(), path, "check", "rules", rules).CombinedOutput()
			require.NoError(t, err, string(out))
			require.Contains(t, string(out), "SUCCESS")
			if name != "chosen" {
				return
			}
			test := filepath.Join(dir, "night.test.yml")
			require.NoError(t, os.WriteFile(test, []byte(`
rule_files: [rules.yml]
evaluation_interval: 10m
tests:
  - interval: 1m
    input_series: [{series: 'hancock_requests_total{job="hancock", instance="a"}', values: '5x1000'}]
    alert_rule_test:
      - {alertname: HancockNoTraffic, eval_time: 3h}
      - {alertname: HancockNoTraffic, eval_time: 17h10m}
    promql_expr_test:
      - {expr: 'count(ALERTS{alertname="HancockNoTraffic"})', eval_time: 9h, exp_samples: [{labels: '{}', value: 1}]}
`), 0o600))
			verdict, err := run(t, ruletest.DefaultOptions(), test)
			require.NoError(t, err, verdict)
			theirs, err := exec.CommandContext(t.Context(), path, "test", "rules", test).CombinedOutput()
			require.NoError(t, err, string(theirs))
		})
	}
}
