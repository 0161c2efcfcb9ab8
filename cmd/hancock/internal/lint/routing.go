package lint

import (
	"fmt"
	"slices"
	"time"

	amconfig "github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/dispatch"
	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/cyberviser/hancock/alerting/rulecheck"
	"github.com/cyberviser/hancock/cmd/hancock/internal/config"
)

// alertmanager checks the section of that name.
func (l *linter) alertmanager() {
	a := l.Config.Alertmanager
	if a == nil {
		return
	}
	top := config.Path{"alertmanager"}
	l.files(a, top)
	if a.Route != nil {
		used := map[string]bool{}
		l.route(dispatch.NewRoute(a.Route, nil), a.Route, top.At("route"), nil, used)
		for i, r := range a.Receivers {
			if !used[r.Name] {
				l.warn(top.At("receivers", i), fmt.Sprintf("receiver %q is not used by any route", r.Name), "name it in a route or delete it")
			}
		}
	}
	for i, rule := range a.InhibitRules {
		l.inhibition(rule, top.At("inhibit_rules", i))
	}
	l.intervals(a, top)
}

// route checks a route and those below it. above are the matchers of the routes around it.
func (l *linter) route(r *dispatch.Route, c *amconfig.Route, path config.Path, above amlabels.Matchers, used map[string]bool) {
	used[r.RouteOpts.Receiver] = true
	l.intervalsOfRoute(r, c, path)
	matchers := slices.Concat(above, r.Matchers)
	l.alertnames(r.Matchers, path)
	if a, b := contradiction(matchers); a != nil {
		l.warn(path, fmt.Sprintf("no alert matches both %s and %s, so the route is never used", a, b), "correct the matchers or those of the route above")
		return
	}
	for i, child := range r.Routes {
		below := path.At("routes", i)
		before := slices.IndexFunc(r.Routes[:i], func(s *dispatch.Route) bool { return !s.Continue && implies(child.Matchers, s.Matchers) })
		if a, _ := contradiction(slices.Concat(matchers, child.Matchers)); a == nil && before >= 0 {
			place, _ := l.Config.Sources.Place(path.At("routes", before))
			l.warn(below, "never reached, as every alert that it matches is taken by the route before it ("+place+")",
				"move it up, or set continue: true in that route")
		}
		l.route(child, c.Routes[i], below, matchers, used)
	}
}

// intervalsOfRoute compares the times of a route, where it sets one of them itself.
func (l *linter) intervalsOfRoute(r *dispatch.Route, c *amconfig.Route, path config.Path) {
	repeat, group := r.RouteOpts.RepeatInterval, r.RouteOpts.GroupInterval
	root := len(path) == 2
	repeatPath := path.At("repeat_interval")
	if repeat < group && (root || c.RepeatInterval != nil || c.GroupInterval != nil) {
		l.warn(repeatPath, fmt.Sprintf("%s is shorter than group_interval (%s), so notifications repeat after the latter", short(repeat), short(group)),
			"raise repeat_interval or lower group_interval")
	}
	if l.Retention > 0 && repeat > l.Retention && (root || c.RepeatInterval != nil) {
		l.warn(repeatPath, fmt.Sprintf("%s is longer than alerting.retention (%s), after which the notification log forgets a notification, so it repeats early",
			short(repeat), short(l.Retention)), "raise alerting.retention or lower repeat_interval")
	}
}

func short(d time.Duration) string { return model.Duration(d).String() }

// contradiction returns two matchers that no alert matches at once.
func contradiction(matchers amlabels.Matchers) (a, b *amlabels.Matcher) {
	for _, a := range matchers {
		for _, b := range matchers {
			if a.Type == amlabels.MatchEqual && a.Name == b.Name && !b.Matches(a.Value) {
				return a, b
			}
		}
	}
	return nil, nil
}

// implies reports whether every alert that matches all of these matches all of those, as far as it is certain.
func implies(these, those amlabels.Matchers) bool {
	return !slices.ContainsFunc(those, func(that *amlabels.Matcher) bool {
		return !slices.ContainsFunc(these, func(this *amlabels.Matcher) bool {
			return this.Name == that.Name && (this.Type == amlabels.MatchEqual && that.Matches(this.Value) || this.Type == that.Type && this.Value == that.Value)
		})
	})
}

// alertnames reports names of alerts that no rule has. A name that resembles none may be one of another sender.
func (l *linter) alertnames(matchers amlabels.Matchers, path config.Path) {
	if !l.alertsKnown() {
		return
	}
	var names []string
	for _, a := range l.Alerts {
		names = append(names, a.Name)
	}
	for _, m := range matchers {
		if m.Name != model.AlertNameLabel {
			continue
		}
		for _, name := range literals(m) {
			if name == "" || slices.Contains(names, name) {
				continue
			}
			if near := rulecheck.Suggest(name, names); near != "" {
				l.warn(path, fmt.Sprintf("no rule has an alert named %s", name), "did you mean "+near+"?")
			} else {
				l.hint(path, fmt.Sprintf("no rule has an alert named %s", name), "correct the name unless another sender has such alerts")
			}
		}
	}
}

// literals returns the values that a matcher names. A pattern other than a list of alternatives has none.
func literals(m *amlabels.Matcher) []string {
	if m.Type == amlabels.MatchEqual || m.Type == amlabels.MatchNotEqual {
		return []string{m.Value}
	}
	re, err := labels.NewFastRegexMatcher(m.Value)
	if err != nil {
		return nil
	}
	return re.SetMatches()
}

// alertsKnown reports whether the labels of alerts are those of the rules.
func (l *linter) alertsKnown() bool {
	p := l.Config.Prometheus
	return len(l.Alerts) > 0 && (p == nil || len(p.AlertingConfig.AlertRelabelConfigs) == 0)
}
