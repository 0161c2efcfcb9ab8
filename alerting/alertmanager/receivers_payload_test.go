package alertmanager_test

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/alertmanager/config"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/alertmanager"
)

func TestReceiversSlack(t *testing.T) {
	t.Parallel()
	slack := newReceiver(t, answer{status: http.StatusOK, contentType: "text/html", body: "ok"})
	s := newStation(t, lines(
		"route:",
		"  receiver: slack", quickly,
		"receivers:",
		"- name: slack",
		"  slack_configs:",
		"  - api_url: "+slack.URL+"/services/T000/B000/hook",
		"    channel: '#alerts'",
		"    send_resolved: true",
		"    text: '{{ range .Alerts }}{{ .Annotations.summary }}{{ end }}'",
		"    fields: [{title: severity, value: '{{ .CommonLabels.severity }}', short: true}]",
		"    actions: [{type: button, text: Runbook, url: '{{ .CommonAnnotations.runbook_url }}'}]",
	))
	alert := alertOf("HancockDown", "critical")
	attachment := func(c delivery) map[string]any {
		t.Helper()
		require.Equal(t, "/services/T000/B000/hook", c.path)
		m := c.decode(t)
		require.Equal(t, "#alerts", m["channel"])
		require.Equal(t, "Alertmanager", m["username"])
		require.Len(t, m["attachments"], 1)
		a := m["attachments"].([]any)[0].(map[string]any)
		require.Equal(t, "http://hancock.example:5000/#/alerts?receiver=slack", a["title_link"])
		require.Equal(t, "Something of HancockDown", a["text"])
		require.Equal(t, []any{map[string]any{"title": "severity", "value": "critical", "short": true}}, a["fields"])
		require.Equal(t, []any{map[string]any{
			"type": "button", "text": "Runbook", "url": "https://hancock.example/runbooks/HancockDown",
		}}, a["actions"])
		return a
	}

	s.Send(alert)
	a := attachment(slack.next(t))
	require.Equal(t, "danger", a["color"])
	require.Equal(t, "[FIRING:1] HancockDown: Something of HancockDown", a["title"])
	tried := s.first(t, "slack")
	require.Equal(t, "ok", tried.Outcome)
	require.Equal(t, "slack[0]", tried.Integration)

	s.Send(ended(alert))
	a = attachment(slack.next(t))
	require.Equal(t, "good", a["color"])
	require.Equal(t, "[RESOLVED] HancockDown: Something of HancockDown", a["title"])
}

func TestReceiversPagerDuty(t *testing.T) {
	t.Parallel()
	accepted := answer{status: http.StatusAccepted, contentType: "application/json", body: `{"status":"success"}`}
	pager := newReceiver(t, accepted)
	s := newStation(t, lines(
		"global: {pagerduty_url: "+pager.URL+"/v2/enqueue}",
		"route:",
		"  receiver: pagerduty", quickly,
		"receivers:",
		"- name: pagerduty",
		"  pagerduty_configs:",
		"  - routing_key: 0123456789abcdef0123456789abcdef",
		"    severity: '{{ .CommonLabels.severity }}'",
		"    component: '{{ .CommonLabels.job }}'",
		"    details: {runbook: '{{ .CommonAnnotations.runbook_url }}'}",
		"    links: [{href: '{{ .CommonAnnotations.runbook_url }}', text: Runbook}]",
	))
	alert := alertOf("HancockDown", "critical")
	event := func(c delivery, action string) (dedupKey string) {
		t.Helper()
		require.Equal(t, "/v2/enqueue", c.path)
		m := c.decode(t)
		require.Equal(t, "0123456789abcdef0123456789abcdef", m["routing_key"])
		require.Equal(t, action, m["event_action"])
		require.Equal(t, []any{map[string]any{"href": "https://hancock.example/runbooks/HancockDown", "text": "Runbook"}}, m["links"])
		payload := m["payload"].(map[string]any)
		require.Equal(t, "critical", payload["severity"])
		require.Equal(t, "hancock", payload["component"])
		require.Contains(t, payload["summary"], "HancockDown")
		require.NotEmpty(t, payload["source"])
		details := payload["custom_details"].(map[string]any)
		require.Equal(t, "https://hancock.example/runbooks/HancockDown", details["runbook"])
		require.Contains(t, details, "num_firing")
		require.NotEmpty(t, m["dedup_key"])
		return m["dedup_key"].(string)
	}

	s.Send(alert)
	opened := event(pager.next(t), "trigger")
	require.Equal(t, "ok", s.first(t, "pagerduty").Outcome)
	s.Send(ended(alert))
	require.Equal(t, opened, event(pager.next(t), "resolve"), "the incident that was opened is the one that is closed")
}

