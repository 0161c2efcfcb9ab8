package main

import (
	"bytes"
	"cmp"
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

// call asks a running Hancock: the one at the address of --url, or where the
// configuration says that it listens. The answer's body is for the caller to
// close; an answer other than 200 is an error. With a body, the request is a
// POST of JSON.
func (inv invocation) call(ctx context.Context, path string, body any, header http.Header) (*http.Response, error) {
	base := cmp.Or(inv.url, inv.config.Web.ExternalURL, listenURL(inv.config))
	method, content := http.MethodGet, io.Reader(http.NoBody)
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		method, content = http.MethodPost, bytes.NewReader(encoded)
	}
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(base, "/")+path, content)
	if err == nil && (r.URL.Scheme != "http" && r.URL.Scheme != "https" || r.URL.Host == "") {
		err = errors.New("must be like http://127.0.0.1:5000")
	}
	if err != nil {
		return nil, usageError{fmt.Errorf("--url: %w", unwrapURL(err))}
	}
	maps.Copy(r.Header, header)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if key := string(inv.config.Web.APIKey); key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := http.DefaultClient.Do(r)
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
