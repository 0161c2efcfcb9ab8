package backtest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/config"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/alertmanager"
	"github.com/cyberviser/hancock/alerting/backtest"
)

// TestHeartbeat wants the heartbeat to be routed as the Alertmanager does: where a route names it, and without an
// effect on the groups of others.
func TestHeartbeat(t *testing.T) {
	const text = `
groups:
  - name: a
    rules:
      - {alert: Watchdog, expr: vector(1), labels: {severity: none}}
      - {alert: Queue, expr: queue > 50, labels: {severity: warning}}
`
	db := openDB(t)
	put(t, db, machines().samples(t, time.Hour))
	for _, tt := range []struct {
		name, routes string
		want         []string
	}{
		{"no route", "", nil},
		{"by its name", `[{matchers: [alertname="Watchdog"], receiver: two}]`, []string{"two"}},
		{"by any name", `[{matchers: [alertname=~".+"], receiver: two}]`, nil},
		{"by its severity", `[{matchers: [severity="none"], receiver: two}]`, nil},
		{"by its name below a route for all", `[{matchers: [severity=~".+"], routes: [{matchers: [alertname="Watchdog"], receiver: two}]}]`, []string{"two"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			routes := ""
			if tt.routes != "" {
				routes = "  routes: " + tt.routes
			}
			cfg, err := config.Load("\nroute:\n  receiver: one\n  group_wait: 30s\n  group_interval: 1h\n" + routes + routedReceivers)
			require.NoError(t, err)
			report, err := backtest.Run(t.Context(), backtest.Storage{Queryable: db, Oldest: backtest.StartTime(db)}, backtest.Request{
				Files: files(text), From: t0(), To: t0().Add(time.Hour), Routing: cfg,
			}, nil)
			require.NoError(t, err)
			var firstQueue time.Time
			for _, a := range report.Alerts {
				switch a.Name {
				case alertmanager.HeartbeatAlert:
					require.Equal(t, tt.want, a.Receivers)
				case "Queue":
					if firstQueue.IsZero() {
						firstQueue = *a.FiredAt
					}
				}
			}
			told := map[string]bool{}
			waited := time.Duration(-1)
			for _, m := range report.Routing.Messages {
				for _, a := range m.Alerts {
					if a.Labels["alertname"] == alertmanager.HeartbeatAlert {
						told[m.Receiver] = true
					} else if waited < 0 {
						waited = m.At.Sub(firstQueue)
					}
				}
			}
			require.Len(t, told, len(tt.want))
			for _, r := range tt.want {
				require.True(t, told[r])
			}
			require.Equal(t, 30*time.Second, waited, "group_wait, as the heartbeat is in no group")
			require.Equal(t, len(tt.want) == 0, strings.Contains(strings.Join(report.Notes, "\n"), alertmanager.HeartbeatWithheld))
		})
	}
}
