package main

import (
	"context"
	"io"

	"github.com/cyberviser/hancock/alerting"
	"github.com/cyberviser/hancock/alerting/ruletest"
)

// ruleTests is what `hancock test rules` was told to run.
type ruleTests struct {
	files []string
	run   []string
}

// testRules runs files of rule tests and prints their verdicts.
func testRules(ctx context.Context, inv invocation, stdout io.Writer) error {
	opts, err := compose(inv.config)
	if err != nil {
		return usageError{err}
	}
	builtin, err := opts.alerting.Rules()
	if err != nil {
		return err
	}
	o := ruletest.DefaultOptions()
	o.Builtin = map[string]string{alerting.BuiltinFile: builtin}
	o.Run = inv.ruleTests.run
	return ruletest.Run(ctx, stdout, inv.ruleTests.files, o)
}
