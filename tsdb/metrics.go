package tsdb

import (
	"github.com/prometheus/client_golang/prometheus"
)

// registerMetrics adds the three gauges that Prometheus keeps in its main and not in its storage, under the names
// that its dashboards use.
func (db *DB) registerMetrics() {
	gauge := func(name, help string, millis func() int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return float64(millis() / 1000) })
	}
	head := db.local.Head()
	db.registry.MustRegister(
		gauge("prometheus_tsdb_lowest_timestamp_seconds", "Lowest timestamp value stored in the database.",
			func() int64 {
				if blocks := db.local.Blocks(); len(blocks) > 0 {
					return blocks[0].MinTime()
				}
				return head.MinTime()
			}),
		gauge("prometheus_tsdb_head_min_time_seconds", "Minimum time bound of the head block.", head.MinTime),
		gauge("prometheus_tsdb_head_max_time_seconds", "Maximum timestamp of the head block.", head.MaxTime),
	)
}
