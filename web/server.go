// Package web is the only HTTP server of the process: it stands between the
// clients and everything else, and serves the agent, the metrics, the query
// and alert APIs, the probes and the page on one port.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/prometheus/client_golang/prometheus"
	toolkit "github.com/prometheus/exporter-toolkit/web"
)

// Routes registers the routes of another part of the process.
type Routes interface {
	Register(*echo.Echo)
}

// Handlers are the parts that the server mounts.
type Handlers struct {
	// Log wraps everything, requests from other sites included. It sees the
	// final status of every answer. It may be nil.
	Log echo.MiddlewareFunc
	// Outer wraps every request for this server, the first one outermost. It
	// sees the final status of their answers, also of those that never
	// reached a handler.
	Outer []echo.MiddlewareFunc
	// Routes bring paths of their own, such as those below /v1.
	Routes []Routes
	// Metrics answers GET /metrics.
	Metrics http.Handler
	// API answers everything below /api/v1.
	API http.Handler
	// Page answers /, /assets and PagePaths.
	Page http.Handler
	// PagePaths are the routes of the page's views.
	PagePaths []string
}

// Server is the HTTP server. Make it with New.
type Server struct {
	// now is what a reload replaces.
	now atomic.Pointer[settings]
	// documents are the routes that links of other sites may open.
	documents map[string]bool
	conns     *connections
	failures  *authFailures
	echo      *echo.Echo
	http      *http.Server
	log       *slog.Logger
	state     atomic.Int32
	closing   context.Context
	close     context.CancelFunc
	// requests is above the contexts of all requests; cutOff ends them.
	requests context.Context
	cutOff   context.CancelFunc
	// goodbye is the constant, longer in tests.
	goodbye time.Duration
}

// The states of a server, as /readyz tells them.
const (
	stateStarting int32 = iota
	stateReady
	stateStopping
)

// goodbye is how long requests that are cut off may take to say so.
const goodbye = 500 * time.Millisecond

// Listen binds the address of the options. It comes before anything else is
// opened, so that a taken port leaves nothing half-started behind.
func Listen(ctx context.Context, opts Options) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", opts.ListenAddress)
	if err != nil {
		return nil, fmt.Errorf("listening: %w (another address: --web.listen-address or HANCOCK_PORT)", err)
	}
	return ln, nil
}

// New returns a server with all routes mounted. The options are valid.
func New(opts Options, h Handlers, reg prometheus.Registerer, log *slog.Logger) *Server {
	s := &Server{echo: echo.New(), log: log, goodbye: goodbye, documents: map[string]bool{"/": true, "/docs": true, "/docs/*": true}}
	for _, path := range h.PagePaths {
		s.documents[path] = true
	}
	s.failures = newAuthFailures(reg, log)
	s.now.Store(s.newSettings(opts))
	s.conns = newConnections(s.now.Load, reg)
	s.closing, s.close = context.WithCancel(context.Background())
	s.requests, s.cutOff = context.WithCancel(context.Background())
	s.http = &http.Server{
		Handler:           s.echo,
		ReadHeaderTimeout: opts.ReadHeaderTimeout,
		IdleTimeout:       opts.IdleTimeout,
		MaxHeaderBytes:    64 << 10,
		ConnState:         s.conns.enter,
		ConnContext:       withConn,
		BaseContext:       func(net.Listener) context.Context { return s.requests },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	s.http.RegisterOnShutdown(s.close)

	e := s.echo
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = s.writeError
	e.Use(s.boundStreams, bodyDeadline(opts.BodyTimeout), securityHeaders())
	if h.Log != nil {
		e.Use(h.Log)
	}
	e.Use(s.admit)
	e.Use(h.Outer...)
	e.Use(
		middleware.RecoverWithConfig(middleware.RecoverConfig{LogErrorFunc: s.logPanic}),
		s.guard,
	)
	s.registerProbes(e)
	for _, r := range h.Routes {
		r.Register(e)
	}
	e.GET("/metrics", echo.WrapHandler(h.Metrics))
	api := echo.WrapHandler(h.API)
	e.Any("/api/v1/*", api)
	e.GET("/api/v1/notifications/live", s.untilClosing(api))
	page := echo.WrapHandler(h.Page)
	for _, path := range append([]string{"/", "/assets/*", "/favicon.ico", "/favicon.svg"}, h.PagePaths...) {
		e.GET(path, page)
		e.HEAD(path, page)
	}
	return s
}

// Routes returns the method and the path of each mounted route, such as "GET /metrics".
func (s *Server) Routes() (all []string) {
	for _, r := range s.echo.Routes() {
		all = append(all, r.Method+" "+r.Path)
	}
	return all
}

// Reload applies valid options to requests that begin afterwards. ListenAddress, ConfigFile and the timeouts of reading
// requests do not change.
func (s *Server) Reload(opts Options) {
	before := s.now.Load().opts
	opts.ListenAddress, opts.ConfigFile = before.ListenAddress, before.ConfigFile
	s.now.Store(s.newSettings(opts))
}

// ServeHTTP answers one request, whatever the state of the server.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.echo.ServeHTTP(w, r) }

// Serve answers on ln, over TLS when the configuration says so, until ctx is
// done. Then /readyz turns to 503, no new connection is taken, and requests in
// flight have ShutdownTimeout to end; what still runs after that is cut off,
// which is an error. Serve closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	defer s.cutOff()
	failed := make(chan error, 1)
	s.state.Store(stateReady)
	systemd, configFile := false, s.now.Load().opts.ConfigFile
	go func() {
		failed <- toolkit.Serve(&listener{ln, s.conns}, s.http, &toolkit.FlagConfig{
			WebConfigFile:    &configFile,
			WebSystemdSocket: &systemd,
		}, s.log)
	}()
	select {
	case err := <-failed:
		s.close()
		return fmt.Errorf("serving HTTP: %w", err)
	case <-ctx.Done():
	}
	s.state.Store(stateStopping)
	timeout := s.now.Load().opts.ShutdownTimeout
	drain, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	err := s.http.Shutdown(drain)
	if err != nil {
		err = fmt.Errorf("requests still ran after %s and were cut off: %w", timeout, err)
		s.cutOff()
		last, cancel := context.WithTimeout(context.Background(), s.goodbye)
		defer cancel()
		if s.http.Shutdown(last) != nil {
			err = errors.Join(err, s.http.Close())
		}
	}
	if serveErr := <-failed; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}

// untilClosing ends an endless stream when the server stops, which it would
// otherwise hold up for the whole of its timeout.
func (s *Server) untilClosing(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		ctx, cancel := context.WithCancel(c.Request().Context())
		defer cancel()
		defer context.AfterFunc(s.closing, cancel)()
		c.SetRequest(c.Request().WithContext(ctx))
		return next(c)
	}
}
