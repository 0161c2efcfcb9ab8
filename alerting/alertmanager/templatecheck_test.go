package alertmanager_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/alertmanager/config"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/alertmanager"
	"github.com/cyberviser/hancock/internal/render"
)

// checked is what the check finds in the template of a setting.
func checked(t *testing.T, integrations, files string) []alertmanager.TemplateFinding {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ours.tmpl"), []byte(files), 0o600))
	c, err := config.Load(lines(
		"global: {smtp_smarthost: 'localhost:25', smtp_from: h@example.org}",
		"templates: ['"+filepath.Join(dir, "*.tmpl")+"']",
		"route: {receiver: it}",
		"receivers:",
		"- name: it",
		integrations,
	))
	require.NoError(t, err)
	require.NoError(t, alertmanager.Check(c), "it starts all the same")
	return findings(t, c)
}

// findings is what the check finds.
func findings(t *testing.T, c *config.Config) []alertmanager.TemplateFinding {
	t.Helper()
	p := render.New(render.Options{}, alertmanager.TemplateKind())
	defer p.Close()
	found, err := alertmanager.CheckTemplates(t.Context(), p, c, &url.URL{Scheme: "http", Host: "hancock.example:5000"})
	require.NoError(t, err)
	return found
}

func TestCheckTemplates(t *testing.T) {
	t.Parallel()
	const slack = "  slack_configs: [{api_url: 'http://localhost/s3cr3t', channel: '#a', send_resolved: true, text: 'TEXT'}]"
	for name, test := range map[string]struct {
		text, files string
		wrong       bool
		message     string // empty: nothing is found
	}{
		"label with a hyphen":         {`{{ range .Alerts }}{{ .Annotations.my-desc }}{{ end }}`, "", true, `index .Annotations`},
		"unclosed action":             {`{{ .Status`, "", true, "unclosed action"},
		"missing end":                 {`{{ range .Alerts }}`, "", true, "unexpected EOF"},
		"undefined function":          {`{{ .Status | upper }}`, "", true, `function "upper" is not defined`},
		"undefined template":          {`{{ template "no.such" . }}`, "", true, `template "no.such" is not defined: define it`},
		"undefined, if nothing fires": {`{{ if eq .Status "x" }}{{ template "no.such" . }}{{ end }}`, "", true, `"no.such" is not defined`},
		"undefined, in a range":       {`{{ range .Alerts }}{{ with .Labels }}x{{ else }}{{ template "no.such" . }}{{ end }}{{ end }}`, "", true, `"no.such"`},
		"undefined, called by a file": {`{{ template "ours" . }}`, `{{ define "ours" }}{{ template "theirs" . }}{{ end }}`, true, `template "ours" calls the template "theirs"`},
		"calls itself":                {`{{ template "ours" . }}`, `{{ define "ours" }}{{ if .Alerts }}{{ end }}{{ if false }}{{ template "ours" . }}{{ end }}{{ end }}`, false, ""},
		"unknown field":               {`{{ .Labels.instance }}`, "", false, "use .CommonLabels, or range over .Alerts"},
		"unknown field of an alert":   {`{{ range .Alerts }}{{ .Summary }}{{ end }}`, "", false, "an alert has no field Summary"},
		"unknown field, in a file":    {`{{ template "ours" . }}`, `{{ define "ours" }}{{ .Nope }}{{ end }}`, false, `{{ .Nope }} in template "ours"`},
		"index out of range":          {`{{ (index .Alerts 3).Status }}`, "", false, "index out of range"},
		"fails for a resolved alert":  {`{{ (index .Alerts.Firing 0).Status }}`, "", false, "with a resolved alert: "},
		"endless recursion":           {`{{ template "ours" . }}`, `{{ define "ours" }}{{ template "ours" . }}{{ end }}`, true, "calls itself too deeply"},
		"wrong argument":              {`{{ toUpper 1 }}`, "", false, "expected string"},
		"wrong expression":            {`{{ match "(" .Status }}`, "", false, "error parsing regexp"},

		"all is well":                {`{{ range .Alerts }}{{ .Annotations.summary }}{{ end }}`, "", false, ""},
		"Alertmanager's own":         {`{{ template "slack.default.title" . }}`, "", false, ""},
		"of a file":                  {`{{ template "ours" . }}`, `{{ define "ours" }}{{ .Status }}{{ end }}`, false, ""},
		"defined on the spot":        {`{{ define "x" }}x{{ end }}{{ template "x" . }}{{ block "y" . }}{{ .Status }}{{ end }}`, "", false, ""},
		"a label that may be absent": {`{{ range .Alerts }}{{ .Labels.rack }}{{ .Annotations.owner }}{{ index .Labels "k8s.pod" }}{{ end }}{{ .CommonLabels.x }}`, "", false, ""},
		"a part of a label":          {`{{ slice .CommonLabels.rack 0 3 }}{{ slice .GroupLabels.zone 0 1 }}{{ range .Alerts }}{{ slice (index .Annotations "a.b") 1 }}{{ end }}`, "", false, ""},
		"a label in a certain form":  {`{{ mustToDate "2006-01-02" .CommonLabels.since }}{{ base64decode .CommonLabels.code }}`, "", false, ""},
		"route labels":               {`{{ routeLabels "team" }}{{ .RouteLabels.team }}`, "", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := checked(t, strings.ReplaceAll(slack, "TEXT", test.text), test.files)
			if test.message == "" {
				require.Empty(t, found)
				return
			}
			require.Len(t, found, 1)
			require.Equal(t, test.wrong, found[0].Wrong)
			require.Contains(t, found[0].Message, test.message)
			require.True(t, strings.HasPrefix(found[0].String(), `receiver "it": slack_configs[0].text: `), found[0])
			require.Regexp(t, `: [^:]+$`, found[0].String(), "it ends in what to do")
		})
	}
}

