package alerting_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting"
	"github.com/cyberviser/hancock/alerting/internal/bubble"
)

// TestSlowRule has one group whose rule takes four times its interval. The
// other group is evaluated as ever, the slow one still alerts, what it missed
// is counted, and a stop does not wait for it for ever.
func TestSlowRule(t *testing.T) {
	file := filepath.Join(t.TempDir(), "slow.yml")
	require.NoError(t, os.WriteFile(file, []byte(`
groups:
  - name: slow
    rules: [{alert: Slow, expr: slow}]
  - name: quick
    rules: [{alert: Quick, expr: quick}]
`), 0o600))
	bubble.Test(t, func(t *testing.T) {
		o := alerting.DefaultOptions()
		o.BuiltinRules, o.RuleFiles = false, []string{file}
		quick := 0
		query := func(ctx context.Context, expr string, _ time.Time) (promql.Vector, error) {
			if expr == "quick" {
				quick++
				return nil, nil
			}
			select {
			case <-time.After(4 * o.EvaluationInterval):
				return promql.Vector{{Metric: labels.FromStrings("job", "a"), F: 1}}, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		reg, sent := prometheus.NewRegistry(), &outbox{}
		m, err := alerting.New(o, alerting.Storage{Queryable: noSamples{}, Appendable: discard{}, Query: query}, sent, reg, logger(t))
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()

		time.Sleep(20 * o.EvaluationInterval) // Test time.
		synctest.Wait()
		require.GreaterOrEqual(t, quick, 19)
		alerts := sent.take()
		require.NotEmpty(t, alerts)
		require.Equal(t, "Slow", alerts[0].Name())
		families, err := reg.Gather()
		require.NoError(t, err)
		missed := 0.0
		for _, mf := range families {
			if mf.GetName() == "prometheus_rule_group_iterations_missed_total" {
				for _, m := range mf.GetMetric() {
					missed += m.GetCounter().GetValue()
				}
			}
		}
		require.GreaterOrEqual(t, missed, 9.0)

		begin := time.Now()
		cancel()
		require.NoError(t, <-done)
		require.Less(t, time.Since(begin), 10*time.Second)
	})
}

// noSamples is a storage without samples.
type noSamples struct{}

func (noSamples) Querier(int64, int64) (storage.Querier, error) { return storage.NoopQuerier(), nil }
