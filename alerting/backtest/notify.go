package backtest

import (
	"container/heap"
	"maps"
	"strconv"
	"time"

	"github.com/prometheus/alertmanager/alert"
	amconfig "github.com/prometheus/alertmanager/config/common"
	"github.com/prometheus/alertmanager/inhibit"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/common/model"
)

// flush is what happens when the timer of a group goes off: alerts are kept back, integrations told of the others where
// there is news, and resolved alerts forgotten.
func (r *router) flush(g *alertGroup, now time.Time) {
	rc := r.receivers[g.opts.Receiver]
	all := g.sorted()
	var told alert.AlertSlice
	for _, a := range all {
		if r.inhibited(a, now) {
			r.keptBack(rc.inhibited, a, now)
			continue
		}
		told = append(told, a)
	}
	if len(told) > 0 && r.muted(g, now) {
		for _, a := range told {
			r.keptBack(rc.muted, a, now)
		}
		told = nil
	}
	if len(told) > 0 {
		for _, in := range rc.integrations {
			r.notify(g, rc, in, told, now)
		}
	}
	for _, a := range all {
		if a.ResolvedAt(now) {
			delete(g.alerts, a.Fingerprint())
		}
	}
	if len(g.alerts) == 0 {
		delete(r.groups, g.id)
		heap.Remove(&r.timers, g.index)
	}
}

// keptBack notes an alert that a receiver did not get, each once, within reason.
func (r *router) keptBack(in map[string]struct{}, a *alert.Alert, now time.Time) {
	if !now.Before(r.from) && len(in) < maxKeptBack {
		in[a.Fingerprint().String()+strconv.FormatInt(a.StartsAt.UnixNano(), 10)] = struct{}{}
	}
}

// muted tells whether the time intervals of the group's route keep it quiet. The names were checked before.
func (r *router) muted(g *alertGroup, now time.Time) bool {
	if names := g.opts.ActiveTimeIntervals; len(names) > 0 {
		if active, _, err := r.times.Mutes(names, now); err == nil && !active {
			return true
		}
	}
	if names := g.opts.MuteTimeIntervals; len(names) > 0 {
		if muted, _, err := r.times.Mutes(names, now); err == nil && muted {
			return true
		}
	}
	return false
}

// notify tells an integration of a group if there is news, by the rules of Alertmanager's DedupStage, and logs it.
func (r *router) notify(g *alertGroup, rc *receiver, in integration, alerts alert.AlertSlice, now time.Time) {
	firing, resolved := map[model.Fingerprint]struct{}{}, map[model.Fingerprint]struct{}{}
	for _, a := range alerts {
		if a.ResolvedAt(now) {
			resolved[a.Fingerprint()] = struct{}{}
		} else {
			firing[a.Fingerprint()] = struct{}{}
		}
	}
	key := g.key + ":" + g.opts.Receiver + "/" + in.name
	entry := r.log[key]
	if entry != nil && r.expired(entry, now) {
		entry = nil
	}
	reason := news(entry, firing, resolved, in.sendResolved, now.Add(-g.opts.RepeatInterval))
	if reason == notify.ReasonDoNotNotify {
		return
	}
	keep := logRetention
	if expiry := 2 * g.opts.RepeatInterval; expiry > 0 && expiry < keep {
		keep = expiry
	}
	r.log[key] = &logEntry{at: now, expires: now.Add(keep), firing: firing, resolved: resolved}
	if !in.sendResolved {
		if len(firing) == 0 {
			return // Logged, so that it is new when it fires again, but not sent.
		}
		resolved = nil
	}
	if now.Before(r.from) {
		return
	}
	m := Message{
		At: now, Receiver: g.opts.Receiver, Integration: in.name, Reason: reason.String(),
		GroupLabels: plain(g.labels), Firing: len(firing), Resolved: len(resolved), Alerts: []MessageAlert{},
	}
	r.total++
	rc.report.Messages++
	rc.report.Integrations[in.name]++
	if len(r.messages) >= r.maxMessages || r.text <= 0 {
		return
	}
	for _, a := range alerts {
		over := a.ResolvedAt(now)
		if over && !in.sendResolved || len(m.Alerts) == maxMessageAlerts || r.text <= 0 {
			continue
		}
		for name, value := range a.Labels {
			r.text -= len(name) + len(value)
		}
		ma := MessageAlert{Labels: plain(a.Labels), Status: string(model.AlertFiring), StartsAt: a.StartsAt}
		if over {
			ends := a.EndsAt
			ma.Status, ma.EndsAt = string(model.AlertResolved), &ends
		}
		m.Alerts = append(m.Alerts, ma)
	}
	r.messages = append(r.messages, m)
}