// Many groups at once go through one integration.
func TestReceiversPagerDutyManyIncidents(t *testing.T) {
	t.Parallel()
	pager := newReceiver(t, answer{status: http.StatusAccepted})
	s := newStation(t, lines(
		"global: {pagerduty_url: "+pager.URL+"/v2/enqueue}",
		"route:",
		"  receiver: pagerduty", once,
		"receivers:",
		"- name: pagerduty",
		"  pagerduty_configs: [{routing_key: 0123456789abcdef0123456789abcdef}]",
	))
	names := []string{"A", "B", "C", "D", "E", "F", "G", "H"}
	for _, name := range names {
		s.Send(alertOf(name, ""))
	}
	keys := map[any]bool{}
	for range names {
		m := pager.next(t).decode(t)
		require.Equal(t, "error", m["payload"].(map[string]any)["severity"])
		keys[m["dedup_key"]] = true
	}
	require.Len(t, keys, len(names))
}

func TestReceiversWebhook(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	s := newStation(t, lines(
		"route:",
		"  receiver: hook", quickly,
		"receivers:",
		"- name: hook",
		"  webhook_configs: [{url: "+hook.URL+"/in, max_alerts: 2}]",
	))
	type message struct {
		Version, GroupKey, Status, Receiver, ExternalURL string
		TruncatedAlerts                                  int
		GroupLabels, CommonLabels, CommonAnnotations     map[string]string
		Alerts                                           []struct {
			Status, Fingerprint, GeneratorURL string
			Labels, Annotations               map[string]string
		}
	}
	read := func(c delivery) (m message) {
		t.Helper()
		require.Equal(t, http.MethodPost, c.method)
		require.Contains(t, c.header.Get("User-Agent"), "Alertmanager/")
		require.NoError(t, json.Unmarshal(c.body, &m))
		require.Equal(t, "4", m.Version)
		require.Equal(t, `{}:{alertname="DiskFull"}`, m.GroupKey)
		require.Equal(t, "hook", m.Receiver)
		require.Equal(t, "http://hancock.example:5000", m.ExternalURL)
		require.Equal(t, map[string]string{"alertname": "DiskFull"}, m.GroupLabels)
		return m
	}
	one, two, three := alertOf("DiskFull", "critical"), alertOf("DiskFull", "warning"), alertOf("DiskFull", "info")

	s.Send(one, two, three)
	m := read(hook.next(t))
	require.Equal(t, "firing", m.Status)
	for len(m.Alerts)+m.TruncatedAlerts < 3 { // all at once, if they come in the moment of group_wait
		m = read(hook.next(t))
	}
	require.Len(t, m.Alerts, 2)
	require.Equal(t, 1, m.TruncatedAlerts)
	require.Equal(t, "firing", m.Alerts[0].Status)
	require.NotEmpty(t, m.Alerts[0].Fingerprint)
	require.Equal(t, one.GeneratorURL, m.Alerts[0].GeneratorURL)
	require.Equal(t, map[string]string{"alertname": "DiskFull", "instance": "127.0.0.1:5000", "job": "hancock"}, m.CommonLabels)
	require.Equal(t, "Something of DiskFull", m.CommonAnnotations["summary"])

	s.Send(ended(one), ended(two), ended(three))
	for m.Status != "resolved" { // their ends may come in two messages
		m = read(hook.next(t))
	}
	require.Equal(t, "resolved", m.Alerts[0].Status)
}

func TestReceiversTeams(t *testing.T) {
	t.Parallel()
	connector, workflow := newReceiver(t, answer{status: http.StatusOK, body: "1"}), newReceiver(t, answer{status: http.StatusAccepted})
	s := newStation(t, lines(
		"route:",
		"  receiver: teams", quickly,
		"receivers:",
		"- name: teams",
		"  msteams_configs: [{webhook_url: "+connector.URL+"/webhookb2/1, send_resolved: true}]",
		"  msteamsv2_configs: [{webhook_url: "+workflow.URL+"/workflows/1, send_resolved: true}]",
	))
	check := func(title, text, themeColor, color string) {
		t.Helper()
		card := connector.next(t).decode(t)
		require.Equal(t, "MessageCard", card["type"])
		require.Equal(t, title, card["title"])
		require.Equal(t, themeColor, card["themeColor"])
		require.Contains(t, card["text"], text)
		message := workflow.next(t).decode(t)
		require.Equal(t, "message", message["type"])
		attachment := message["attachments"].([]any)[0].(map[string]any)
		require.Equal(t, "application/vnd.microsoft.card.adaptive", attachment["contentType"])
		content := attachment["content"].(map[string]any)
		require.Equal(t, "AdaptiveCard", content["type"])
		body := content["body"].([]any)
		require.Equal(t, title, body[0].(map[string]any)["text"])
		require.Equal(t, color, body[0].(map[string]any)["color"])
		require.Contains(t, body[1].(map[string]any)["text"], text)
	}
	alert := alertOf("HancockDown", "critical")
	s.Send(alert)
	check("[FIRING:1] HancockDown: Something of HancockDown", "Firing since", "8C1A1A", "Attention")
	s.Send(ended(alert))
	check("[RESOLVED] HancockDown: Something of HancockDown", "Resolved at", "2DC72D", "Good")
}

