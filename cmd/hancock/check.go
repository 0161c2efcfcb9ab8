package main

import (
	"cmp"
	"fmt"
	"io"

	"github.com/cyberviser/hancock/alerting"
)

// check tells what a start with this command line would find, without starting.
func check(inv invocation, stdout io.Writer) error {
	opts, err := compose(inv.config)
	if err != nil {
		return usageError{err}
	}
	if err := alerting.Check(opts.alerting); err != nil {
		return usageError{err}
	}
	for _, warning := range inv.config.Warnings {
		fmt.Fprintf(stdout, "warning: %s\n", warning)
	}
	fmt.Fprintf(stdout, "configuration: %s\n", cmp.Or(inv.configFile, "defaults (no "+defaultConfigFile+" here)"))
	fmt.Fprintf(stdout, "backend: %s, %s\n", opts.llm.Backend, opts.model())
	fmt.Fprintf(stdout, "rule files: %d, built-in rules: %t\n", len(opts.alerting.RuleFiles), opts.alerting.BuiltinRules)
	_, err = fmt.Fprintln(stdout, "ok")
	return err
}
