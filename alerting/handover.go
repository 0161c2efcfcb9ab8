package alerting

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"
)

// resolvedRetention is how long an alert is sent as resolved, as Prometheus does: an Alertmanager may miss some.
const resolvedRetention = 15 * time.Minute

// origin identifies the rule of an alert.
type origin struct{ file, group, rule, labels, expr string }

func originOf(g *rules.Group, r *rules.AlertingRule) origin {
	return origin{g.File(), g.Name(), r.Name(), r.Labels().String(), r.Query().String()}
}

// moved matches the same rule in any group, edited a rule of the same name and labels in the same group. Prometheus
// matches rules of a changed group like the latter.
func (o origin) moved() origin  { return origin{"", "", o.rule, o.labels, o.expr} }
func (o origin) edited() origin { return origin{o.file, o.group, o.rule, o.labels, ""} }

// carried is a pending or firing alert whose rule was replaced by a reload or a restart.
type carried struct {
	origin
	alert rules.Alert
	// restored says that the alert is from an earlier process, notBefore when a rule without it counts as evidence that
	// it is resolved.
	restored  bool
	notBefore time.Time
}

// handover keeps alerts when their rules are replaced. Prometheus copies the state of rules within a group that
// changed, and restores `for` after a restart; the rest is done here: rules that moved to another group keep their
// alerts, `keep_firing_for` goes on after a restart, and a firing alert that no rule has any more is resolved.
type handover struct {
	path   string
	settle time.Duration
	to     Sender
	logger *slog.Logger
	opts   *rules.ManagerOptions

	mtx    sync.Mutex
	groups []*rules.Group
	byName map[string][]*rules.AlertingRule
	// heirs are the rules whose first evaluation has to go on with alerts of others.
	heirs map[*rules.AlertingRule][]carried
	// owed are the alerts that Alertmanagers may have as firing while no rule has been evaluated that says so, by hash.
	owed map[uint64]carried
	// restoring counts the evaluations of groups that replaced one before its `for` was restored.
	restoring map[*rules.Group]int
	// saved is what the file has of each group.
	saved map[*rules.Group]map[uint64]int64
	// unsaved says that the file differs from the memory, failing that the last attempt to write it failed.
	unsaved, failing bool
}

func newHandover(o Options, opts *rules.ManagerOptions, to Sender, logger *slog.Logger) *handover {
	return &handover{
		path: o.StateFile, settle: o.SettleTime, to: to, logger: logger, opts: opts,
		heirs: map[*rules.AlertingRule][]carried{}, owed: map[uint64]carried{}, restoring: map[*rules.Group]int{},
	}
}

// change replaces the groups. gone are alerts of an earlier process.
func (h *handover) change(gone []carried, groups []*rules.Group) {
	h.mtx.Lock()
	defer h.mtx.Unlock()
	for _, g := range h.groups {
		if !slices.Contains(groups, g) {
			gone = append(gone, h.leave(g)...)
		}
	}
	h.restoreLater(groups)
	fresh := map[origin]*rules.AlertingRule{}
	active := map[uint64]bool{}
	byName := map[string][]*rules.AlertingRule{}
	for _, g := range groups {
		isNew := !slices.Contains(h.groups, g)
		for _, r := range g.AlertingRules() {
			byName[r.Name()] = append(byName[r.Name()], r)
			o := originOf(g, r)
			for _, key := range []origin{o, o.moved(), o.edited()} {
				if isNew && fresh[key] == nil {
					fresh[key] = r
				}
			}
			r.ForEachActiveAlert(func(a *rules.Alert) {
				if a.State != rules.StateInactive {
					active[a.Labels.Hash()] = true
				}
			})
		}
	}
	h.groups, h.byName, h.saved = slices.Clone(groups), byName, map[*rules.Group]map[uint64]int64{}
	for _, c := range gone {
		hash := c.alert.Labels.Hash()
		if c.alert.State != rules.StatePending {
			h.owed[hash] = c
		}
		if c.alert.State == rules.StateInactive {
			continue
		}
		for _, key := range []origin{c.origin, c.moved(), c.edited()} {
			if r := fresh[key]; r != nil && !active[hash] {
				active[hash] = true
				// After a restart Prometheus restores the others by itself.
				if !c.restored || r.KeepFiringFor() > 0 {
					h.heirs[r] = append(h.heirs[r], c)
				}
			}
		}
	}
	h.unsaved = true
	h.reconcile(time.Now())
	h.save()
}

