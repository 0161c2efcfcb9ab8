package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// slackChannel is a receiver of Slack's incoming webhooks.
type slackChannel struct {
	url  string
	mu   sync.Mutex
	sent []slackMessage
}

type slackMessage struct {
	Channel     string
	Attachments []struct{ Title, Text string }
}

func newSlackChannel(t *testing.T) *slackChannel {
	t.Helper()
	c := new(slackChannel)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m slackMessage
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.sent = append(c.sent, m)
		_, _ = io.WriteString(w, "ok")
	}))
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

func (c *slackChannel) messages() []slackMessage {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]slackMessage(nil), c.sent...)
}

// TestFirstExample runs the first Alertmanager section of docs/alerting.md as it is, but for the address of Slack: a
// real alert is one message that says what is wrong, and the heartbeat is none.
func TestFirstExample(t *testing.T) {
	t.Parallel()
	docs, err := os.ReadFile(filepath.Join(root, "docs", "alerting.md"))
	require.NoError(t, err)
	example := regexp.MustCompile("(?s)```yaml\n(alertmanager:\n.*?)```").FindSubmatch(docs)
	require.NotNil(t, example)
	section := string(example[1])
	require.Contains(t, section, "https://hooks.slack.com/services/...")
	slack := newSlackChannel(t)
	section = strings.Replace(section, "https://hooks.slack.com/services/...", slack.url+"/services/x", 1)

	dir, model := t.TempDir(), newFakeModel(t)
	configure(t, dir, model.url, switchRule(false))
	path := filepath.Join(dir, "hancock.yml")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	complete := strings.Replace(string(text), "builtin_rules: false", "builtin_rules: true", 1) + "\n" + section
	require.Contains(t, complete, "builtin_rules: true")
	require.NoError(t, os.WriteFile(path, []byte(complete), 0o600))
	p := startHancock(t, dir)
	p.eventually("the heartbeat is an active alert", func() bool {
		code, body := p.get("/api/v2/alerts?filter=alertname%3DWatchdog")
		return code == http.StatusOK && strings.Contains(body, `"state":"active"`)
	})
	require.Contains(t, p.log.String(), "heartbeat has no receiver")

	p.rewrite(dir, switchRule(true)) // and then half a minute of group_wait, as the example has none of its own
	p.eventually("a message", func() bool { return len(slack.messages()) > 0 })
	sent := slack.messages()
	require.Len(t, sent, 1)
	require.Equal(t, "#alerts", sent[0].Channel)
	require.Len(t, sent[0].Attachments, 1)
	require.Equal(t, "[FIRING:1] Switch (critical): it is on", sent[0].Attachments[0].Title)
	said := sent[0].Attachments[0].Text
	require.Contains(t, said, "severity=critical")
	require.Contains(t, said, "<https://example.org/switch|Runbook>")
	require.Contains(t, said, "<"+p.base+"/#/silences/new?filter=")

	var out strings.Builder
	err = execute(t.Context(), []string{"alert", "test", "--url=" + p.base, "--label=alertname=Watchdog"}, noEnvironment, streams{out: &out, err: io.Discard})
	require.ErrorContains(t, err, "no receiver is notified: the heartbeat is notified only by routes that name it")
	require.Contains(t, out.String(), "not notified: the heartbeat")
	require.Len(t, slack.messages(), 1)
}

// TestRulesExport serves the rules that are evaluated, also after a reload.
func TestRulesExport(t *testing.T) {
	t.Parallel()
	dir, model := t.TempDir(), newFakeModel(t)
	configure(t, dir, model.url, "")
	p := startHancock(t, dir)
	code, body := p.get("/rules.yml")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, "alert: HancockSlowModel\n")
	require.NotContains(t, body, "externalURL")

	path := filepath.Join(dir, "hancock.yml")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	const choice = "  disabled: [HancockSlowModel]\n  severity: {HancockNoTraffic: info}\n  traffic_hours: [{weekdays: ['monday:friday'], location: Europe/Berlin}]\n"
	changed := strings.Replace(string(text), "alerting: {evaluation_interval: 1s, builtin_rules: true}", "alerting:\n  evaluation_interval: 1s\n"+choice, 1)
	require.NotEqual(t, string(text), changed)
	require.NoError(t, os.WriteFile(path, []byte(changed), 0o600))
	code, body = p.post("/-/reload", "")
	require.Equal(t, http.StatusOK, code, body)
	require.Contains(t, body, `"need_restart":[]`)

	code, body = p.get("/rules.yml")
	require.Equal(t, http.StatusOK, code)
	require.NotContains(t, body, "alert: HancockSlowModel\n")
	require.Contains(t, body, "time() >= bool")
	_, listed := p.get("/api/v1/rules")
	require.NotContains(t, listed, `"name":"HancockSlowModel"`)
	require.Regexp(t, `"name":"HancockNoTraffic"[^{]*\{"severity":"info"\}`, listed)
	require.Contains(t, listed, "time() \\u003e= bool")
}
