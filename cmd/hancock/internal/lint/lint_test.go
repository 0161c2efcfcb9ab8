package lint_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/prometheus/prometheus/discovery/dns"
	_ "github.com/prometheus/prometheus/discovery/http"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cyberviser/hancock/alerting/rulecheck"
	"github.com/cyberviser/hancock/cmd/hancock/internal/config"
	"github.com/cyberviser/hancock/cmd/hancock/internal/lint"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ownRules have alerts with known labels, with unknown ones and with a label from a template.
const ownRules = `groups:
- name: own
  rules:
  - {alert: HighErrorRate, expr: sum by (job) (up) > 1, labels: {severity: critical}}
  - {alert: SlowAnswers, expr: sum by (job) (up) > 1, labels: {severity: warning, team: '{{ $labels.job }}'}}
`

// find checks a configuration whose directory has the files, and returns the findings without the directory.
func find(t *testing.T, text string, files map[string]string) []string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	path := filepath.Join(dir, "hancock.yml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	c, err := config.Load(path, config.Config{Storage: config.Storage{Path: "data"}})
	require.NoError(t, err)
	rules := []rulecheck.File{{Name: "own.yml", Content: []byte(ownRules)}}
	for name, content := range files {
		if strings.HasSuffix(name, ".rules") {
			rules = append(rules, rulecheck.File{Name: name, Content: []byte(content)})
		}
	}
	known := rulecheck.DefaultKnown()
	alerts, err := rulecheck.Alerts(t.Context(), rules, known)
	require.NoError(t, err)
	findings := lint.Check(lint.Input{
		Config: c, Retention: 120 * time.Hour, Lookback: 5 * time.Minute, Rules: rules, Alerts: alerts,
		Now: time.Date(2030, 5, 1, 12, 0, 0, 0, time.UTC),
	})
	texts := []string{}
	for _, f := range findings {
		texts = append(texts, strings.ReplaceAll(f.String(), dir+string(filepath.Separator), ""))
	}
	return texts
}

const receivers = "  receivers: [{name: w, webhook_configs: [{url: 'http://127.0.0.1:9/'}]}, {name: x}]\n"

// both is a route that uses both receivers.
const both = "  route: {receiver: w, routes: [{matchers: [a=b], receiver: x}]}\n"