// Discord and Telegram have shapes and addresses of their own: Telegram's bot
// token stands in the path.
func TestReceiversDiscordAndTelegram(t *testing.T) {
	t.Parallel()
	discord := newReceiver(t, answer{status: http.StatusNoContent})
	telegram := newReceiver(t, answer{
		status: http.StatusOK, contentType: "application/json",
		body: `{"ok":true,"result":{"message_id":1,"date":1,"chat":{"id":42,"type":"private"}}}`,
	})
	s := newStation(t, lines(
		"route:",
		"  receiver: chats", quickly,
		"receivers:",
		"- name: chats",
		"  discord_configs: [{webhook_url: "+discord.URL+"/api/webhooks/1/abc}]",
		"  telegram_configs: [{api_url: "+telegram.URL+", bot_token: '7:secret-of-the-bot', chat_id: 42, parse_mode: ''}]",
	))
	s.Send(alertOf("HancockDown", "critical"))
	m := discord.next(t).decode(t)
	embed := m["embeds"].([]any)[0].(map[string]any)
	require.Equal(t, "[FIRING:1] HancockDown: Something of HancockDown", embed["title"])
	c := telegram.next(t)
	require.Equal(t, "/bot7:secret-of-the-bot/sendMessage", c.path)
	require.Contains(t, string(c.body), "Runbook: https://hancock.example/runbooks/HancockDown")
	s.first(t, "chats")
	require.NotContains(t, s.journal.String(), "secret-of-the-bot")
}

// The route of the guide, as it stands there, once its receivers are defined.
func TestReceiversGuideRouting(t *testing.T) {
	t.Parallel()
	const guide = `
route:
  receiver: 'slack-critical'
  group_by: ['alertname', 'severity']
  routes:
    - match:
        severity: critical
      receiver: 'pagerduty'
    - match:
        severity: warning
      receiver: 'slack-warnings'
`
	ok := answer{status: http.StatusOK, contentType: "text/html", body: "ok"}
	pager, warnings, rest := newReceiver(t, answer{status: http.StatusAccepted}), newReceiver(t, ok), newReceiver(t, ok)
	s := newStation(t, guide+lines(
		"receivers:",
		"- name: pagerduty",
		"  pagerduty_configs: [{url: "+pager.URL+", routing_key: 0123456789abcdef0123456789abcdef}]",
		"- name: slack-warnings",
		"  slack_configs: [{api_url: "+warnings.URL+", channel: '#warnings'}]",
		"- name: slack-critical",
		"  slack_configs: [{api_url: "+rest.URL+", channel: '#critical'}]",
	))
	require.True(t, s.Notifies())
	// The guide's groups wait for half a minute; what fires since longer is
	// told at once.
	s.Send(alertOf("HancockDown", "critical"), alertOf("HancockSlow", "warning"), alertOf("HancockInfo", "info"), alertOf("Unlabelled", ""))
	require.Contains(t, pager.next(t).decode(t)["payload"].(map[string]any)["summary"], "HancockDown")
	m := warnings.next(t).decode(t)
	require.Equal(t, "#warnings", m["channel"])
	require.Contains(t, m["attachments"].([]any)[0].(map[string]any)["title"], "HancockSlow")
	for range 2 {
		require.Equal(t, "#critical", rest.next(t).decode(t)["channel"])
	}
	pager.quiet(t)
	warnings.quiet(t)
	rest.quiet(t)
}

// A megabyte of labels reaches whom it can, cut to what the receiver takes; the
// ledger does not grow with it.
func TestReceiversMegabyteOfLabels(t *testing.T) {
	t.Parallel()
	slack := newReceiver(t, answer{status: http.StatusOK, contentType: "text/plain", body: "ok"})
	pager, hook := newReceiver(t, answer{status: http.StatusAccepted}), newReceiver(t)
	s := newStation(t, lines(
		"route:",
		"  receiver: it", once,
		"receivers:",
		"- name: it",
		"  slack_configs: [{api_url: "+slack.URL+", channel: '#alerts'}]",
		"  pagerduty_configs: [{url: "+pager.URL+", routing_key: 0123456789abcdef0123456789abcdef}]",
		"  webhook_configs: [{url: "+hook.URL+"}]",
	))
	alert := alertOf("HancockDown", strings.Repeat("ü", 1<<19))
	s.Send(alert)
	attachment := slack.next(t).decode(t)["attachments"].([]any)[0].(map[string]any)
	require.LessOrEqual(t, utf8.RuneCountInString(attachment["title"].(string)), 1024)
	require.LessOrEqual(t, len(pager.next(t).body), 512000)
	require.Contains(t, string(hook.next(t).body), alert.Labels.Get("severity")[:1<<10])
	for _, kind := range []string{"slack", "pagerduty", "webhook"} {
		a := s.attempt(t, kind, func(a alertmanager.Attempt) bool { return a.Kind == kind })
		require.Equal(t, "ok", a.Outcome)
		record, err := json.Marshal(a)
		require.NoError(t, err)
		require.Less(t, len(record), 64<<10)
	}
}

// The example of our documentation is one that loads.
func TestReceiversExample(t *testing.T) {
	t.Parallel()
	c, err := config.LoadFile(filepath.Join("..", "..", "docs", "alertmanager.example.yml"))
	require.NoError(t, err)
	require.NoError(t, alertmanager.Check(c))
}
