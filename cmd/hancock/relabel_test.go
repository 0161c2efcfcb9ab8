package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// replicaRules raise X for each replica that is on, and an alert that relabeling drops.
func replicaRules(a, b bool) string {
	threshold := map[bool]int{true: 0, false: 1_000_000}
	rules := new(strings.Builder)
	rules.WriteString("groups:\n- name: g\n  rules:\n")
	for i, on := range []bool{a, b} {
		fmt.Fprintf(rules, "  - {alert: X, expr: 'count_over_time(up{job=\"hancock\"}[1m]) > %d', labels: {replica: %c, product: db, 'host.ip': 10.0.0.1}}\n", threshold[on], "ab"[i])
	}
	fmt.Fprintf(rules, "  - {alert: Unwanted, expr: 'count_over_time(up{job=\"hancock\"}[1m]) > %d', labels: {env: test}}\n", threshold[a])
	return rules.String()
}

// otherAlertmanager keeps the alerts that are posted to it.
type otherAlertmanager struct {
	address string
	mu      sync.Mutex
	labels  []map[string]string
	ended   int // Alerts that were resolved.
}

func newOtherAlertmanager(t *testing.T) *otherAlertmanager {
	t.Helper()
	o := new(otherAlertmanager)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var alerts []struct {
			Labels map[string]string
			EndsAt time.Time
		}
		if err := json.NewDecoder(r.Body).Decode(&alerts); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		for _, a := range alerts {
			o.labels = append(o.labels, a.Labels)
			if a.EndsAt.Before(time.Now()) {
				o.ended++
			}
		}
	}))
	t.Cleanup(s.Close)
	o.address = strings.TrimPrefix(s.URL, "http://")
	return o
}

func (o *otherAlertmanager) got() (labels []map[string]string, ended int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.labels), o.ended
}

