package web

import (
	"github.com/prometheus/client_golang/prometheus"
)

// newDropped registers the metrics of connections, which count tells, and returns the counter of dropped ones.
func newDropped(reg prometheus.Registerer, count func() (open, active int)) *prometheus.CounterVec {
	dropped := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "hancock_connections_dropped_total",
		Help: "Client connections that were refused or closed by the server, by reason.",
	}, []string{"reason"})
	for _, reason := range []string{dropClient, dropTotal, dropRoom, dropStalled} {
		dropped.WithLabelValues(reason)
	}
	reg.MustRegister(dropped, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "hancock_active_connections",
		Help: "Client connections with a request in progress.",
	}, func() float64 {
		_, active := count()
		return float64(active)
	}), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "hancock_open_connections",
		Help: "Open client connections, idle ones included.",
	}, func() float64 {
		open, _ := count()
		return float64(open)
	}))
	return dropped
}
