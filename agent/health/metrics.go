package health

import (
	"math"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// The names of the checks that are not a backend's.
const (
	memoryCheck  = "memory"
	diskCheck    = "disk"
	samplesCheck = "prometheus"
)

// names are those of all checks.
func (c *Checker) names() []string {
	names := []string{memoryCheck, diskCheck}
	if c.deps.LastSample != nil {
		names = append(names, samplesCheck)
	}
	for _, b := range c.now.Load().backends {
		names = append(names, b.Name())
	}
	return names
}

// collector exposes the newest report. It asks the system nothing and never
// waits for a look: where the report is too old it starts one, and the next
// scrape tells of that.
type collector struct{ c *Checker }

func (collector) status() *prometheus.Desc {
	return prometheus.NewDesc("hancock_health_check_status",
		"Health of what the agent depends on, by check: 1 ok, 0.5 degraded, 0 error, NaN before the first look.",
		[]string{"check"}, nil)
}

func (collector) diskFree() *prometheus.Desc {
	return prometheus.NewDesc("hancock_disk_free_bytes",
		"Space left for users without privileges on the file system of the data folder, at the newest health check; absent while unknown.",
		nil, nil)
}

func (collector) memoryAvailable() *prometheus.Desc {
	return prometheus.NewDesc("hancock_memory_available_bytes",
		"Memory the process could still use without swapping, a container's limits respected, at the newest health check; absent while unknown.",
		nil, nil)
}

// Describe sends the metrics' descriptions.
func (m collector) Describe(out chan<- *prometheus.Desc) {
	out <- m.status()
	out <- m.diskFree()
	out <- m.memoryAvailable()
}

// Collect sends one value for each check, and the figures behind two of them.
// A figure that could not be read is not sent: 0 would be a full disk.
func (m collector) Collect(out chan<- prometheus.Metric) {
	latest := m.c.latest.Load()
	opts := m.c.now.Load().opts
	if age := max(opts.MetricAge, opts.CacheTTL); opts.MetricAge > 0 && !m.c.isYounger(latest, age) {
		m.c.behind.start(func() { m.c.current(age) })
	}
	for _, name := range m.c.names() {
		value := math.NaN()
		if latest != nil {
			if check, ok := latest.report.Checks[name]; ok { // not of a backend that a reload has just brought
				value = check.Status.value()
			}
		}
		out <- prometheus.MustNewConstMetric(m.status(), prometheus.GaugeValue, value, name)
	}
	if latest == nil {
		return
	}
	for name, desc := range map[string]*prometheus.Desc{diskCheck: m.diskFree(), memoryCheck: m.memoryAvailable()} {
		if figure := latest.report.Checks[name].observed; figure != nil {
			out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, figure.value)
		}
	}
}

// value is the status as the metric has it.
func (s Status) value() float64 {
	switch s {
	case OK:
		return 1
	case Degraded:
		return 0.5
	default:
		return 0
	}
}

// behind runs one function at a time in the background.
type behind struct {
	mu      sync.Mutex
	running bool
	closed  bool
	wg      sync.WaitGroup
}

// start does nothing while one runs.
func (b *behind) start(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.running || b.closed {
		return
	}
	b.running = true
	b.wg.Go(func() {
		f()
		b.mu.Lock()
		defer b.mu.Unlock()
		b.running = false
	})
}

func (b *behind) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.wg.Wait()
}