// Templates are checked wherever Alertmanager executes them, and nowhere else.
func TestCheckTemplatesOfEveryField(t *testing.T) {
	t.Parallel()
	for field, integration := range map[string]string{
		"slack_configs[0].actions[0].confirm.text":   "slack_configs: [{api_url: 'http://x', actions: [{type: button, text: x, name: n, confirm: {text: 'BAD'}}]}]",
		"slack_configs[0].fields[1].value":           "slack_configs: [{api_url: 'http://x', fields: [{title: a, value: b}, {title: a, value: 'BAD'}]}]",
		"slack_configs[1].color":                     "slack_configs: [{api_url: 'http://x'}, {api_url: 'http://x', color: 'BAD'}]",
		"email_configs[0].headers.Subject":           "email_configs: [{to: a@example.org, headers: {subject: 'BAD'}}]",
		"email_configs[0].to":                        "email_configs: [{to: 'BAD'}]",
		"email_configs[0].html":                      "email_configs: [{to: a@example.org, html: 'BAD'}]",
		"pagerduty_configs[0].details.a.b[0].c":      "pagerduty_configs: [{routing_key: k, details: {a: {b: [{c: 'BAD'}]}}}]",
		"pagerduty_configs[0].links[0].href":         "pagerduty_configs: [{routing_key: k, links: [{href: 'BAD'}]}]",
		"pagerduty_configs[0].severity":              "pagerduty_configs: [{routing_key: k, severity: 'BAD'}]",
		"opsgenie_configs[0].responders[0].name":     "opsgenie_configs: [{api_key: k, responders: [{type: team, name: 'BAD'}]}]",
		"opsgenie_configs[0].details.runbook":        "opsgenie_configs: [{api_key: k, details: {runbook: 'BAD'}}]",
		"jira_configs[0].summary":                    "jira_configs: [{api_url: 'http://x', project: P, issue_type: B, summary: {template: 'BAD'}}]",
		"jira_configs[0].fields.customfield_1.value": "jira_configs: [{api_url: 'http://x', project: P, issue_type: B, fields: {customfield_1: {value: 'BAD'}}}]",
		"webhook_configs[0].payload.a[0]":            "webhook_configs: [{url: 'http://x', payload: {a: ['BAD']}}]",
		"webhook_configs[0].payload.BAD (name)":      "webhook_configs: [{url: 'http://x', payload: {'BAD': x}}]",
		"sns_configs[0].attributes.x":                "sns_configs: [{topic_arn: t, sigv4: {region: x}, attributes: {x: 'BAD'}}]",
		"victorops_configs[0].custom_fields.x":       "victorops_configs: [{api_key: k, routing_key: r, custom_fields: {x: 'BAD'}}]",
		"mattermost_configs[0].attachments[0].title": "mattermost_configs: [{webhook_url: 'http://x', attachments: [{title: 'BAD'}]}]",
		"mattermost_configs[0].props.card":           "mattermost_configs: [{webhook_url: 'http://x', props: {card: 'BAD'}}]",
		"rocketchat_configs[0].actions[0].msg":       "rocketchat_configs: [{token: t, token_id: i, actions: [{msg: 'BAD'}]}]",
		"telegram_configs[0].message":                "telegram_configs: [{bot_token: t, chat_id: 1, message: 'BAD'}]",
		"discord_configs[0].content":                 "discord_configs: [{webhook_url: 'http://x', content: 'BAD'}]",
		"msteams_configs[0].summary":                 "msteams_configs: [{webhook_url: 'http://x', summary: 'BAD'}]",
		"msteamsv2_configs[0].title":                 "msteamsv2_configs: [{webhook_url: 'http://x', title: 'BAD'}]",
		"webex_configs[0].room_id":                   "webex_configs: [{room_id: 'BAD', http_config: {authorization: {credentials: c}}}]",
		"wechat_configs[0].to_party":                 "wechat_configs: [{api_secret: s, corp_id: c, to_party: 'BAD'}]",
		"pushover_configs[0].sound":                  "pushover_configs: [{token: t, user_key: u, sound: 'BAD'}]",
		"":                                           "discord_configs: [{webhook_url: 'http://x', username: 'BAD'}]",
	} {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			found := checked(t, "  "+strings.ReplaceAll(integration, "BAD", "{{ .Status | nosuch }}"), "")
			if field == "" {
				require.Empty(t, found)
				return
			}
			require.Len(t, found, 1)
			require.Equal(t, strings.ReplaceAll(field, "BAD", "{{ .Status | nosuch }}"), found[0].Integration+"."+found[0].Field)
			require.True(t, found[0].Wrong)
		})
	}
}