// TestAlertRelabelConfigs follows alerts that relabeling changes, joins and drops to every place that shows them.
func TestAlertRelabelConfigs(t *testing.T) {
	t.Parallel()
	dir, model, dba, rest, other := t.TempDir(), newFakeModel(t), newPager(t), newPager(t), newOtherAlertmanager(t)
	configure(t, dir, model.url, replicaRules(false, false))
	file := filepath.Join(dir, "hancock.yml")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	config := strings.Replace(string(text), "prometheus: {", fmt.Sprintf(`prometheus: {global: {external_labels: {site: here}}, alerting: {alert_relabel_configs: [
      {source_labels: [product, 'host.ip'], separator: ';', regex: '(.+);(.+)', target_label: routing.key, replacement: '${1}__${2}'},
      {action: labeldrop, regex: 'replica|instance|job'},
      {source_labels: [env], regex: test, action: drop}],
    alertmanagers: [{static_configs: [{targets: [%q]}]}]}, `, other.address), 1)
	config += fmt.Sprintf(`
alertmanager:
  route:
    {receiver: rest, group_by: [alertname], group_wait: 10ms, group_interval: 1s, repeat_interval: 1h, routes: [{matchers: ['routing.key=~"db__.*"'], receiver: dba}]}
  receivers: [{name: rest, webhook_configs: [{url: %q}]}, {name: dba, webhook_configs: [{url: %q}]}]
`, rest.url, dba.url)
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	p := startHancock(t, dir)
	p.grows(`count_over_time(up{job="hancock"}[1h])`, 3)
	p.rewrite(dir, replicaRules(true, true))

	sent := map[string]string{"alertname": "X", "product": "db", "host.ip": "10.0.0.1", "routing.key": "db__10.0.0.1", "site": "here"}
	p.eventually("the receiver of the new label is notified", func() bool { return len(dba.got("firing")) > 0 })
	require.Len(t, dba.got("firing")[0].Alerts, 1, "two alerts have become one")
	require.Equal(t, sent, dba.got("firing")[0].Alerts[0].Labels)
	p.eventually("the other Alertmanager has it", func() bool {
		labels, _ := other.got()
		return len(labels) > 0
	})
	p.eventually("the history has all three", func() bool {
		v, _ := p.scalar(`count(ALERTS{alertstate="firing"})`)
		return v == 3
	})
	_, body := p.get("/api/v2/alerts")
	require.Equal(t, 1, strings.Count(body, `"fingerprint"`), body)

	type episode struct {
		Labels        map[string]string `json:"labels"`
		RuleLabels    map[string]string `json:"rule_labels"`
		Dropped       bool              `json:"dropped_by_relabeling"`
		Notifications []any             `json:"notifications"`
	}
	var history struct {
		Alerts []episode `json:"alerts"`
	}
	p.eventually("the history knows who was notified", func() bool {
		_, body = p.get("/api/hancock/alerts/history")
		return json.Unmarshal([]byte(body), &history) == nil && strings.Count(body, `"receiver":"dba"`) == 2
	})
	require.Len(t, history.Alerts, 3)
	for _, e := range history.Alerts {
		if e.Dropped {
			require.Equal(t, "Unwanted", e.Labels["alertname"])
			require.Empty(t, e.Notifications)
			continue
		}
		require.Equal(t, sent, e.Labels)
		require.Contains(t, []string{"a", "b"}, e.RuleLabels["replica"])
	}
	_, body = p.get("/api/hancock/alerts/outgoing")
	require.Equal(t, 2, strings.Count(body, `"routing.key":"db__10.0.0.1"`), body)
	require.Equal(t, 1, strings.Count(body, `"dropped":true`), body)

	hancock := func(args ...string) (status int, stdout, stderr string) {
		var out, errs bytes.Buffer
		status = run(append(args, "--url="+p.base), noEnvironment, streams{out: &out, err: &errs})
		return status, out.String(), errs.String()
	}
	status, out, errs := hancock("alert", "test", "--label=product=db", "--label=host.ip=::1")
	require.Zero(t, status, errs)
	require.Regexp(t, `dba +webhook\[0\] +firing +ok`, out)
	require.Contains(t, out, `sent with the labels {alertname="HancockTest", "host.ip"="::1", product="db", "routing.key"="db__::1", site="here"}`)
	status, out, errs = hancock("alert", "test", "--label=env=test")
	require.Equal(t, 1, status)
	require.Empty(t, out)
	require.Contains(t, errs, "alert_relabel_configs drop this alert")
	p.eventually("the backtest routes as it was", func() bool {
		_, out, _ = hancock("backtest", "--from=1h")
		return strings.Contains(out, "1 message to dba.") && strings.Contains(out, "1 alert dropped by alert_relabel_configs before routing.")
	})

	// One of two ends: the other one goes on.
	p.rewrite(dir, replicaRules(true, false))
	p.grows(`count_over_time(ALERTS{alertstate="firing",replica="a"}[1h])`, 5)
	require.NotContains(t, statuses(dba, "X"), "resolved")
	_, ended := other.got()
	require.Zero(t, ended)

	// Another relabeling and another route at once: nobody is notified of the old labels by the new routes.
	config = strings.NewReplacer("replacement: '${1}__${2}'", "replacement: 'web__${2}'", "db__", "web__").Replace(config)
	reload := func() {
		require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
		code, body := p.post("/-/reload", "")
		require.Equal(t, http.StatusOK, code, body)
	}
	reload()
	p.eventually("the receiver is notified of the new labels", func() bool {
		messages := dba.got("firing")
		return messages[len(messages)-1].Alerts[0].Labels["routing.key"] == "web__10.0.0.1"
	})
	// Another relabeling: the alert goes on under its new labels, and those that it had are resolved at once.
	config = strings.Replace(config, "replacement: 'web__${2}'", "replacement: 'app__${2}'", 1)
	reload()
	p.eventually("what has no such label any more is resolved", func() bool { return statuses(dba, "X")["resolved"] == 1 })
	p.eventually("the new receiver is notified", func() bool { return statuses(rest, "X")["firing"] == 1 })
	require.Equal(t, "app__10.0.0.1", rest.got("firing")[0].Alerts[0].Labels["routing.key"])
	require.Len(t, rest.got("firing"), 1)
	require.NotContains(t, statuses(rest, "Unwanted"), "firing")
	p.eventually("the other Alertmanager is notified of the end", func() bool {
		_, ended := other.got()
		return ended == 2
	})
	labels, _ := other.got()
	for _, set := range labels {
		require.Equal(t, "X", set["alertname"])
		require.NotContains(t, set, "replica")
	}
	require.NotContains(t, p.stop(), "DATA RACE")
}

// statuses counts the messages about an alert by their status.
func statuses(p *pager, alert string) map[string]int {
	counts := map[string]int{}
	for _, status := range []string{"firing", "resolved"} {
		for _, m := range p.got(status) {
			if m.GroupLabels["alertname"] == alert {
				counts[status]++
			}
		}
	}
	return counts
}
