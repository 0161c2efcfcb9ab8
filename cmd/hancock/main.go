// Command hancock is the whole of Hancock in one process: it answers security
// questions over HTTP, keeps its own metrics, watches them, and shows them on
// one page.
package main

import (
	"io"
	"os"

	// Time intervals name time zones; images without a system have none.
	_ "time/tzdata"

	"github.com/alecthomas/kingpin/v2"

	"github.com/cyberviser/hancock/alerting/alertmanager"
	"github.com/cyberviser/hancock/alerting/ruletemplate"
	"github.com/cyberviser/hancock/internal/render"
)

// stdin is standard input when something is piped into it, nil when a person
// sits there.
func stdin() io.Reader {
	if info, err := os.Stdin.Stat(); err != nil || info.Mode()&os.ModeCharDevice != 0 {
		return nil
	}
	return os.Stdin
}

func main() {
	render.Child(ruletemplate.Kind(), alertmanager.TemplateKind())
	// An argument that begins with @ is a word, not a file of further arguments.
	kingpin.EnableFileExpansion = false
	os.Exit(run(os.Args[1:], os.LookupEnv, streams{in: stdin(), out: os.Stdout, err: os.Stderr}))
}
