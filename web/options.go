package web

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	toolkit "github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v3"
)

// Options are the settings of the HTTP server.
type Options struct {
	// ListenAddress is the host:port to bind. Port 0 takes a free one.
	ListenAddress string
	// ConfigFile is the path of a file in exporter-toolkit's format that
	// turns on TLS and basic authentication; empty for plain HTTP.
	ConfigFile string
	// ExternalURL is the address under which people reach the server, for
	// links in alerts and for the check of the Host header; nil when it is
	// the listen address.
	ExternalURL *url.URL
	// APIKey protects everything but the probes and, unless ProtectMetrics
	// is set, /metrics. Empty means no authentication.
	APIKey string
	// ReadOnlyKey is a second key for queries, alerts and the page; it asks no
	// model and changes nothing. Empty means none.
	ReadOnlyKey string
	// AllowUnauthenticated permits an address other than loopback without
	// an API key.
	AllowUnauthenticated bool
	// ProtectMetrics asks for the API key on /metrics too.
	ProtectMetrics bool
	// AllowedOrigins are the origins of other sites whose pages may read: with GET, HEAD, and POST for queries. Each is
	// of the form scheme://host[:port].
	AllowedOrigins []string
	// TrustedProxies are the addresses of proxies, which may have any number of connections within MaxConnections.
	TrustedProxies []netip.Prefix
	// MaxConnections bounds the open connections. It is lowered if the process may not open enough files.
	MaxConnections int
	// MaxConnectionsPerClient bounds the open connections of one client address, of IPv6 those of its /64. It does not
	// apply to loopback addresses and TrustedProxies.
	MaxConnectionsPerClient int
	// WriteTimeout is how long a client may take nothing of an answer before its connection is closed.
	WriteTimeout time.Duration
	// ReadHeaderTimeout bounds the reading of a request's header.
	ReadHeaderTimeout time.Duration
	// BodyTimeout bounds the reading of a request's body.
	BodyTimeout time.Duration
	// IdleTimeout is how long a connection may stay open between requests.
	IdleTimeout time.Duration
	// ShutdownTimeout is how long requests in flight may take to end once
	// the server is told to stop.
	ShutdownTimeout time.Duration
}

// DefaultOptions listen on loopback, port 5000, without a key.
func DefaultOptions() Options {
	return Options{
		ListenAddress:  "127.0.0.1:5000",
		MaxConnections: 512, MaxConnectionsPerClient: 128,
		WriteTimeout:      30 * time.Second,
		ReadHeaderTimeout: 10 * time.Second,
		BodyTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ShutdownTimeout:   30 * time.Second,
	}
}

// MinKeyLength is how many characters a key has at least if other machines can
// reach the server.
const MinKeyLength = 16

// shortKey returns the name of a key that is shorter than MinKeyLength, or "".
func (o Options) shortKey() string {
	for _, key := range []struct{ setting, value string }{{"web.api_key", o.APIKey}, {"web.read_only_key", o.ReadOnlyKey}} {
		if key.value != "" && utf8.RuneCountInString(key.value) < MinKeyLength {
			return key.setting
		}
	}
	return ""
}

// Validate reports the first setting that the server cannot run with. The
// names in its errors are those of the configuration file.
func (o Options) Validate() error {
	host, port, err := net.SplitHostPort(o.ListenAddress)
	if err != nil {
		return fmt.Errorf("web.listen_address: %q is not of the form host:port: %w", o.ListenAddress, err)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("web.listen_address: %q is not a port (0 to 65535)", port)
	}
	users, err := usersOf(o.ConfigFile)
	switch {
	case err != nil:
		return fmt.Errorf("web.config_file: %s: %w", o.ConfigFile, err)
	case len(users) > 0 && o.APIKey != "":
		return fmt.Errorf("web.config_file: %s has basic_auth_users and there is an API key, too: "+
			"a request can bring one of them only, so use either", o.ConfigFile)
	case !isLoopback(host) && o.APIKey == "" && len(users) == 0 && !o.AllowUnauthenticated:
		return fmt.Errorf("web.listen_address: %q can be reached from other machines and there is no API key: "+
			"set HANCOCK_API_KEY, listen on 127.0.0.1, or set web.allow_unauthenticated", o.ListenAddress)
	case o.ReadOnlyKey != "" && o.APIKey == "":
		return errors.New("web.read_only_key: there is no API key, so every request may do everything: set web.api_key, too")
	case o.ReadOnlyKey != "" && o.ReadOnlyKey == o.APIKey:
		return errors.New("web.read_only_key: equals web.api_key: use another one")
	}
	if setting := o.shortKey(); setting != "" && !isLoopback(host) {
		return fmt.Errorf("%s: has fewer than %d characters, and %q can be reached from other machines: "+
			"use a longer one, such as the output of \"openssl rand -hex 32\"", setting, MinKeyLength, o.ListenAddress)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"web.write_timeout", o.WriteTimeout},
		{"web.read_header_timeout", o.ReadHeaderTimeout},
		{"web.body_timeout", o.BodyTimeout},
		{"web.idle_timeout", o.IdleTimeout},
		{"web.shutdown_timeout", o.ShutdownTimeout},
	} {
		if d.value <= 0 {
			return fmt.Errorf("%s: must be longer than 0, is %s", d.name, d.value)
		}
	}
	if o.MaxConnections < 1 {
		return fmt.Errorf("web.max_connections: must be at least 1, is %d", o.MaxConnections)
	}
	if o.MaxConnectionsPerClient < 1 {
		return fmt.Errorf("web.max_connections_per_client: must be at least 1, is %d", o.MaxConnectionsPerClient)
	}
	for _, origin := range o.AllowedOrigins {
		if err := validateOrigin(origin); err != nil {
			return fmt.Errorf("web.allowed_origins: %w", err)
		}
	}
	if u := o.ExternalURL; u != nil {
		if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return fmt.Errorf("web.external_url: %q is not an http or https address", u.Redacted())
		}
		if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return errors.New("web.external_url: must have no user, query or fragment")
		}
	}
	return nil
}

// Users returns the names of ConfigFile's basic_auth_users, sorted; none when the file cannot be read.
func (o Options) Users() []string {
	users, _ := usersOf(o.ConfigFile)
	return users
}

// usersOf returns the names of the users of a file in exporter-toolkit's format,
// who have to give a password.
func usersOf(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	if err := toolkit.Validate(path); err != nil {
		return nil, err
	}
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct {
		Users map[string]string `yaml:"basic_auth_users"`
	}
	err = yaml.Unmarshal(src, &file)
	return slices.Sorted(maps.Keys(file.Users)), err
}

// isLoopback tells whether only this machine can reach host. A name other
// than localhost may resolve to anything, so it is not.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
