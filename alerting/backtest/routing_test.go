package backtest_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/eventrecorder"
	"github.com/prometheus/alertmanager/featurecontrol"
	"github.com/prometheus/alertmanager/inhibit"
	"github.com/prometheus/alertmanager/marker"
	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/provider/mem"
	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/alertmanager/timeinterval"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
	"github.com/prometheus/prometheus/rules"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/backtest"
	"github.com/cyberviser/hancock/alerting/internal/bubble"
	"github.com/cyberviser/hancock/alerting/outgoing"
)

// recorder is an integration of a real Alertmanager that keeps what it is told.
type recorder struct {
	receiver, name string
	resolved       bool
	out            *messages
}

type messages struct {
	mtx sync.Mutex
	all []string
}

func (r *recorder) SendResolved() bool { return r.resolved }

func (r *recorder) Notify(ctx context.Context, alerts ...*alert.Alert) (bool, error) {
	now, _ := notify.Now(ctx)
	reason, _ := notify.NotificationReason(ctx)
	set, _ := notify.GroupLabels(ctx)
	var lines []string
	for _, a := range alerts {
		lines = append(lines, messageAlert(plain(a.Labels), string(a.StatusAt(now)), a.StartsAt))
	}
	r.out.mtx.Lock()
	defer r.out.mtx.Unlock()
	r.out.all = append(r.out.all, message(now, r.receiver, r.name, plain(set), reason.String(), lines))
	return false, nil
}

func plain(set model.LabelSet) map[string]string {
	out := map[string]string{}
	for n, v := range set {
		out[string(n)] = string(v)
	}
	return out
}

func messageAlert(set map[string]string, status string, starts time.Time) string {
	return fmt.Sprintf("    %s %s since %s", status, labels.FromMap(set), starts.UTC().Format(clock))
}

func message(at time.Time, receiver, integration string, group map[string]string, reason string, alerts []string) string {
	return fmt.Sprintf("%s %s/%s %s: %s\n%s\n", at.UTC().Format("02 "+clock), receiver, integration, labels.FromMap(group), reason,
		strings.Join(alerts, "\n"))
}

// receive takes alerts as they are sent.
type receive func(*notifier.Alert)

func (f receive) Send(alerts ...*notifier.Alert) {
	for _, a := range alerts {
		f(a)
	}
}

