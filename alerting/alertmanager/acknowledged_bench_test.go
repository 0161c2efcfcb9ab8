package alertmanager_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/alertmanager"
)

// BenchmarkPostAlerts is how long a client waits until its new alerts are acknowledged, while others are active.
func BenchmarkPostAlerts(b *testing.B) {
	for _, active := range []int{0, 1000, 100_000} {
		am, _ := open(b, b.TempDir(), "", func(o *alertmanager.Options) { o.MaxPending = 1 << 30 })
		for from := 0; from < active; from += 2000 {
			post(b, am, "Active", from, min(2000, active-from))
		}
		next := 0
		for _, alerts := range []int{1, 100} {
			b.Run(fmt.Sprintf("%d of %d", alerts, active), func(b *testing.B) {
				var took []time.Duration
				for b.Loop() {
					start := time.Now()
					post(b, am, "New", next, alerts)
					took = append(took, time.Since(start))
					next += alerts
				}
				slices.Sort(took)
				ms := func(q float64) float64 {
					return float64(took[int(q*float64(len(took)-1))].Microseconds()) / 1000
				}
				b.ReportMetric(ms(0.5), "p50-ms")
				b.ReportMetric(ms(0.99), "p99-ms")
			})
		}
		require.NoError(b, am.Close())
	}
}

func post(b *testing.B, am *alertmanager.Alertmanager, name string, from, n int) {
	b.Helper()
	bodies := make([]string, n)
	for i := range bodies {
		bodies[i] = fmt.Sprintf(`{"labels":{"alertname":%q,"instance":"host-%d:9100","severity":"critical"},"annotations":{"summary":"the disk of host-%d is full"},"endsAt":"2099-01-01T00:00:00Z"}`,
			name, from+i, from+i)
	}
	require.Equal(b, http.StatusOK, call(am, http.MethodPost, "/api/v2/alerts", "["+strings.Join(bodies, ",")+"]").Code)
}
