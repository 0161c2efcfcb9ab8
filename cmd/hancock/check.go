package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/cyberviser/hancock/alerting"
	"github.com/cyberviser/hancock/alerting/alertmanager"
	"github.com/cyberviser/hancock/alerting/external"
	"github.com/cyberviser/hancock/alerting/rulecheck"
	"github.com/cyberviser/hancock/cmd/hancock/internal/config"
	"github.com/cyberviser/hancock/cmd/hancock/internal/lint"
	"github.com/cyberviser/hancock/internal/redact"
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

// check reports the problems that a start with this command line would have, without starting.
func check(ctx context.Context, inv invocation, stdout io.Writer) error {
	opts, err := composeAndCheck(inv.config)
	if err != nil {
		var errs []error
		for _, f := range lint.MissingFiles(inv.config) { // They may be the cause, which the error does not name.
			errs = append(errs, errors.New(redact.URLs(f.String())))
		}
		return usageError{errors.Join(append(errs, err)...)}
	}
	fmt.Fprintf(stdout, "configuration: %s\n", cmp.Or(inv.configFile, "defaults (no "+defaultConfigFile+" here)"))
	fmt.Fprintf(stdout, "backend: %s, %s\n", opts.llm.Backend, opts.model())
	printDestinations(stdout, opts)
	for _, k := range inv.config.NewKeys {
		fmt.Fprintf(stdout, "%s: %s does not exist; a start creates it with a new key\n", k.Setting, k.File)
	}
	fmt.Fprintf(stdout, "rule files: %d, built-in rules: %t\n", len(opts.alerting.RuleFiles), opts.alerting.BuiltinRules)
	heartbeat, _ := opts.heartbeat()
	fmt.Fprintf(stdout, "heartbeat: %s\n", heartbeat)
	impossible, err := impossibleRules(ctx, opts.alerting.Loaded.Files, inv.config, newRegistry(), nil)
	if err != nil {
		return err
	}
	findings, err := inspect(ctx, inv.config, opts)
	if err != nil {
		return err
	}
	found, err := checkTemplates(ctx, inv.config, opts)
	findings = append(findings, found...)
	config.SortFindings(findings)
	var errs []error
	if err != nil {
		errs = append(errs, err)
	}
	warnings := 0
	for _, f := range findings {
		if f.Severity == config.Error {
			errs = append(errs, errors.New(redact.URLs(f.String())))
			continue
		}
		fmt.Fprintln(stdout, redact.URLs(f.String()))
		if f.Severity == config.Warning {
			warnings++
		}
	}
	for _, f := range impossible {
		fmt.Fprintln(stdout, f)
		if f.Severity == rulecheck.Warning {
			warnings++
		}
	}
	if inv.strict && warnings > 0 {
		errs = append(errs, fmt.Errorf("--strict: %s, see above", plural(warnings, "warning")))
	}
	if len(errs) > 0 {
		return usageError{errors.Join(errs...)}
	}
	_, err = fmt.Fprintln(stdout, "ok")
	return err
}

// inspect returns the problems of a configuration that loads, the gravest first.
func inspect(ctx context.Context, c config.Config, opts options) ([]config.Finding, error) {
	files := ruleTexts(opts.alerting.Loaded.Files)
	known, err := knownMetrics(c, newRegistry())
	if err != nil {
		return nil, err
	}
	alerts, err := rulecheck.Alerts(ctx, files, known)
	if err != nil {
		return nil, err
	}
	findings := append(slices.Clone(c.Warnings), lint.Check(lint.Input{
		Config: c, Retention: opts.alertmanager.Retention, Lookback: cmp.Or(opts.tsdb.QueryLookback, 5*time.Minute), Rules: files, Alerts: alerts,
	})...)
	findings = append(findings, opts.routingFindings(c)...)
	config.SortFindings(findings)
	return findings, nil
}

// logWarnings logs settings without effect.
func logWarnings(log *slog.Logger, c config.Config) {
	for _, f := range c.Warnings {
		log.Warn("configuration", "detail", redact.URLs(f.String()))
	}
}

// logErrors logs the settings that check refuses although the process runs with them. What is hardly intended is for
// check to report.
func logErrors(ctx context.Context, log *slog.Logger, c config.Config, opts options) {
	findings, err := inspect(ctx, c, opts)
	if err != nil && ctx.Err() == nil {
		log.Error("failed to check the configuration", "err", err)
	}
	for _, f := range findings {
		if f.Severity == config.Error && !slices.Contains(c.Warnings, f) {
			log.Warn("configuration", "detail", redact.URLs(f.String()))
		}
	}
}

// plural is n and a noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
