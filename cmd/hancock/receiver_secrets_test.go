package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	amconfig "github.com/prometheus/alertmanager/config"
	amcommon "github.com/prometheus/alertmanager/config/common"
	"github.com/prometheus/common/config"
	"github.com/stretchr/testify/require"
)

// secretReceivers have a secret in each setting of each integration that may be one.
const secretReceivers = `
global: {smtp_smarthost: 'ADDRESS', smtp_from: h@example.org, smtp_require_tls: false, slack_app_token: s3cret, slack_app_url: 'http://ADDRESS/s3cret'}
route: {receiver: all, group_wait: 10ms}
receivers:
- name: all
  discord_configs: [{webhook_url: 'http://ADDRESS/s3cret'}]
  email_configs: [{to: a@example.org, auth_username: u, auth_password: s3cret, auth_secret: s3cret}]
  incidentio_configs: [{url: 'http://ADDRESS/', alert_source_token: s3cret}]
  jira_configs: [{api_url: 'http://u:s3cret@ADDRESS/', project: P, issue_type: B, http_config: {basic_auth: {username: u, password: s3cret}}}]
  mattermost_configs: [{webhook_url: 'http://ADDRESS/s3cret'}]
  msteams_configs: [{webhook_url: 'http://ADDRESS/s3cret'}]
  msteamsv2_configs: [{webhook_url: 'http://ADDRESS/s3cret'}]
  opsgenie_configs: [{api_key: s3cret, api_url: 'http://ADDRESS/'}]
  pagerduty_configs: [{routing_key: s3cret, url: 'http://ADDRESS/'}, {service_key: s3cret, url: 'http://ADDRESS/'}]
  pushover_configs: [{token: s3cret, user_key: s3cret, http_config: {proxy_url: 'http://u:s3cret@ADDRESS/'}}]
  rocketchat_configs: [{token: s3cret, token_id: s3cret, api_url: 'http://ADDRESS/'}]
  slack_configs: [{api_url: 'http://u:s3cret@ADDRESS/s3cret', channel: '#a'}, {app_token: s3cret, app_url: 'http://ADDRESS/', channel: '#a'}]
  sns_configs: [{topic_arn: 'arn:aws:sns:x:1:t', api_url: 'http://ADDRESS/', sigv4: {region: x, access_key: a, secret_key: s3cret}}]
  telegram_configs: [{bot_token: s3cret, chat_id: 1, api_url: 'http://ADDRESS'}]
  victorops_configs: [{api_key: s3cret, routing_key: r, api_url: 'http://ADDRESS/'}]
  webex_configs: [{room_id: r, api_url: 'http://ADDRESS/', http_config: {authorization: {credentials: s3cret}}}]
  webhook_configs:
  - {url: 'http://u:s3cret@ADDRESS/s3cret?t=s3cret'}
  - {url: 'http://ADDRESS/', http_config: {oauth2: {client_id: i, client_secret: s3cret, token_url: 'http://ADDRESS/s3cret', endpoint_params: {x: s3cret}}}}
  - {url: 'http://ADDRESS/', http_config: {http_headers: {X-Token: {values: [s3cret], secrets: [s3cret]}}}}
  - {url: 'http://ADDRESS/{{ .CommonLabels.team }}/s3cret'}
  wechat_configs: [{api_secret: s3cret, corp_id: c, api_url: 'http://ADDRESS/'}]
`

// TestReceiversShowNoSecrets notifies every kind of receiver, none of which answers, and asks every route for what it knows.
func TestReceiversShowNoSecrets(t *testing.T) {
	t.Parallel()
	dir, model, gone := t.TempDir(), newFakeModel(t), reserve(t)
	text := strings.ReplaceAll(secretReceivers, "ADDRESS", gone)
	c, err := amconfig.Load(text)
	require.NoError(t, err)
	everySecretIsSet(t, c)

	configure(t, dir, model.url, "")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "alertmanager.yml"), []byte(text), 0o600))
	file := filepath.Join(dir, "hancock.yml")
	main, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, append(main, "\nalertmanager: alertmanager.yml\n"...), 0o600))
	p := startHancock(t, dir, "--log.level=DEBUG")
	code, body := p.post("/api/v2/alerts", `[{"labels": {"alertname": "Posted", "team": "t"}}]`)
	require.Equal(t, http.StatusOK, code, body)
	kinds := reflect.TypeFor[amconfig.Receiver]().NumField() - 2 // the name and the labels of a receiver
	p.eventually("each kind has failed", func() bool {
		_, body := p.get("/api/hancock/notifications?limit=500")
		var page struct {
			Notifications []struct{ Integration, Outcome string }
		}
		require.NoError(t, json.Unmarshal([]byte(body), &page))
		failed := map[string]bool{}
		for _, n := range page.Notifications {
			if n.Outcome != "ok" {
				failed[n.Integration] = true
			}
		}
		return len(failed) >= kinds-1
	})
	code, body = p.post("/api/hancock/notifications/test", `{"labels": {"alertname": "Test", "team": "t"}}`)
	require.NotZero(t, code)
	require.NotContains(t, body, "s3cret")
	asked := 0
	for _, route := range assembled(t, nil).Routes() {
		method, path, _ := strings.Cut(route, " ")
		if method != http.MethodGet || strings.HasPrefix(path, "/docs") || path == "/api/v1/notifications/live" {
			continue
		}
		for _, rest := range []string{"status", "receivers", "alerts", "alerts/groups", "silences", "status/config", "status/flags", "targets", "alertmanagers", "rules"} {
			code, body := p.get(strings.Replace(path, "*", rest, 1))
			require.NotZero(t, code, route)
			require.NotContains(t, body, "s3cret", "%s %s", route, rest)
			if asked++; !strings.Contains(path, "*") {
				break
			}
		}
	}
	require.Greater(t, asked, 60)
	require.NotContains(t, p.log.String(), "s3cret")
	p.kill()
}

// everySecretIsSet holds the configuration to the types of secrets that receivers have.
func everySecretIsSet(t *testing.T, c *amconfig.Config) {
	t.Helper()
	receiver, kinds := reflect.ValueOf(c.Receivers[0]), 0
	for i := range receiver.NumField() {
		list := receiver.Field(i)
		if list.Kind() != reflect.Slice || !strings.HasSuffix(receiver.Type().Field(i).Tag.Get("yaml"), "_configs,omitempty") {
			continue
		}
		require.Positive(t, list.Len(), receiver.Type().Field(i).Name)
		integration := list.Type().Elem().Elem()
		for f := range integration.Fields() {
			switch f.Type {
			case reflect.TypeFor[config.Secret](), reflect.TypeFor[*amcommon.SecretURL](), reflect.TypeFor[amcommon.SecretTemplateURL]():
			default:
				continue
			}
			set := false
			for n := range list.Len() {
				set = set || !list.Index(n).Elem().FieldByIndex(f.Index).IsZero()
			}
			require.True(t, set, "no secret in %s of %s", f.Name, integration)
		}
		kinds++
	}
	require.GreaterOrEqual(t, kinds, 18)
}