func TestFindings(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		files      map[string]string
		want       []string // the beginnings of the findings
	}{
		{"nothing", "", nil, nil},

		// Files.
		{"files of a job", `prometheus:
  scrape_configs:
  - {job_name: a, authorization: {credentials_file: a}}
  - {job_name: b, bearer_token_file: b}
  - {job_name: c, basic_auth: {username_file: u, password_file: p}}
  - job_name: d
    oauth2: {client_id: i, client_secret_file: s, token_url: 'http://x/', tls_config: {ca_file: oa}}
  - job_name: e
    tls_config: {ca_file: ca, cert_file: cert, key_file: key}
    http_headers: {X-A: {files: [h1, there]}}
`, map[string]string{"there": "x"}, []string{
			"hancock.yml:3: prometheus.scrape_configs[0].authorization.credentials_file: the file a does not exist: create it or correct the path",
			"hancock.yml:4: prometheus.scrape_configs[1].bearer_token_file: the file b does not exist",
			"hancock.yml:5: prometheus.scrape_configs[2].basic_auth.username_file: the file u ", "hancock.yml:5: prometheus.scrape_configs[2].basic_auth.password_file: the file p ",
			"hancock.yml:7: prometheus.scrape_configs[3].oauth2.client_secret_file: the file s ", "hancock.yml:7: prometheus.scrape_configs[3].oauth2.tls_config.ca_file: the file oa ",
			"hancock.yml:9: prometheus.scrape_configs[4].tls_config.ca_file: the file ca ", "hancock.yml:9: prometheus.scrape_configs[4].tls_config.cert_file: the file cert ",
			"hancock.yml:9: prometheus.scrape_configs[4].tls_config.key_file: the file key ", "hancock.yml:10: prometheus.scrape_configs[4].http_headers.X-A.files[0]: the file h1 ",
		}},
		{"files of what is not scraped", `prometheus:
  remote_write: [{url: 'http://x/', basic_auth: {username: u, password_file: rw}}]
  remote_read: [{url: 'http://x/', authorization: {credentials_file: rr}}]
  alerting: {alertmanagers: [{tls_config: {ca_file: am}, http_sd_configs: [{url: 'http://x/', authorization: {credentials_file: sd}}]}]}
  scrape_configs: [{job_name: a, http_sd_configs: [{url: 'http://x/'}, {url: 'http://x/', basic_auth: {username: u, password_file: sd2}}]}]
  tracing: {endpoint: 'x:1', tls_config: {ca_file: unused}}
`, nil, []string{
			"hancock.yml:4: prometheus.alerting.alertmanagers[0].http_sd_configs[0].authorization.credentials_file: the file sd ",
			"hancock.yml:4: prometheus.alerting.alertmanagers[0].tls_config.ca_file: the file am ",
			"hancock.yml:5: prometheus.scrape_configs[0].http_sd_configs[1].basic_auth.password_file: the file sd2 ",
			"hancock.yml:2: prometheus.remote_write[0].basic_auth.password_file: the file rw ",
			"hancock.yml:3: prometheus.remote_read[0].authorization.credentials_file: the file rr ",
		}},
		{"files of scrape_config_files", "prometheus: {scrape_config_files: ['more/*.yml', 'missing/*.yml']}\n", map[string]string{
			"more/a.yml": "scrape_configs:\n- {job_name: a}\n- {job_name: b, authorization: {credentials_file: x}}\n", "more/b.yml": "scrape_configs:\n- job_name: c\n  tls_config: {ca_file: y}\n",
		}, []string{
			"more/a.yml:3: scrape_configs[1].authorization.credentials_file: the file more/x ", "more/b.yml:3: scrape_configs[0].tls_config.ca_file: the file more/y ",
			"hancock.yml:1: warning: prometheus.scrape_config_files[1]: no files match missing/*.yml: ",
		}},
		{"files of receivers", `alertmanager:
  global:
    slack_api_url_file: slack
    http_config: {tls_config: {ca_file: ca}}
    smtp_smarthost: x:25
    smtp_from: a@b.c
    smtp_auth_password_file: pw
  route: {receiver: w}
  receivers:
  - name: w
    slack_configs: [{channel: c}, {channel: d, api_url_file: own}]
    pagerduty_configs: [{routing_key_file: rk}, {service_key_file: sk}]
    webhook_configs: [{url_file: u, http_config: {authorization: {credentials_file: c}}}]
    email_configs: [{to: a@b.c, auth_password_file: ep}]
    telegram_configs: [{chat_id: 1, bot_token_file: tg}]
    discord_configs: [{webhook_url_file: dc}]
    pushover_configs: [{user_key_file: puk, token_file: put}]
    opsgenie_configs: [{api_key_file: og}]
`, nil, []string{
			"hancock.yml:4: alertmanager.global.http_config.tls_config.ca_file: the file ca does not exist", "hancock.yml:7: alertmanager.global.smtp_auth_password_file: the file pw ",
			"hancock.yml:3: alertmanager.global.slack_api_url_file: the file slack ",
			"hancock.yml:16: alertmanager.receivers[0].discord_configs[0].webhook_url_file: the file dc ", "hancock.yml:14: alertmanager.receivers[0].email_configs[0].auth_password_file: the file ep ",
			"hancock.yml:12: alertmanager.receivers[0].pagerduty_configs[0].routing_key_file: the file rk ", "hancock.yml:12: alertmanager.receivers[0].pagerduty_configs[1].service_key_file: the file sk ",
			"hancock.yml:11: alertmanager.receivers[0].slack_configs[1].api_url_file: the file own ",
			"hancock.yml:13: alertmanager.receivers[0].webhook_configs[0].http_config.authorization.credentials_file: the file c ", "hancock.yml:13: alertmanager.receivers[0].webhook_configs[0].url_file: the file u ",
			"hancock.yml:18: alertmanager.receivers[0].opsgenie_configs[0].api_key_file: the file og ",
			"hancock.yml:17: alertmanager.receivers[0].pushover_configs[0].user_key_file: the file puk ", "hancock.yml:17: alertmanager.receivers[0].pushover_configs[0].token_file: the file put ",
			"hancock.yml:15: alertmanager.receivers[0].telegram_configs[0].bot_token_file: the file tg ",
		}},
		{
			"a directory and a broken certificate", "prometheus:\n  scrape_configs:\n  - {job_name: a, tls_config: {ca_file: ca}}\n  - {job_name: b, authorization: {credentials_file: d}}\n",
			map[string]string{"ca": "not a certificate", "d/x": ""},
			[]string{
				"hancock.yml:3: prometheus.scrape_configs[0].tls_config: unable to use specified CA cert", "hancock.yml:4: warning: prometheus.scrape_configs[1].authorization.credentials_file: d is a directory",
			},
		},
		{"rule files", "prometheus: {rule_files: ['a?.rules', 'own[1].rules', 'b/*.rules']}\n", map[string]string{"own1.rules": ""}, []string{
			"hancock.yml:1: prometheus.rule_files[0]: the file a?.rules does not exist",
		}},

		// Targets.
		{"URL as a target", `prometheus:
  scrape_configs:
  - job_name: a
    static_configs: [{targets: ['127.0.0.1:1']}, {targets: ['127.0.0.1:2', 'http://127.0.0.1:3/metrics']}]
    relabel_configs: [{target_label: team, replacement: x}]
`, nil, []string{`hancock.yml:4: prometheus.scrape_configs[0].static_configs[1].targets[1]: "http://127.0.0.1:3/metrics" is not a valid hostname: write host:port`}},
		{"URL that becomes a parameter", `prometheus:
  scrape_configs:
  - job_name: blackbox
    static_configs: [{targets: ['https://example.org']}]
    relabel_configs:
    - {source_labels: [__address__], target_label: __param_target}
    - {target_label: __address__, replacement: '127.0.0.1:9115'}
`, nil, nil},
		{"URL that is dropped", "prometheus:\n  scrape_configs: [{job_name: a, static_configs: [{targets: ['http://x/']}], relabel_configs: [{action: drop, regex: 'http.*', source_labels: [__address__]}]}]\n", nil, nil},
		{"file_sd", "prometheus:\n  scrape_configs:\n  - job_name: a\n    file_sd_configs:\n    - {files: ['t/*.json', 'none.json']}\n    - files: ['u.yml', 'v.yaml', 'w.yml', 'empty.yml']\n", map[string]string{
			"t/ok.json": `[{"targets": ["127.0.0.1:1"], "labels": {"a": "b"}}]`, "t/url.json": `[{"targets": ["127.0.0.1:1"]}, {"targets": ["http://127.0.0.1:1"]}]`, "t/broken.json": `[{"targets": `,
			"u.yml": "- targetz: []\n", "v.yaml": "- targets: ['127.0.0.1:1']\n-\n", "w.yml": "- targets: ['127.0.0.1:1']\n", "empty.yml": "",
		}, []string{
			"hancock.yml:5: prometheus.scrape_configs[0].file_sd_configs[0].files[0]: t/broken.json: unexpected end of JSON input: correct the file",
			`t/url.json:1: [1].targets[0]: "http://127.0.0.1:1" is not a valid hostname`,
			"hancock.yml:6: prometheus.scrape_configs[0].file_sd_configs[1].files[0]: u.yml: yaml: unmarshal errors: line 1: field targetz not found",
			"hancock.yml:6: prometheus.scrape_configs[0].file_sd_configs[1].files[1]: v.yaml: entry 1 of the list is empty",
			"hancock.yml:5: warning: prometheus.scrape_configs[0].file_sd_configs[0].files[1]: no files match none.json",
		}},
		{"Alertmanagers", `prometheus:
  alerting:
    alertmanagers:
    - {static_configs: [{targets: ['http://127.0.0.1:9093']}], relabel_configs: [{target_label: x, replacement: y}]}
    - {static_configs: [{targets: ['http://127.0.0.1:9093']}], relabel_configs: [{target_label: __address__, replacement: '127.0.0.1:9093'}]}
    - {file_sd_configs: [{files: [am.yml]}]}
`, map[string]string{"am.yml": "- targets: ['127.0.0.1:1', 'http://x/y']\n"}, []string{
			`hancock.yml:4: prometheus.alerting.alertmanagers[0].static_configs[0].targets[0]: "http://127.0.0.1:9093" is not a valid hostname`, `am.yml:1: [0].targets[1]: "http://x/y" is not a valid hostname`,
		}},
		{
			"stale between scrapes", "prometheus:\n  scrape_configs: [{job_name: a, scrape_interval: 5m}, {job_name: b, scrape_interval: 4m59s}]\n", nil,
			[]string{"hancock.yml:2: warning: prometheus.scrape_configs[0].scrape_interval: samples are stale before the next scrape"},
		},

		// Rules.
		{"duplicate rules", "", map[string]string{"a.rules": `groups:
- name: a
  labels: {team: x}
  rules:
  - {alert: A, expr: up == 0}
  - {alert: A, expr: up == 1, labels: {team: y}}
  - {alert: A, expr: up == 2}
  - {record: 'a:b', expr: up}
- name: b
  rules:
  - {alert: A, expr: up == 0, labels: {team: x}}
  - {record: 'a:b', expr: up}
  - {record: 'a:b', expr: up, labels: {team: x}}
  - {alert: HighErrorRate, expr: up == 0, labels: {severity: critical}}
`}, []string{
			"a.rules:7: warning: groups[0].rules[2]: rule A has the name and the labels of the rule at a.rules:5: rename one",
			"a.rules:11: warning: groups[1].rules[0]: rule A has the name and the labels of the rule at a.rules:5",
			"a.rules:13: warning: groups[1].rules[2]: rule a:b has the name and the labels of the rule at a.rules:8",
			"a.rules:14: warning: groups[1].rules[3]: rule HighErrorRate has the name and the labels of the rule at own.yml:4",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) { requireFindings(t, tc.want, find(t, tc.text, tc.files)) })
	}
}