// restoreLater marks new groups whose predecessor, or in place of one any group, was replaced before `for` was restored.
// Prometheus restores it only for the groups of the start. mtx is held.
func (h *handover) restoreLater(groups []*rules.Group) {
	restored, all := map[string]bool{}, true
	for _, g := range h.groups {
		key := rules.GroupKey(g.File(), g.Name())
		restored[key] = true
		if slices.Contains(groups, g) {
			continue
		}
		for _, r := range g.AlertingRules() {
			restored[key] = restored[key] && r.Restored()
		}
		all = all && restored[key]
		delete(h.restoring, g)
	}
	for _, g := range groups {
		done, replaces := restored[rules.GroupKey(g.File(), g.Name())]
		if done || !replaces && all || slices.Contains(h.groups, g) {
			continue
		}
		for _, r := range g.AlertingRules() {
			if r.HoldDuration() > 0 { // The others have no state to restore, and write samples meanwhile.
				h.restoring[g] = 0
				r.SetRestored(false)
			}
		}
	}
}

// leave returns the alerts of a group that is no longer evaluated. mtx is held.
func (h *handover) leave(g *rules.Group) (gone []carried) {
	for _, r := range g.AlertingRules() {
		o := originOf(g, r)
		gone = append(gone, h.heirs[r]...)
		delete(h.heirs, r)
		r.ForEachActiveAlert(func(a *rules.Alert) {
			if a.State != rules.StateInactive {
				gone = append(gone, carried{origin: o, alert: *a})
			}
		})
	}
	return gone
}

// before prepares an evaluation of the group at a time: the first one takes over alerts.
func (h *handover) before(ctx context.Context, g *rules.Group, at time.Time) {
	if !g.GetLastEvalTimestamp().IsZero() {
		return
	}
	for _, r := range g.AlertingRules() {
		h.mtx.Lock()
		alerts := h.heirs[r]
		delete(h.heirs, r)
		h.mtx.Unlock()
		if len(alerts) == 0 {
			continue
		}
		if err := h.adopt(ctx, r, alerts, at); err != nil {
			h.logger.Warn("failed to restore the state of alerts", "alertname", r.Name(), "err", err)
		}
	}
}

// adopt adds alerts to those that a rule has. Only an evaluation does that, so the rule evaluates their labels in place
// of its expression. Then each alert gets the state that it had.
func (h *handover) adopt(ctx context.Context, r *rules.AlertingRule, alerts []carried, at time.Time) error {
	wanted := map[uint64]rules.Alert{}
	var vector promql.Vector
	want := func(a rules.Alert) {
		wanted[a.Labels.Hash()] = a
		vector = append(vector, promql.Sample{Metric: a.Labels, T: at.UnixMilli(), F: a.Value})
	}
	for _, c := range alerts {
		want(c.alert)
	}
	r.ForEachActiveAlert(func(a *rules.Alert) { want(*a) })
	expression := true
	query := func(ctx context.Context, expr string, at time.Time) (promql.Vector, error) {
		if expression {
			expression = false
			return vector, nil
		}
		return h.opts.QueryFunc(ctx, expr, at) // of a template
	}
	_, err := r.Eval(ctx, 0, at, query, h.opts.ExternalURL, 0)
	if err != nil {
		return fmt.Errorf("evaluating stored alerts: %w", err)
	}
	r.ForEachActiveAlert(func(a *rules.Alert) {
		if w, ok := wanted[a.Labels.Hash()]; ok {
			*a = w
			delete(wanted, w.Labels.Hash())
			return
		}
		// A template made another label out of a label: the next evaluation removes it.
		a.State, a.ResolvedAt, a.LastSentAt = rules.StateInactive, at.Add(-24*time.Hour), at
	})
	if len(wanted) > 0 {
		return fmt.Errorf("%d of %d alerts have other labels now", len(wanted), len(vector))
	}
	return nil
}

// after follows an evaluation of the group.
func (h *handover) after(g *rules.Group) {
	h.mtx.Lock()
	defer h.mtx.Unlock()
	if n, ok := h.restoring[g]; ok {
		h.restoring[g] = n + 1
		if n == 1 { // As Prometheus does it: recording rules have their results then.
			g.RestoreForState(time.Now())
			delete(h.restoring, g)
		}
	}
	h.reconcile(time.Now())
	h.sendFailing(g, time.Now())
	firing := map[uint64]int64{}
	for _, r := range g.AlertingRules() {
		r.ForEachActiveAlert(func(a *rules.Alert) {
			if a.State == rules.StateFiring {
				firing[a.Labels.Hash()] = a.KeepFiringSince.UnixNano()
			}
		})
	}
	if slices.Contains(h.groups, g) && !maps.Equal(firing, h.saved[g]) {
		h.saved[g], h.unsaved = firing, true
	}
	h.save()
}

// sendFailing sends the alerts of rules that cannot be evaluated, which Prometheus does not: without it Alertmanagers would
// take them for resolved soon. mtx is held.
func (h *handover) sendFailing(g *rules.Group, now time.Time) {
	for _, r := range g.AlertingRules() {
		if r.Health() != rules.HealthBad {
			continue
		}
		var due []*rules.Alert
		r.ForEachActiveAlert(func(a *rules.Alert) {
			if a.State == rules.StateFiring && !a.LastSentAt.Add(h.opts.ResendDelay).After(now) {
				a.LastSentAt, a.ValidUntil = now, now.Add(4*max(h.opts.ResendDelay, g.Interval())) // as Prometheus
				sent := *a
				due = append(due, &sent)
			}
		})
		if len(due) > 0 {
			h.opts.NotifyFunc(h.opts.Context, r.Query().String(), due...)
		}
	}
}

