package web

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

// securityHeaders are those that fit every answer, which all share; the page
// adds its content security policy itself.
func securityHeaders() echo.MiddlewareFunc {
	safe := http.Header{
		"X-Content-Type-Options": {"nosniff"},
		"Referrer-Policy":        {"same-origin"},
		"X-Frame-Options":        {"DENY"},
	}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			maps.Copy(c.Response().Header(), safe)
			return next(c)
		}
	}
}

// check returns the error of a refused request, or nil.
type check func(echo.Context) error

// pass accepts every request.
func pass(echo.Context) error { return nil }

// settings are the options and the checks made from them; a reload replaces them as a whole.
type settings struct {
	opts      Options
	host, key check
	sites     *sites
	// connections is how many there may be.
	connections int
}

// newSettings returns the settings of valid options, and warns of those that the system does not allow.
func (s *Server) newSettings(opts Options) *settings {
	now := &settings{opts: opts, host: hostCheck(opts), key: s.authenticate(opts), sites: newSites(opts, s.documents), connections: bound(opts)}
	if now.connections < opts.MaxConnections {
		s.log.Warn("web.max_connections is lowered: the process may not open enough files; raise their number (ulimit -n)",
			"max_connections", opts.MaxConnections, "lowered_to", now.connections, "open_files_limit", descriptors())
	}
	return now
}

// admit refuses requests over spare connections, for other hosts, and from other sites, before any part of the process
// counts them: a page of another site must not use up what a client may ask.
func (s *Server) admit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		now := s.now.Load()
		if err := onlyProbes(c); err != nil {
			return err
		}
		if err := now.host(c); err != nil {
			return err
		}
		return now.sites.serve(c, next)
	}
}

// guard checks the API key by the settings in effect.
func (s *Server) guard(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := s.now.Load().key(c); err != nil {
			return err
		}
		return next(c)
	}
}

// hostCheck refuses requests whose Host header names another site. Without a
// key and on loopback only, that header is all that tells a page on the web
// whose name was made to point at 127.0.0.1 (DNS rebinding) from the user.
func hostCheck(opts Options) check {
	listen, _, _ := net.SplitHostPort(opts.ListenAddress)
	if opts.APIKey != "" || !isLoopback(listen) {
		return pass
	}
	allowed := map[string]bool{listen: true}
	if opts.ExternalURL != nil {
		allowed[strings.ToLower(opts.ExternalURL.Hostname())] = true
	}
	return func(c echo.Context) error {
		host := c.Request().Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		host = strings.ToLower(strings.Trim(host, "[]"))
		if !allowed[host] && !isLoopback(host) {
			return echo.NewHTTPError(http.StatusForbidden, fmt.Sprintf(
				"host %q is not the name of this server: set web.external_url to the address that people use", host))
		}
		return nil
	}
}
