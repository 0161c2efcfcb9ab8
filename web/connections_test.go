package web

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// small dials a connection with a small window.
func small(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil {
		err = c.(*net.TCPConn).SetReadBuffer(128 << 10)
	}
	return c, err
}

// crowd is many clients of one server.
type crowd struct {
	t       *testing.T
	address string
	arrived chan struct{} // a handler of /hang was reached
}

// many opens n connections, each of which sends text, if any.
func (c *crowd) many(n int, text string) {
	c.t.Helper()
	var all sync.WaitGroup
	errs := make(chan error, n)
	for range n {
		all.Go(func() {
			conn, err := small(c.t.Context(), "tcp", c.address)
			if err == nil {
				c.t.Cleanup(func() { _ = conn.Close() })
				_, err = io.WriteString(conn, text)
			}
			errs <- err
		})
	}
	all.Wait()
	close(errs)
	for err := range errs {
		// One that was closed already to make room may not take everything.
		if err != nil {
			require.ErrorContains(c.t, err, "write")
		}
	}
}

// holds are what clients do with a connection.
var holds = map[string]string{ //nolint:gochecknoglobals // a table
	"silent":       "",
	"slow headers": "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ",
	"idle":         "GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"slow body":    "POST /v1/body HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{",
	"not reading":  "GET /large HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"busy":         "GET /hang HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
}

// startCrowd starts a server with handlers that clients can hold up.
func startCrowd(t *testing.T, opts Options) (*crowd, *prometheus.Registry) {
	t.Helper()
	c := &crowd{t: t, arrived: make(chan struct{}, 4096)}
	opts.ShutdownTimeout = 10 * time.Millisecond
	s, reg := newServer(t, opts, func(e *echo.Echo) {
		e.POST("/v1/body", func(c echo.Context) error {
			_, err := io.Copy(io.Discard, c.Request().Body)
			return err
		})
		e.GET("/large", func(c echo.Context) error {
			for part := make([]byte, 64<<10); ; {
				if _, err := c.Response().Write(part); err != nil {
					return err
				}
			}
		})
		e.GET("/hang", func(ctx echo.Context) error {
			c.arrived <- struct{}{}
			<-ctx.Request().Context().Done()
			return nil
		})
	})
	base, stop := start(t, s)
	c.address = strings.TrimPrefix(base, "http://")
	t.Cleanup(func() { _ = stop() }) // with an error, for those who held on
	return c, reg
}

// ask sends one request over a connection of its own.
func (c *crowd) ask(path string, secure *tls.Config) (int, string) {
	transport := &http.Transport{TLSClientConfig: secure}
	defer transport.CloseIdleConnections()
	scheme := "http"
	if secure != nil {
		scheme = "https"
	}
	client := &http.Client{Transport: transport, Timeout: soon}
	resp, err := client.Get(scheme + "://" + c.address + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

func gauge(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, mf := range families {
		if mf.GetName() == name {
			return mf.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no such metric: %s", name)
	return 0
}

// TestCrowds has more clients than there may be connections, of one kind each and mixed: probes are answered at once,
// and the page too where the clients hold nothing up that is not their own fault.
func TestCrowds(t *testing.T) {
	opts := DefaultOptions()
	for name, text := range holds {
		t.Run(name, func(t *testing.T) {
			c, reg := startCrowd(t, opts)
			c.many(opts.MaxConnections+2*spareConnections, text)
			for range 3 {
				code, body := c.ask("/livez", nil)
				require.Equal(t, http.StatusOK, code, body)
			}
			require.LessOrEqual(t, gauge(t, reg, "hancock_open_connections"), float64(opts.MaxConnections+spareConnections))
			if name == "busy" {
				// Some of the crowd were closed for others before their request was read.
				var body string
				require.Eventually(t, func() bool {
					c.many(spareConnections, text)
					var code int
					code, body = c.ask("/", nil)
					return code == http.StatusServiceUnavailable
				}, soon, 10*time.Millisecond)
				require.Contains(t, body, "web.max_connections")
				require.Positive(t, dropped(t, reg, dropTotal))
				require.InDelta(t, opts.MaxConnections, gauge(t, reg, "hancock_active_connections"), spareConnections)
				return
			}
			require.Eventually(t, func() bool { code, body := c.ask("/", nil); return code == http.StatusOK && body == "page" }, soon, 50*time.Millisecond)
			require.Positive(t, dropped(t, reg, dropRoom))
		})
	}
	t.Run("mixed", func(t *testing.T) {
		c, reg := startCrowd(t, opts)
		c.many(64, holds["busy"])
		for range 64 {
			<-c.arrived
		}
		for range 2 {
			for _, name := range []string{"not reading", "slow body", "slow headers", "silent", "idle"} {
				c.many(opts.MaxConnections/4, holds[name])
			}
		}
		code, body := c.ask("/livez", nil)
		require.Equal(t, http.StatusOK, code, body)
		require.Eventually(t, func() bool { code, body := c.ask("/", nil); return code == http.StatusOK && body == "page" }, soon, 50*time.Millisecond)
		require.GreaterOrEqual(t, gauge(t, reg, "hancock_active_connections"), 64.0, "who waits for an answer keeps its connection")
	})
}

// TestHalfOpenHandshakes has clients that begin TLS and go no further.
func TestHalfOpenHandshakes(t *testing.T) {
	opts := DefaultOptions()
	secure := new(tls.Config)
	opts.ConfigFile, secure.RootCAs = writeCertificate(t, t.TempDir())
	c, _ := startCrowd(t, opts)
	for _, text := range []string{"", "\x16\x03\x01\x02\x00\x01\x00"} {
		c.many(opts.MaxConnections, text)
		code, body := c.ask("/livez", secure)
		require.Equal(t, http.StatusOK, code, body)
		code, body = c.ask("/", secure)
		require.Equal(t, http.StatusOK, code, body)
	}
}

// relay is a listener whose connections come from addresses of the test's choice.
type relay struct {
	net.Listener
	next chan netip.Addr
}

type relayed struct {
	net.Conn
	from netip.Addr
}

func (r relayed) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.AddrPortFrom(r.from, 1)) }

func (r *relay) Accept() (net.Conn, error) {
	c, err := r.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return relayed{c, <-r.next}, nil
}

// TestConnectionsPerClient bounds the connections of one address, and of nobody who has many clients.
func TestConnectionsPerClient(t *testing.T) {
	opts := DefaultOptions()
	opts.MaxConnectionsPerClient = 3
	opts.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}
	opts.ShutdownTimeout = 10 * time.Millisecond
	hanging := make(chan struct{}, 64)
	s, reg := newServer(t, opts, func(e *echo.Echo) {
		e.GET("/hang", func(c echo.Context) error {
			hanging <- struct{}{}
			<-c.Request().Context().Done()
			return nil
		})
	})
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &relay{inner, make(chan netip.Addr, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, r) }()
	defer func() { cancel(); <-served }()

	dial := func(from, path string) (net.Conn, *bufio.Reader) {
		c, err := net.Dial("tcp", inner.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		require.NoError(t, c.SetDeadline(time.Now().Add(soon)))
		r.next <- netip.MustParseAddr(from)
		_, err = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path)
		require.NoError(t, err)
		return c, bufio.NewReader(c)
	}
	answered := func(reader *bufio.Reader) {
		t.Helper()
		resp, err := http.ReadResponse(reader, nil)
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, resp.Body)
		require.Equal(t, http.StatusOK, resp.StatusCode)
	}
	for name, addresses := range map[string][2]string{
		"IPv4": {"192.0.2.1", "192.0.2.1"}, "IPv6": {"2001:db8::1", "2001:db8::ffff:2"}, "IPv4 in IPv6": {"::ffff:192.0.2.9", "192.0.2.9"},
	} {
		before := dropped(t, reg, dropClient)
		for range opts.MaxConnectionsPerClient {
			dial(addresses[0], "/hang")
			<-hanging
		}
		_, reader := dial(addresses[1], "/livez")
		_, err = reader.ReadByte()
		require.Error(t, err, "%s: refused", name)
		require.InDelta(t, before+1, dropped(t, reg, dropClient), 0, name)
	}
	_, reader := dial("192.0.2.2", "/livez")
	answered(reader)

	// An idle connection of the same client makes room.
	idle, reader := dial("192.0.2.3", "/livez")
	answered(reader)
	// The client has the answer before net/http says that the connection is idle.
	require.Eventually(t, func() bool { return gauge(t, reg, "hancock_active_connections") == 9 }, soon, time.Millisecond)
	for range opts.MaxConnectionsPerClient {
		dial("192.0.2.3", "/hang")
		<-hanging
	}
	_, err = idle.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	opts.MaxConnectionsPerClient = 1
	s.Reload(opts)
	dial("192.0.2.4", "/hang")
	<-hanging
	_, reader = dial("192.0.2.4", "/livez")
	_, err = reader.ReadByte()
	require.Error(t, err, "refused by the reloaded limit")
	for _, many := range []string{"10.0.0.7", "127.0.0.1", "::1"} {
		for range 5 {
			dial(many, "/hang")
			<-hanging
		}
	}
}

// TestReloadOfConnections applies another limit to the connections that follow.
func TestReloadOfConnections(t *testing.T) {
	opts := DefaultOptions()
	s, reg := newServer(t, opts)
	base, stop := start(t, s)
	c := &crowd{t: t, address: strings.TrimPrefix(base, "http://")}
	c.many(20, "")
	require.Eventually(t, func() bool { return gauge(t, reg, "hancock_open_connections") == 20 }, soon, time.Millisecond)
	opts.MaxConnections = 20
	s.Reload(opts)
	code, _ := c.ask("/livez", nil)
	require.Equal(t, http.StatusOK, code)
	require.InDelta(t, 1, dropped(t, reg, dropRoom), 0)
	require.NoError(t, stop())
	require.Zero(t, gauge(t, reg, "hancock_open_connections"))
}
