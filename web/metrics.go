package web

import (
	"net"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	mu     sync.Mutex
	active map[net.Conn]struct{}
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{active: make(map[net.Conn]struct{})}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "hancock_active_connections",
		Help: "Client connections with a request in progress.",
	}, func() float64 {
		m.mu.Lock()
		defer m.mu.Unlock()
		return float64(len(m.active))
	}))
	return m
}

// connState follows each connection through net/http's states; it is called
// from many goroutines. A connection that waits for its next request is idle,
// not active.
func (m *metrics) connState(conn net.Conn, state http.ConnState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if state == http.StateActive {
		m.active[conn] = struct{}{}
	} else {
		delete(m.active, conn)
	}
}
