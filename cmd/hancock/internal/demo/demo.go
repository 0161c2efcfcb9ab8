// Package demo stands in for the world around the process in DESIGN's picture when "hancock demo"
// runs: the LLM backend on its right, the clients on its left, and the hours before it was started.
//
// [Backend] is an OpenAI-compatible server with written answers, [Traffic] calls the process's own
// HTTP API, and [WriteHistory] fills an empty data folder with blocks of generated samples. Nothing
// here is measured and no model is asked: answers say so, the model names begin with "demo-", and a
// data folder with generated samples carries the file [MarkerFile]. Every connection that is opened
// or accepted here is on the loopback interface; other addresses are refused, not only avoided.
package demo

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

const (
	// Model is the id of the simulated chat model.
	Model = "demo-8b"
	// CoderModel is the id of the simulated model for code.
	CoderModel = "demo-coder-7b"
	// DefaultSeed makes one demo like the other.
	DefaultSeed uint64 = 0x48616e636f636b
	// meanRate is the traffic over a long time, in requests per second.
	meanRate = 1.5
)

// errNotLoopback is returned for every address outside the loopback interface.
var errNotLoopback = errors.New("the demo talks to the loopback interface only")

// load is the traffic in requests per second, elapsed after the demo began (before it when negative,
// so that the generated hours run on into the live ones). Three waves of 90, 21 and 5.5 minutes stand
// for the rhythm of a day; the result stays between a third and five thirds of mean.
func load(mean float64, elapsed time.Duration) float64 {
	s := elapsed.Seconds()
	wave := 0.35*math.Sin(2*math.Pi*s/5400) + 0.2*math.Sin(2*math.Pi*s/1260) + 0.1*math.Sin(2*math.Pi*s/330)
	return mean * (1 + wave)
}

// latencyOf turns a standard normal number into the seconds a model takes for an answer: lognormal
// around 0.7 s, never under 0.2 s or over 4 s.
func latencyOf(norm float64) float64 {
	return min(max(0.7*math.Exp(0.7*norm), 0.2), 4)
}

// loopbackURL parses an http or https URL whose host is a loopback address or localhost.
func loopbackURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("parsing base URL: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("base URL %q: scheme is not http or https", raw)
	}
	if u.User != nil {
		return nil, errors.New("base URL: credentials do not belong there")
	}
	host := u.Hostname()
	if host == "localhost" {
		return u, nil
	}
	if addr, err := netip.ParseAddr(host); err != nil || !addr.Unmap().IsLoopback() {
		return nil, fmt.Errorf("base URL %q: %w", raw, errNotLoopback)
	}
	return u, nil
}

// onlyLoopback is a net.Dialer's Control function. It sees the address after name resolution, so a
// name that resolves to somewhere else is refused as well.
func onlyLoopback(_, address string, _ syscall.RawConn) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("splitting %q: %w", address, err)
	}
	addr, err := netip.ParseAddr(host)
	if err != nil || !addr.Unmap().IsLoopback() {
		return fmt.Errorf("dialling %s: %w", address, errNotLoopback)
	}
	return nil
}
