package history_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting"
	"github.com/cyberviser/hancock/alerting/history"
	"github.com/cyberviser/hancock/alerting/internal/bubble"
)

// life is a time in which the process runs, after one in which it does not.
type life struct{ down, up time.Duration }

// fired is what the rules sent of one time that the alert fired.
type fired struct{ active, start, end time.Time }

// evaluation is rules over a storage on disk, under test time. It records what they send.
type evaluation struct {
	t     *testing.T
	dir   string
	rules string
	fired []fired
	db    *tsdb.DB
	m     *alerting.Manager
}

// Send implements alerting.Sender.
func (e *evaluation) Send(alerts ...*notifier.Alert) {
	for _, a := range alerts {
		if n := len(e.fired); n == 0 || !e.fired[n-1].start.Equal(a.StartsAt) {
			e.fired = append(e.fired, fired{start: a.StartsAt})
		}
		last := &e.fired[len(e.fired)-1]
		if a.Resolved() {
			last.end = a.EndsAt
		}
	}
}

// live runs the process and leaves it running at the end of a last life.
func (e *evaluation) live(l life, flag func(time.Duration) bool, begin time.Time, last bool) (stop func()) {
	t := e.t
	time.Sleep(l.down) // test time
	var err error
	e.db, err = tsdb.Open(e.dir, slog.New(slog.DiscardHandler), nil, tsdb.DefaultOptions(), nil)
	require.NoError(t, err)
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute, Parser: parser.NewParser(parser.Options{})})
	o := alerting.DefaultOptions()
	o.BuiltinRules, o.RuleFiles = false, []string{e.rules}
	e.m, err = alerting.New(o, alerting.Storage{Queryable: e.db, Appendable: e.db, Query: rules.EngineQueryFunc(engine, e.db)},
		e, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.m.Run(ctx) }()
	for end := time.Now().Add(l.up); time.Now().Before(end); {
		v := 0.0
		if flag(time.Since(begin)) {
			v = 1
		}
		app := e.db.Appender(t.Context())
		_, err := app.Append(0, labels.FromStrings(model.MetricNameLabel, "flag"), time.Now().UnixMilli(), v)
		require.NoError(t, err)
		require.NoError(t, app.Commit())
		time.Sleep(5 * time.Second) // test time
		synctest.Wait()
		for _, r := range e.m.AlertingRules() {
			for _, a := range r.ActiveAlerts() {
				if n := len(e.fired); n > 0 && a.FiredAt.Equal(e.fired[n-1].start) {
					e.fired[n-1].active = a.ActiveAt
				}
			}
		}
	}
	stop = func() {
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, e.db.Close())
	}
	if !last {
		stop()
	}
	return stop
}

// inMilliseconds is a time as samples have it.
func inMilliseconds(t time.Time) time.Time { return time.UnixMilli(t.UnixMilli()).UTC() }

