package backtest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/backtest"
)

func files(text string) []backtest.File { return []backtest.File{{Name: ruleFile, Text: text}} }

// TestEditedRecordingRule replays a new text of a recording rule whose old results are stored.
func TestEditedRecordingRule(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	const text = `
groups:
  - name: a
    rules:
      - {record: level, expr: 'queue * %d'}
      - {alert: Level, expr: level > 150}
`
	db := openDB(t)
	live(t, db, fmt.Sprintf(text, 1), machines().samples(t, time.Hour), time.Hour)
	storage := backtest.Storage{Queryable: db, Oldest: backtest.StartTime(db)}
	for factor, fires := range map[int]bool{1: false, 2: true} {
		report, err := backtest.Run(t.Context(), storage, backtest.Request{Files: files(fmt.Sprintf(text, factor)), From: t0(), To: t0().Add(time.Hour)}, nil)
		require.NoError(t, err)
		require.Equal(t, fires, report.FiredTotal > 0)
		require.Equal(t, int64(240), report.Rules[0].Samples)
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	require.Empty(t, left, "the results of the replay are removed")
}

// TestWarmup begins in the middle of what holds.
func TestWarmup(t *testing.T) {
	const text = `
groups:
  - name: a
    rules:
      - {alert: Down, expr: 'up{instance="2"} == 0', for: 10m}
      - {record: down:max, expr: 'max(up) - min(up)'}
      - {alert: Reads, expr: 'min_over_time(down:max[5m]) == 1'}
`
	db := openDB(t)
	put(t, db, machines().samples(t, 100*time.Minute))
	cfg, err := config.Load("\nroute: {receiver: one, group_by: [alertname], group_wait: 30s, repeat_interval: 1h}\n" + routedReceivers)
	require.NoError(t, err)
	for _, tt := range []struct {
		name       string
		from       int // Minutes.
		down, read int // The second after from at which they fired; negative is before.
		messages   int
	}{
		{"before it began", 20, 15*60 + 1, 5*60 - 14, 4},
		{"while it was pending", 30, 5*60 + 1, -1, 3},
		{"while it fired", 40, -1, -1, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			from := t0().Add(time.Duration(tt.from) * time.Minute)
			report, err := backtest.Run(t.Context(), backtest.Storage{Queryable: db, Oldest: backtest.StartTime(db)}, backtest.Request{
				Files: files(text), From: from, To: t0().Add(55 * time.Minute), Routing: cfg,
			}, nil)
			require.NoError(t, err)
			require.True(t, report.WarmupFrom.Before(from))
			fired := map[string]int{}
			for _, a := range report.Alerts {
				if a.FiredAt != nil {
					fired[a.Name] = max(int(a.FiredAt.Sub(from).Seconds()), -1)
					// What lies before the beginning does not count.
					require.LessOrEqual(t, a.FiringSeconds, report.To.Sub(from).Seconds())
				}
			}
			require.Equal(t, map[string]int{"Down": tt.down, "Reads": tt.read}, fired)
			require.Equal(t, tt.messages, report.Routing.MessagesTotal)
		})
	}
}

func TestBeginningOfTheStore(t *testing.T) {
	db := openDB(t)
	oldest := backtest.StartTime(db)
	run := func(from, to time.Time) *backtest.Report {
		report, err := backtest.Run(t.Context(), backtest.Storage{Queryable: db, Oldest: oldest}, backtest.Request{Files: files(downRule), From: from, To: to}, nil)
		require.NoError(t, err)
		return report
	}
	report := run(t0(), t0().Add(time.Hour))
	require.Zero(t, report.Evaluations)
	require.Contains(t, report.Notes[0], "Nothing is stored before")

	put(t, db, machines().samples(t, time.Hour))
	report = run(t0().Add(-24*time.Hour), t0().Add(time.Hour))
	require.Equal(t, t0(), report.From.UTC())
	require.Equal(t, int64(240), report.Rules[0].Evaluations)
	require.Contains(t, report.Notes[0], "The store begins at 2026-11-02T06:00:00Z")
}

