package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/alertmanager"
)

// TestBrokenTemplates starts with a template that fails: its message arrives
// with the default, and the log, the ledger and the test alert name the field.
func TestBrokenTemplates(t *testing.T) {
	t.Parallel()
	dir, model := t.TempDir(), newFakeModel(t)
	bodies := make(chan string, 100)
	slack := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		bodies <- string(body)
		_, _ = io.WriteString(w, "ok")
	}))
	t.Cleanup(slack.Close)
	configure(t, dir, model.url, "")
	f, err := os.OpenFile(filepath.Join(dir, "hancock.yml"), os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = fmt.Fprintf(f, `
alertmanager:
  route: {receiver: slack, group_by: [alertname], group_wait: 10ms, group_interval: 1s}
  receivers:
    - name: slack
      slack_configs: [{api_url: %q, channel: '#a', title: '{{ template "no.such" . }}', text: '{{ range .Alerts }}{{ .Annotations.summary }}{{ end }}'}]
`, slack.URL+"/sesame")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	p := startHancock(t, dir)
	code, body := p.post("/api/v2/alerts", `[{"labels": {"alertname": "Posted"}, "annotations": {"summary": "disk <full>"}}]`)
	require.Equal(t, http.StatusOK, code, body)
	sent := ""
	p.eventually("the message of the posted alert", func() bool {
		for len(bodies) > 0 {
			if sent = <-bodies; strings.Contains(sent, "Posted") {
				return true
			}
		}
		return false
	})
	require.Contains(t, sent, `"title":"[FIRING:1]`)
	require.Contains(t, sent, `"text":"disk \u003cfull\u003e"`)
	var page alertmanager.LedgerPage
	p.eventually("the ledger has it", func() bool {
		_, body := p.get("/api/hancock/notifications?outcome=ok&receiver=slack")
		return json.Unmarshal([]byte(body), &page) == nil && len(page.Notifications) > 0
	})
	require.Equal(t, "title", page.Notifications[0].FailedFields[0].Field)
	require.Contains(t, page.Notifications[0].FailedFields[0].Error, `"no.such" not defined`)

	var out, errs bytes.Buffer
	status := run([]string{"alert", "test", "--url=" + p.base}, noEnvironment, streams{out: &out, err: &errs})
	require.Zero(t, status, errs.String())
	require.Regexp(t, `slack +slack\[0\] +firing +ok .*title: template failed, default sent: .*"no.such" not defined`, out.String())
	logged := p.stop()
	require.Contains(t, logged, "invalid notification template")
	require.NotContains(t, logged, "sesame")
	require.NotContains(t, logged, "DATA RACE")
}
