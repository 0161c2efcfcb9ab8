// Package rulecheck stands beside alerting: it finds rules that can never fire, because they speak of metrics that
// nothing emits or of labels that those never have, and says what was probably meant.
//
// It says only what is certain from what is known of the metrics. What it cannot know it lets pass:
//
//   - A metric inside of absent or absent_over_time may be missing, as that is what is asked; but one of ours that
//     nobody will ever emit makes such a rule fire for ever, so it is a finding all the same.
//   - Of the alternatives of an `or`, one must be possible; the others may be there for other times or versions, and
//     are hints at the most.
//   - Where other targets are scraped, the store says what they emit; without a store, names that look like mistyped
//     ones of those known are hints.
//   - The labels of recorded series are whatever the rules make of them.
//   - Labels that are named to group, to match or to be shown may be there on other systems that share the rule; only
//     those that look mistyped are warnings.
package rulecheck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/cyberviser/hancock/internal/promqlbound"
)

// Severity says what follows from a finding.
type Severity string

const (
	// Warning is of a rule that cannot do what it says.
	Warning Severity = "warning"
	// Hint is of what may be meant as it is.
	Hint Severity = "hint"
)

// Finding is what is wrong with one rule.
type Finding struct {
	Severity Severity `json:"severity"`
	File     string   `json:"file"`
	Line     int      `json:"line,omitempty"` // 0 when the file's text is not known.
	Group    string   `json:"group"`
	Rule     string   `json:"rule"`
	// Metric and Label are what the finding is about. Label may be empty, and so may Metric.
	Metric  string `json:"metric,omitempty"`
	Label   string `json:"label,omitempty"`
	Message string `json:"message"`
	// Suggestion is the name that was probably meant; empty when nothing comes near.
	Suggestion string `json:"suggestion,omitempty"`
}

// String is the finding in one line.
func (f Finding) String() string {
	place := f.File
	if f.Line > 0 {
		place = fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	text := fmt.Sprintf("%s: %s: group %q, rule %q: %s", place, f.Severity, f.Group, f.Rule, f.Message)
	if f.Suggestion != "" {
		text += fmt.Sprintf("; did you mean %s?", f.Suggestion)
	}
	return text
}

// File is a rule file.
type File struct {
	Name string
	// Content is its text, from which the lines of findings come.
	Content []byte
	// Groups are the groups in it; nil has Content parsed.
	Groups *rulefmt.RuleGroups
}

// newParser takes all that Prometheus has, enabled here or not: what cannot be loaded is reported elsewhere.
func newParser() parser.Parser {
	return promqlbound.NewParser(parser.Options{
		EnableExperimentalFunctions: true, ExperimentalDurationExpr: true,
		EnableExtendedRangeSelectors: true, EnableBinopFillModifiers: true,
	})
}

// parse fills in the groups.
func (f *File) parse(p parser.Parser) error {
	if f.Groups != nil {
		return nil
	}
	groups, errs := rulefmt.Parse(f.Content, false, model.UTF8Validation, p, slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		return fmt.Errorf("%s: %w", f.Name, errors.Join(errs...))
	}
	f.Groups = groups
	return nil
}

const (
	// maxExpr is the length in bytes above which an expression is not looked into.
	maxExpr = 32 << 10
	// maxLookups bounds the questions to the store in one check.
	maxLookups = 2000
)

// Check looks at each rule of files in the light of what is known. Rules may use what those of any of the files
// record, and which alerts they raise. The error is of a file that does not parse, or of the store.
func Check(ctx context.Context, files []File, k Known) ([]Finding, error) {
	p := newParser()
	files = slices.Clone(files)
	for i := range files {
		if err := files[i].parse(p); err != nil {
			return nil, err
		}
	}
	c := newChecker(ctx, k, files)
	var all []Finding
	for _, f := range files {
		place := newPlaces(f.Content)
		for gi, g := range f.Groups.Groups {
			for ri, r := range g.Rules {
				if err := ctx.Err(); err != nil {
					return nil, err
				}
				found, err := c.rule(p, r)
				if err != nil {
					return nil, fmt.Errorf("%s: group %q, rule %q: %w", f.Name, g.Name, cmp.Or(r.Alert, r.Record), err)
				}
				for _, finding := range found {
					finding.File, finding.Group, finding.Rule = f.Name, g.Name, cmp.Or(r.Alert, r.Record)
					finding.Line = place.line(gi, ri, cmp.Or(finding.Label, finding.Metric))
					all = append(all, finding)
				}
			}
		}
	}
	return all, nil
}

// rule looks at one rule. The place of findings is filled in by the caller.
func (c *checker) rule(p parser.Parser, r rulefmt.Rule) ([]Finding, error) {
	if len(r.Expr) > maxExpr {
		return []Finding{{Severity: Hint, Message: fmt.Sprintf("the expression is longer than %d bytes and was not checked", maxExpr)}}, nil
	}
	expr, err := p.ParseExpr(r.Expr)
	if err != nil {
		return nil, err
	}
	var all []Finding
	for _, problem := range append(c.visit(expr, false), c.templates(r, expr)...) {
		if !slices.Contains(all, problem.Finding) {
			all = append(all, problem.Finding)
		}
	}
	return all, c.err
}

// join lists names for a message.
func join(names []string) string {
	const most = 8
	if len(names) > most {
		return strings.Join(names[:most], ", ") + " ..."
	}
	return strings.Join(names, ", ")
}
