package backtest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/config"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/backtest"
)

// A template that asks in loops within loops for what its own rule finds ends
// with the context, though the engine is never asked.
func TestTemplateThatAsksWithoutEnd(t *testing.T) {
	t.Parallel()
	const depth = 20
	text := "groups: [{name: a, rules: [{alert: A, expr: up, labels: {x: '" +
		strings.Repeat(`{{ range query "up" }}`, depth) + strings.Repeat("{{ end }}", depth) + "'}}]}]"
	db := openDB(t)
	put(t, db, machines().samples(t, time.Hour))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := backtest.Run(ctx, backtest.Storage{Queryable: db, Engine: newEngine()}, backtest.Request{Files: files(text), From: t0(), To: t0().Add(time.Hour)}, nil)
		done <- err
	}()
	select {
	case err := <-done:
		require.ErrorIs(t, err, context.DeadlineExceeded)
	case <-time.After(time.Minute):
		require.FailNow(t, "the backtest goes on after its end")
	}
}

// Labels and annotations may be long, and each message has those of all its alerts; all are counted, and as many listed
// as a client can take.
func TestLongTexts(t *testing.T) {
	t.Parallel()
	h := history{}
	for i := range 40 {
		h[fmt.Sprintf(`busy{instance="%d"}`, i)] = during(0, 1, [2]int{5, 10}, [2]int{15, 20})
	}
	db := openDB(t)
	put(t, db, h.samples(t, 30*time.Minute))
	cfg, err := config.Load("route: {receiver: one, group_wait: 20s, group_interval: 1m}\nreceivers: [{name: one, webhook_configs: [{url: 'http://one/'}]}]")
	require.NoError(t, err)
	const rule = "groups: [{name: a, rules: [{alert: A, expr: busy > 0, labels: {long: '%s'}, annotations: {long: '{{ $value }}%[1]s'}}]}]"
	report, err := backtest.Run(t.Context(), backtest.Storage{Queryable: db, Engine: newEngine()}, backtest.Request{
		Files: files(fmt.Sprintf(rule, strings.Repeat("x", 300_000))), From: t0(), To: t0().Add(30 * time.Minute), Routing: cfg,
	}, nil)
	require.NoError(t, err)
	require.Equal(t, 80, report.AlertsTotal)
	require.Equal(t, 80, report.FiredTotal)
	require.Len(t, report.Alerts, 13)
	require.Equal(t, 4, report.Routing.MessagesTotal)
	require.Len(t, report.Routing.Messages, 1)
	require.Equal(t, 40, report.Routing.Messages[0].Firing)
	require.Len(t, report.Routing.Messages[0].Alerts, 28)
	require.Contains(t, strings.Join(report.Notes, "\n"), "Only 13 of 80 alerts are listed")
	require.Contains(t, strings.Join(report.Notes, "\n"), "Only the first 1 of 4 messages are listed")
	text, err := json.Marshal(report)
	require.NoError(t, err)
	require.Less(t, len(text), 20<<20)
}