// TestAgreesWithTheRules compares the history with what the rules notified of, over the first evaluations of a process
// and over restarts: begin, end and activity of an alert are the same to the evaluation.
func TestAgreesWithTheRules(t *testing.T) {
	const (
		open = -1
		lost = -2
	)
	always := func(time.Duration) bool { return true }
	within := func(from, to time.Duration) func(time.Duration) bool {
		return func(d time.Duration) bool { return d >= from && d < to }
	}
	short := []life{{0, 5 * time.Minute}}
	for _, tc := range []struct {
		name, group, rule string
		flag              func(time.Duration) bool
		lives             []life
		// want are the episodes, the oldest first: of which time that the alert fired they have the begin, and of which
		// one the end.
		want [][2]int
	}{
		{"fires at the start", "interval: 15s", "", always, short, [][2]int{{0, open}}},
		{"fires at the start, evaluated each second", "interval: 1s", "", always, short, [][2]int{{0, open}}},
		{"fires at the start, evaluated each minute", "interval: 1m", "", always, short, [][2]int{{0, open}}},
		{"fires at the start with an offset", "interval: 15s, query_offset: 20s", "", always, short, [][2]int{{0, open}}},
		{"fires only in the first evaluations", "interval: 1m", "", within(0, 70*time.Second), short, [][2]int{{0, 0}}},
		{"fires in the second evaluation", "interval: 1m", "", within(65*time.Second, time.Hour), short, [][2]int{{0, open}}},
		{"fires twice", "interval: 15s", "", func(d time.Duration) bool { return d%(2*time.Minute) < time.Minute }, short, [][2]int{{0, 0}, {1, 1}, {2, open}}},
		{"fires after one interval", "interval: 15s", "for: 15s", always, short, [][2]int{{0, open}}},
		{"fires after a minute", "interval: 15s", "for: 1m", always, short, [][2]int{{0, open}}},
		{"keeps firing", "interval: 15s", "keep_firing_for: 1m", within(0, 20*time.Second), short, [][2]int{{0, 0}}},
		{"goes on over a restart", "interval: 15s", "", always, []life{{0, 5 * time.Minute}, {30 * time.Second, 5 * time.Minute}}, [][2]int{{0, open}}},
		{"goes on over two restarts, after a time", "interval: 15s", "for: 1m", always, []life{{0, 5 * time.Minute}, {30 * time.Second, 3 * time.Minute}, {time.Second, 3 * time.Minute}}, [][2]int{{0, open}}},
		{"ends while the process does not run", "interval: 15s", "", within(0, 5*time.Minute), []life{{0, 5 * time.Minute}, {30 * time.Second, 2 * time.Minute}}, [][2]int{{0, lost}}},
		{"fires anew soon after a restart", "interval: 15s", "", func(d time.Duration) bool { return d < 5*time.Minute || d > 7*time.Minute }, []life{{0, 5 * time.Minute}, {30 * time.Second, 5 * time.Minute}}, [][2]int{{0, lost}, {1, open}}},
		{"fires right before a stop", "interval: 15s", "", within(4*time.Minute+45*time.Second, time.Hour), []life{{0, 5 * time.Minute}, {10 * time.Minute, 5 * time.Minute}}, [][2]int{{0, lost}, {1, open}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				e := &evaluation{t: t, dir: filepath.Join(dir, "data"), rules: filepath.Join(dir, "rules.yml")}
				require.NoError(t, os.WriteFile(e.rules, fmt.Appendf(nil, "groups: [{name: g, %s, rules: [{alert: A, expr: flag == 1, %s}]}]", tc.group, tc.rule), 0o600))
				begin := time.Now()
				stop := func() {}
				for i, l := range tc.lives {
					stop = e.live(l, tc.flag, begin, i == len(tc.lives)-1)
				}
				defer func() { stop() }()
				h := history.New(history.Sources{
					Storage: e.db,
					Rules:   func(alert string) history.Times { return history.Times(e.m.Times(alert)) },
					Attempts: func(context.Context, time.Time, time.Time, int) (told []history.Attempt, err error) {
						for _, v := range slices.Backward(e.fired) {
							fp := model.LabelSet{"alertname": "A"}.Fingerprint().String()
							told = append(told, history.Attempt{Notification: history.Notification{Time: v.start.Add(time.Second)}, Statuses: map[string]string{fp: "firing"}})
						}
						return told, nil
					},
				})
				got, _, err := h.Episodes(t.Context(), history.Query{From: begin, To: time.Now(), Limit: 10})
				require.NoError(t, err)
				require.Len(t, got, len(tc.want), "%+v", e.fired)
				notified := 0
				for i, w := range tc.want {
					ep, f := got[len(got)-1-i], e.fired[w[0]]
					require.Equal(t, inMilliseconds(f.start), ep.StartedAt)
					if !f.active.IsZero() && len(tc.lives) == 1 {
						require.WithinDuration(t, f.active, ep.ActiveSince, time.Second-1)
					}
					require.False(t, ep.ActiveSince.After(ep.StartedAt))
					switch w[1] {
					case open:
						require.True(t, ep.EndedAt.IsZero(), ep.EndedAt)
					case lost:
						require.True(t, ep.Lost)
						require.False(t, ep.EndedAt.IsZero())
					default:
						require.Equal(t, inMilliseconds(e.fired[w[1]].end), ep.EndedAt)
						require.False(t, ep.Lost)
					}
					notified += len(ep.Notifications)
					require.NotEmpty(t, ep.Notifications)
				}
				require.Equal(t, len(e.fired), notified, "each notification belongs to an episode")
			})
		})
	}
}
