package alertmanager_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/prometheus/alertmanager/config"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/alertmanager"
)

// TestDestinations names the host of each kind of integration.
func TestDestinations(t *testing.T) {
	t.Parallel()
	integrations := map[string]string{ // by the settings of an integration: its host
		"discord_configs: [{webhook_url: 'http://discord.example/s3cret'}]":                          "discord.example",
		"discord_configs: [{webhook_url_file: /etc/discord}]":                                        "(in a file)",
		"email_configs: [{to: a@example.org, from: b@example.org, smarthost: 'mail.example:25'}]":    "mail.example:25",
		"email_configs: [{to: c@example.org}]":                                                       "global.example:587",
		"incidentio_configs: [{url: 'https://incident.example/s3cret', alert_source_token: s3cret}]": "incident.example",
		"jira_configs: [{api_url: 'http://jira.example/s3cret', project: P, issue_type: B}]":         "jira.example",
		"mattermost_configs: [{webhook_url: 'http://mattermost.example/s3cret'}]":                    "mattermost.example",
		"msteams_configs: [{webhook_url: 'http://teams.example/s3cret'}]":                            "teams.example",
		"msteamsv2_configs: [{webhook_url: 'http://teams2.example/s3cret'}]":                         "teams2.example",
		"opsgenie_configs: [{api_key: s3cret}]":                                                      "api.opsgenie.com",
		"pagerduty_configs: [{routing_key: s3cret}]":                                                 "events.pagerduty.com",
		"pushover_configs: [{token: s3cret, user_key: s3cret}]":                                      "api.pushover.net",
		"rocketchat_configs: [{token: s3cret, token_id: s3cret, api_url: 'http://rocket.example/'}]": "rocket.example",
		"slack_configs: [{api_url: 'http://u:s3cret@slack.example:8080/s3cret'}]":                    "slack.example:8080",
		"slack_configs: [{app_token: s3cret, channel: '#a', app_url: 'http://app.example/s3cret'}]":  "app.example",
		"sns_configs: [{topic_arn: t, sigv4: {region: x}}]":                                          "(SNS of AWS)",
		"sns_configs: [{topic_arn: t, api_url: 'http://sns.example/', sigv4: {region: x}}]":          "sns.example",
		"telegram_configs: [{bot_token: s3cret, chat_id: 1}]":                                        "api.telegram.org",
		"victorops_configs: [{api_key: s3cret, routing_key: s3cret}]":                                "alert.victorops.com",
		"webex_configs: [{room_id: r, http_config: {authorization: {credentials: s3cret}}}]":         "webexapis.com",
		"webhook_configs: [{url: 'http://hook.example/s3cret'}]":                                     "hook.example",
		"webhook_configs: [{url: 'http://{{ .CommonLabels.team }}.example/s3cret'}]":                 "(from a template)",
		"wechat_configs: [{api_secret: s3cret, corp_id: c}]":                                         "qyapi.weixin.qq.com",
	}
	seen := map[string]bool{}
	for text, want := range integrations {
		c, err := config.Load("global: {smtp_smarthost: 'global.example:587', smtp_from: h@example.org}\nroute: {receiver: it}\nreceivers:\n- name: it\n  " + text +
			"\n- {name: unused, webhook_configs: [{url: 'http://unused.example/'}]}\n")
		require.NoError(t, err, text)
		kind, _, _ := strings.Cut(text, "_configs")
		seen[kind] = true
		require.Equal(t, []alertmanager.Destination{{Receiver: "it", Integration: kind, Host: want}}, alertmanager.Destinations(c), text)
	}
	for field := range reflect.TypeFor[config.Receiver]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		if kind, ok := strings.CutSuffix(name, "_configs"); ok {
			require.True(t, seen[kind], "no host of %s is tried", kind)
		}
	}
	require.Empty(t, alertmanager.Destinations(nil))
}
