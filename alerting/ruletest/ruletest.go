// Package ruletest stands beside alerting: it proves rules on series that are written down in a file, without a
// server. Its files are those of promtool (unit testing for rules), unchanged, and so are its verdicts; the rules are
// evaluated by Prometheus' own manager and engine over a store in memory that lives for one test.
package ruletest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
)

// Options of Run. The zero value is not usable; start from DefaultOptions.
type Options struct {
	// Builtin is the text of rule files that are no files, by the name under which rule_files may list them.
	Builtin map[string]string
	// Run picks the tests whose name matches one of these expressions. Without any, all are run.
	Run []string
	// IgnoreUnknownFields lets rule files have fields that Prometheus does not know. Test files never may.
	IgnoreUnknownFields bool
	// Parser is what expressions may contain besides the stable language.
	Parser parser.Options
	// MaxFileBytes is the size above which neither test nor rule files are read.
	MaxFileBytes int64
	// MaxSamples bounds the samples of the input series of one test. A native histogram counts as several.
	MaxSamples int
	// MaxEvaluations bounds how often the rules of one test are evaluated.
	MaxEvaluations int
}

// DefaultOptions runs all tests of a file, with bounds that no test written by hand comes near.
func DefaultOptions() Options {
	return Options{
		Parser:         parser.Options{ExperimentalDurationExpr: true},
		MaxFileBytes:   16 << 20,
		MaxSamples:     2_000_000,
		MaxEvaluations: 1_000_000,
	}
}

// Validate reports every option that cannot work, by its name.
func (o Options) Validate() error {
	var errs []error
	for _, e := range o.Run {
		if _, err := regexp.Compile(e); err != nil {
			errs = append(errs, fmt.Errorf("run: %w", err))
		}
	}
	if o.MaxFileBytes < 1 {
		errs = append(errs, fmt.Errorf("max file bytes must be at least 1, not %d", o.MaxFileBytes))
	}
	if o.MaxSamples < 1 {
		errs = append(errs, fmt.Errorf("max samples must be at least 1, not %d", o.MaxSamples))
	}
	if o.MaxEvaluations < 1 {
		errs = append(errs, fmt.Errorf("max evaluations must be at least 1, not %d", o.MaxEvaluations))
	}
	return errors.Join(errs...)
}

// Run runs the tests of files, one after the other, and writes a verdict for each to w: SUCCESS, or FAILED and what
// was expected and what came instead. The error says how many files failed. When ctx ends, so does Run.
func Run(ctx context.Context, w io.Writer, files []string, o Options) error {
	if err := o.Validate(); err != nil {
		return fmt.Errorf("rule test options: %w", err)
	}
	if len(files) == 0 {
		return errors.New("no test file is named")
	}
	r := &runner{options: o, parser: parser.NewParser(o.Parser)}
	if len(o.Run) > 0 {
		run, err := regexp.Compile(strings.Join(o.Run, "|"))
		if err != nil {
			return fmt.Errorf("rule test options: run: %w", err)
		}
		r.run = run
	}
	var failed int
	for _, f := range files {
		warnings, errs := r.file(ctx, f)
		if ctx.Err() != nil {
			return fmt.Errorf("testing %s: %w", f, context.Cause(ctx))
		}
		if err := report(w, f, warnings, errs); err != nil {
			return fmt.Errorf("writing the verdict on %s: %w", f, err)
		}
		if len(errs) > 0 {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d test files failed", failed, len(files))
	}
	return nil
}

// report writes the verdict on one file.
func report(w io.Writer, file string, warnings []string, errs []error) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Unit Testing:  %s\n", file)
	for _, warning := range warnings {
		fmt.Fprintf(&b, "  WARNING: %s\n", warning)
	}
	if len(errs) == 0 {
		b.WriteString("  SUCCESS\n")
	} else {
		b.WriteString("  FAILED:\n")
	}
	for _, err := range errs {
		// Each line is put below the verdict, whoever wrote it.
		for line := range strings.SplitSeq(err.Error(), "\n") {
			if !strings.HasPrefix(line, "    ") {
				line = "    " + strings.TrimLeft(line, " ")
			}
			fmt.Fprintln(&b, strings.TrimRight(line, " "))
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	_, err := io.WriteString(w, b.String())
	return err
}

// runner runs test files with the same options.
type runner struct {
	options Options
	parser  parser.Parser
	run     *regexp.Regexp // nil matches all.
}

// file runs the tests of one file.
func (r *runner) file(ctx context.Context, path string) (warnings []string, errs []error) {
	content, err := readFile(path, r.options.MaxFileBytes)
	if err != nil {
		return nil, []error{err}
	}
	f, err := parseFile(content)
	if err != nil {
		return nil, []error{fmt.Errorf("%s: %w", path, err)}
	}
	ruleFiles, warnings, err := f.ruleFiles(path, r.options.Builtin)
	if err != nil {
		return warnings, []error{err}
	}
	rank := map[string]int{}
	for i, name := range f.GroupEvalOrder {
		if _, ok := rank[name]; ok {
			return warnings, []error{fmt.Errorf("group_eval_order: the group %q is there twice", name)}
		}
		rank[name] = i
	}
	load := &loader{options: r.options, parser: r.parser, parsed: map[string]parsedRules{}}
	for i := range f.Tests {
		t := &f.Tests[i]
		if ctx.Err() != nil || r.run != nil && !r.run.MatchString(t.Name) {
			continue
		}
		s := &session{
			runner: r, test: t, file: f, loader: load, ruleFiles: ruleFiles, rank: rank,
		}
		errs = append(errs, s.do(ctx)...)
		warnings = append(warnings, s.warnings...)
	}
	return warnings, errs
}
