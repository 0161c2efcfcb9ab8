package alerting

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"

	"github.com/cyberviser/hancock/alerting/ruletemplate"
	"github.com/cyberviser/hancock/internal/render"
)

// usedLabelRE finds the labels that a template of a rule uses.
var usedLabelRE = regexp.MustCompile(`[lL]abels(?:\.(\w+)|\s+"([^"]+)")`)

// CheckTemplates expands the labels and annotations of the rules with a sample,
// in a child process for templates of ruletemplate.Kind, and returns an error
// for each that takes too much time, memory or space. Other failures depend on
// the sample and are no errors. The embedded rules are not expanded.
func (r *RuleFiles) CheckTemplates(ctx context.Context, p *render.Process, o Options) error {
	var (
		all    []ruletemplate.Template
		places []string
	)
	for _, file := range r.set.files {
		if file == BuiltinFile {
			continue
		}
		for _, g := range r.set.groups[file].Groups {
			for _, rule := range g.Rules {
				templates, fields := ruleTemplates(g, rule, o)
				all = append(all, templates...)
				for _, f := range fields {
					places = append(places, fmt.Sprintf("%s: group %q, rule %q: %s", file, g.Name, rule.Alert, f))
				}
			}
		}
	}
	found := promql.Vector{sample("")}
	query := func(context.Context, int, string, time.Time) (promql.Vector, error) { return found, nil }
	var errs []error
	for len(all) > 0 {
		_, err := ruletemplate.ExpandAll(ctx, p, all, query)
		exceeded, ok := errors.AsType[*render.BoundError](err)
		if !ok {
			if err != nil {
				errs = append(errs, fmt.Errorf("expanding the templates of rules: %w", err))
			}
			break
		}
		errs = append(errs, fmt.Errorf("%s: %w", places[exceeded.Job], err))
		all, places = all[exceeded.Job+1:], places[exceeded.Job+1:]
	}
	return errors.Join(errs...)
}

// ruleTemplates returns the templates of an alerting rule, and their names.
func ruleTemplates(g rulefmt.RuleGroup, rule rulefmt.Rule, o Options) (templates []ruletemplate.Template, fields []string) {
	if rule.Alert == "" {
		return nil, nil
	}
	e := ruletemplate.Evaluation{Alert: rule.Alert, ExternalLabels: o.ExternalLabels, At: time.Now()}
	if o.ExternalURL != nil {
		e.ExternalURL = o.ExternalURL.String()
	}
	add := func(field string, texts map[string]string) {
		for _, name := range slices.Sorted(maps.Keys(texts)) {
			if text := texts[name]; strings.Contains(text, "{{") {
				templates = append(templates, e.Template(text, sample(text)))
				fields = append(fields, field+"."+name)
			}
		}
	}
	add("labels", g.Labels)
	add("labels", rule.Labels)
	add("annotations", rule.Annotations)
	return templates, fields
}

// sample is one with the labels that a template uses.
func sample(text string) promql.Sample {
	b := labels.NewBuilder(labels.FromStrings("__name__", "sample", "instance", "10.0.0.5:9100", "job", "node"))
	for _, m := range usedLabelRE.FindAllStringSubmatch(text, -1) {
		if name := m[1] + m[2]; b.Get(name) == "" {
			b.Set(name, "sample value")
		}
	}
	return promql.Sample{T: time.Now().UnixMilli(), F: 1.5, Metric: b.Labels()}
}
