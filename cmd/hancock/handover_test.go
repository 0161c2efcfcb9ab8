package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// told counts the messages that have an alert of a name and severity in a status.
func (p *pager) told(status, alert, severity string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.messages {
		for _, a := range m.Alerts {
			if a.Status == status && a.Labels["alertname"] == alert && a.Labels["severity"] == severity {
				n++
			}
		}
	}
	return n
}

// evaluations waits until each group was evaluated n times more, so that what the rules say has been sent.
func (p *process) evaluations(n int) {
	p.t.Helper()
	p.grows(`min(prometheus_rule_evaluations_total)`, n)
}

// ended is when the last episode of an alert ended; ok is false while it fires.
func (p *process) ended(alert, severity string) (at time.Time, lost, ok bool) {
	p.t.Helper()
	code, body := p.get("/api/hancock/alerts/history?alert=" + alert)
	require.Equal(p.t, http.StatusOK, code, body)
	var answer struct {
		Alerts []struct {
			Labels  map[string]string `json:"labels"`
			EndedAt time.Time         `json:"ended_at"`
			Lost    bool              `json:"lost"`
		} `json:"alerts"`
	}
	require.NoError(p.t, json.Unmarshal([]byte(body), &answer), body)
	for _, a := range answer.Alerts {
		if a.Labels["severity"] == severity {
			return a.EndedAt, a.Lost, !a.EndedAt.IsZero()
		}
	}
	return time.Time{}, false, false
}

// TestAlertsOfChangedRules changes the rule of an alert that fires in a process that runs, and in one that was killed:
// what no rule has any more is resolved, long before it would time out; what a rule still has, and what was posted,
// goes on.
func TestAlertsOfChangedRules(t *testing.T) {
	t.Parallel()
	dir, model, phone := t.TempDir(), newFakeModel(t), newPager(t)
	configure(t, dir, model.url, switchRule(true))
	route(t, dir, phone.url, "10ms")
	p := startHancock(t, dir)
	p.eventually("the alert", func() bool { return phone.told("firing", "Switch", "critical") > 0 })
	code, body := p.post("/api/v2/alerts", fmt.Sprintf(`[{"labels": {"alertname": "Switch", "severity": "posted"}, "endsAt": %q}]`,
		time.Now().Add(time.Hour).Format(time.RFC3339)))
	require.Equal(t, http.StatusOK, code, body)
	p.eventually("the posted alert", func() bool { return phone.told("firing", "Switch", "posted") > 0 })

	rules := switchRule(true)
	resolved := func(alert, severity string, since time.Time) {
		t.Helper()
		p.eventually(alert+" is resolved", func() bool { return phone.told("resolved", alert, severity) > 0 })
		p.eventually("the end in the history", func() bool {
			at, lost, ok := p.ended(alert, severity)
			return ok && !lost && !at.Before(since.Truncate(time.Millisecond)) && at.Before(time.Now())
		})
	}
	change := func(old, with string) time.Time {
		require.Contains(t, rules, old)
		rules = strings.ReplaceAll(rules, old, with)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "rules.yml"), []byte(rules), 0o600))
		return time.Now()
	}
	reload := func() {
		t.Helper()
		p.rewrite(dir, rules)
	}

	change("name: test", "name: moved")
	reload()
	p.evaluations(4)
	require.Zero(t, phone.told("resolved", "Switch", "critical"), "the rule has it still")

	since := change("severity: critical", "severity: warning")
	reload()
	resolved("Switch", "critical", since)
	p.eventually("the new severity", func() bool { return phone.told("firing", "Switch", "warning") > 0 })
	since = change("alert: Switch", "alert: Renamed")
	reload()
	resolved("Switch", "warning", since)
	p.eventually("the new name", func() bool { return phone.told("firing", "Renamed", "warning") > 0 })

	kept := func(name string) func() bool {
		return func() bool {
			state, err := os.ReadFile(filepath.Join(dir, "data", "alerting", "state.json"))
			return err == nil && strings.Contains(string(state), name)
		}
	}
	p.eventually("the state", kept("Renamed"))
	p.kill()
	since = change("alert: Renamed", "alert: Again")
	p = startHancock(t, dir, p.sameAddress())
	resolved("Renamed", "warning", since)
	p.eventually("the new name after a start", func() bool { return phone.told("firing", "Again", "warning") > 0 })
	p.grows(`count_over_time(ALERTS{alertname="Again",alertstate="firing"}[1h])`, 2) // They begin after two evaluations.
	p.eventually("the state", kept("Again"))
	p.kill()
	since = change("alert: Again", "record: again")
	change("        annotations", "      - {alert: False, expr: vector(0) > 1}\n      #")
	p = startHancock(t, dir, p.sameAddress())
	resolved("Again", "warning", since)
	require.Equal(t, 1, phone.told("firing", "Again", "warning"))
	require.Equal(t, 1, phone.told("firing", "Renamed", "warning"))

	require.Zero(t, phone.told("resolved", "Switch", "posted"))
	_, body = p.get("/api/v2/alerts?filter=severity%3Dposted")
	require.Contains(t, body, `"state":"active"`, "what was posted goes on")
	require.NotContains(t, p.stop(), "DATA RACE")
}

