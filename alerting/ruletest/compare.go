package ruletest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/rules"
)

// firing is an alert that fires, or should.
type firing struct {
	labels, annotations labels.Labels
}

func compareFiring(a, b firing) int {
	if d := labels.Compare(a.labels, b.labels); d != 0 {
		return d
	}
	return labels.Compare(a.annotations, b.annotations)
}

func (f firing) equal(g firing) bool {
	return labels.Equal(f.labels, g.labels) && labels.Equal(f.annotations, g.annotations)
}

// compareAlerts compares the alerts of a name that fire now, whatever group they are of, with those that should.
func (s *session) compareAlerts(want alertTest) error {
	var exp, got []firing
	for _, a := range want.ExpAlerts {
		// The label that Prometheus adds need not be written down. One that is written down as empty stays: no alert has it.
		set := maps.Clone(a.Labels)
		if set == nil {
			set = map[string]string{}
		}
		set[labels.AlertName] = want.Alertname
		exp = append(exp, firing{labels: labels.FromMap(set), annotations: labels.FromMap(a.Annotations)})
	}
	for _, g := range s.groups {
		for _, r := range g.Rules() {
			if alerting, ok := r.(*rules.AlertingRule); ok && r.Name() == want.Alertname {
				for _, a := range alerting.ActiveAlerts() {
					if a.State == rules.StateFiring {
						got = append(got, firing{labels: a.Labels, annotations: a.Annotations})
					}
				}
			}
		}
	}
	slices.SortFunc(exp, compareFiring)
	slices.SortFunc(got, compareFiring)
	if slices.EqualFunc(exp, got, firing.equal) {
		return nil
	}
	return s.named(fmt.Errorf("    alertname: %s, time: %s,\n        exp: %s\n        got: %s",
		want.Alertname, want.EvalTime, firingText(exp), firingText(got)))
}

// firingText writes alerts below each other, for a person.
func firingText(all []firing) string {
	if len(all) == 0 {
		return "[]"
	}
	var b strings.Builder
	b.WriteString("[")
	for i, f := range all {
		fmt.Fprintf(&b, "\n            %d:\n              Labels:%s\n              Annotations:%s", i, f.labels, f.annotations)
	}
	b.WriteString("\n        ]")
	return b.String()
}

// sample is a value of an expression, or one that it should have. A histogram is compared by its text.
type sample struct {
	labels    labels.Labels
	value     float64
	histogram string
}

func (p sample) String() string {
	if p.histogram != "" {
		return p.labels.String() + " " + p.histogram
	}
	return p.labels.String() + " " + strconv.FormatFloat(p.value, 'E', -1, 64)
}

// compareExpr compares what an expression gives with what it should.
func (s *session) compareExpr(ctx context.Context, want exprTest, start time.Time) error {
	wrong := func(err error) error {
		return s.named(fmt.Errorf("    expr: %q, time: %s, err: %w", want.Expr, want.EvalTime, err))
	}
	got, err := s.query(ctx, want.Expr, start.Add(time.Duration(want.EvalTime)))
	if err != nil {
		return wrong(err)
	}
	var exp []sample
	for _, e := range want.ExpSamples {
		p, err := s.expected(e)
		if err != nil {
			return wrong(fmt.Errorf("labels %q: %w", e.Labels, err))
		}
		exp = append(exp, p)
	}
	byLabels := func(a, b sample) int { return labels.Compare(a.labels, b.labels) }
	slices.SortStableFunc(exp, byLabels)
	slices.SortStableFunc(got, byLabels)
	if slices.EqualFunc(exp, got, func(a, b sample) bool {
		return labels.Equal(a.labels, b.labels) && s.sameFloat(a.value, b.value) && a.histogram == b.histogram
	}) {
		return nil
	}
	return s.named(fmt.Errorf("    expr: %q, time: %s,\n        exp: %s\n        got: %s", want.Expr, want.EvalTime,
		samplesText(exp), samplesText(got)))
}

// expected parses a sample of the test file.
func (s *session) expected(e expectedSample) (sample, error) {
	metric, err := s.runner.parser.ParseMetric(e.Labels)
	if err != nil {
		return sample{}, err
	}
	p := sample{labels: metric, value: e.Value}
	if e.Histogram == "" {
		return p, nil
	}
	if _, err := sequenceCost(e.Histogram, s.runner.options.MaxSamples); err != nil {
		return sample{}, err
	}
	_, values, err := s.runner.parser.ParseSeriesDesc("{} " + e.Histogram)
	switch {
	case err != nil:
		return sample{}, err
	case len(values) != 1:
		return sample{}, fmt.Errorf("one histogram was expected, not %d", len(values))
	case values[0].Histogram == nil:
		return sample{}, fmt.Errorf("a histogram was expected, not %s", values[0])
	}
	p.histogram = values[0].Histogram.TestExpression()
	return p, nil
}

// samplesText writes samples below each other where there are several.
func samplesText(all []sample) string {
	if len(all) == 0 {
		return "nil"
	}
	texts := make([]string, len(all))
	for i, p := range all {
		texts[i] = p.String()
	}
	return strings.Join(texts, ",\n             ")
}

// query evaluates an expression at one time.
func (s *session) query(ctx context.Context, expr string, at time.Time) ([]sample, error) {
	q, err := s.engine.NewInstantQuery(ctx, s.store, nil, expr, at)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	result := q.Exec(ctx)
	if result.Err != nil {
		return nil, result.Err
	}
	switch v := result.Value.(type) {
	case promql.Vector:
		var all []sample
		for _, p := range v {
			one := sample{labels: p.Metric.Copy(), value: p.F}
			if p.H != nil {
				one.histogram = p.H.TestExpression()
			}
			all = append(all, one)
		}
		return all, nil
	case promql.Scalar:
		return []sample{{value: v.V}}, nil
	default:
		return nil, errors.New("the result is neither a vector nor a scalar")
	}
}
