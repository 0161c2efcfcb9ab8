package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/cyberviser/hancock/agent/health"
)

// healthcheckTimeout is longer than a look at everything takes.
const healthcheckTimeout = 15 * time.Second

// healthcheck prints one line about a running Hancock. The error is nil while
// that can answer.
func healthcheck(ctx context.Context, inv invocation, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, healthcheckTimeout)
	defer cancel()
	client := new(http.Client)
	if inv.url == "" {
		// It is this machine's own server, under a name that its certificate
		// need not have.
		client.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // See above.
	}
	line, err := health.Probe(ctx, cmp.Or(inv.url, listenURL(inv.config)), client)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, line)
	return err
}