// told lets a real Alertmanager route what the manager sent, each at its time and relabeled, and returns its messages.
func told(t *testing.T, cfg *config.Config, relabeling *outgoing.Relabeling, all []sent, d time.Duration) []string {
	t.Helper()
	out := &messages{}
	bubble.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(t0())) // Test time.
		reg, logger := prometheus.NewRegistry(), slog.New(slog.DiscardHandler)
		alerts, err := mem.NewAlerts(t.Context(), 30*time.Minute, 0, nil, logger, eventrecorder.Recorder{}, reg, nil)
		require.NoError(t, err)
		log, err := nflog.New(nflog.Options{Retention: 120 * time.Hour, Metrics: reg, Logger: logger})
		require.NoError(t, err)
		silences, err := silence.New(silence.Options{Retention: time.Hour, Metrics: reg, Logger: logger})
		require.NoError(t, err)
		done := make(chan struct{})
		var background sync.WaitGroup
		background.Go(func() { log.Maintenance(15*time.Minute, "", done, nil) })

		integrations := map[string][]notify.Integration{}
		for i := range cfg.Receivers {
			rc := &cfg.Receivers[i]
			integrations[rc.Name] = nil
			for j, w := range rc.WebhookConfigs {
				n := &recorder{receiver: rc.Name, name: fmt.Sprintf("webhook[%d]", j), resolved: w.SendResolved(), out: out}
				integrations[rc.Name] = append(integrations[rc.Name], notify.NewIntegration(n, n, "webhook", j, rc.Name))
			}
		}
		intervals := map[string][]timeinterval.TimeInterval{}
		for _, ti := range cfg.TimeIntervals {
			intervals[ti.Name] = ti.TimeIntervals
		}
		groupMarker := marker.NewGroupMarker()
		inhibitor := inhibit.NewInhibitor(alerts, cfg.InhibitRules, logger, eventrecorder.Recorder{})
		background.Go(inhibitor.Run)
		inhibitor.WaitForLoading()
		stage := notify.NewPipelineBuilder(reg, featurecontrol.NoopFlags{}, eventrecorder.Recorder{}).New(
			integrations, func() time.Duration { return 0 }, inhibitor,
			silence.NewSilencer(silences, logger, eventrecorder.Recorder{}), timeinterval.NewIntervener(intervals), groupMarker, log, nil)
		d1 := dispatch.NewDispatcher(alerts, dispatch.NewRoute(cfg.Route, nil), stage, groupMarker,
			func(d time.Duration) time.Duration { return max(d, notify.MinTimeout) }, 30*time.Second, nil, logger,
			eventrecorder.Recorder{}, nil, nil)
		background.Go(func() { d1.Run(time.Now()) })
		d1.WaitForLoading()
		synctest.Wait()

		sender := outgoing.NewSender(relabeling, receive(func(a *notifier.Alert) {
			am := &alert.Alert{Alert: model.Alert{Labels: model.LabelSet{}, StartsAt: a.StartsAt, EndsAt: a.EndsAt}, UpdatedAt: time.Now()}
			a.Labels.Range(func(l labels.Label) { am.Labels[model.LabelName(l.Name)] = model.LabelValue(l.Value) })
			require.NoError(t, alerts.Put(t.Context(), am))
			synctest.Wait()
			time.Sleep(time.Nanosecond) // A timer without duration needs time to go on, too.
			synctest.Wait()
		}))
		for _, s := range all {
			time.Sleep(time.Until(s.at)) // Test time.
			slices.SortFunc(s.alerts, func(a, b rules.Alert) int {
				return cmp.Or(a.FiredAt.Compare(b.FiredAt), labels.Compare(a.Labels, b.Labels))
			})
			var batch []*notifier.Alert
			for _, a := range s.alerts {
				one := &notifier.Alert{Labels: a.Labels, StartsAt: a.FiredAt, EndsAt: a.ValidUntil}
				if !a.ResolvedAt.IsZero() {
					one.EndsAt = a.ResolvedAt
				}
				batch = append(batch, one)
			}
			sender.Send(batch...)
		}
		time.Sleep(time.Until(t0().Add(d)))
		synctest.Wait()
		d1.Stop()
		inhibitor.Stop()
		close(done)
		alerts.Close()
		background.Wait()
	})
	slices.Sort(out.all)
	return out.all
}

const routedRules = `
groups:
  - name: hosts
    rules:
      - {alert: Down, expr: up == 0, for: 2m, labels: {severity: critical}}
      - {alert: Loaded, expr: load > 60, labels: {severity: warning}}
      - {alert: Overloaded, expr: load > 90, keep_firing_for: 3m, labels: {severity: critical}}
  - name: others
    interval: 1m
    rules:
      - {alert: Always, expr: vector(1), labels: {severity: none}}
      - {alert: Queue, expr: queue > 50, labels: {severity: warning}}
      - {alert: Errors, expr: 'rate(requests_total{code="500"}[5m]) > 0.05', labels: {severity: info}}
`

const routedReceivers = `
receivers:
  - name: nobody
  - name: one
    webhook_configs: [{url: 'http://127.0.0.1:1/'}]
  - name: two
    webhook_configs: [{url: 'http://127.0.0.1:2/', send_resolved: false}, {url: 'http://127.0.0.1:3/'}]
`

