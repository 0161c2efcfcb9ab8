package llm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
)

// The values of Options.Egress.
const (
	EgressAny   = "any"
	EgressLocal = "local"
)

// errEgress is the failure of a call that agent.egress does not allow.
var errEgress = errors.New("refused: agent.egress is local, and the address is not on this machine or in a private network")

// localDialer connects to loopback, private and link-local addresses only. It checks the resolved address, so that it does
// not matter what a name resolves to, and when.
func localDialer(d *net.Dialer) *net.Dialer {
	d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil || !isLocal(at.Addr()) {
			return errEgress
		}
		return nil
	}
	return d
}

// isLocal reports whether an address is of this machine or of a private network (RFC 1918, RFC 4193, RFC 3927, RFC 4291).
func isLocal(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() || a.IsUnspecified()
}

// checkEgress returns an error for a backend that is certain to be outside. A name is checked when it is dialed.
func (o Options) checkEgress(name string) error {
	switch o.Egress {
	case EgressAny:
		return nil
	case EgressLocal:
	default:
		return fmt.Errorf("agent.egress: unknown value %q; valid: %s, %s", o.Egress, EgressAny, EgressLocal)
	}
	e := o.endpoint(name)
	host := e.Host()
	addr, err := netip.ParseAddr(hostname(e.BaseURL))
	if err == nil && !isLocal(addr) || hosted(e.BaseURL) {
		return fmt.Errorf("agent.%s.base_url: %s is not on this machine or in a private network, and agent.egress is local: "+
			"use a local backend, or set agent.egress to any", name, host)
	}
	for setting, model := range map[string]string{"model": e.Model, "coder_model": e.CoderModel} {
		if name == Ollama && isCloud(model) {
			return fmt.Errorf("agent.%s.%s: %s runs at ollama.com, and agent.egress is local: use a local model, or set agent.egress to any",
				name, setting, model)
		}
	}
	return nil
}

// hosted reports whether a URL is that of a hosted backend.
func hosted(baseURL string) bool {
	defaults := DefaultOptions()
	host := hostname(baseURL)
	return host == hostname(defaults.NVIDIA.BaseURL) || host == hostname(defaults.OpenAI.BaseURL)
}

// isCloud reports whether Ollama's daemon passes the questions to a model on to its vendor: the tag of such a model is cloud,
// or ends in -cloud.
func isCloud(model string) bool {
	model = strings.ToLower(strings.TrimSpace(model))
	return strings.HasSuffix(model, ":cloud") || strings.HasSuffix(model, "-cloud")
}

func hostname(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
}

// Host is the host of the endpoint, with its port where one is given.
func (e Endpoint) Host() string {
	u, err := url.Parse(e.BaseURL)
	if err != nil {
		return ""
	}
	return u.Host
}

// Destination is a backend that requests may be sent to.
type Destination struct {
	// Provider is Ollama, NVIDIA or OpenAI, Host its host with the port where one is given.
	Provider, Host string
	// Fallback is true of the backend that is asked when the chosen one fails.
	Fallback bool
}

// Destinations are the chosen backend and, if there is one, its fallback. The options are valid.
func (o Options) Destinations() []Destination {
	names, _ := o.inUse()
	all := make([]Destination, len(names))
	for i, name := range names {
		all[i] = Destination{Provider: name, Host: o.endpoint(name).Host(), Fallback: i > 0}
	}
	return all
}
