package alertmanager_test

import (
	"net/http"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/alertmanager"

	"github.com/prometheus/prometheus/notifier"
)

// storm is alerts that begin at the same time, in groups of equal size.
func storm(alerts, groups int) []*notifier.Alert {
	all := make([]*notifier.Alert, alerts)
	for i := range all {
		all[i] = firing("alertname", "Storm"+strconv.Itoa(i%groups), "instance", "host-"+strconv.Itoa(i)+":9100", "severity", "critical")
	}
	return all
}

func TestAlertStorm(t *testing.T) {
	const alerts, groups = 10_000, 100
	h := newHook(t)
	am, _ := open(t, t.TempDir(), stormConfig(h.URL))
	start := time.Now()
	am.Send(storm(alerts, groups)...)
	seen := map[string]bool{}
	for len(seen) < alerts {
		m := h.next(t)
		for _, a := range m.Alerts {
			seen[a.Fingerprint] = true
		}
	}
	t.Logf("%d alerts in %d groups delivered in %v", alerts, groups, time.Since(start))
}

// A storm in groups of one alert each does not take all connections.
func TestStormOfGroups(t *testing.T) {
	const groups = 500
	h := newHook(t)
	var now, most atomic.Int32
	h.answers(func(http.ResponseWriter, *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-time.After(time.Millisecond) // a receiver takes its time
		now.Add(-1)
	})
	am, _ := open(t, t.TempDir(), quick(h.URL))
	am.Send(storm(groups, groups)...)
	seen := map[string]int{}
	for len(seen) < groups {
		seen[h.next(t).GroupKey]++
	}
	require.LessOrEqual(t, most.Load(), int32(32))
}

func stormConfig(url string) string {
	return `
route: {receiver: hook, group_by: [alertname], group_wait: 500ms, group_interval: 1s}
receivers: [{name: hook, webhook_configs: [{url: '` + url + `'}]}]
`
}

// BenchmarkAlertStorm takes 10,000 alerts from the rules to a receiver; the
// time has 500 ms of group_wait in it.
func BenchmarkAlertStorm(b *testing.B) {
	for b.Loop() {
		h := newHook(b)
		am, _ := open(b, b.TempDir(), stormConfig(h.URL))
		before := heap()
		am.Send(storm(10_000, 100)...)
		for n := 0; n < 10_000; {
			n += len(h.next(b).Alerts)
		}
		b.ReportMetric(float64(heap()-before)/(1<<20), "MB-kept")
		require.NoError(b, am.Close())
	}
}

// heap is what is in use after a collection.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkOpen is what the Alertmanager costs while nothing happens, and
// what its API adds at its first use.
func BenchmarkOpen(b *testing.B) {
	var opening, first time.Duration
	for b.Loop() {
		base := heap()
		start := time.Now()
		am, _ := open(b, b.TempDir(), "")
		opening += time.Since(start)
		opened := heap()
		start = time.Now()
		w := call(am, http.MethodGet, "/api/v2/status", "")
		first += time.Since(start)
		require.Equal(b, http.StatusOK, w.Code)
		asked := heap()
		b.ReportMetric(float64(opened-base)/1024, "kB-open")
		b.ReportMetric(float64(asked-opened)/1024, "kB-api")
		runtime.KeepAlive(am)
		require.NoError(b, am.Close())
	}
	b.ReportMetric(float64(opening.Microseconds())/1000/float64(b.N), "ms-open")
	b.ReportMetric(float64(first.Microseconds())/1000/float64(b.N), "ms-api")
}

// BenchmarkSend is what the evaluation of rules waits for.
func BenchmarkSend(b *testing.B) {
	am, _ := open(b, b.TempDir(), "", func(o *alertmanager.Options) { o.MaxPending = 1 << 20 })
	alerts := storm(1000, 10)
	for b.Loop() {
		am.Send(alerts...)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/alert")
}
