package main

import (
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestChangedSettings changes the file of a process that runs: what only a
// start takes is named, what a reload takes is not.
func TestChangedSettings(t *testing.T) {
	t.Chdir(t.TempDir())
	load := func(file string) invocation {
		require.NoError(t, os.WriteFile(defaultConfigFile, []byte(file), 0o600))
		inv, err := parseCommandLine(nil, noEnvironment, io.Discard)
		require.NoError(t, err)
		return inv
	}
	for _, tc := range []struct {
		name, old, now string
		want           []string
	}{
		{"nothing", "prometheus: {scrape_configs: [{job_name: node}]}", "prometheus: {scrape_configs: [{job_name: node}], remote_write: []}", nil},
		{"a section that says nothing", "", "prometheus: {}", nil},
		{"what a reload takes", "", `
alerting: {builtin_rules: false, evaluation_interval: 5s, disabled: [Watchdog], severity: {HancockTooBusy: info}, traffic_hours: [{months: [may]}]}
prometheus:
  global: {rule_query_offset: 1s, evaluation_interval: 7s}
  alerting: {alertmanagers: [{static_configs: [{targets: ['127.0.0.1:9']}]}]}
alertmanager: {route: {receiver: nobody}, receivers: [{name: nobody}]}
`, nil},
		{"what has no effect", "", "prometheus: {tracing: {endpoint: 'localhost:9'}, runtime: {gogc: 50}}", nil},
		{
			"own sections", "", "web: {protect_metrics: true}\nagent: {rate_limit: 7}\nstorage: {path: x}\nalerting: {retention: 10h}",
			[]string{"agent.rate_limit", "alerting.retention", "storage.path", "web.protect_metrics"},
		},
		{
			"a secret", "prometheus: {remote_write: [{url: 'http://a/', basic_auth: {username: u, password: one}}]}",
			"prometheus: {remote_write: [{url: 'http://a/', basic_auth: {username: u, password: two}}]}",
			[]string{"prometheus.remote_write"},
		},
		{
			"lists", "", "prometheus: {scrape_configs: [{job_name: node}], remote_read: [{url: 'http://a/'}], scrape_config_files: ['x/*.yml']}",
			[]string{"prometheus.remote_read", "prometheus.scrape_config_files", "prometheus.scrape_configs"},
		},
		{"storage", "", "prometheus: {storage: {exemplars: {max_exemplars: 5}}}", []string{"prometheus.storage.exemplars"}},
		{
			"out of order samples", "prometheus: {storage: {tsdb: {out_of_order_time_window: 1m}}}",
			"prometheus: {storage: {tsdb: {out_of_order_time_window: 2m}}}",
			[]string{"prometheus.storage.tsdb"},
		},
		{"otlp", "", "prometheus: {otlp: {promote_resource_attributes: [service.name]}}", []string{"prometheus.otlp"}},
		{
			"global", "", "prometheus: {global: {external_labels: {site: here}, query_log_file: q.log, sample_limit: 9}}",
			[]string{"prometheus.global.external_labels", "prometheus.global.query_log_file", "prometheus.global.sample_limit"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.want == nil {
				tc.want = []string{}
			}
			require.Equal(t, tc.want, changedSettings(load(tc.old).config, load(tc.now).config))
		})
	}
}
