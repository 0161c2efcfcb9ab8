package alerting_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
	"github.com/prometheus/prometheus/promql"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting"
	"github.com/cyberviser/hancock/alerting/internal/bubble"
)

// everything takes all alerts, the heartbeat too.
type everything struct {
	mu     sync.Mutex
	alerts []*notifier.Alert
}

func (e *everything) Send(alerts ...*notifier.Alert) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.alerts = append(e.alerts, alerts...)
}

// take empties it.
func (e *everything) take() (all []*notifier.Alert) {
	e.mu.Lock()
	defer e.mu.Unlock()
	all, e.alerts = e.alerts, nil
	return all
}

// TestFailingRules has a store that fails while an alert fires: Alertmanagers are sent the alert all the time, so that none
// of them takes it for resolved; and the heartbeat is sent only while the samples of the process are stored.
func TestFailingRules(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rules.yml")
	require.NoError(t, os.WriteFile(file, []byte("groups: [{name: g, rules: [{alert: A, expr: a}, {alert: Watchdog, expr: vector(1)}, {alert: Pending, expr: a, for: 1d}]}]"), 0o600))
	bubble.Test(t, func(t *testing.T) {
		o := alerting.DefaultOptions()
		o.BuiltinRules, o.RuleFiles = false, []string{file}
		var mu sync.Mutex // guards the next three
		found := promql.Vector{{Metric: labels.FromStrings("job", "x"), F: 1}}
		var failure error
		fresh := true
		set := func(change func()) {
			mu.Lock()
			defer mu.Unlock()
			change()
		}
		query := func(_ context.Context, expr string, _ time.Time) (promql.Vector, error) {
			if expr == "vector(1)" {
				return promql.Vector{{F: 1}}, nil
			}
			mu.Lock()
			defer mu.Unlock()
			return found, failure
		}
		sent := &everything{}
		m, err := alerting.New(o, alerting.Storage{Queryable: noSamples{}, Appendable: discard{}, Query: query, Fresh: func() bool {
			mu.Lock()
			defer mu.Unlock()
			return fresh
		}},
			sent, prometheus.NewRegistry(), logger(t))
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		// within returns what is sent in a time, by name: the newest of each.
		within := func(d time.Duration) map[string]time.Time {
			sent.take()
			time.Sleep(d)
			synctest.Wait()
			newest := map[string]time.Time{}
			for _, a := range sent.take() {
				newest[a.Name()] = a.EndsAt
			}
			return newest
		}
		got := within(5 * time.Minute)
		require.Contains(t, got, "A")
		require.Contains(t, got, "Watchdog")
		require.NotContains(t, got, "Pending")

		set(func() { failure, fresh = errors.New("the store is broken"), false })
		for range 6 { // Half an hour, some times as long as an alert is valid.
			got = within(5 * time.Minute)
			require.Contains(t, got, "A")
			require.True(t, got["A"].After(time.Now()), "still firing")
			require.NotContains(t, got, "Watchdog")
			require.NotContains(t, got, "Pending")
		}
		set(func() { failure, fresh = nil, true })
		got = within(5 * time.Minute)
		require.True(t, got["A"].After(time.Now()))
		require.Contains(t, got, "Watchdog")

		// What ends is resolved.
		set(func() { found = nil })
		got = within(5 * time.Minute)
		require.Contains(t, got, "A")
		require.False(t, got["A"].After(time.Now()))
		cancel()
		require.NoError(t, <-done)
	})
}
