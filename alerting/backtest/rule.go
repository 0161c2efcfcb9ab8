package backtest

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
)

// rule is a rule and where its evaluation is. Prometheus' own rule and group do the work; the group has this rule alone
// and the name and file of the whole, so that its times are the same.
type rule struct {
	group *group
	index int
	expr  parser.Expr
	text  string
	read  bool // Somebody reads the results.
	impl  rules.Rule
	alert *rules.AlertingRule // nil for a recording rule. Without annotations, and without labels if they are literal.
	one   *rules.Group

	labels, annotations labels.Labels
	literal             bool                       // No label is a template.
	render              func() *rules.AlertingRule // The rule as it is written, without any alerts.

	maxSteps  int  // How many are asked for at once, which adapt finds out,
	mostSteps int  // and which is never more.
	quiet     bool // The last evaluation found nothing, failed not, and no alert is left: nothing changes by another.

	// The evaluation that is going on.
	now    time.Time
	served bool          // vector is what the expression gives;
	vector promql.Vector // otherwise the engine is asked for it.

	rendering bool // See annotated.

	watch  watch
	report RuleReport
}

// adapt chooses the size of the queries to come by the samples that one of n steps held at once.
func (r *rule) adapt(peak, n int) {
	if peak > goodPeak {
		r.maxSteps = max(minSteps, min(r.maxSteps, n/2))
	} else if n == r.maxSteps && peak < goodPeak/8 {
		r.maxSteps = min(4*r.maxSteps, r.mostSteps)
	}
}

// arm builds the group.
func (r *rule) arm(x *run) {
	r.one = rules.NewGroup(rules.GroupOptions{
		Name: r.group.name, File: r.group.file, Interval: r.group.interval, Limit: r.group.limit,
		Rules: []rules.Rule{r.impl}, QueryOffset: &r.group.offset,
		Opts: &rules.ManagerOptions{
			ExternalURL: x.request.ExternalURL,
			QueryFunc:   r.query(x),
			NotifyFunc: func(_ context.Context, _ string, alerts ...*rules.Alert) {
				if x.router != nil && len(alerts) > 0 {
					x.sent = append(x.sent, sending{r.now, alerts})
				}
			},
			Appendable:  appendable{r, x},
			Logger:      slog.New(slog.DiscardHandler),
			ResendDelay: x.request.ResendDelay,
			Metrics:     x.metrics,
		},
	})
	kind, mode := "recording", ModeRange
	if r.alert != nil {
		kind = "alerting"
	}
	if slices.ContainsFunc(x.units, func(u unit) bool { return u.instant && slices.Contains(u.rules, r) }) {
		mode = ModeInstant
	}
	r.report = RuleReport{File: r.group.file, Group: r.group.name, Name: r.impl.Name(), Type: kind, Query: r.text, Mode: mode}
	r.watch = newWatch(x, r)
}

// query is what the rule's evaluation asks: for its expression, and whatever its templates want.
func (r *rule) query(x *run) rules.QueryFunc {
	return func(ctx context.Context, q string, t time.Time) (promql.Vector, error) {
		if err := x.stopped(); err != nil {
			return nil, err // Which ends a template that asks without end, too.
		}
		if !r.asksItself(q, t) {
			return x.instant(ctx, r.now, q, t)
		}
		if !r.served {
			var err error
			if r.vector, err = x.instant(ctx, r.now, q, t); err != nil {
				return nil, err
			}
		}
		return r.labelled(r.vector), nil
	}
}

func (r *rule) asksItself(q string, t time.Time) bool {
	return q == r.text && milliseconds(t) == milliseconds(r.now.Add(-r.group.offset))
}

// instant asks the engine. What is stored after now is not seen: the manager did not have it yet.
func (x *run) instant(ctx context.Context, now time.Time, q string, t time.Time) (promql.Vector, error) {
	return rules.EngineQueryFunc(x.engine, until{x.store, milliseconds(now)})(ctx, q, t)
}

// labelled puts the labels of an alerting rule on what was found, if the rule does not do so itself.
func (r *rule) labelled(v promql.Vector) promql.Vector {
	if r.alert == nil || !r.literal || r.labels.IsEmpty() {
		return v
	}
	out := make(promql.Vector, len(v))
	for i, s := range v {
		b := labels.NewBuilder(s.Metric)
		r.labels.Range(func(l labels.Label) { b.Set(l.Name, l.Value) })
		s.Metric = b.Labels()
		out[i] = s
	}
	return out
}

// annotated renders the annotations of the alerts of now, as the rule as it is written does, by labels. With literal
// labels it does so only for those that are wanted.
func (r *rule) annotated(x *run, wanted map[string]bool) map[string]labels.Labels {
	found := r.vector
	if r.literal {
		found = nil
		for i, s := range r.labelled(r.vector) {
			b := labels.NewBuilder(s.Metric).Del(model.MetricNameLabel).Set(model.AlertNameLabel, r.impl.Name())
			if wanted[b.Labels().String()] {
				found = append(found, r.vector[i])
			}
		}
	}
	whole := r.render()
	_, err := whole.Eval(x.ctx, r.group.offset, r.now, func(ctx context.Context, q string, t time.Time) (promql.Vector, error) {
		if r.asksItself(q, t) && !r.rendering {
			r.rendering = true // From now on it is a template that asks.
			return found, nil
		}
		return x.instant(ctx, r.now, q, t)
	}, x.request.ExternalURL, 0)
	r.rendering = false
	out := map[string]labels.Labels{}
	if err == nil { // The context ended, see evaluate.
		whole.ForEachActiveAlert(func(a *rules.Alert) { out[a.Labels.String()] = a.Annotations })
	}
	return out
}

// first is the first time at or after t at which the manager would evaluate the rule.
func (r *rule) first(t time.Time) time.Time {
	at := r.one.EvalTimestamp(t.UnixNano())
	if at.Before(t) {
		at = at.Add(r.group.interval)
	}
	return at
}

// steps is how often the rule is evaluated from a time to before another.
func (r *rule) steps(from, to time.Time) int64 {
	first := r.first(from)
	if !first.Before(to) {
		return 0
	}
	return int64((to.Sub(first)-1)/r.group.interval) + 1
}
