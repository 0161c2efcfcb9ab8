package alertmanager_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/alertmanager/config"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/alertmanager"
)

// A field whose template fails is sent with its default, and the ledger says so.
func TestReceiversTemplatesThatFail(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "ours.tmpl")
	require.NoError(t, os.WriteFile(file, []byte(`{{ define "ours.title" }}{{ (index .Alerts 7).Status }}{{ end }}`), 0o600))
	for _, test := range []struct {
		name, title, fails string
	}{
		{"a field that does not exist", "{{ .Nonsense }}", "Nonsense"},
		{"a template that does not exist", `{{ template "nowhere" . }}`, "nowhere"},
		{"a template of a file", `{{ template "ours.title" . }}`, "index out of range"},
		{"text that is no template", "{{ .Status", "unclosed action"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			slack := newReceiver(t, answer{status: http.StatusOK, contentType: "text/plain", body: "ok"})
			beside := newReceiver(t)
			s := newStation(t, lines(
				"templates: ["+file+"]",
				"route:",
				"  receiver: it", once,
				"receivers:",
				"- name: it",
				"  slack_configs: [{api_url: "+slack.URL+", channel: '#alerts', title: '"+test.title+"'}]",
				"  webhook_configs: [{url: "+beside.URL+"}]",
			))
			s.Send(alertOf("HancockDown", "critical"))
			beside.next(t)
			a := s.attempt(t, "Slack's try", func(a alertmanager.Attempt) bool { return a.Kind == "slack" })
			require.Equal(t, "ok", a.Outcome, a.Error)
			require.Len(t, a.FailedFields, 1)
			require.Equal(t, "title", a.FailedFields[0].Field)
			require.Contains(t, a.FailedFields[0].Error, test.fails)
			attachment := slack.next(t).decode(t)["attachments"].([]any)[0].(map[string]any)
			require.Equal(t, "[FIRING:1] HancockDown: Something of HancockDown", attachment["title"])
		})
	}
}

// A file of templates that cannot be read is found by Check, by name.
func TestReceiversTemplateFileThatIsNone(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "broken.tmpl")
	require.NoError(t, os.WriteFile(file, []byte(`{{ define "x" }}{{ .Status `), 0o600))
	c, err := config.Load(lines("templates: ["+file+"]", "route: {receiver: nobody}", "receivers: [{name: nobody}]"))
	require.NoError(t, err)
	require.ErrorContains(t, alertmanager.Check(c), "broken.tmpl")
}

// Secrets of receivers are never shown: not when a connection fails, not when
// the receiver repeats them, not by the API's status, not in the metrics.
func TestReceiversSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	const (
		inPath, inQuery = "T0SECRETINPATH", "S3CRETINQUERY"
		user, password  = "operator", "p4sswordOfURL"
		bearer, routing = "b34rerOfHeader", "r0utingKeyOfPagerDuty0123456789a"
		bot             = "7:b0tTokenOfTelegram"
	)
	secrets := []string{inPath, inQuery, password, bearer, routing, "b0tTokenOfTelegram"}
	// It answers with all that it was sent.
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", r.URL.String())
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"message":"no","errors":["` + r.URL.String() + " " + routing + " " + r.Header.Get("Authorization") + " " + password + `"]}`))
	}))
	t.Cleanup(echo.Close)
	withUser := func(address string) string {
		return strings.Replace(address, "http://", "http://"+user+":"+password+"@", 1) + "/services/" + inPath + "?key=" + inQuery
	}
	for _, test := range []struct{ name, address string }{
		{"a receiver that repeats them", echo.URL},
		{"a receiver that is down", refusing},
		{"a receiver that does not resolve", nameless},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newStation(t, lines(
				"route:",
				"  receiver: all", quickly,
				"receivers:",
				"- name: all",
				"  slack_configs:",
				"  - {api_url: '"+withUser(test.address)+"', channel: '#alerts'}",
				"  webhook_configs:",
				"  - url: '"+withUser(test.address)+"'",
				"  - url: '"+test.address+"'",
				"    http_config: {authorization: {credentials: "+bearer+"}}",
				"  msteams_configs:",
				"  - {webhook_url: '"+withUser(test.address)+"'}",
				"  pagerduty_configs:",
				"  - {url: '"+withUser(test.address)+"', routing_key: "+routing+"}",
				"  telegram_configs:",
				"  - {api_url: '"+test.address+"', bot_token: '"+bot+"', chat_id: 42}",
				"  discord_configs:",
				"  - {webhook_url: '"+withUser(test.address)+"'}",
			))
			s.Send(alertOf("HancockDown", "critical"))
			for _, kind := range []string{"slack", "webhook", "msteams", "pagerduty", "telegram", "discord"} {
				a := s.attempt(t, kind, func(a alertmanager.Attempt) bool { return a.Kind == kind })
				require.Equal(t, "failed", a.Outcome)
				require.NotEmpty(t, a.Error)
			}
			status, body := fetch(t, s.API(), http.MethodGet, "/api/v2/status", "")
			require.Equal(t, http.StatusOK, status)
			require.NoError(t, s.Close())
			families, err := s.reg.Gather()
			require.NoError(t, err)
			var metrics strings.Builder
			for _, f := range families {
				metrics.WriteString(f.String())
			}
			for _, secret := range secrets {
				for where, text := range map[string]string{"log": s.journal.String(), "status": body, "metrics": metrics.String()} {
					require.NotContains(t, text, secret, where)
				}
			}
		})
	}
}

// fetch asks a handler over a real socket.
func fetch(t *testing.T, h http.Handler, method, path, body string) (status int, answer string) {
	t.Helper()
	server := httptest.NewServer(h)
	defer server.Close()
	return ask(t, method, server.URL+path, body)
}