// Nothing that is found shows a secret that is a template itself.
func TestCheckTemplatesShowsNoSecrets(t *testing.T) {
	t.Parallel()
	for _, integration := range []string{
		"pagerduty_configs: [{routing_key: 'hunter2 {{ hunter2 }}'}]",
		"pagerduty_configs: [{routing_key: 'hunter2 {{ .Hunter2 }} {{ template \"hunter2\" . }}'}]",
		"opsgenie_configs: [{api_key: '{{ hunter2 }}'}]",
		"webhook_configs: [{url: 'http://x/{{ .hunter2 }}'}]",
		"pushover_configs: [{token: '{{ .hunter2 }}', user_key: u}]",
	} {
		found := checked(t, "  "+integration, "")
		require.NotEmpty(t, found, integration)
		for _, f := range found {
			require.NotContains(t, strings.ToLower(f.String()), "hunter2")
		}
	}
}

func TestCheckTemplatesFiles(t *testing.T) {
	t.Parallel()
	c, err := config.Load("templates: [/nowhere/*.tmpl, /nowhere/one.tmpl]\nroute: {receiver: it}\nreceivers: [{name: it}]")
	require.NoError(t, err)
	found := findings(t, c)
	require.Len(t, found, 2)
	require.Equal(t, "templates[1]: no files match /nowhere/one.tmpl: correct the path", found[1].String())
	require.False(t, found[1].Wrong)
	require.Empty(t, findings(t, nil))
}

// Templates of the user need a process, Alertmanager's own do not.
func TestCheckTemplatesStartsNoNeedlessProcess(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"slack_configs: [{api_url: 'http://x'}]":                                                    false,
		"slack_configs: [{api_url: 'http://x', text: plain}]":                                       false,
		"slack_configs: [{api_url: 'http://x', title: '{{ template \"slack.default.title\" . }}'}]": false,
		"slack_configs: [{api_url: 'http://x', title: '{{ .Status }}'}]":                            true,
	} {
		c, err := config.Load("route: {receiver: it}\nreceivers:\n- name: it\n  " + text)
		require.NoError(t, err)
		p := render.New(render.Options{}, alertmanager.TemplateKind())
		found, err := alertmanager.CheckTemplates(t.Context(), p, c, &url.URL{})
		require.NoError(t, err)
		require.Empty(t, found)
		require.Equal(t, want, p.Started(), text)
		p.Close()
	}
}

// What was accepted before still starts and reloads; the log says what is wrong.
func TestBrokenTemplatesAreLogged(t *testing.T) {
	t.Parallel()
	text := oneReceiver(once, `  slack_configs: [{api_url: URL, channel: '#a', text: '{{ template "no.such" . }}'}]`, "http://localhost/s3cr3t")
	s := newStation(t, text)
	const record = `"msg":"invalid notification template","receiver":"it","integration":"slack_configs[0]","field":"text","err":"template \"no.such\" is not defined`
	require.Equal(t, 1, strings.Count(s.journal.String(), record))
	c, err := config.Load(text)
	require.NoError(t, err)
	require.NoError(t, reload(s.Alertmanager, c))
	require.Equal(t, 2, strings.Count(s.journal.String(), record))
}
