package ruletest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
)

const (
	// The bounds of promtool's queries: a verdict may depend on them.
	maxQuerySamples = 10_000
	queryTimeout    = 100 * time.Second
)

// loader is the rules.GroupLoader that knows the built-in rules besides files. It parses each file once.
type loader struct {
	options Options
	parser  parser.Parser
	parsed  map[string]parsedRules
}

type parsedRules struct {
	groups *rulefmt.RuleGroups
	errs   []error
}

// Load parses a rule file.
func (l *loader) Load(file string, ignoreUnknown bool, scheme model.ValidationScheme) (*rulefmt.RuleGroups, []error) {
	if found, ok := l.parsed[file]; ok {
		return found.groups, found.errs
	}
	var found parsedRules
	content := []byte(l.options.Builtin[file])
	var err error
	if _, ok := l.options.Builtin[file]; !ok {
		content, err = readFile(file, l.options.MaxFileBytes)
	}
	if err != nil {
		found.errs = []error{err}
	} else {
		groups, errs := rulefmt.Parse(content, ignoreUnknown, scheme, l.parser, slog.New(slog.DiscardHandler))
		for _, err := range errs {
			found.errs = append(found.errs, fmt.Errorf("%s: %w", file, err))
		}
		found.groups = groups
	}
	l.parsed[file] = found
	return found.groups, found.errs
}

// Parse parses an expression.
func (l *loader) Parse(query string) (parser.Expr, error) { return l.parser.ParseExpr(query) }

// session is one test while it is run.
type session struct {
	runner    *runner
	test      *test
	file      *testFile
	loader    *loader
	ruleFiles []string
	rank      map[string]int // Of the groups in group_eval_order.
	warnings  []string

	store  *store
	engine *promql.Engine
	input  []*inputSeries
	groups []*rules.Group
}

// do runs the test and returns what is wrong.
func (s *session) do(ctx context.Context) (errs []error) {
	input, warning, err := parseSeries(s.runner.parser, s.test, s.runner.options.MaxSamples)
	if err != nil {
		return []error{s.named(fmt.Errorf("    %w", err))}
	}
	s.input = input
	if warning != "" {
		s.warnings = append(s.warnings, warning)
	}
	if s.store, err = openStore(); err != nil {
		return []error{err}
	}
	defer func() {
		if err := s.store.Close(); err != nil {
			errs = append(errs, fmt.Errorf("closing the store of the test: %w", err))
		}
	}()
	s.engine = promql.NewEngine(promql.EngineOpts{
		MaxSamples:               maxQuerySamples,
		Timeout:                  queryTimeout,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Duration(s.file.EvaluationInterval).Milliseconds() },
		EnableAtModifier:         true,
		EnableNegativeOffset:     true,
		Parser:                   s.runner.parser,
	})
	defer func() { errs = append(errs, asErrors(s.engine.Close())...) }()
	if errs := s.loadRules(ctx); len(errs) > 0 {
		return errs
	}
	return s.evaluate(ctx)
}

func asErrors(err error) []error {
	if err == nil {
		return nil
	}
	return []error{err}
}

// named puts the name of the test, when it has one, before what is wrong with it.
func (s *session) named(err error) error {
	if s.test.Name == "" {
		return err
	}
	return fmt.Errorf("    name: %s,\n%w", s.test.Name, err)
}

