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

// streams are those of the process. in is nil when nothing is piped into it.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// run executes one command line and returns the exit status: 0, 2 for an error
// of usage or configuration, 1 for any other. An error is one line on stderr.
func run(args []string, lookup func(string) (string, bool), std streams) int {
	// The first signal asks for a clean stop; the second one ends the process.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	out, errors := &plainText{w: std.out}, &plainText{w: std.err}
	defer out.Close()
	defer errors.Close()
	err := execute(ctx, args, lookup, streams{in: std.in, out: out, err: errors})
	if err != nil {
		fmt.Fprintf(errors, "hancock: %s\n", oneLine(err))
	}
	return exitStatus(err)
}

func execute(ctx context.Context, args []string, lookup func(string) (string, bool), std streams) error {
	inv, err := parseCommandLine(args, lookup, std.out)
	if err != nil {
		return usageError{err}
	}
	inv.again = func() (invocation, error) { return parseCommandLine(args, lookup, io.Discard) }
	switch inv.command {
	case "version":
		_, err = fmt.Fprintln(std.out, version.Print("hancock"))
	case "dashboard":
		var dashboard []byte
		if dashboard, err = ui.Grafana(); err == nil {
			_, err = std.out.Write(dashboard)
		}
	case "ask":
		err = ask(ctx, inv, std.in, std.out)
	case "healthcheck":
		err = healthcheck(ctx, inv, std.out)
	case "check":
		err = check(ctx, inv, std.out)
	case "rules":
		err = printRules(inv, std.out)
	case "test rules":
		err = testRules(ctx, inv, std.out)
	case "alert test":
		err = sendTestAlert(ctx, inv, std.out)
	case "backtest":
		err = replay(ctx, inv, std.out, std.err)
	case "demo":
		err = runDemo(ctx, inv, std.out, std.err)
	case "serve":
		err = serve(ctx, inv, nil, std.out, std.err)
	}
	return err
}
