package web

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// writeChecks is how often within WriteTimeout the progress of a blocked write is checked.
const writeChecks = 8

// conn is a client connection. Its writes fail when the client has not taken anything for timeout; how much it takes
// does not matter. It is below TLS, so that this holds for all protocols. HTTP/2 has a second level, see stream.
type conn struct {
	net.Conn
	owner   *connections
	client  netip.Prefix // not valid if connections of this address are not counted
	spare   bool         // accepted beyond the limit
	timeout time.Duration
	closed  sync.Once

	// state is an http.ConnState and since the time it began, in nanoseconds since 1970.
	state atomic.Int32
	since atomic.Int64
	// blocked and body are since when a write makes no progress and since when a request's body is incomplete, in
	// nanoseconds since 1970; 0 for neither.
	blocked, body atomic.Int64

	mu sync.Mutex
	// explicit is the deadline for writes that was set on the connection, check when a blocked write returns to be
	// checked. The deadline in effect is the earlier one.
	explicit, check time.Time
}

// Write writes p. It fails with os.ErrDeadlineExceeded at an explicit deadline, or, and then closes the connection,
// when nothing more was taken for the timeout.
func (c *conn) Write(p []byte) (n int, err error) {
	last, queued := time.Now(), -1
	now := last
	for {
		if err := c.setCheck(now); err != nil {
			return n, err
		}
		var m int
		m, err = c.Conn.Write(p[n:])
		n += m
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || c.passed(time.Now()) {
			break
		}
		now = time.Now()
		left := unsent(c.Conn)
		if m > 0 || left >= 0 && left < queued {
			last = now
		}
		queued = left
		if now.Sub(last) >= c.timeout {
			c.owner.dropped.WithLabelValues(dropStalled).Inc()
			_ = c.abort()
			break
		}
		c.blocked.Store(last.UnixNano())
	}
	if c.blocked.Load() != 0 {
		c.blocked.Store(0)
	}
	return n, err
}

// setCheck makes a write that begins now return in time to be checked. A write that follows soon shares the deadline:
// setting one for each costs more than most writes.
func (c *conn) setCheck(now time.Time) error {
	interval := c.timeout / writeChecks
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.check.Sub(now) > interval/2 {
		return nil
	}
	c.check = now.Add(interval)
	return c.apply()
}

// apply sets the earlier deadline. The caller holds mu.
func (c *conn) apply() error {
	if !c.explicit.IsZero() && c.explicit.Before(c.check) {
		return c.Conn.SetWriteDeadline(c.explicit)
	}
	return c.Conn.SetWriteDeadline(c.check)
}

// passed reports whether the explicit deadline has passed.
func (c *conn) passed(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.explicit.IsZero() && !now.Before(c.explicit)
}

// SetWriteDeadline sets the explicit deadline, also of a write in progress.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.explicit = t
	if c.check.IsZero() {
		return c.Conn.SetWriteDeadline(t)
	}
	return c.apply()
}

// SetDeadline sets the deadline for reads and the explicit one for writes.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// CloseWrite ends the connection for writes only. net/http does this before it closes a connection whose request it
// has not read, so that the client receives the answer.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close closes the connection, which is not counted any more.
func (c *conn) Close() error {
	c.closed.Do(func() { c.owner.remove(c) })
	return c.Conn.Close()
}

// abort closes the connection and drops what the client has not received: the kernel would keep it, some MiB for each
// connection.
func (c *conn) abort() error {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	return c.Close()
}

// evict closes the connection to make room for another one. What an idle client has not read yet stays its own.
func (c *conn) evict() error {
	if _, idle := c.waits(); idle {
		return c.Close()
	}
	return c.abort()
}

// enter notes that the connection is in a state of net/http's.
func (c *conn) enter(state http.ConnState) {
	c.since.Store(time.Now().UnixNano())
	c.state.Store(int32(state)) // #nosec G115 -- five states
}

// waits returns since when the connection serves nobody, in nanoseconds since 1970; 0 if it does. idle says that it has
// no request, or not the whole header of one. Otherwise the server waits for the client in the middle of a request.
func (c *conn) waits() (since int64, idle bool) {
	switch http.ConnState(c.state.Load()) {
	case http.StateNew, http.StateIdle:
		return c.since.Load(), true
	}
	if since = c.blocked.Load(); since == 0 {
		since = c.body.Load()
	}
	return since, false
}
