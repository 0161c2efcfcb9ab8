package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/cyberviser/hancock/cmd/hancock/internal/config"
)

// server is a running Hancock that a command asks: the one at --url, or where the configuration says that it listens.
type server struct {
	url    *url.URL
	client *http.Client
	key    string
}

// server returns the server that the command line names. Its errors are those of usage.
func (inv invocation) server() (server, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true // A command asks once.
	s := server{key: string(inv.config.Web.APIKey), client: &http.Client{
		Transport: transport,
		// The key is for this server alone.
		CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			return fmt.Errorf("it redirects to %s://%s: give that address with --url", r.URL.Scheme, r.URL.Host)
		},
	}}
	var err error
	if inv.url == "" {
		s.url, _ = url.Parse(listenURL(inv.config))
		transport.Proxy = nil
		transport.TLSClientConfig, err = pinned(inv.config.Web.ConfigFile)
	} else {
		s.url, err = remoteURL(inv.url, s.key)
		if err == nil && inv.caFile != "" {
			transport.TLSClientConfig, err = trusting(inv.caFile)
		}
	}
	if err != nil {
		return s, usageError{err}
	}
	return s, nil
}

// remoteURL checks an address of the command line, to which the key will be sent.
func remoteURL(text, key string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(text, "/"))
	switch {
	case err != nil:
		return nil, fmt.Errorf("--url: %w", unwrapURL(err))
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, errors.New("--url: must be like http://127.0.0.1:5000")
	case u.Scheme == "http" && (key != "" || u.User != nil) && !isLoopback(u.Hostname()):
		return nil, fmt.Errorf("--url: the API key would be sent to %s unencrypted: use https, or unset HANCOCK_API_KEY", u.Host)
	}
	return u, nil
}

// isLoopback reports whether only this machine can be meant.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// call sends a request. The answer's body is for the caller to close; an answer other than 200 is an error. With a body,
// the request is a POST of JSON.
func (inv invocation) call(ctx context.Context, path string, body any, header http.Header) (*http.Response, error) {
	s, err := inv.server()
	if err != nil {
		return nil, err
	}
	method, content := http.MethodGet, io.Reader(http.NoBody)
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		method, content = http.MethodPost, bytes.NewReader(encoded)
	}
	r, err := http.NewRequestWithContext(ctx, method, s.url.JoinPath(path).String(), content)
	if err != nil {
		return nil, err
	}
	maps.Copy(r.Header, header)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if s.key != "" && s.url.User == nil {
		r.Header.Set("Authorization", "Bearer "+s.key)
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("asking %s://%s: %w (is hancock running there?)", r.URL.Scheme, r.URL.Host, unwrapURL(err))
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, apiFailure(resp)
	}
	return resp, nil
}

// apiFailure is the error that the API answered with.
func apiFailure(resp *http.Response) error {
	var e struct {
		Error     string `json:"error"`
		RequestID string `json:"request_id"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxInput)).Decode(&e); err != nil || e.Error == "" {
		return fmt.Errorf("the server answered with %s", resp.Status)
	}
	return fmt.Errorf("%s (status %d, request %s)", e.Error, resp.StatusCode, e.RequestID)
}

// listenURL is where the configuration says that a server listens.
func listenURL(c config.Config) string {
	host, port, err := net.SplitHostPort(c.Web.ListenAddress)
	if ip, parseErr := netip.ParseAddr(host); err != nil || host == "" || parseErr == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	scheme := "http"
	if c.Web.ConfigFile != "" && tlsEnabled(c.Web.ConfigFile) {
		scheme = "https"
	}
	return (&url.URL{Scheme: scheme, Host: net.JoinHostPort(host, port)}).String()
}

// unwrapURL leaves out the URL that net/http repeats in its errors.
func unwrapURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
