package web

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// spareConnections are accepted beyond the limit, so that probes are answered while clients hold all others.
	spareConnections = 16
	// patience is how long a client may hold up its request before its connection is closed to make room.
	patience = time.Second
	// fileDescriptors are those that connections leave to files, backends and scrapes.
	fileDescriptors = 256
)

// Why connections are closed or refused, as hancock_connections_dropped_total has it.
const (
	dropClient  = "client_limit" // refused: the client's address has too many
	dropTotal   = "limit"        // a spare one, for probes only
	dropRoom    = "made_room"    // closed for a new one
	dropStalled = "write_blocked"
)

// connections are the open client connections.
type connections struct {
	now     func() *settings
	dropped *prometheus.CounterVec

	mu sync.Mutex
	// open includes the spare ones, which are in the order in which they were accepted.
	open    map[*conn]struct{}
	spares  []*conn
	clients map[netip.Prefix]int
}

func newConnections(now func() *settings, reg prometheus.Registerer) *connections {
	cs := &connections{now: now, open: make(map[*conn]struct{}), clients: make(map[netip.Prefix]int)}
	cs.dropped = newDropped(reg, cs.count)
	return cs
}

// bound returns how many connections there may be: MaxConnections, or fewer if the process may not open enough files.
func bound(opts Options) int {
	limit := descriptors()
	return min(opts.MaxConnections, limit-min(fileDescriptors, limit/2))
}

// listener accepts connections for connections.
type listener struct {
	net.Listener
	connections *connections
}

// Accept returns the next connection that may stay. It never waits for another one to end: those who wait in the
// kernel's queue would get no answer at all.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if admitted := l.connections.admit(c); admitted != nil {
			return admitted, nil
		}
	}
}

// admit counts a new connection. If there are too many it closes one that serves nobody; without any, it refuses the new
// one if its client has too many, and makes it a spare one otherwise.
func (cs *connections) admit(inner net.Conn) net.Conn {
	now := cs.now()
	c := &conn{Conn: inner, owner: cs, client: now.clientOf(inner.RemoteAddr()), timeout: now.opts.WriteTimeout}
	c.enter(http.StateNew)

	cs.mu.Lock()
	victim, reason := (*conn)(nil), dropRoom
	if c.client.IsValid() && cs.clients[c.client] >= now.opts.MaxConnectionsPerClient {
		if victim = cs.longestWaiting(c.client); victim == nil {
			cs.mu.Unlock()
			cs.dropped.WithLabelValues(dropClient).Inc()
			_ = inner.Close()
			return nil
		}
	} else if len(cs.open)-len(cs.spares) >= now.connections {
		victim = cs.longestWaiting(netip.Prefix{})
		if c.spare = victim == nil; c.spare {
			cs.dropped.WithLabelValues(dropTotal).Inc()
			if len(cs.spares) >= spareConnections {
				victim, reason = cs.spares[0], ""
			}
			cs.spares = append(cs.spares, c)
		}
	}
	cs.open[c] = struct{}{}
	if c.client.IsValid() {
		cs.clients[c.client]++
	}
	cs.mu.Unlock()
	if victim != nil {
		_ = victim.evict()
		if reason != "" {
			cs.dropped.WithLabelValues(reason).Inc()
		}
	}
	return c
}

// longestWaiting returns the connection that has served nobody for the longest time, of one client if it is valid.
// Those without a request come first. It returns nil if there is none. The caller holds mu.
func (cs *connections) longestWaiting(client netip.Prefix) *conn {
	latest := time.Now().Add(-patience).UnixNano()
	var found *conn
	var foundSince int64
	foundIdle := false
	for c := range cs.open {
		since, idle := c.waits()
		if c.spare || since == 0 || !idle && since > latest || client.IsValid() && c.client != client {
			continue
		}
		if found == nil || idle && !foundIdle || idle == foundIdle && since < foundSince {
			found, foundSince, foundIdle = c, since, idle
		}
	}
	return found
}

// remove forgets a connection that is closed.
func (cs *connections) remove(c *conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if _, open := cs.open[c]; !open {
		return // one that admit has not counted
	}
	delete(cs.open, c)
	if i := slices.Index(cs.spares, c); i >= 0 {
		cs.spares = slices.Delete(cs.spares, i, i+1)
	}
	if c.client.IsValid() {
		if cs.clients[c.client]--; cs.clients[c.client] <= 0 {
			delete(cs.clients, c.client)
		}
	}
}

// count returns the number of open connections, and of those with a request in progress.
func (cs *connections) count() (open, active int) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.open {
		if http.ConnState(c.state.Load()) == http.StateActive {
			active++
		}
	}
	return len(cs.open), active
}

// unwrap returns our connection below a connection of net/http's.
func unwrap(c net.Conn) (*conn, bool) {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	ours, ok := c.(*conn)
	return ours, ok
}

// enter follows each connection through net/http's states; it is called from many goroutines.
func (cs *connections) enter(c net.Conn, state http.ConnState) {
	if ours, ok := unwrap(c); ok {
		ours.enter(state)
	}
}

// connKey is the key of a request's connection in its context.
type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	if ours, ok := unwrap(c); ok {
		return context.WithValue(ctx, connKey{}, ours)
	}
	return ctx
}

// connOf returns the connection of a request; nil for one that came over none of ours.
func connOf(r *http.Request) *conn {
	c, _ := r.Context().Value(connKey{}).(*conn)
	return c
}

// onlyProbes refuses requests over a spare connection, apart from probes, and closes it after the answer.
func onlyProbes(c echo.Context) error {
	if over := connOf(c.Request()); over == nil || !over.spare {
		return nil
	}
	header := c.Response().Header()
	header.Set(echo.HeaderConnection, "close")
	if isProbe(c.Path()) {
		return nil
	}
	header.Set(echo.HeaderRetryAfter, "1")
	return echo.NewHTTPError(http.StatusServiceUnavailable,
		"too many connections: close some, or raise web.max_connections")
}

// clientOf returns the address that a connection counts against: of IPv6 the /64 that one client usually has. It is
// not valid for this machine and for trusted proxies, behind which there are many clients.
func (s *settings) clientOf(remote net.Addr) netip.Prefix {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	if addr.IsLoopback() || slices.ContainsFunc(s.opts.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return netip.Prefix{}
	}
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	client, _ := addr.Prefix(bits)
	return client
}
