package tsdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// selfServer serves the process' own metrics over connections that exist only in memory: no port, certificate or
// key stands between the scrape manager and the registry.
type selfServer struct {
	server *http.Server
	conns  *pipeListener
	done   chan struct{}
}

// newSelfServer serves until Close.
func newSelfServer(metrics http.Handler, logger *slog.Logger) *selfServer {
	mux := http.NewServeMux()
	mux.Handle("/metrics", metrics)
	s := &selfServer{
		server: &http.Server{
			Handler:           mux,
			ReadHeaderTimeout: time.Minute,
			ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
		},
		conns: &pipeListener{accept: make(chan net.Conn), closed: make(chan struct{})},
		done:  make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		if err := s.server.Serve(s.conns); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("serving own metrics in memory", "error", err)
		}
	}()
	return s
}

// Dial is the dial function of all scraping: our own address leads here, any other to the network.
func (s *selfServer) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if host, _, err := net.SplitHostPort(address); err == nil && host == selfAddress {
		return s.conns.dial(ctx)
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

// Close cuts the connections and waits for the server. It does not wait for a handler that ignores its context.
func (s *selfServer) Close() error {
	err := s.server.Close()
	<-s.done
	if err != nil {
		return fmt.Errorf("closing own metrics: %w", err)
	}
	return nil
}

// pipeListener is a net.Listener whose peers are in the same process.
type pipeListener struct {
	accept chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.accept <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept blocks until somebody dials or the listener closes.
func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.accept:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close makes Accept and dial fail. Connections that exist stay.
func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr is a name for logs.
func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

// Network is no real network.
func (pipeAddr) Network() string { return "memory" }

// String is the address that leads here.
func (pipeAddr) String() string { return selfAddress }
