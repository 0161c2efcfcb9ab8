package backtest

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
)

// The series that alerting rules write.
const (
	alertsMetric   = "ALERTS"
	forStateMetric = "ALERTS_FOR_STATE"
)

// unit is what is evaluated together: a rule alone, or rules that must take turns.
type unit struct {
	rules   []*rule
	instant bool
	depth   int // Units of the same depth do not read each other.
}

// plan says in which order rules are evaluated, and how.
type plan struct {
	rules []*rule // In the manager's order.
	units []unit  // By depth, so that who is read comes before who reads.
	// depth is the longest chain of rules that read each other's results, reach the longest look into the past of one.
	depth int
	reach time.Duration
}

// reads is what an expression and the templates of a rule read.
type reads struct {
	selectors [][]*labels.Matcher
	reach     time.Duration // How far back.
	// ahead is true when it may look at times after its own: for the manager these had no samples yet.
	ahead bool
	// instant is true when a range query would not give what instant queries do.
	instant bool
	queries string // The templates that query.
}

// lookback is how far back an instant selector reads, unless the engine was told otherwise.
const lookback = 5 * time.Minute

// readsOf inspects the expression and the templates.
func readsOf(r *rule) reads {
	var out reads
	parser.Inspect(r.expr, func(node parser.Node, path []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			out.selectors = append(out.selectors, n.LabelMatchers)
			reach := lookback + n.OriginalOffset + out.computed(n.OriginalOffsetExpr)
			for _, p := range path {
				switch p := p.(type) {
				case *parser.MatrixSelector:
					reach += p.Range + out.computed(p.RangeExpr)
				case *parser.SubqueryExpr:
					reach += p.Range + p.OriginalOffset + out.computed(p.RangeExpr) + out.computed(p.OriginalOffsetExpr)
				}
			}
			out.reach = max(out.reach, reach)
			out.at(n.Timestamp, n.StartOrEnd, n.OriginalOffset, n.OriginalOffsetExpr)
		case *parser.SubqueryExpr:
			out.computed(n.StepExpr)
			out.at(n.Timestamp, n.StartOrEnd, n.OriginalOffset, n.OriginalOffsetExpr)
		case *parser.AggregateExpr:
			// Which of equals they take depends on the order of the series.
			switch n.Op {
			case parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO:
				out.instant = true
			}
		case *parser.Call:
			if n.Func.Experimental {
				out.instant = true
			}
		}
		return nil
	})
	if r.alert != nil {
		templates := func(l labels.Label) {
			if strings.Contains(l.Value, "query") && strings.Contains(l.Value, "{{") {
				out.queries += l.Value + "\n"
			}
		}
		r.labels.Range(templates)
		r.annotations.Range(templates)
	}
	return out
}

// at notes what the @ and offset modifiers mean for a replay. A computed offset may be a negative one.
func (r *reads) at(timestamp *int64, startOrEnd parser.ItemType, offset time.Duration, computed *parser.DurationExpr) {
	r.instant = r.instant || startOrEnd != 0
	if timestamp != nil || offset < 0 || computed != nil {
		r.ahead, r.instant = true, true
	}
}

// computed is about how long a duration that is computed is, at the most; nil is none.
func (r *reads) computed(e *parser.DurationExpr) time.Duration {
	if e == nil {
		return 0
	}
	const most = 10 * 365 * 24 * time.Hour
	return time.Duration(min(r.seconds(e), most.Seconds()) * float64(time.Second))
}

func (r *reads) seconds(e parser.Expr) float64 {
	switch n := e.(type) {
	case *parser.NumberLiteral:
		return math.Abs(n.Val)
	case *parser.DurationExpr:
		left, right := r.seconds(n.LHS), r.seconds(n.RHS)
		switch n.Op {
		case parser.STEP, parser.RANGE: // Those of the query: others for a range than for an instant.
			r.instant = true
		case parser.MUL:
			return left * right
		case parser.DIV:
			return left / max(right, 1)
		}
		return left + right
	}
	return 0
}

// read tells whether a selector, or the query of a template, may find results of w.
func (r *reads) read(w *rule) bool {
	if slices.ContainsFunc(r.selectors, w.mayMatch) {
		return true
	}
	if r.queries == "" {
		return false
	}
	// The text of such a query may be made up at run time, but some name or an open brace must be in it.
	names := []string{"__name__", "\"{", "`{", "'{"}
	if w.alert != nil {
		names = append(names, alertsMetric)
	} else {
		names = append(names, w.impl.Name())
	}
	return slices.ContainsFunc(names, func(n string) bool { return strings.Contains(r.queries, n) })
}

// mayMatch tells whether a series that the rule writes can match.
func (w *rule) mayMatch(matchers []*labels.Matcher) bool {
	names := []string{w.impl.Name()}
	if w.alert != nil {
		names = []string{alertsMetric, forStateMetric}
	}
	for _, m := range matchers {
		switch {
		case m.Name == model.MetricNameLabel:
			if !slices.ContainsFunc(names, m.Matches) {
				return false
			}
		case w.alert != nil && m.Name == model.AlertNameLabel:
			if !m.Matches(w.impl.Name()) {
				return false
			}
		default:
			// A label that the rule sets itself has that value on each of its series.
			v := w.labels.Get(m.Name)
			if v != "" && m.Name != "alertstate" && (w.alert == nil || !strings.Contains(v, "{{")) && !m.Matches(v) {
				return false
			}
		}
	}
	return true
}

