package rulecheck

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// labelSet are all labels that the series of an expression can have; nil when nobody can say.
type labelSet map[string]bool

func (s labelSet) with(names ...string) labelSet {
	if s == nil {
		return nil
	}
	s = maps.Clone(s)
	for _, n := range names {
		s[n] = true
	}
	return s
}

func (s labelSet) without(names ...string) labelSet {
	s = maps.Clone(s)
	for _, n := range names {
		delete(s, n)
	}
	return s
}

func union(a, b labelSet) labelSet {
	if a == nil || b == nil {
		return nil
	}
	a = maps.Clone(a)
	maps.Copy(a, b)
	return a
}

// labelsOf infers the labels that an expression can have.
func (c *checker) labelsOf(n parser.Node) labelSet {
	switch e := n.(type) {
	case *parser.VectorSelector:
		return c.selected(e)
	case *parser.MatrixSelector:
		return c.labelsOf(e.VectorSelector)
	case *parser.SubqueryExpr:
		return c.labelsOf(e.Expr)
	case *parser.ParenExpr:
		return c.labelsOf(e.Expr)
	case *parser.StepInvariantExpr:
		return c.labelsOf(e.Expr)
	case *parser.UnaryExpr:
		return c.labelsOf(e.Expr)
	case *parser.NumberLiteral, *parser.StringLiteral:
		return labelSet{}
	case *parser.AggregateExpr:
		return c.aggregated(e)
	case *parser.BinaryExpr:
		return c.combined(e)
	case *parser.Call:
		return c.returned(e)
	default:
		return nil
	}
}

// selected are the labels of a metric that is known. Where other targets may emit it as well, they are not.
func (c *checker) selected(vs *parser.VectorSelector) labelSet {
	s, ok := c.series[metricName(vs)]
	if !ok || s.any || c.known.Open {
		return nil
	}
	all := labelSet(s.labels).with(model.MetricNameLabel)
	for _, l := range c.known.TargetLabels {
		all["exported_"+l] = true
	}
	return all
}

func (c *checker) aggregated(e *parser.AggregateExpr) labelSet {
	of := c.labelsOf(e.Expr)
	switch {
	case slices.Contains([]parser.ItemType{parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO}, e.Op):
		return of // They pick series.
	case !e.Without:
		of = labelSet{}.with(e.Grouping...)
	case of != nil:
		of = of.without(append([]string{model.MetricNameLabel}, e.Grouping...)...)
	}
	if e.Op == parser.COUNT_VALUES {
		if label, ok := e.Param.(*parser.StringLiteral); ok {
			return of.with(label.Val)
		}
		return nil
	}
	return of
}

func (c *checker) combined(e *parser.BinaryExpr) labelSet {
	left, right := c.labelsOf(e.LHS), c.labelsOf(e.RHS)
	switch {
	case e.LHS.Type() == parser.ValueTypeScalar:
		return right
	case e.RHS.Type() == parser.ValueTypeScalar:
		return left
	case e.Op == parser.LOR:
		return union(left, right)
	case e.VectorMatching == nil:
		return nil
	case e.VectorMatching.Card == parser.CardOneToMany:
		return right.with(e.VectorMatching.Include...)
	default:
		// Filled-in values may bring the other side's series.
		if f := e.VectorMatching.FillValues; f.LHS != nil || f.RHS != nil {
			return union(left, right)
		}
		return left.with(e.VectorMatching.Include...)
	}
}

func (c *checker) returned(e *parser.Call) labelSet {
	literal := func(i int) (string, bool) {
		if i >= len(e.Args) {
			return "", false
		}
		s, ok := e.Args[i].(*parser.StringLiteral)
		if !ok {
			return "", false
		}
		return s.Val, true
	}
	switch e.Func.Name {
	case "info":
		return nil
	case "absent", "absent_over_time":
		return absent(e.Args[0])
	case "label_replace", "label_join":
		if dst, ok := literal(1); ok {
			return c.labelsOf(e.Args[0]).with(dst)
		}
		return nil
	case "histogram_quantiles":
		if dst, ok := literal(1); ok {
			return c.labelsOf(e.Args[0]).with(dst)
		}
		return nil
	}
	var all labelSet
	for _, arg := range e.Args {
		switch arg.Type() {
		case parser.ValueTypeVector, parser.ValueTypeMatrix:
			of := c.labelsOf(arg)
			if of == nil {
				return nil
			}
			if all == nil {
				all = labelSet{}
			}
			all = union(all, of)
		}
	}
	if all == nil {
		return labelSet{}
	}
	return all
}

