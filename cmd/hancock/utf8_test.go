package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// newExporter serves an exposition with names in UTF-8.
func newExporter(t *testing.T, text func() string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=1.0.0; escaping=allow-utf-8; charset=utf-8")
		fmt.Fprint(w, text())
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// TestUTF8Labels takes an alert with labels that only the UTF-8 syntax takes from the scrape to the receiver, and over a
// restart.
func TestUTF8Labels(t *testing.T) {
	t.Parallel()
	dir, model, phone := t.TempDir(), newFakeModel(t), newPager(t)
	var requests atomic.Int64
	exporter := newExporter(t, func() string {
		return fmt.Sprintf("# TYPE \"http.requests\" gauge\n{\"http.requests\",\"service.name\"=\"shop\",\"städte\"=\"köln 🔥 \\\\ \\\"x\\\"\"} %d\n", requests.Load())
	})
	configure(t, dir, model.url, `
groups:
- name: g
  rules:
  - alert: Ütf
    expr: '{"http.requests"} > 1'
    labels: {team/name: core, severity: critical}
    annotations: {summary: 'svc {{ index $labels "service.name" }} in {{ index $labels "städte" }}'}
  - {record: svc.requests:sum, expr: 'sum by ("service.name") ({"http.requests"})'}
`)
	file := filepath.Join(dir, "hancock.yml")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	config := strings.Replace(string(text), "prometheus: {", fmt.Sprintf(
		"prometheus: {scrape_configs: [{job_name: e, scrape_interval: 1s, scrape_timeout: 1s, static_configs: [{targets: [%q]}]}], ", exporter), 1)
	config += fmt.Sprintf(`
alertmanager:
  route:
    receiver: nobody
    group_by: ['service.name', 'städte']
    group_wait: 10ms
    group_interval: 1s
    routes: [{receiver: pager, matchers: ['"service.name"=shop', '"team/name"=~"c.*"']}]
  inhibit_rules: [{source_matchers: ['alertname="Ütf"'], target_matchers: ['alertname="Lower"'], equal: ['service.name']}]
  receivers: [{name: nobody}, {name: pager, webhook_configs: [{url: %q}]}]
`, phone.url)
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	p := startHancock(t, dir)
	p.grows(`count_over_time({"svc.requests:sum"}[1h])`, 3)
	requests.Store(5)
	p.eventually("the pager rings", func() bool { return len(phone.got("firing")) == 1 })
	m := phone.got("firing")[0]
	require.Equal(t, map[string]string{"service.name": "shop", "städte": `köln 🔥 \ "x"`}, m.GroupLabels)
	require.Equal(t, "core", m.Alerts[0].Labels["team/name"])
	require.Equal(t, `svc shop in köln 🔥 \ "x"`, m.Alerts[0].Annotations["summary"])
	p.eventually("the history knows who was notified", func() bool {
		_, body := p.get("/api/hancock/alerts/history?alert=" + url.QueryEscape("Ütf"))
		return strings.Contains(body, `"receiver":"pager"`) && strings.Contains(body, `"service.name":"shop"`)
	})

	hancock := func(args ...string) string {
		var out, errs bytes.Buffer
		status := run(append(args, "--url="+p.base), noEnvironment, streams{out: &out, err: &errs})
		require.Zero(t, status, errs.String())
		return out.String()
	}
	require.Regexp(t, `pager +webhook\[0\] +firing +ok`, hancock("alert", "test", "--label=service.name=shop", `--label="team/name"=core`))
	p.eventually("the backtest has what fired", func() bool { return strings.Contains(hancock("backtest", "--from=1h"), "message to pager") })

	posted := `[{"labels":{"alertname":"Lower","service.name":"shop","team/name":"core"}}]`
	code, body := p.post("/api/v2/alerts", posted)
	require.Equal(t, http.StatusOK, code, body)
	p.eventually("it is inhibited", func() bool {
		_, body := p.get("/api/v2/alerts?filter=alertname%3DLower")
		return strings.Contains(body, `"inhibitedBy":["`)
	})
	silence, err := json.Marshal(map[string]any{
		"matchers": []any{map[string]any{"name": "städte", "value": "k.*", "isRegex": true}}, "comment": "c", "createdBy": "t",
		"startsAt": time.Now(), "endsAt": time.Now().Add(time.Hour),
	})
	require.NoError(t, err)
	code, body = p.post("/api/v2/silences", string(silence))
	require.Equal(t, http.StatusOK, code, body)
	p.eventually("the message is remembered", func() bool {
		kept, err := os.ReadFile(filepath.Join(dir, "data", "alertmanager", "nflog"))
		return err == nil && strings.Contains(string(kept), "pager")
	})
	p.kill()

	before := len(phone.got("firing"))
	p = startHancock(t, dir, p.sameAddress())
	p.grows(`count_over_time(ALERTS{alertstate="firing"}[1h])`, 3)
	_, body = p.get("/api/v2/alerts?filter=" + url.QueryEscape(`"service.name"="shop"`) + "&filter=" + url.QueryEscape("alertname!=Lower"))
	require.Contains(t, body, `"silencedBy":["`)
	require.Contains(t, body, `"team/name":"core"`)
	require.Len(t, phone.got("firing"), before, "nobody is notified twice")
	dropped, ok := p.scalar(`sum(hancock_alerts_dropped_total)`)
	require.True(t, ok)
	require.Zero(t, dropped)
	require.NotContains(t, p.stop(), "DATA RACE")
}

// TestDroppedAlertIsNamed raises an alert that cannot be sent: the first drop of its name is reported by name.
func TestDroppedAlertIsNamed(t *testing.T) {
	t.Parallel()
	dir, model, phone := t.TempDir(), newFakeModel(t), newPager(t)
	many := &strings.Builder{} // More labels than an alert may have.
	for i := range 150 {
		fmt.Fprintf(many, "l%d: x, ", i)
	}
	builtin, err := os.ReadFile("../../alerting/rules.yml")
	require.NoError(t, err)
	_, rule, found := strings.Cut(string(builtin), "      - alert: HancockAlertsDropped\n")
	require.True(t, found)
	rule, _, found = strings.Cut(rule, "runbook_url:")
	require.True(t, found)
	configure(t, dir, model.url, "groups:\n- name: g\n  rules:\n  - {alert: 'Too Many 🔥', expr: vector(1), labels: {"+many.String()+"z: z}}\n"+
		"- name: built-in\n  rules:\n      - alert: HancockAlertsDropped\n"+rule+"runbook_url: x\n")
	route(t, dir, phone.url, "10ms")
	p := startHancock(t, dir)
	p.eventually("the drop is notified", func() bool { return len(phone.got("firing")) > 0 })
	labels := phone.got("firing")[0].Alerts[0].Labels
	require.Equal(t, "Too Many 🔥", labels["alert"])
	require.Equal(t, "invalid", labels["reason"])
	require.Equal(t, "Alert Too Many 🔥 was dropped before any receiver was notified: invalid", phone.got("firing")[0].Alerts[0].Annotations["summary"])
	log := p.stop()
	require.Regexp(t, `"alert dropped".*"alertname":"Too Many 🔥"`, log)
	require.Contains(t, log, "it has 152 labels, more than 128")
}
