package main

import (
	"context"
	"fmt"
	"io"
	"os/signal"
	"syscall"

	"github.com/prometheus/common/version"

	"github.com/cyberviser/hancock/ui"
)

// run executes one command line and returns the exit status: 0, 2 for an error
// of usage or configuration, 1 for any other. An error is one line on stderr.
func run(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	// The first signal asks for a clean stop; the second one ends the process.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	err := execute(ctx, args, getenv, stdout, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "hancock: %s\n", oneLine(err))
	}
	return exitStatus(err)
}

func execute(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	inv, err := parseCommandLine(args, getenv, stdout)
	if err != nil {
		return usageError{err}
	}
	switch inv.command {
	case "version":
		_, err = fmt.Fprintln(stdout, version.Print("hancock"))
	case "dashboard":
		var dashboard []byte
		if dashboard, err = ui.Grafana(); err == nil {
			_, err = stdout.Write(dashboard)
		}
	case "check":
		err = check(inv, stdout)
	case "demo":
		err = runDemo(ctx, inv, stdout, stderr)
	case "serve":
		err = serve(ctx, inv, nil, stdout, stderr)
	}
	return err
}
