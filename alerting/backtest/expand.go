package backtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"

	"github.com/cyberviser/hancock/alerting/ruletemplate"
	"github.com/cyberviser/hancock/internal/render"
)

const (
	// maxTemplateTime is how long all templates of a request may take.
	maxTemplateTime = 2 * time.Minute
	// expandAtOnce is about how many templates are expanded at once.
	expandAtOnce = 256
)

// step is a vector that a rule found at a time, and what takes the same with the labels of the rule.
type step struct {
	at     time.Time
	vector promql.Vector
	done   func(labelled promql.Vector)
}

// label puts the labels of a rule on what it found at some times.
func (x *run) label(r *rule, steps []*step) error {
	values, err := x.expand(r, "labels", r.labels, steps)
	if err != nil {
		return err
	}
	for _, s := range steps {
		if r.alert == nil || r.labels.IsEmpty() {
			s.done(s.vector) // A recording rule puts them on itself.
			continue
		}
		out := make(promql.Vector, len(s.vector))
		for i, found := range s.vector {
			b := labels.NewBuilder(found.Metric).Del(model.MetricNameLabel)
			r.labels.Range(func(l labels.Label) {
				b.Set(l.Name, values.next(l.Value))
			})
			found.Metric = b.Labels()
			out[i] = found
		}
		s.done(out)
	}
	return nil
}

// annotated returns the annotations of those alerts of now that are wanted, by labels.
func (r *rule) annotated(x *run, wanted map[string]bool) (map[string]labels.Labels, error) {
	out := map[string]labels.Labels{}
	var names []string
	now := &step{at: r.now}
	for i, s := range r.labelled {
		name := labels.NewBuilder(s.Metric).Del(model.MetricNameLabel).Set(model.AlertNameLabel, r.impl.Name()).Labels().String()
		if wanted[name] {
			names = append(names, name)
			now.vector = append(now.vector, r.vector[i])
		}
	}
	values, err := x.expand(r, "annotations", r.annotations, []*step{now})
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		var set []labels.Label
		r.annotations.Range(func(a labels.Label) {
			set = append(set, labels.Label{Name: a.Name, Value: values.next(a.Value)})
		})
		out[name] = labels.New(set...)
	}
	return out, nil
}

// expanded are the results of templates in the order in which they are used.
type expanded []string

// next returns the next result, or a text that is no template.
func (e *expanded) next(text string) string {
	if !isTemplate(text) {
		return text
	}
	value := (*e)[0]
	*e = (*e)[1:]
	return value
}

// expand expands the templates of a set of labels or annotations for each sample of each step.
func (x *run) expand(r *rule, field string, set labels.Labels, steps []*step) (expanded, error) {
	if r.alert == nil {
		return nil, nil // Labels of recording rules are no templates.
	}
	var (
		all   []ruletemplate.Template
		names []string
	)
	for _, s := range steps {
		e := ruletemplate.Evaluation{
			Alert: r.impl.Name(), ExternalLabels: x.request.ExternalLabels, ExternalURL: x.request.ExternalURL.String(), At: s.at,
		}
		for _, found := range s.vector {
			set.Range(func(l labels.Label) {
				if isTemplate(l.Value) {
					all = append(all, e.Template(l.Value, found))
					names = append(names, l.Name)
				}
			})
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	query := func(ctx context.Context, i int, q string, at time.Time) (promql.Vector, error) {
		if err := x.stopped(); err != nil {
			return nil, err // Which ends a template that asks without end, too.
		}
		return x.instant(ctx, time.UnixMilli(all[i].At), q, at)
	}
	var (
		results []render.Result
		err     error
	)
	if x.process == nil {
		results = x.expandHere(all, query)
	} else {
		results, err = ruletemplate.ExpandAll(x.ctx, x.process, all, query)
	}
	if bound, ok := errors.AsType[*render.BoundError](err); ok {
		err = &RequestError{Syntax: true, Reason: fmt.Sprintf("%s: group %q, rule %q: %s.%s: %s",
			r.group.file, r.group.name, r.impl.Name(), field, names[bound.Job], bound.Bound)}
	}
	if stopped := x.stopped(); stopped != nil {
		err = stopped
	}
	if err != nil {
		x.failed = err // Prometheus' group takes it for an error of the rule, which does not end the replay.
		return nil, err
	}
	values := make(expanded, len(results))
	for i, result := range results {
		if values[i] = result.Text; result.Err != "" {
			values[i] = ruletemplate.Failure(result.Err)
		}
	}
	return values, nil
}

// expandHere expands templates of the configuration.
func (x *run) expandHere(all []ruletemplate.Template, query ruletemplate.QueryFunc) []render.Result {
	results := make([]render.Result, len(all))
	for i, t := range all {
		text, err := t.Expand(x.ctx, func(ctx context.Context, q string, at time.Time) (promql.Vector, error) {
			return query(ctx, i, q, at)
		})
		if results[i].Text = text; err != nil {
			results[i] = render.Result{Err: err.Error()}
		}
	}
	return results
}

// isTemplate reports whether the value of a label or an annotation has to be expanded.
func isTemplate(text string) bool { return strings.Contains(text, "{{") }
