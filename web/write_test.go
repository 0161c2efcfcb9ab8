package web

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

// soon is longer than anything takes on a busy machine.
const soon = time.Minute

// dropped returns how many connections were dropped for a reason.
func dropped(t *testing.T, reg *prometheus.Registry, reason string) float64 {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, mf := range families {
		for _, m := range mf.GetMetric() {
			if mf.GetName() == "hancock_connections_dropped_total" && m.GetLabel()[0].GetValue() == reason {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no such reason: %s", reason)
	return 0
}

// large is an answer that no buffer between server and client holds.
const large = 32 << 20

// silence is how long a stream of events has nothing to say.
const silence = 6 * time.Second

// writer is a server whose handlers report how their writes ended.
type writer struct {
	base    string
	client  *http.Client
	reg     *prometheus.Registry
	results chan error
}

// protocols are the ways to reach a server.
func protocols(t *testing.T, timeout time.Duration, f func(*testing.T, *writer)) {
	t.Helper()
	for _, protocol := range []string{"HTTP/1.1", "HTTP/1.1 over TLS", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel() // they wait, mostly
			opts, transport := DefaultOptions(), new(http.Transport)
			opts.WriteTimeout = timeout
			opts.ShutdownTimeout = soon
			w := &writer{client: &http.Client{Transport: transport}, results: make(chan error, 8)}
			if protocol != "HTTP/1.1" {
				var tlsConfig tls.Config
				opts.ConfigFile, tlsConfig.RootCAs = writeCertificate(t, t.TempDir())
				transport.TLSClientConfig, transport.ForceAttemptHTTP2 = &tlsConfig, protocol == "HTTP/2.0"
			}
			// A small window: what the client has not read stays with the server.
			transport.DialContext = small
			s, reg := newServer(t, opts, w.routes)
			var stop func() error
			w.base, stop = start(t, s)
			w.reg = reg
			if protocol != "HTTP/1.1" {
				w.base = strings.Replace(w.base, "http:", "https:", 1)
			}
			resp := w.get(t, "/livez")
			require.Equal(t, protocol[:8], resp.Proto)
			require.NoError(t, resp.Body.Close())
			f(t, w)
			transport.CloseIdleConnections()
			require.NoError(t, stop())
		})
	}
}

func (w *writer) routes(e *echo.Echo) {
	// One large write, and many small ones.
	e.GET("/large", func(c echo.Context) error {
		_, err := c.Response().Write(make([]byte, large))
		w.results <- err
		return nil
	})
	e.GET("/parts", func(c echo.Context) error {
		var err error
		for part := make([]byte, 1000); err == nil && c.Response().Size < large; {
			if _, err = c.Response().Write(part); err == nil {
				err = http.NewResponseController(c.Response().Writer).Flush()
			}
		}
		w.results <- err
		return nil
	})
	// Events with a long silence between them.
	e.GET("/events", func(c echo.Context) error {
		control := http.NewResponseController(c.Response().Writer)
		for i := range 2 {
			if _, err := fmt.Fprintf(c.Response(), "data: %d\n\n", i); err != nil {
				return err
			}
			if err := control.Flush(); err != nil {
				return err
			}
			<-time.After(silence)
		}
		return nil
	})
	// A handler with a deadline of its own, long before the timeout.
	e.GET("/deadline", func(c echo.Context) error {
		_ = http.NewResponseController(c.Response().Writer).SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		_, err := c.Response().Write(make([]byte, large))
		w.results <- err
		return nil
	})
}

func (w *writer) get(t *testing.T, path string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.base+path, http.NoBody)
	require.NoError(t, err)
	resp, err := w.client.Do(r)
	require.NoError(t, err)
	return resp
}

// result is how the handler's write ended.
func (w *writer) result(t *testing.T) error {
	t.Helper()
	select {
	case err := <-w.results:
		return err
	case <-time.After(soon):
		t.Fatal("the write did not end")
		return nil
	}
}

// TestBlockedWrites has clients that take nothing: their answers are cut off.
func TestBlockedWrites(t *testing.T) {
	protocols(t, 3*time.Second, func(t *testing.T, w *writer) {
		for i, path := range []string{"/large", "/parts"} {
			resp := w.get(t, path)
			require.Error(t, w.result(t), path)
			_, err := io.Copy(io.Discard, resp.Body)
			require.Error(t, err, "the client learns that the answer is not whole")
			require.NoError(t, resp.Body.Close())
			require.InDelta(t, i+1, dropped(t, w.reg, dropStalled), 0)
		}
	})
}

// TestSlowReaders has clients that take a little all the time, for much longer than the timeout.
func TestSlowReaders(t *testing.T) {
	const timeout = 5 * time.Second
	protocols(t, timeout, func(t *testing.T, w *writer) {
		resp := w.get(t, "/large")
		read := 0
		buf := make([]byte, 8<<10)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for end := time.Now().Add(2 * timeout); time.Now().Before(end); <-tick.C {
			n, err := io.ReadFull(resp.Body, buf)
			require.NoError(t, err)
			read += n
		}
		require.Empty(t, w.results, "the write is in progress")
		rest, err := io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, int64(large), int64(read)+rest)
		require.NoError(t, w.result(t))
		require.Zero(t, dropped(t, w.reg, dropStalled))
	})
}

// TestSilentStreams has nothing to write for longer than the timeout, which is no blocked write.
func TestSilentStreams(t *testing.T) {
	protocols(t, silence/2, func(t *testing.T, w *writer) {
		resp := w.get(t, "/events")
		lines := bufio.NewScanner(resp.Body)
		var got []string
		for lines.Scan() {
			if lines.Text() != "" {
				got = append(got, lines.Text())
			}
		}
		require.NoError(t, lines.Err())
		require.Equal(t, []string{"data: 0", "data: 1"}, got)
		require.NoError(t, resp.Body.Close())
		require.Zero(t, dropped(t, w.reg, dropStalled))
	})
}

// TestDeadlinesOfHandlers keeps the deadlines that handlers set: they come first.
func TestDeadlinesOfHandlers(t *testing.T) {
	protocols(t, time.Hour, func(t *testing.T, w *writer) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.base+"/deadline", http.NoBody)
		require.NoError(t, err)
		// The deadline may pass before the client has the header.
		if resp, err := w.client.Do(r); err == nil {
			defer resp.Body.Close()
		}
		require.Error(t, w.result(t))
		require.Zero(t, dropped(t, w.reg, dropStalled))
	})
}

// TestConnDeadlines sets deadlines on a connection while a write is blocked.
func TestConnDeadlines(t *testing.T) {
	s, _ := newServer(t, DefaultOptions())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	defer client.Close()
	inner, err := ln.Accept()
	require.NoError(t, err)
	c := &conn{Conn: inner, owner: s.conns, timeout: time.Hour}
	defer c.Close()
	blocked := make(chan error, 1)
	write := func() {
		_, err := c.Write(make([]byte, large))
		blocked <- err
	}
	go write()
	require.NoError(t, c.SetWriteDeadline(time.Now().Add(time.Hour)))
	require.NoError(t, c.SetWriteDeadline(time.Time{}))
	require.Empty(t, blocked)
	require.NoError(t, c.SetDeadline(time.Now()))
	require.ErrorIs(t, <-blocked, os.ErrDeadlineExceeded)
	_, err = c.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)

	require.NoError(t, c.SetDeadline(time.Time{}))
	go write()
	require.NoError(t, c.Close())
	require.ErrorIs(t, <-blocked, net.ErrClosed)
	require.InDelta(t, 0, testutil.ToFloat64(s.conns.dropped.WithLabelValues(dropStalled)), 0)
}
