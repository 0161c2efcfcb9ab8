package backtest

import (
	"context"
	"log/slog"
	"slices"
	"time"

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
	alert *rules.AlertingRule // nil for a recording rule. Without labels and annotations, which are added here.
	one   *rules.Group

	labels, annotations labels.Labels
	templated           bool // A label is a template.

	maxSteps  int  // How many are asked for at once, which adapt finds out,
	mostSteps int  // and which is never more.
	quiet     bool // The last evaluation found nothing, failed not, and no alert is left: nothing changes by another.

	// The evaluation that is going on.
	now    time.Time
	served bool          // vector is what the expression gives;
	vector promql.Vector // otherwise the engine is asked for it.
	// labelled is vector with the labels of the rule; nil until they are known.
	labelled promql.Vector

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

// query returns what the expression of the rule gives, with the labels of the rule. Its templates ask elsewhere.
func (r *rule) query(x *run) rules.QueryFunc {
	return func(ctx context.Context, q string, t time.Time) (promql.Vector, error) {
		if err := x.stopped(); err != nil {
			return nil, err
		}
		if !r.served {
			var err error
			r.labelled = nil
			if r.vector, err = x.instant(ctx, r.now, q, t); err != nil {
				return nil, err
			}
		}
		if r.labelled == nil {
			if err := x.label(r, []*step{{at: r.now, vector: r.vector, done: func(v promql.Vector) { r.labelled = v }}}); err != nil {
				return nil, err
			}
		}
		return r.labelled, nil
	}
}

// instant asks the engine. What is stored after now is not seen: the manager did not have it yet.
func (x *run) instant(ctx context.Context, now time.Time, q string, t time.Time) (promql.Vector, error) {
	return rules.EngineQueryFunc(x.engine, until{x.store, milliseconds(now)})(ctx, q, t)
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
