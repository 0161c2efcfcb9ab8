package main

import (
	"context"
	"fmt"
	"io"
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
	s, err := inv.server()
	if err != nil {
		return err
	}
	line, err := health.Probe(ctx, s.url.String(), s.client)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, line)
	return err
}
