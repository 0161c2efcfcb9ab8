package alertmanager_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// kinds are all integrations that talk HTTP to an address of one's choice; in
// each, URL stands for the address and TEXT for a text that is a template.
// (Pushover's address is fixed, mail has tests of its own.)
var kinds = map[string]string{
	"discord":    "{webhook_url: URL/api/webhooks/1/url-of-discord, title: 'TEXT'}",
	"incidentio": "{url: URL/v2/alert_events/alertmanager/1, alert_source_token: token-of-incidentio}",
	"jira":       "{api_url: URL/rest/api/2, project: OPS, issue_type: Bug, summary: 'TEXT', http_config: {basic_auth: {username: u, password: password-of-jira}}}",
	"mattermost": "{webhook_url: URL/hooks/url-of-mattermost, channel: alerts, text: 'TEXT'}",
	"msteams":    "{webhook_url: URL/webhookb2/url-of-msteams, title: 'TEXT'}",
	"msteamsv2":  "{webhook_url: URL/workflows/url-of-msteamsv2, title: 'TEXT'}",
	"opsgenie":   "{api_url: URL/, api_key: key-of-opsgenie, message: 'TEXT'}",
	"pagerduty":  "{url: URL/v2/enqueue, routing_key: key-of-pagerduty, description: 'TEXT'}",
	"rocketchat": "{api_url: URL, token: token-of-rocketchat, token_id: token-id-of-rocketchat, channel: '#alerts', text: 'TEXT'}",
	"slack":      "{api_url: URL/services/url-of-slack, channel: '#alerts', title: 'TEXT'}",
	"sns":        "{api_url: URL, sigv4: {region: eu-central-1, access_key: AKIA0, secret_key: key-of-sns}, topic_arn: 'arn:aws:sns:eu-central-1:1:alerts', message: 'TEXT'}",
	"telegram":   "{api_url: URL, bot_token: '7:token-of-telegram', chat_id: 42, message: 'TEXT', parse_mode: ''}",
	"victorops":  "{api_url: URL/integrations/, api_key: key-of-victorops, routing_key: team, state_message: 'TEXT'}",
	"webex":      "{api_url: URL/v1/messages, room_id: room, message: 'TEXT', http_config: {authorization: {credentials: token-of-webex}}}",
	"webhook":    "{url: URL/url-of-webhook, payload: {text: 'TEXT'}}",
	"wechat":     "{api_url: URL/cgi-bin/, api_secret: secret-of-wechat, corp_id: corp, message: 'TEXT'}",
}

// agreed is an answer that every one of them takes for a yes.
var agreed = answer{
	status: http.StatusOK, contentType: "application/json",
	body: `{"ok":true,"success":true,"errcode":0,"access_token":"x","issues":[],"result":{"message_id":1,"date":1,"chat":{"id":42,"type":"group"}}}`,
}

// yes is an answer that an integration takes for one.
func yes(kind string) answer {
	if kind == "sns" {
		return answer{
			status: http.StatusOK, contentType: "text/xml",
			body: `<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>`,
		}
	}
	return agreed
}

// sent is all that has come.
func (h *receiver) sent(t *testing.T) string {
	t.Helper()
	var sent strings.Builder
	for len(h.calls) > 0 {
		c := h.next(t)
		sent.Write(c.body)
		sent.WriteString(c.query)
	}
	return sent.String()
}

// ofKind is a configuration with one integration.
func ofKind(kind, address, text string) string {
	return oneReceiver(once, "  "+kind+"_configs:\n  - "+strings.ReplaceAll(kinds[kind], "TEXT", text), address)
}

// Every integration that Alertmanager has is there and reaches its server.
func TestReceiversOfEveryKind(t *testing.T) {
	t.Parallel()
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			server := newReceiver(t, yes(kind))
			s := newStation(t, ofKind(kind, server.URL, "{{ .CommonLabels.alertname }} of {{ .CommonLabels.job }}"))
			s.Send(alertOf("HancockDown", "critical"))
			a := s.first(t, "it")
			require.Equal(t, "ok", a.Outcome, a.Error)
			require.Equal(t, kind, a.Kind)
			code := http.StatusOK
			if kind == "telegram" || kind == "sns" { // their clients ask past the context of the try
				code = 0
			}
			require.Equal(t, code, a.StatusCode)
			require.NoError(t, s.Close())
			require.Contains(t, server.sent(t), "HancockDown")
		})
	}
}

// A template that fails costs no integration its message: the default of the
// field is sent, and the ledger names the field.
func TestReceiversTemplateThatFailsInEveryKind(t *testing.T) {
	t.Parallel()
	for kind, fields := range kinds {
		if !strings.Contains(fields, "TEXT") {
			continue
		}
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			server := newReceiver(t, yes(kind))
			s := newStation(t, ofKind(kind, server.URL, "{{ .Nonsense }}"))
			s.Send(alertOf("HancockDown", "critical"))
			a := s.first(t, "it")
			require.Equal(t, "ok", a.Outcome, a.Error)
			require.Len(t, a.FailedFields, 1)
			require.Contains(t, fields, a.FailedFields[0].Field[strings.LastIndex(a.FailedFields[0].Field, ".")+1:]+": ")
			require.Contains(t, a.FailedFields[0].Error, "Nonsense")
			require.NoError(t, s.Close())
			sent := server.sent(t)
			require.Contains(t, sent, "HancockDown")
			require.NotContains(t, sent, "Nonsense")
		})
	}
}

// No integration shows its secret, not even when the server repeats all that
// it was sent.
func TestReceiversSecretsOfEveryKind(t *testing.T) {
	t.Parallel()
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		user, password, _ := r.BasicAuth()
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprintln(w, r.URL, r.Header, user, password, string(body))
	}))
	t.Cleanup(echo.Close)
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			addresses := []string{echo.URL, refusing}
			if kind == "sns" {
				addresses = addresses[:1] // it knocks for seconds
			}
			for _, address := range addresses {
				s := newStation(t, ofKind(kind, address, "{{ .CommonLabels.alertname }}"))
				s.Send(alertOf("HancockDown", "critical"))
				a := s.first(t, "it")
				require.Equal(t, "failed", a.Outcome)
				require.NoError(t, s.Close())
				require.NotContains(t, s.journal.String(), "-of-"+kind)
			}
		})
	}
}