// absent returns the labels that the absence of a selector has: those that it wants to be equal to something.
func absent(e parser.Expr) labelSet {
	of := labelSet{}
	if matrix, ok := e.(*parser.MatrixSelector); ok {
		e = matrix.VectorSelector
	}
	if vs, ok := e.(*parser.VectorSelector); ok {
		for _, m := range vs.LabelMatchers {
			if m.Type == labels.MatchEqual && m.Name != model.MetricNameLabel {
				of[m.Name] = true
			}
		}
	}
	return of
}

// grouping finds labels in by or without that what is aggregated cannot have.
func (c *checker) grouping(e *parser.AggregateExpr) []problem {
	word := "by"
	if e.Without {
		word = "without"
	}
	return c.strange(e.Grouping, word, c.labelsOf(e.Expr))
}

// matching finds labels in on, ignoring or group_left that neither side can have.
func (c *checker) matching(e *parser.BinaryExpr) []problem {
	vm := e.VectorMatching
	if vm == nil {
		return nil
	}
	word := "ignoring"
	if vm.On {
		word = "on"
	}
	left, right := c.labelsOf(e.LHS), c.labelsOf(e.RHS)
	found := c.strange(vm.MatchingLabels, word, union(left, right))
	switch vm.Card {
	case parser.CardManyToOne:
		found = append(found, c.strange(vm.Include, "group_left", right)...)
	case parser.CardOneToMany:
		found = append(found, c.strange(vm.Include, "group_right", left)...)
	}
	return found
}

// strange are the labels of a clause that are not among those that can be. A label that looks mistyped is a warning,
// as the result lacks what was meant; any other is a hint, as rules are shared between systems of which some have it.
// Leaving out what is not there does no harm.
func (c *checker) strange(clause []string, word string, can labelSet) []problem {
	if can == nil {
		return nil
	}
	var found []problem
	names := slices.Sorted(maps.Keys(can.without(model.MetricNameLabel)))
	for _, l := range clause {
		if can[l] {
			continue
		}
		f := Finding{
			Severity: Warning, Label: l, Suggestion: Suggest(l, names),
			Message: fmt.Sprintf("%s (%s): no series there has the label %s", word, l, l),
		}
		if f.Suggestion == "" {
			f.Severity = Hint
		}
		if harmless := word == "without" || word == "ignoring"; f.Suggestion != "" || !harmless {
			found = append(found, problem{Finding: f})
		}
	}
	return found
}

var shownRE = regexp.MustCompile(`\$labels\.([a-zA-Z_][a-zA-Z0-9_]*)`)

// templates finds labels in the texts of an alert that its expression cannot have and that look mistyped. Any other may
// be asked for to see whether it is there.
func (c *checker) templates(r rulefmt.Rule, expr parser.Expr) []problem {
	can := c.labelsOf(expr)
	if can == nil {
		return nil
	}
	var found []problem
	names := slices.Sorted(maps.Keys(can))
	for _, texts := range []map[string]string{r.Labels, r.Annotations} {
		for _, key := range slices.Sorted(maps.Keys(texts)) {
			for _, label := range shownRE.FindAllStringSubmatch(texts[key], -1) {
				if near := Suggest(label[1], names); !can[label[1]] && near != "" {
					found = append(found, problem{Finding: Finding{
						Severity: Warning, Label: label[1], Suggestion: near,
						Message: fmt.Sprintf("the %s shows the label %s, which no alert of this rule has", key, label[1]),
					}})
				}
			}
		}
	}
	return found
}
