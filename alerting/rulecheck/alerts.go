package rulecheck

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// Alert is what is known of the alerts of one rule.
type Alert struct {
	Name string
	// Fixed are the labels that all of them have with the same values.
	Fixed map[string]string
	// Labels are the names of all labels that they can have; nil if these are not known.
	Labels map[string]bool
}

// Alerts returns what is known of the alerts of all alerting rules, before alert_relabel_configs. The error is of a
// file that does not parse, or of the store.
func Alerts(ctx context.Context, files []File, k Known) ([]Alert, error) {
	p := newParser()
	files = slices.Clone(files)
	for i := range files {
		if err := files[i].parse(p); err != nil {
			return nil, err
		}
	}
	c := newChecker(ctx, k, files)
	var all []Alert
	for _, f := range files {
		for _, g := range f.Groups.Groups {
			for _, r := range g.Rules {
				if r.Alert != "" {
					all = append(all, c.alert(p, g, r))
				}
			}
		}
	}
	return all, c.err
}

func (c *checker) alert(p parser.Parser, g rulefmt.RuleGroup, r rulefmt.Rule) Alert {
	set := maps.Clone(g.Labels)
	if set == nil {
		set = map[string]string{}
	}
	maps.Copy(set, r.Labels)
	a := Alert{Name: r.Alert, Fixed: map[string]string{"alertname": r.Alert}}
	var can labelSet
	if expr, err := p.ParseExpr(r.Expr); err == nil && len(r.Expr) <= maxExpr {
		can = c.labelsOf(expr).with("alertname").with(c.known.ExternalLabels...)
	}
	for name, value := range set {
		can = can.with(name)
		if !strings.Contains(value, "{{") {
			a.Fixed[name] = value
		}
	}
	a.Labels = can
	return a
}
