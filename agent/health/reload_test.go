package health_test

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent/health"
)

// TestReload has another backend, at which it looks at once though nobody asks, and other thresholds. The result from
// before counts no more.
func TestReload(t *testing.T) {
	old := &backend{name: "ollama", model: "m", ids: []string{"m"}}
	next := &backend{name: "nvidia_nim", model: "n", ids: []string{"n"}}
	d := healthy()
	reg := prometheus.NewRegistry()
	d.Backends, d.Metrics = []health.Backend{old}, reg
	o := patient()
	o.CacheTTL, o.MetricAge = time.Hour, 0
	c, err := health.New(o, d)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	require.Contains(t, c.Report().Checks, "ollama")

	bad := o
	bad.Timeout = 0
	require.ErrorContains(t, c.Reload(bad, nil), "agent.health.timeout")

	o.Model, o.MinDiskBytes = "n", 1<<60
	require.NoError(t, c.Reload(o, []health.Backend{next}))
	require.Eventually(t, func() bool {
		next.mu.Lock()
		defer next.mu.Unlock()
		return next.asked == 1
	}, time.Minute, time.Millisecond)
	report := c.Report()
	require.Equal(t, "n", report.Model)
	require.NotContains(t, report.Checks, "ollama")
	require.Equal(t, health.OK, report.Checks["nvidia_nim"].Status)
	require.Equal(t, health.Degraded, report.Checks["disk"].Status)
	require.Equal(t, 1, next.asked, "the look that the reload began is for everyone")
	require.Equal(t, 4, testutil.CollectAndCount(reg, "hancock_health_check_status"), "memory, disk, samples and the backend")
}