func TestMessagesAreAlertmanagers(t *testing.T) {
	const d = 190 * time.Minute
	for _, tt := range []struct{ name, relabel, config string }{
		{"one group", "", `
route: {receiver: one, group_wait: 20s, group_interval: 5m, repeat_interval: 1h}
`},
		{"groups by alert, and send_resolved", "", `
route: {receiver: two, group_by: [alertname], group_wait: 40s, group_interval: 2m, repeat_interval: 30m}
`},
		{"each alert alone", "", `
route: {receiver: two, group_by: ['...'], group_wait: 10s, group_interval: 1m, repeat_interval: 20m}
`},
		{"continue and nested routes", "", `
route:
  receiver: nobody
  group_wait: 20s
  group_interval: 3m
  repeat_interval: 40m
  routes:
    - {receiver: one, matchers: [severity="critical"], continue: true, group_by: [alertname, instance]}
    - receiver: two
      matchers: [severity=~"critical|warning"]
      routes:
        - {receiver: one, matchers: [alertname="Queue"], group_wait: 35s}
    - {receiver: one, matchers: [region="eu", severity="info"]}
`},
		{"inhibition", "", `
route: {receiver: two, group_by: [alertname], group_wait: 20s, group_interval: 2m, repeat_interval: 25m}
inhibit_rules:
  - {source_matchers: [severity="critical"], target_matchers: [severity="warning"], equal: [instance]}
  - {source_matchers: [alertname="Down"], target_matchers: [alertname=~"Down|Errors"]}
`},
		{"mute and active times", "", `
route:
  receiver: one
  group_by: [alertname]
  group_wait: 20s
  group_interval: 2m
  repeat_interval: 15m
  routes:
    - {receiver: two, matchers: [severity="critical"], mute_time_intervals: [lunch]}
    - {receiver: one, matchers: [severity="warning"], active_time_intervals: [early, lunch]}
time_intervals:
  - {name: lunch, time_intervals: [{times: [{start_time: '06:25', end_time: '07:40'}]}]}
  - {name: early, time_intervals: [{times: [{start_time: '00:00', end_time: '06:10'}]}]}
`},
		{"alerts that become one", "{action: labeldrop, regex: instance|job}", `
route: {receiver: two, group_by: ['...'], group_wait: 20s, group_interval: 1m, repeat_interval: 1h}
`},
		{"other names, and some dropped", `
      {source_labels: [alertname, severity], regex: (.+);critical, target_label: alertname, replacement: 'Page/$1 🔥'},
      {source_labels: [region, severity], target_label: service.name}, {source_labels: [severity], regex: none, action: drop}`, `
route:
  receiver: nobody
  group_by: [alertname, service.name]
  group_wait: 20s
  group_interval: 2m
  repeat_interval: 1h
  routes: [{receiver: two, matchers: ['"service.name"="eu;critical"']}, {receiver: one, matchers: ['alertname=~"Page/.*"']}, {receiver: one, matchers: [severity="none"]}]
`},
		{"a log that forgets", "", `
route:
  receiver: one
  group_by: [alertname]
  group_wait: 20s
  group_interval: 1m
  repeat_interval: 5m
  routes:
    - {receiver: two, matchers: [alertname="Down"], mute_time_intervals: [later]}
time_intervals:
  - {name: later, time_intervals: [{times: [{start_time: '06:29', end_time: '08:30'}]}]}
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := config.Load(tt.config + routedReceivers)
			require.NoError(t, err)
			db := openDB(t)
			_, all := live(t, db, routedRules, machines().samples(t, d), d)
			prom, err := promconfig.Load("alerting: {alert_relabel_configs: ["+tt.relabel+"]}", slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			relabeling := outgoing.New(labels.FromStrings("region", "eu"), prom.AlertingConfig.AlertRelabelConfigs)
			want := told(t, cfg, relabeling, all, d)
			require.NotEmpty(t, want)

			report, err := backtest.Run(t.Context(), backtest.Storage{Queryable: db, Oldest: backtest.StartTime(db)}, backtest.Request{
				Files: []backtest.File{{Name: ruleFile, Text: routedRules}}, From: t0(), To: t0().Add(d),
				Relabeling: relabeling, Routing: cfg, MaxDetails: 10_000,
			}, nil)
			require.NoError(t, err)
			var got []string
			counts := map[string]int{}
			for _, m := range report.Routing.Messages {
				var lines []string
				for _, a := range m.Alerts {
					lines = append(lines, messageAlert(a.Labels, a.Status, a.StartsAt))
				}
				got = append(got, message(m.At, m.Receiver, m.Integration, m.GroupLabels, m.Reason, lines))
				counts[m.Receiver]++
			}
			require.True(t, slices.IsSortedFunc(report.Routing.Messages, func(a, b backtest.Message) int { return a.At.Compare(b.At) }))
			slices.Sort(got)
			require.Equal(t, strings.Join(want, ""), strings.Join(got, ""))
			require.Equal(t, len(want), report.Routing.MessagesTotal)
			dropped := strings.Contains(tt.relabel, "none")
			for _, a := range report.Alerts {
				require.Equal(t, dropped && a.Name == "Always", a.DroppedByRelabeling, a.Name)
				if !a.DroppedByRelabeling {
					require.Equal(t, "eu", a.SentLabels["region"])
				} else {
					require.Empty(t, a.Receivers)
				}
			}
			require.Equal(t, map[bool]int{true: 1}[dropped], report.Routing.Dropped)
			for _, r := range report.Routing.Receivers {
				require.Equal(t, counts[r.Name], r.Messages, r.Name)
			}
		})
	}
}