// loadRules loads the groups of all rule files, in the order in which they are evaluated: first what group_eval_order
// says, then as they stand in the files.
func (s *session) loadRules(ctx context.Context) []error {
	// promtool leaves it out, and its templates cannot call externalURL and pathPrefix.
	external, err := url.Parse(s.test.ExternalURL)
	if err != nil {
		return []error{s.named(fmt.Errorf("    external_url: %w", err))}
	}
	m := rules.NewManager(&rules.ManagerOptions{
		NameValidationScheme: model.UTF8Validation,
		QueryFunc:            rules.EngineQueryFunc(s.engine, s.store),
		NotifyFunc:           func(context.Context, string, ...*rules.Alert) {},
		Context:              ctx,
		ExternalURL:          external,
		Appendable:           s.store,
		Queryable:            s.store,
		Logger:               slog.New(slog.DiscardHandler),
		GroupLoader:          s.loader,
		Parser:               s.runner.parser,
	})
	groups, errs := m.LoadGroups(time.Duration(s.test.Interval), s.test.ExternalLabels, s.test.ExternalURL, nil,
		s.runner.options.IgnoreUnknownFields, s.ruleFiles...)
	if len(errs) > 0 {
		return errs
	}
	place := map[string]int{}
	for _, f := range s.ruleFiles {
		for _, g := range s.loader.parsed[f].groups.Groups {
			place[rules.GroupKey(f, g.Name)] = len(place)
		}
	}
	for _, g := range groups {
		s.groups = append(s.groups, g)
		for _, r := range g.Rules() {
			if a, ok := r.(*rules.AlertingRule); ok {
				a.SetRestored(true) // Or ALERTS would not be stored.
			}
		}
	}
	slices.SortFunc(s.groups, func(a, b *rules.Group) int {
		return cmp.Or(
			// A group that is not in group_eval_order is among the first ones, as in promtool.
			cmp.Compare(s.rank[a.Name()], s.rank[b.Name()]),
			cmp.Compare(place[rules.GroupKey(a.File(), a.Name())], place[rules.GroupKey(b.File(), b.Name())]),
		)
	})
	return nil
}

// evaluate lets the time of the test pass and compares.
func (s *session) evaluate(ctx context.Context) []error {
	start := s.test.StartTimestamp.Time
	if start.IsZero() {
		start = time.Unix(0, 0).UTC()
	}
	interval, last := time.Duration(s.file.EvaluationInterval), s.test.last()
	if n := s.runner.options.MaxEvaluations; last/interval >= time.Duration(n) {
		return []error{s.named(fmt.Errorf("    the rules would be evaluated %d times (each %s until %s), more than %d",
			int64(last/interval)+1, s.file.EvaluationInterval, model.Duration(last), n))}
	}
	for _, a := range s.test.AlertRuleTests {
		if a.Alertname == "" {
			return []error{s.named(fmt.Errorf("    an alert_rule_test at eval_time %s has no alertname", a.EvalTime))}
		}
	}
	tests := slices.Clone(s.test.AlertRuleTests)
	slices.SortStableFunc(tests, func(a, b alertTest) int { return cmp.Compare(a.EvalTime, b.EvalTime) })
	var errs []error
	for offset := time.Duration(0); ; offset += interval {
		if ctx.Err() != nil {
			return append(errs, context.Cause(ctx))
		}
		if wrong := s.step(ctx, start, offset); len(wrong) > 0 {
			return append(errs, wrong...)
		}
		// What is expected between two evaluations is compared with the first of them.
		for len(tests) > 0 && time.Duration(tests[0].EvalTime)-offset < interval {
			if err := s.compareAlerts(tests[0]); err != nil {
				errs = append(errs, err)
			}
			tests = tests[1:]
		}
		if last-offset < interval {
			break
		}
	}
	for _, e := range s.test.ExprTests {
		if err := s.compareExpr(ctx, e, start); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// step stores the samples up to a time and evaluates the rules then.
func (s *session) step(ctx context.Context, start time.Time, offset time.Duration) (errs []error) {
	at := start.Add(offset)
	app := s.store.Appender(ctx)
	for _, in := range s.input {
		err := in.due(start, at, time.Duration(s.test.Interval), func(t int64, v parser.SequenceValue) error {
			return appendValue(app, in, t, v)
		})
		if err != nil {
			return []error{s.named(errors.Join(err, app.Rollback()))}
		}
	}
	if err := app.Commit(); err != nil {
		return []error{s.named(err)}
	}
	for _, g := range s.groups {
		g.Eval(ctx, at)
		for _, r := range g.Rules() {
			if err := r.LastError(); err != nil {
				errs = append(errs, s.named(fmt.Errorf("    rule: %s, time: %s, err: %w", r.Name(), model.Duration(offset), err)))
			}
		}
	}
	return errs
}

// sameFloat compares values as the file wants it: in all of their bits, or without the last one.
func (s *session) sameFloat(x, y float64) bool {
	return x == y || s.file.FuzzyCompare && (math.Nextafter(x, math.Inf(-1)) == y || math.Nextafter(x, math.Inf(1)) == y)
}
