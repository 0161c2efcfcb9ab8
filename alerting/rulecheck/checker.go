package rulecheck

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

const alertsMetric = "ALERTS"

// checker looks at rules one after the other.
type checker struct {
	ctx    context.Context
	known  Known
	series map[string]series
	names  []string // Of series, sorted: of two suggestions as good as each other the first one is given.
	alerts []string

	lookups map[string]bool
	err     error // Of the store; once there is one, it is asked no more.
}

// problem is a finding while its severity may still change.
type problem struct {
	Finding
	// missing says that a selector can find nothing, which another side of an `or` may make good.
	missing bool
}

func newChecker(ctx context.Context, k Known, files []File) *checker {
	c := &checker{ctx: ctx, known: k, series: k.index(files), alerts: slices.Clone(k.Alerts), lookups: map[string]bool{}}
	c.names = slices.Sorted(maps.Keys(c.series))
	for _, f := range files {
		for _, g := range f.Groups.Groups {
			for _, r := range g.Rules {
				if r.Alert != "" {
					c.alerts = append(c.alerts, r.Alert)
				}
			}
		}
	}
	slices.Sort(c.alerts)
	c.alerts = slices.Compact(c.alerts)
	return c
}

// exists asks the store, once for each question. asked is false when nobody could be asked.
func (c *checker) exists(matchers ...*labels.Matcher) (found, asked bool) {
	if c.known.Exists == nil || c.err != nil {
		return false, false
	}
	var key strings.Builder
	for _, m := range matchers {
		key.WriteString(m.String() + "\xff")
	}
	if found, ok := c.lookups[key.String()]; ok {
		return found, true
	}
	if len(c.lookups) >= maxLookups {
		return false, false
	}
	found, err := c.known.Exists(c.ctx, matchers...)
	if err != nil {
		c.err = fmt.Errorf("asking the store for %s: %w", key.String()[:key.Len()-1], err)
		return false, false
	}
	c.lookups[key.String()] = found
	return found, true
}

func equal(name, value string) *labels.Matcher {
	return labels.MustNewMatcher(labels.MatchEqual, name, value)
}

// has asks the store whether a metric has ever had a label.
func (c *checker) has(metric, label string) (found, asked bool) {
	return c.exists(equal(model.MetricNameLabel, metric), labels.MustNewMatcher(labels.MatchNotEqual, label, ""))
}

// begins says whether a name has one of the prefixes.
func begins(name string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// visit finds the problems of an expression and what is below it. absent says that it is asked for what is missing.
func (c *checker) visit(n parser.Node, absent bool) []problem {
	var found []problem
	switch e := n.(type) {
	case *parser.VectorSelector:
		return c.selector(e, absent)
	case *parser.BinaryExpr:
		left, right := c.visit(e.LHS, absent), c.visit(e.RHS, absent)
		if e.Op == parser.LOR {
			left, right = alternatives(left, right)
		}
		return slices.Concat(left, right, c.matching(e))
	case *parser.AggregateExpr:
		found = c.grouping(e)
	case *parser.Call:
		absent = absent || e.Func.Name == "absent" || e.Func.Name == "absent_over_time"
		found = c.call(e)
		if e.Func.Name == "info" && len(e.Args) > 1 {
			// The second argument has no metric: it says which labels to add.
			return append(found, c.visit(e.Args[0], absent)...)
		}
	}
	for _, child := range parser.Children(n) {
		found = append(found, c.visit(child, absent)...)
	}
	return found
}

// alternatives lets what is missing on one side of an `or` pass when the other side is there: it remains as a hint,
// if it is one of ours or looks mistyped.
func alternatives(left, right []problem) (keptLeft, keptRight []problem) {
	isMissing := func(p problem) bool { return p.missing }
	missingLeft, missingRight := slices.ContainsFunc(left, isMissing), slices.ContainsFunc(right, isMissing)
	soften := func(all []problem) (kept []problem) {
		for _, p := range all {
			if !p.missing {
				kept = append(kept, p)
			} else if p.Suggestion != "" {
				p.Severity, p.missing = Hint, false
				kept = append(kept, p)
			}
		}
		return kept
	}
	switch {
	case missingLeft && !missingRight:
		return soften(left), right
	case missingRight && !missingLeft:
		return left, soften(right)
	default:
		return left, right
	}
}

// metricName is the name that a selector asks for, or empty when it asks for several or for none.
func metricName(vs *parser.VectorSelector) string {
	for _, m := range vs.LabelMatchers {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
			return m.Value
		}
	}
	return ""
}

// selector finds what keeps a selector from finding anything.
func (c *checker) selector(vs *parser.VectorSelector, absent bool) []problem {
	name := metricName(vs)
	var onNames []*labels.Matcher
	for _, m := range vs.LabelMatchers {
		if m.Name == model.MetricNameLabel {
			onNames = append(onNames, m)
		}
	}
	switch s, ok := c.series[name]; {
	case name == "" && len(onNames) > 0:
		return c.pattern(onNames, absent)
	case name == "":
		return nil
	case ok:
		return c.labels(vs, name, s)
	}
	exists, asked := c.exists(equal(model.MetricNameLabel, name))
	switch {
	case exists:
		return c.storedLabels(vs, name)
	case begins(name, c.known.Later):
		return nil
	}
	p := problem{missing: true, Finding: Finding{Severity: Warning, Metric: name, Suggestion: Suggest(name, c.names)}}
	switch {
	case c.otherType(name, &p.Finding):
	case asked || !c.known.Open || begins(name, c.known.Own):
		p.Message = name + " is emitted by nothing"
	default:
		p.Message, p.Severity, p.missing = name+" is not known here; perhaps another target emits it", Hint, false
	}
	switch {
	case absent && begins(name, c.known.Own):
		p.Message += ", so it is absent for ever"
		p.missing = false
	case absent || p.Severity == Hint:
		if p.Suggestion == "" {
			return nil
		}
		p.Severity, p.missing = Hint, false
	}
	return []problem{p}
}

