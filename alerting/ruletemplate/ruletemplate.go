// Package ruletemplate expands the templates of alerting rules as Prometheus'
// rules do: in this process, or within limits in a child process.
package ruletemplate

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/template"

	"github.com/cyberviser/hancock/internal/render"
)

// Kind is the kind of these templates in a child process.
func Kind() render.Kind {
	return render.Kind{Name: "rule", Types: []any{Template{}, question{}, []series(nil)}, Render: expand}
}

const (
	// maxQuery is the size of the largest query of a template in a child process, in bytes.
	maxQuery = 64 << 10
	// maxSeries is how many series a query of a template in a child process may return.
	maxSeries = 10_000
)

var (
	errLongQuery  = fmt.Errorf("the query has more than %d bytes", maxQuery)
	errManySeries = fmt.Errorf("the query returns more than %d series", maxSeries)
	errMessage    = errors.New("unexpected message between this process and its template process")
)

// variables are what Prometheus puts before the text of each template.
const variables = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}"

// Template is a label or an annotation of an alerting rule with its data.
type Template struct {
	// Alert is the name of the rule.
	Alert string
	Text  string
	// Labels are those of the sample that the rule found.
	Labels, ExternalLabels map[string]string
	ExternalURL            string
	Value                  float64
	Histogram              *histogram.FloatHistogram // in place of Value, if not nil
	// At is the time of the evaluation, in milliseconds since 1970.
	At int64
}

// Evaluation is what all templates of a rule have in common at a time.
type Evaluation struct {
	Alert          string
	ExternalLabels labels.Labels
	ExternalURL    string
	At             time.Time
}

// Template returns a template with the data of a sample.
func (e Evaluation) Template(text string, s promql.Sample) Template {
	return Template{
		Alert: e.Alert, Text: text, Labels: s.Metric.Map(), ExternalLabels: e.ExternalLabels.Map(), ExternalURL: e.ExternalURL,
		Value: s.F, Histogram: s.H, At: e.At.UnixMilli(),
	}
}

// Expand expands the template in this process, which nothing can interrupt.
func (t Template) Expand(ctx context.Context, query template.QueryFunc) (string, error) {
	address, err := url.Parse(t.ExternalURL)
	if err != nil {
		return "", fmt.Errorf("external URL: %w", err)
	}
	data := template.AlertTemplateData(t.Labels, t.ExternalLabels, t.ExternalURL, promql.Sample{F: t.Value, H: t.Histogram})
	return template.NewTemplateExpander(ctx, variables+t.Text, "__alert_"+t.Alert, data, model.Time(t.At), query, address, nil).Expand()
}

// Failure is the value that a label or an annotation gets when its template
// fails, as in Prometheus.
func Failure(err string) string { return "<error expanding template: " + err + ">" }

// question is a query of a template.
type question struct {
	Query string
	At    int64 // milliseconds since 1970
}

// series is an element of the answer to a question.
type series struct {
	Labels    map[string]string
	T         int64
	Value     float64
	Histogram *histogram.FloatHistogram
}

// expand expands a template in a child process.
func expand(ctx context.Context, input any, ask render.Ask) (string, error) {
	t, ok := input.(Template)
	if !ok {
		return "", errMessage
	}
	return t.Expand(ctx, func(_ context.Context, q string, at time.Time) (promql.Vector, error) {
		if len(q) > maxQuery {
			return nil, errLongQuery
		}
		answer, err := ask(question{q, at.UnixMilli()})
		if err != nil {
			return nil, err
		}
		found, ok := answer.([]series)
		if !ok {
			return nil, errMessage
		}
		vector := make(promql.Vector, len(found))
		for i, s := range found {
			vector[i] = promql.Sample{T: s.T, F: s.Value, H: s.Histogram, Metric: labels.FromMap(s.Labels)}
		}
		return vector, nil
	})
}

// QueryFunc answers a query of the template with this index.
type QueryFunc func(ctx context.Context, template int, q string, at time.Time) (promql.Vector, error)

// ExpandAll expands templates in a child process for templates of Kind. A limit
// that one exceeds is a *render.BoundError, which has its index.
func ExpandAll(ctx context.Context, p *render.Process, all []Template, query QueryFunc) ([]render.Result, error) {
	jobs := make([]render.Job, len(all))
	for i, t := range all {
		jobs[i] = render.Job{Kind: Kind().Name, Input: t, Size: t.size()}
	}
	return p.Render(ctx, jobs, func(job int, asked any) (any, error) {
		q, ok := asked.(question)
		if !ok {
			return nil, errMessage
		}
		vector, err := query(ctx, job, q.Query, time.UnixMilli(q.At))
		if err != nil {
			return nil, err
		}
		if len(vector) > maxSeries {
			return nil, errManySeries
		}
		found := make([]series, len(vector))
		for i, s := range vector {
			found[i] = series{s.Metric.Map(), s.T, s.F, s.H}
		}
		return found, nil
	})
}

// size is about how many bytes the template has with its data.
func (t Template) size() int {
	n := len(t.Text) + 200
	for name, value := range t.Labels {
		n += len(name) + len(value) + 4
	}
	return n
}
