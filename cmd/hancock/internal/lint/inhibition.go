package lint

import (
	"fmt"
	"slices"

	amconfig "github.com/prometheus/alertmanager/config"
	amcommon "github.com/prometheus/alertmanager/config/common"
	"github.com/prometheus/alertmanager/inhibit"
	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/alertmanager/timeinterval"
	"github.com/prometheus/common/model"

	"github.com/cyberviser/hancock/alerting/rulecheck"
	"github.com/cyberviser/hancock/cmd/hancock/internal/config"
)

// inhibition checks a rule that mutes alerts while others fire.
func (l *linter) inhibition(c amcommon.InhibitRule, path config.Path) {
	rule := inhibit.NewInhibitRule(c)
	l.alertnames(rule.SourceMatchers, path)
	l.alertnames(rule.TargetMatchers, path)
	for _, side := range []amlabels.Matchers{rule.SourceMatchers, rule.TargetMatchers} {
		if a, b := contradiction(side); a != nil {
			l.warn(path, fmt.Sprintf("no alert matches both %s and %s, so nothing is inhibited", a, b), "correct the matchers")
		}
	}
	ofOneAlert := slices.ContainsFunc(rule.SourceMatchers, func(m *amlabels.Matcher) bool {
		return m.Name == model.AlertNameLabel && !m.Matches("") && len(literals(m)) > 0
	})
	if len(c.Equal) == 0 && !ofOneAlert {
		l.warn(path, "without equal, one alert that matches the source mutes every alert that matches the target",
			"name the labels that both have in common under equal")
	}
	if !l.alertsKnown() {
		return
	}
	sources, targets := l.matching(rule.SourceMatchers), l.matching(rule.TargetMatchers)
	if len(sources) == 0 || len(targets) == 0 {
		return // The rule is for alerts of other senders.
	}
	for i, label := range c.Equal {
		may := func(a rulecheck.Alert) bool { return a.Labels == nil || a.Labels[label] }
		if !slices.ContainsFunc(sources, may) && !slices.ContainsFunc(targets, may) {
			l.warn(path.At("equal", i), fmt.Sprintf("no alert that matches the source or the target has the label %s, and two missing labels are equal", label),
				"name a label that the alerts have")
		}
	}
}

// matching returns the rules' alerts that may match.
func (l *linter) matching(matchers amlabels.Matchers) (found []rulecheck.Alert) {
	for _, a := range l.Alerts {
		if !slices.ContainsFunc(matchers, func(m *amlabels.Matcher) bool {
			value, fixed := a.Fixed[m.Name]
			return (fixed || a.Labels != nil && !a.Labels[m.Name]) && !m.Matches(value)
		}) {
			found = append(found, a)
		}
	}
	return found
}

// intervals reports time intervals that no route uses, and those that never come.
func (l *linter) intervals(a *amconfig.Config, top config.Path) {
	used := map[string]bool{}
	var walk func(*amconfig.Route)
	walk = func(r *amconfig.Route) {
		for _, name := range slices.Concat(r.MuteTimeIntervals, r.ActiveTimeIntervals) {
			used[name] = true
		}
		for _, child := range r.Routes {
			walk(child)
		}
	}
	if a.Route != nil {
		walk(a.Route)
	}
	check := func(path config.Path, name string, intervals []timeinterval.TimeInterval) {
		if !used[name] {
			l.warn(path, fmt.Sprintf("no route uses the time interval %q", name), "name it in mute_time_intervals or active_time_intervals, or delete it")
		}
		for i, interval := range intervals {
			if !l.comes(interval) {
				l.warn(path.At("time_intervals", i), "no time from now on is in this interval", "correct its days, months or years")
			}
		}
	}
	for i, t := range a.MuteTimeIntervals {
		check(top.At("mute_time_intervals", i), t.Name, t.TimeIntervals)
	}
	for i, t := range a.TimeIntervals {
		check(top.At("time_intervals", i), t.Name, t.TimeIntervals)
	}
}

// comes reports whether any time from now on is in the interval.
func (l *linter) comes(interval timeinterval.TimeInterval) bool {
	dates := interval
	dates.Times, dates.Location = nil, nil
	if interval.Times != nil && len(interval.Times) == 0 {
		return false
	}
	// The calendar repeats after 400 years; a day of the month, a month and a weekday meet within 40. A year may be later.
	last := l.Now.Year() + 40
	for _, years := range interval.Years {
		last = max(last, years.Begin+40)
	}
	for day := l.Now.UTC().AddDate(0, 0, -1); day.Year() <= min(last, l.Now.Year()+400); day = day.AddDate(0, 0, 1) {
		if dates.ContainsTime(day) {
			return true
		}
	}
	return false
}