func requireFindings(t *testing.T, want, got []string) {
	t.Helper()
	require.Len(t, got, len(want), "%s", strings.Join(got, "\n"))
	for i := range want {
		require.True(t, strings.HasPrefix(got[i], want[i]), "want %s\n got %s", want[i], got[i])
	}
}

// TestJobLabels asks for the values of the label job, which relabelling and files of targets may change.
func TestJobLabels(t *testing.T) {
	const top = "prometheus:\n  scrape_configs:\n"
	for _, tc := range []struct {
		name, text string
		want       []string // nil: not known
	}{
		{"as configured", top + "  - {job_name: a, static_configs: [{targets: ['x:1']}]}\n  - {job_name: b}\n", []string{"a", "b"}},
		{"relabelled", top + "  - {job_name: a, static_configs: [{targets: ['x:1']}], relabel_configs: [{target_label: job, replacement: database}]}\n", []string{"a", "database"}},
		{"label of a group", top + "  - {job_name: a, static_configs: [{targets: ['x:1'], labels: {job: other}}, {targets: ['y:1']}]}\n", []string{"a", "other"}},
		{"file of targets without it", top + "  - {job_name: a, file_sd_configs: [{files: [plain.yml]}]}\n", []string{"a"}},
		{"file of targets with it", top + "  - {job_name: a, file_sd_configs: [{files: [job.json]}]}\n", nil},
		{"discovered and relabelled", top + "  - {job_name: a, http_sd_configs: [{url: 'http://x/'}], relabel_configs: [{source_labels: [x], target_label: job}]}\n", nil},
		{"discovered and mapped", top + "  - {job_name: a, dns_sd_configs: [{names: [x]}], relabel_configs: [{action: labelmap, regex: '__meta_(.+)'}]}\n", nil},
		{"discovered", top + "  - {job_name: a, http_sd_configs: [{url: 'http://x/'}], relabel_configs: [{source_labels: [x], target_label: y}]}\n", []string{"a"}},
		{"in another file", "prometheus: {scrape_config_files: [more.yml]}\n", []string{"more"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range map[string]string{
				"hancock.yml": tc.text, "plain.yml": "- targets: ['x:1']\n", "job.json": `[{"targets": ["x:1"], "labels": {"job": "from-file"}}]`,
				"more.yml": "scrape_configs: [{job_name: more, static_configs: [{targets: ['x:1']}]}]\n",
			} {
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
			}
			c, err := config.Load(filepath.Join(dir, "hancock.yml"), config.Config{Storage: config.Storage{Path: "data"}})
			require.NoError(t, err)
			require.Equal(t, tc.want, lint.JobLabels(c))
		})
	}
}