// keptSince is when the expression of the one active alert became false.
func (p *process) keptSince() (at time.Time) {
	p.t.Helper()
	code, body := p.get("/api/v1/alerts")
	require.Equal(p.t, http.StatusOK, code, body)
	var answer struct {
		Data struct {
			Alerts []struct {
				State           string    `json:"state"`
				KeepFiringSince time.Time `json:"keepFiringSince"`
			} `json:"alerts"`
		} `json:"data"`
	}
	require.NoError(p.t, json.Unmarshal([]byte(body), &answer), body)
	if len(answer.Data.Alerts) == 0 {
		return at
	}
	require.Len(p.t, answer.Data.Alerts, 1, body)
	require.Equal(p.t, "firing", answer.Data.Alerts[0].State)
	return answer.Data.Alerts[0].KeepFiringSince
}

// TestKeepFiringForOverRestarts has an alert that fires only because of keep_firing_for when the process is killed, and
// when it is stopped: it goes on, and is resolved once.
func TestKeepFiringForOverRestarts(t *testing.T) {
	t.Parallel()
	var flap atomic.Int64
	flap.Store(1)
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintf(w, "flap %d\n", flap.Load())
	}))
	t.Cleanup(exporter.Close)
	dir, model, phone := t.TempDir(), newFakeModel(t), newPager(t)
	rules := `
groups:
  - name: test
    rules:
      - alert: Flap
        expr: flap == 1
        keep_firing_for: 30m
`
	configure(t, dir, model.url, rules)
	route(t, dir, phone.url, "10ms")
	file := filepath.Join(dir, "hancock.yml")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	jobs := fmt.Sprintf("prometheus: {scrape_configs: [{job_name: e, scrape_interval: 1s, scrape_timeout: 1s, static_configs: [{targets: [%q]}]}], ",
		strings.TrimPrefix(exporter.URL, "http://"))
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(string(text), "prometheus: {", jobs, 1)), 0o600))
	p := startHancock(t, dir)
	p.eventually("the alert", func() bool { return phone.told("firing", "Flap", "") == 1 })
	flap.Store(0)
	p.eventually("it is kept", func() bool { return !p.keptSince().IsZero() })
	since := p.keptSince()
	p.evaluations(1) // The state is saved at the end of one.
	p.kill()
	for range 2 {
		p = startHancock(t, dir, p.sameAddress())
		p.eventually("it is kept after a start", func() bool { return !p.keptSince().IsZero() })
		require.True(t, since.Equal(p.keptSince()), "%s, not %s", since, p.keptSince())
		p.evaluations(5) // `for` is restored after two.
		require.True(t, since.Equal(p.keptSince()), "%s, not %s", since, p.keptSince())
		p.stop()
	}
	p = startHancock(t, dir, p.sameAddress())
	p.eventually("it is kept after a start", func() bool { return !p.keptSince().IsZero() })
	require.Empty(t, phone.got("resolved"))
	p.rewrite(dir, strings.Replace(rules, "30m", "1s", 1))
	p.eventually("its time is over", func() bool { return phone.told("resolved", "Flap", "") > 0 })
	p.evaluations(3)
	require.Equal(t, 1, phone.told("resolved", "Flap", ""))
	require.Equal(t, 1, phone.told("firing", "Flap", ""))
	require.NotContains(t, p.stop(), "DATA RACE")
}