// TestFewSamples has an engine that cannot answer much at once.
func TestFewSamples(t *testing.T) {
	db := openDB(t)
	put(t, db, machines().samples(t, 190*time.Minute))
	request := backtest.Request{Files: files(routedRules), From: t0(), To: t0().Add(190 * time.Minute)}
	want, err := backtest.Run(t.Context(), backtest.Storage{Queryable: db}, request, nil)
	require.NoError(t, err)
	small := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 50, Timeout: time.Minute, EnableAtModifier: true, EnableNegativeOffset: true, Parser: parser.NewParser(parser.Options{}),
		Logger: slog.New(slog.DiscardHandler),
	})
	got, err := backtest.Run(t.Context(), backtest.Storage{Queryable: db, Engine: small}, request, nil)
	require.NoError(t, err)
	require.NotEmpty(t, want.Alerts)
	require.Equal(t, want.Alerts, got.Alerts)
}

func TestDetailsAreBounded(t *testing.T) {
	db := openDB(t)
	put(t, db, machines().samples(t, 190*time.Minute))
	cfg, err := config.Load("\nroute: {receiver: two, group_by: [alertname], group_wait: 20s, group_interval: 1m}\n" + routedReceivers)
	require.NoError(t, err)
	request := backtest.Request{Files: files(routedRules), From: t0(), To: t0().Add(190 * time.Minute), Routing: cfg}
	all, err := backtest.Run(t.Context(), backtest.Storage{Queryable: db}, request, nil)
	require.NoError(t, err)
	request.MaxDetails = 3
	few, err := backtest.Run(t.Context(), backtest.Storage{Queryable: db}, request, nil)
	require.NoError(t, err)
	require.Len(t, few.Alerts, 3)
	require.Len(t, few.Routing.Messages, 3)
	require.Equal(t, all.AlertsTotal, few.AlertsTotal)
	require.Equal(t, all.FiredTotal, few.FiredTotal)
	require.Equal(t, all.Routing.MessagesTotal, few.Routing.MessagesTotal)
	require.Equal(t, all.Routing.Receivers, few.Routing.Receivers)
	require.Equal(t, all.Routing.Messages[:3], few.Routing.Messages)
	for i := range all.Rules {
		// Templates are rendered for what is listed only.
		require.InDelta(t, all.Rules[i].FiringSeconds, few.Rules[i].FiringSeconds, 0)
	}
}

func TestCancelled(t *testing.T) {
	db := openDB(t)
	put(t, db, machines().samples(t, 190*time.Minute))
	for _, tt := range []struct{ name, rules string }{
		{"range queries", downRule},
		{"instant queries", "groups: [{name: a, rules: [{alert: A, expr: 'up @ end() == 0'}]}]"},
		{"nothing found", "groups: [{name: a, interval: 100ms, rules: [{alert: A, expr: 'nothing'}]}]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			stop := errors.New("enough")
			var seen backtest.Progress
			var cancelled time.Time
			_, err := backtest.Run(ctx, backtest.Storage{Queryable: db}, backtest.Request{
				Files: files(tt.rules), From: t0(), To: t0().Add(30 * 24 * time.Hour),
			}, func(p backtest.Progress) {
				seen = p
				if cancelled.IsZero() {
					cancelled = time.Now()
				}
				cancel(stop)
			})
			require.ErrorIs(t, err, stop)
			require.Less(t, seen.Done, seen.Total)
			require.Less(t, time.Since(cancelled), time.Minute)
		})
	}
}

func TestRequestErrors(t *testing.T) {
	for _, tt := range []struct {
		name    string
		request backtest.Request
		says    string
	}{
		{"no rules", backtest.Request{From: t0(), To: t0().Add(time.Hour)}, "no rules"},
		{"no time", backtest.Request{Files: files(downRule)}, "needs the time"},
		{"backwards", backtest.Request{Files: files(downRule), From: t0(), To: t0()}, "must be before"},
		{"the same file twice", backtest.Request{Files: append(files(downRule), files(downRule)...), From: t0(), To: t0().Add(time.Hour)}, "two rule files"},
		{"negative offset", backtest.Request{Files: files(downRule), From: t0(), To: t0().Add(time.Hour), QueryOffset: -1}, "not negative"},
		{"routing without route", backtest.Request{Files: files(downRule), From: t0(), To: t0().Add(time.Hour), Routing: &config.Config{}}, "no route"},
		{"undefined receiver", backtest.Request{
			Files: files(downRule), From: t0(), To: t0().Add(time.Hour), Routing: &config.Config{Route: &config.Route{Receiver: "x"}},
		}, `"x"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := backtest.Run(t.Context(), backtest.Storage{Queryable: openDB(t)}, tt.request, nil)
			wrong, ok := errors.AsType[*backtest.RequestError](err)
			require.True(t, ok, err)
			require.Contains(t, wrong.Reason, tt.says)
		})
	}
}
