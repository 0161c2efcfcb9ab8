package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cyberviser/hancock/alerting"
	"github.com/cyberviser/hancock/alerting/alertmanager"
	"github.com/cyberviser/hancock/alerting/external"
	"github.com/cyberviser/hancock/alerting/rulecheck"
	"github.com/cyberviser/hancock/cmd/hancock/internal/config"
)

// composeAndCheck returns valid options whose rule files parse and whose
// receivers, templates and Alertmanagers can be made. Its errors are errors of
// usage.
func composeAndCheck(c config.Config) (options, error) {
	opts, err := compose(c)
	if err == nil {
		var rules alerting.RuleFiles
		rules, err = alerting.Read(opts.alerting)
		opts.alerting.Loaded = &rules
		err = errors.Join(err, alertmanager.Check(opts.alertmanager.Config), external.Check(opts.external))
	}
	if err != nil {
		return opts, usageError{err}
	}
	// What fired before a restart is not resolved before its rule had its turn.
	opts.alertmanager.RestoreGrace = max(opts.alertmanager.RestoreGrace, 3*opts.alerting.Loaded.LongestInterval)
	return opts, nil
}

// check tells what a start with this command line would find, without starting.
func check(ctx context.Context, inv invocation, stdout io.Writer) error {
	opts, err := composeAndCheck(inv.config)
	if err != nil {
		return err
	}
	for _, warning := range inv.config.Warnings {
		fmt.Fprintf(stdout, "warning: %s\n", warning)
	}
	fmt.Fprintf(stdout, "configuration: %s\n", cmp.Or(inv.configFile, "defaults (no "+defaultConfigFile+" here)"))
	fmt.Fprintf(stdout, "backend: %s, %s\n", opts.llm.Backend, opts.model())
	fmt.Fprintf(stdout, "rule files: %d, built-in rules: %t\n", len(opts.alerting.RuleFiles), opts.alerting.BuiltinRules)
	findings, err := impossibleRules(ctx, opts.alerting.Loaded.Files, inv.config, newRegistry(), nil)
	if err != nil {
		return err
	}
	wrong := 0
	for _, f := range findings {
		fmt.Fprintln(stdout, f)
		if f.Severity == rulecheck.Warning {
			wrong++
		}
	}
	if err := checkTemplates(inv, opts.alertmanager.ExternalURL, stdout); err != nil {
		return err
	}
	if inv.strict && wrong > 0 {
		return usageError{fmt.Errorf("rules that cannot do what they say: %d, see above", wrong)}
	}
	_, err = fmt.Fprintln(stdout, "ok")
	return err
}
