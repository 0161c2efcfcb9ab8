package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestHistoryOfTheFirstEvaluation has an alert that fires in the first evaluation of a process, and again in that of
// the next one: the history has the begin that /api/v1/alerts has, and the notification.
func TestHistoryOfTheFirstEvaluation(t *testing.T) {
	t.Parallel()
	dir, model, phone := t.TempDir(), newFakeModel(t), newPager(t)
	configure(t, dir, model.url, switchRule(true))
	route(t, dir, phone.url, "0s")
	p := startHancock(t, dir)
	type episode struct {
		ActiveSince   time.Time                          `json:"active_since"`
		StartedAt     time.Time                          `json:"started_at"`
		EndedAt       time.Time                          `json:"ended_at"`
		Notifications []struct{ Status, Outcome string } `json:"notifications"`
	}
	episodes := func() []episode {
		code, body := p.get("/api/hancock/alerts/history?alert=Switch")
		require.Equal(t, http.StatusOK, code, body)
		var answer struct{ Alerts []episode }
		require.NoError(t, json.Unmarshal([]byte(body), &answer))
		return answer.Alerts
	}
	activeAt := func() time.Time {
		code, body := p.get("/api/v1/alerts")
		require.Equal(t, http.StatusOK, code, body)
		var answer struct {
			Data struct {
				Alerts []struct{ ActiveAt time.Time }
			}
		}
		require.NoError(t, json.Unmarshal([]byte(body), &answer))
		require.Len(t, answer.Data.Alerts, 1)
		return answer.Data.Alerts[0].ActiveAt
	}
	p.eventually("the history has the notification", func() bool {
		found := episodes()
		return len(found) == 1 && len(found[0].Notifications) == 1
	})
	active, first := activeAt(), episodes()[0]
	require.Equal(t, active.UnixMilli(), first.StartedAt.UnixMilli())
	require.Equal(t, active.UnixMilli(), first.ActiveSince.UnixMilli())
	require.True(t, first.EndedAt.IsZero())
	require.Equal(t, "firing", first.Notifications[0].Status)
	const samples = `count_over_time(ALERTS{alertname="Switch",alertstate="firing"}[1h])`
	p.grows(samples, 5) // its state is stored
	p.kill()

	p = startHancock(t, dir, p.sameAddress())
	p.grows(samples, 5)
	require.Equal(t, first, episodes()[0], "it went on over the restart")
	require.Len(t, episodes(), 1)
}

// TestDelivery measures the time from a breach, which is the scrape that has it, to the receiver: one evaluation
// interval and group_wait, a second each.
func TestDelivery(t *testing.T) {
	t.Parallel()
	const alerts = 20
	var mu sync.Mutex
	active, scraped, took := 0, map[string]time.Time{}, map[string]time.Duration{}
	series := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		for i := range active {
			id := strconv.Itoa(i)
			if scraped[id].IsZero() {
				scraped[id] = time.Now()
			}
			fmt.Fprintf(w, "breach{id=%q} 1\n", id)
		}
	}))
	t.Cleanup(series.Close)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m struct {
			Alerts []struct{ Labels map[string]string }
		}
		if json.NewDecoder(r.Body).Decode(&m) != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, a := range m.Alerts {
			id := a.Labels["id"]
			took[id] = time.Since(scraped[id])
		}
	}))
	t.Cleanup(hook.Close)
	dir := t.TempDir()
	breachConfig(t, dir, newFakeModel(t).url, series.URL, hook.URL)
	p := startHancock(t, dir)
	for i := range alerts {
		mu.Lock()
		active = i + 1
		mu.Unlock()
		p.eventually(fmt.Sprintf("alert %d is delivered", i), func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(took) == i+1
		})
	}
	all := slices.Sorted(maps.Values(took))
	t.Logf("from breach to delivery of %d alerts: shortest %s, median %s, longest %s", alerts,
		all[0].Round(time.Millisecond), all[alerts/2].Round(time.Millisecond), all[alerts-1].Round(time.Millisecond))
	require.GreaterOrEqual(t, all[0], time.Second, "group_wait")
	require.Less(t, all[alerts/2], 20*time.Second)
}

// breachConfig writes the configuration of a process that fires for each series breach, and notifies the hook of each
// alert on its own.
func breachConfig(t *testing.T, dir, model, series, hook string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rules.yml"), []byte(`
groups: [{name: breaches, interval: 1s, rules: [{alert: Breach, expr: breach == 1}]}]
`), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "hancock.yml"), fmt.Appendf(nil, `
agent: {backend: ollama, ollama: {base_url: %q, model: test-model, coder_model: test-coder}}
storage: {path: data, scrape_interval: 1s, scrape_timeout: 1s}
alerting: {evaluation_interval: 1s, builtin_rules: false}
prometheus:
  rule_files: [rules.yml]
  scrape_configs:
  - {job_name: breach, scrape_interval: 1s, scrape_timeout: 1s, static_configs: [{targets: [%q]}]}
alertmanager:
  route: {receiver: hook, group_by: [alertname, id], group_wait: 1s, group_interval: 1s, repeat_interval: 24h}
  receivers: [{name: hook, webhook_configs: [{url: %q}]}]
`, model, strings.TrimPrefix(series, "http://"), hook), 0o600))
}