// news says why an integration is told, given what it was told last.
func news(entry *logEntry, firing, resolved map[model.Fingerprint]struct{}, sendResolved bool, repeat time.Time) notify.NotifyReason {
	switch {
	case entry == nil && len(firing) == 0:
		return notify.ReasonDoNotNotify
	case entry == nil:
		return notify.ReasonFirstNotification
	case !subset(firing, entry.firing) && len(entry.firing) == 0:
		return notify.ReasonFirstNotification
	case !subset(firing, entry.firing):
		return notify.ReasonNewAlertsInGroup
	case len(firing) == 0 && len(entry.firing) > 0:
		return notify.ReasonAllAlertsResolved
	case len(firing) == 0:
		return notify.ReasonDoNotNotify
	case sendResolved && !subset(resolved, entry.resolved):
		return notify.ReasonNewResolvedAlerts
	case entry.at.Before(repeat):
		return notify.ReasonRepeatIntervalElapsed
	}
	return notify.ReasonDoNotNotify
}

func subset(of, in map[model.Fingerprint]struct{}) bool {
	for fp := range of {
		if _, ok := in[fp]; !ok {
			return false
		}
	}
	return true
}

func plain(set model.LabelSet) map[string]string {
	out := make(map[string]string, len(set))
	for name, value := range maps.All(set) {
		out[string(name)] = string(value)
	}
	return out
}

// inhibition is an inhibition rule with the alerts that may inhibit others, by the labels that must be equal.
type inhibition struct {
	*inhibit.InhibitRule
	sources map[model.Fingerprint]map[model.Fingerprint]*alert.Alert
}

func newInhibition(cfg amconfig.InhibitRule) *inhibition {
	return &inhibition{inhibit.NewInhibitRule(cfg), map[model.Fingerprint]map[model.Fingerprint]*alert.Alert{}}
}

func (in *inhibition) equal(set model.LabelSet) model.Fingerprint {
	out := make(model.LabelSet, len(in.Equal))
	for name := range in.Equal {
		out[name] = set[name]
	}
	return out.Fingerprint()
}

func (in *inhibition) take(fp model.Fingerprint, a *alert.Alert) {
	if !in.SourceMatchers.Matches(a.Labels) {
		return
	}
	equal := in.equal(a.Labels)
	if in.sources[equal] == nil {
		in.sources[equal] = map[model.Fingerprint]*alert.Alert{}
	}
	in.sources[equal][fp] = a
}

func (in *inhibition) forget(now time.Time) {
	for equal, sources := range in.sources {
		for fp, a := range sources {
			if a.ResolvedAt(now) {
				delete(sources, fp)
			}
		}
		if len(sources) == 0 {
			delete(in.sources, equal)
		}
	}
}

// inhibited tells whether an alert is kept back since another fires. Alerts that could do so to themselves do not.
func (r *router) inhibited(a *alert.Alert, now time.Time) bool {
	for _, in := range r.inhibitions {
		if !in.TargetMatchers.Matches(a.Labels) {
			continue
		}
		both := in.SourceMatchers.Matches(a.Labels)
		for _, source := range in.sources[in.equal(a.Labels)] {
			if !source.ResolvedAt(now) && (!both || !in.TargetMatchers.Matches(source.Labels)) {
				return true
			}
		}
	}
	return false
}