// reconcile decides about alerts that are owed: those that a rule has are its own again, those that none has any more
// are resolved. mtx is held.
func (h *handover) reconcile(now time.Time) {
	states := map[*rules.AlertingRule]map[uint64]rules.AlertState{}
	evaluated := h.evaluated()
	for hash, c := range h.owed {
		gone, known := evaluated || !h.ambiguous(c.alert.Labels), false
		for _, r := range h.byName[c.rule] {
			if !canHave(r, c.alert.Labels) {
				continue
			}
			if states[r] == nil {
				states[r] = statesOf(r)
			}
			state, active := states[r][hash]
			switch {
			case r.Health() != rules.HealthGood:
				gone = false // Not evaluated, or it failed.
			case active && (state != rules.StatePending || c.restored):
				known = true // After a restart an alert is pending until `for` is restored.
			case r.GetEvaluationTimestamp().Before(c.notBefore):
				gone = false
			}
		}
		switch {
		case known || gone && !c.alert.ResolvedAt.IsZero() && now.Sub(c.alert.ResolvedAt) > resolvedRetention:
			delete(h.owed, hash)
			h.unsaved = true
		case gone && (c.alert.ResolvedAt.IsZero() || c.alert.LastSentAt.Add(h.opts.ResendDelay).Before(now)):
			h.unsaved = h.unsaved || c.alert.ResolvedAt.IsZero()
			h.owed[hash] = h.resolve(c, now)
		}
	}
}

// ambiguous says that an alert loses labels when it is sent, so that one of another rule can be the same alert to an
// Alertmanager. A sender that relabels has Labels; it keeps the alert that fires if it gets that one first.
func (h *handover) ambiguous(ls labels.Labels) bool {
	relabeling, ok := h.to.(interface {
		Labels(labels.Labels) (sent labels.Labels, keep bool)
	})
	if !ok {
		return false
	}
	sent, keep := relabeling.Labels(ls)
	lost := false
	ls.Range(func(l labels.Label) { lost = lost || sent.Get(l.Name) != l.Value })
	return keep && lost
}

// evaluated says that every rule was evaluated, if not with success.
func (h *handover) evaluated() bool {
	for _, all := range h.byName {
		for _, r := range all {
			if r.Health() == rules.HealthUnknown {
				return false
			}
		}
	}
	return true
}

// canHave says that an alert of the rule can have these labels. Templates can give any value.
func canHave(r *rules.AlertingRule, ls labels.Labels) bool {
	can := r.Name() == ls.Get(labels.AlertName)
	r.Labels().Range(func(l labels.Label) {
		can = can && (l.Name == labels.AlertName || strings.Contains(l.Value, "{{") || ls.Get(l.Name) == l.Value)
	})
	return can
}

// statesOf are the states of a rule's alerts by the hash of their labels.
func statesOf(r *rules.AlertingRule) map[uint64]rules.AlertState {
	states := map[uint64]rules.AlertState{}
	r.ForEachActiveAlert(func(a *rules.Alert) { states[a.Labels.Hash()] = a.State })
	return states
}

// resolve sends an alert as resolved, as its rule would have. The series that an earlier process has left end, too; those
// of this one are ended by Prometheus.
func (h *handover) resolve(c carried, now time.Time) carried {
	if c.alert.ResolvedAt.IsZero() {
		c.alert.State, c.alert.ResolvedAt = rules.StateInactive, now
	}
	if c.restored && c.alert.LastSentAt.IsZero() {
		if err := h.endSeries(c.alert.Labels, c.alert.ResolvedAt); err != nil {
			h.logger.Warn("failed to end the series of an alert", "alertname", c.rule, "err", err)
		}
	}
	c.alert.LastSentAt = now
	alert := c.alert
	h.opts.NotifyFunc(h.opts.Context, c.expr, &alert)
	return c
}

func (h *handover) endSeries(ls labels.Labels, at time.Time) error {
	app := h.opts.Appendable.Appender(h.opts.Context)
	b := labels.NewBuilder(ls).Set(model.MetricNameLabel, "ALERTS_FOR_STATE")
	forState := b.Labels()
	firing := b.Set(model.MetricNameLabel, "ALERTS").Set("alertstate", "firing").Labels()
	for _, series := range []labels.Labels{forState, firing} {
		_, err := app.Append(0, series, at.UnixMilli(), math.Float64frombits(value.StaleNaN))
		// It may have ended already.
		if err != nil && !errors.Is(err, storage.ErrOutOfOrderSample) && !errors.Is(err, storage.ErrDuplicateSampleForTimestamp) {
			return errors.Join(err, app.Rollback())
		}
	}
	return app.Commit()
}