// otherType explains a name that has the suffix of a type that the metric is not of.
func (c *checker) otherType(name string, f *Finding) bool {
	for _, suffix := range [...]string{"_bucket", "_count", "_sum"} {
		base, ok := strings.CutSuffix(name, suffix)
		if s, known := c.series[base]; ok && known && !s.any && s.typ != "" {
			f.Message = fmt.Sprintf("%s is emitted by nothing: %s is a %s, which has no %s", name, base, s.typ, suffix)
			f.Suggestion = base
			return true
		}
	}
	return false
}

// pattern finds a pattern of names that matches none.
func (c *checker) pattern(onNames []*labels.Matcher, absent bool) []problem {
	matches := func(name string) bool {
		return !slices.ContainsFunc(onNames, func(m *labels.Matcher) bool { return !m.Matches(name) })
	}
	if absent || slices.ContainsFunc(c.names, matches) {
		return nil
	}
	if found, asked := c.exists(onNames...); found || !asked && c.known.Open {
		return nil
	}
	texts := make([]string, len(onNames))
	for i, m := range onNames {
		texts[i] = m.String()
	}
	return []problem{{missing: true, Finding: Finding{
		Severity: Warning, Metric: onNames[0].Value, Message: "no metric has a name with " + join(texts),
	}}}
}

// labels finds matchers on labels that a known metric never has, and on values that a label never has.
func (c *checker) labels(vs *parser.VectorSelector, name string, s series) []problem {
	var found []problem
	for _, m := range vs.LabelMatchers {
		switch {
		case m.Name == model.MetricNameLabel || m.Matches(""): // What is missing matches.
		case name == alertsMetric && m.Name == model.AlertNameLabel:
			found = append(found, c.values(name, m, c.alerts, "no rule raises an alert with")...)
		case s.any:
		case !c.allowed(s, m.Name):
			found = append(found, c.strangeLabel(name, m, s)...)
		case m.Name == model.JobLabel && c.known.Jobs != nil:
			found = append(found, c.values(name, m, c.known.Jobs, "no target is scraped with")...)
		case s.values[m.Name] != nil:
			found = append(found, c.values(name, m, s.values[m.Name], name+" never has")...)
		}
	}
	return found
}

// allowed says whether a metric can have a label; a label of ours that the target has, too, is called exported_.
func (c *checker) allowed(s series, label string) bool {
	exported, ok := strings.CutPrefix(label, "exported_")
	return s.labels[label] || ok && slices.Contains(c.known.TargetLabels, exported)
}

// strangeLabel is about a matcher on a label that a known metric has not. Where other targets are scraped, one of
// them may emit the metric with more labels, as the store tells.
func (c *checker) strangeLabel(name string, m *labels.Matcher, s series) []problem {
	var asked bool
	if c.known.Open {
		var exists bool
		if exists, asked = c.has(name, m.Name); exists {
			return nil
		}
	}
	var names []string
	for l := range s.labels {
		names = append(names, l)
	}
	slices.Sort(names)
	p := problem{missing: true, Finding: Finding{
		Severity: Warning, Metric: name, Label: m.Name, Suggestion: Suggest(m.Name, names),
		Message: fmt.Sprintf("%s has no label %s (it has %s), so %s matches nothing", name, m.Name, join(names), m),
	}}
	if slices.Contains(c.known.ExternalLabels, m.Name) {
		p.Message = fmt.Sprintf("%s is an external label: what is sent elsewhere has it, the store has not, so %s matches nothing", m.Name, m)
	}
	if c.known.Open && !asked {
		if p.Suggestion == "" {
			return nil
		}
		p.Severity, p.missing = Hint, false
	}
	return []problem{p}
}

// values is about a matcher that none of all values of a label matches.
func (c *checker) values(name string, m *labels.Matcher, values []string, whose string) []problem {
	if slices.ContainsFunc(values, m.Matches) {
		return nil
	}
	if c.known.Open {
		if found, asked := c.exists(equal(model.MetricNameLabel, name), m); found || !asked {
			return nil
		}
	}
	p := problem{missing: true, Finding: Finding{
		Severity: Warning, Metric: name, Label: m.Name, Message: fmt.Sprintf("%s %s", whose, m),
	}}
	if m.Type == labels.MatchEqual {
		p.Suggestion = Suggest(m.Value, values)
	}
	return []problem{p}
}

// storedLabels finds matchers on labels that the store has never seen on a metric that is known from there only.
func (c *checker) storedLabels(vs *parser.VectorSelector, name string) []problem {
	var found []problem
	for _, m := range vs.LabelMatchers {
		if m.Name == model.MetricNameLabel || m.Matches("") || slices.Contains(c.known.TargetLabels, m.Name) {
			continue
		}
		if exists, asked := c.has(name, m.Name); asked && !exists {
			found = append(found, problem{missing: true, Finding: Finding{
				Severity: Warning, Metric: name, Label: m.Name,
				Message: fmt.Sprintf("no series of %s in the store has the label %s, so %s matches nothing", name, m.Name, m),
			}})
		}
	}
	return found
}