// inTurn tells whether r must be evaluated in turn with w, whose results it reads, since it must not see those of w
// that are not there yet at the time.
func inTurn(r, w *rule, ahead bool) bool {
	if r.group == w.group {
		return ahead || w.index >= r.index
	}
	return ahead || w.group.offset > r.group.offset
}

// collide tells whether two rules may write the same series. Then it matters who is first.
func collide(a, b *rule) bool {
	if a == b || (a.alert == nil) != (b.alert == nil) || a.impl.Name() != b.impl.Name() {
		return false
	}
	unknown := func(v string) bool { return v == "" || a.alert != nil && strings.Contains(v, "{{") }
	same := true
	a.labels.Range(func(l labels.Label) {
		if v := b.labels.Get(l.Name); v != l.Value && !unknown(v) && !unknown(l.Value) {
			same = false
		}
	})
	return same
}

// newPlan orders the rules.
func newPlan(all []*rule) *plan {
	p := &plan{rules: all}
	edges := make([][]int, len(all)) // From who reads to who is read.
	alone := make([]bool, len(all))  // Must be evaluated step by step even so.
	for i, r := range all {
		rd := readsOf(r)
		alone[i] = rd.instant
		for j, w := range all {
			if collide(r, w) {
				w.read = true
				edges[i] = append(edges[i], j)
				edges[j] = append(edges[j], i)
			}
			if !rd.read(w) {
				continue
			}
			w.read = true
			p.reach = max(p.reach, rd.reach)
			edges[i] = append(edges[i], j)
			if i == j {
				alone[i] = true
			} else if inTurn(r, w, rd.ahead) {
				edges[j] = append(edges[j], i)
			}
		}
	}
	depth := make([]int, len(all))
	for _, component := range components(edges) {
		u := unit{instant: len(component) > 1}
		slices.Sort(component)
		longest := 0
		for _, i := range component {
			u.rules = append(u.rules, all[i])
			u.instant = u.instant || alone[i]
			for _, j := range edges[i] {
				longest = max(longest, depth[j]+1)
			}
		}
		for _, i := range component {
			depth[i] = longest
		}
		p.depth, u.depth = max(p.depth, longest), longest
		p.units = append(p.units, u)
	}
	slices.SortStableFunc(p.units, func(a, b unit) int { return cmp.Compare(a.depth, b.depth) })
	return p
}

// components are the strongly connected ones, those that are pointed at first (Tarjan).
func components(edges [][]int) [][]int {
	var (
		out   [][]int
		stack []int
		next  = 1
		index = make([]int, len(edges)) // 0: not seen yet.
		low   = make([]int, len(edges))
		on    = make([]bool, len(edges))
		visit func(v int)
	)
	visit = func(v int) {
		index[v], low[v] = next, next
		next++
		stack, on[v] = append(stack, v), true
		for _, w := range edges[v] {
			if index[w] == 0 {
				visit(w)
				low[v] = min(low[v], low[w])
			} else if on[w] {
				low[v] = min(low[v], index[w])
			}
		}
		if low[v] != index[v] {
			return
		}
		at := slices.Index(stack, v)
		component := slices.Clone(stack[at:])
		stack = stack[:at]
		for _, w := range component {
			on[w] = false
		}
		out = append(out, component)
	}
	for v := range edges {
		if index[v] == 0 {
			visit(v)
		}
	}
	return out
}

// closure are the rules of a name and all whose results they may read.
func closure(all []*rule, name string) []*rule {
	wanted := map[*rule]bool{}
	var add func(r *rule)
	add = func(r *rule) {
		if wanted[r] {
			return
		}
		wanted[r] = true
		rd := readsOf(r)
		for _, w := range all {
			if rd.read(w) || collide(r, w) {
				add(w)
			}
		}
	}
	for _, r := range all {
		if r.impl.Name() == name {
			add(r)
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(r *rule) bool { return !wanted[r] })
}

// stored tells whether results of any rule must be kept.
func (p *plan) stored() bool {
	return slices.ContainsFunc(p.rules, func(r *rule) bool { return r.read })
}

// warmup is how long before the report the evaluation begins, so that everything is as if it had always been going on:
// the longest memory of an alert, what readers of recorded series look back at, the wait of new groups of alerts, and
// an evaluation.
func (p *plan) warmup(r Request) time.Duration {
	var memory, interval time.Duration
	for _, rule := range p.rules {
		if rule.alert != nil {
			memory = max(memory, rule.alert.HoldDuration()+rule.alert.KeepFiringFor())
		}
		interval = max(interval, rule.group.interval+rule.group.offset)
	}
	memory += p.reach*time.Duration(p.depth) + 2*interval
	if r.Routing != nil {
		memory += longestWait(r.Routing)
	}
	return memory
}

// byTime is the order in which the manager would evaluate at the same instant.
func byTime(a, b turn) int {
	return cmp.Or(a.at.Compare(b.at), strings.Compare(rules.GroupKey(a.rule.group.file, a.rule.group.name),
		rules.GroupKey(b.rule.group.file, b.rule.group.name)), cmp.Compare(a.rule.index, b.rule.index))
}
