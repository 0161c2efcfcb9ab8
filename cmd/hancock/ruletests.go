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
func testRules(ctx context.Context, t ruleTests, stdout io.Writer) error {
	o := ruletest.DefaultOptions()
	o.Builtin = map[string]string{alerting.BuiltinFile: alerting.Builtin()}
	o.Run = t.run
	return ruletest.Run(ctx, stdout, t.files, o)
}
