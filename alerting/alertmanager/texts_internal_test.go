package alertmanager

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/alertmanager/template"
	"github.com/stretchr/testify/require"
)

// TestTextsWithinLimits renders each default text with a thousand alerts and with one whose texts are very long.
func TestTextsWithinLimits(t *testing.T) {
	tmpl, _, err := newTemplate(nil, &url.URL{Scheme: "http", Host: "hancock.example:5000"})
	require.NoError(t, err)
	now := time.Now()
	var many template.Alerts
	for i := range 1000 {
		many = append(many, template.Alert{
			Status: "firing", StartsAt: now, GeneratorURL: "http://hancock.example:5000/graph?g0.expr=" + strings.Repeat("up%20", 60),
			Labels:      template.KV{"alertname": fmt.Sprintf("Ä%d", i), "instance": "<&>", "path": strings.Repeat("p", 300)},
			Annotations: template.KV{"description": strings.Repeat("long & ", 200), "runbook_url": "https://hancock.example/r"},
		})
	}
	huge := template.Alerts{{
		Status: "resolved", StartsAt: now.Add(-time.Hour), EndsAt: now,
		Labels:      template.KV{"alertname": strings.Repeat("é", 5000), "service.name": strings.Repeat("x", 5000)},
		Annotations: template.KV{"summary": strings.Repeat("<s> ", 5000), "description": strings.Repeat("ü\n", 50_000)},
	}}
	for name, limit := range map[string]int{
		"slack.default.title": 1024, "slack.default.text": 8000, "msteams.default.text": 20 << 10, "msteamsv2.default.text": 20 << 10,
		"pagerduty.default.description": 1024, "opsgenie.default.description": 15000, "victorops.default.state_message": 20480,
		"pushover.default.title": 256, "pushover.default.message": 1024, "sns.default.subject": 99, "telegram.default.message": 4096,
		"wechat.default.message": 2048, "webex.default.message": 7439, "discord.default.message": 4096, "discord.default.title": 280,
		"rocketchat.default.text": 5000, "mattermost.default.text": 16383, "jira.default.description": 32767, "email.default.subject": 256,
		"email.default.text": 100_000, "email.default.html": 400_000,
	} {
		for what, alerts := range map[string]template.Alerts{"many": many, "huge": huge} {
			data := &template.Data{
				Receiver: "r", Alerts: alerts, GroupLabels: template.KV{"alertname": alerts[0].Labels["alertname"]},
				CommonLabels: alerts[0].Labels, CommonAnnotations: alerts[0].Annotations, ExternalURL: "http://hancock.example:5000",
			}
			text, err := tmpl.ExecuteTextString(`{{ template "`+name+`" . }}`, data)
			require.NoError(t, err, name)
			require.LessOrEqual(t, len(text), limit, "%s %s", name, what)
			require.True(t, utf8.ValidString(text))
			html, err := tmpl.ExecuteHTMLString(`{{ template "`+name+`" . }}`, data)
			require.NoError(t, err, name)
			if name == "telegram.default.message" { // It is HTML unless the configuration says otherwise.
				require.LessOrEqual(t, utf8.RuneCountInString(html), limit, what)
			}
		}
	}
}

func TestSilenceURL(t *testing.T) {
	for _, tt := range []struct {
		labels template.KV
		want   string
	}{
		{template.KV{"alertname": "Down"}, `{alertname="Down"}`},
		{template.KV{"alertname": "Down", "a": `q"\` + "\n", "b": "x +&#é"}, `{alertname="Down",a="q\"\\\n",b="x +&#é"}`},
		{template.KV{"service.name": "x", "ok_1": "", "1": "y"}, `{"1"="y",ok_1="","service.name"="x"}`},
	} {
		got := silenceURL("http://h", tt.labels)
		filter, ok := strings.CutPrefix(got, "http://h/#/silences/new?filter=")
		require.True(t, ok)
		require.NotContains(t, filter, "+", "a space to some, a plus sign to others")
		decoded, err := url.PathUnescape(filter)
		require.NoError(t, err)
		require.Equal(t, tt.want, decoded)
	}
	require.Empty(t, silenceURL("http://h", nil))
	require.Empty(t, silenceURL("http://h", template.KV{"a": strings.Repeat("x", 5000)}), "too long for an address")
}

func TestMarkdownText(t *testing.T) {
	for in, want := range map[string]string{
		"plain text, 5% (of it)!":  "plain text, 5% (of it)!",
		"a_metric_total {a=\"b\"}": "a_metric_total {a=\"b\"}",
		"_em_ __name__":            `\_em\_ \_\_name\_\_`,
		"*b* `c` ~~d~~ ~e":         "\\*b\\* \\`c\\` \\~\\~d\\~\\~ ~e",
		"[a](http://b) [FIRING]":   `[a]\(http://b) [FIRING]`,
		"![i](x) <b>&</b> <@all>":  "![i]\\(x) \\<b>&\\</b> \\<@\u200ball>",
		"# h\n> q\n  # i":          "\\# h\n\n\\> q\n\n  \\# i",
		`C:\dir\`:                  `C:\\dir\\`,
		"@here me@channels.org":    "@\u200bhere me@channels.org",
	} {
		require.Equal(t, want, markdownText(in))
	}
}
