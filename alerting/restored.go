package alerting

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"
)

// restoring writes the ALERTS series of groups whose state is being restored.
// Until the third evaluation Prometheus notifies of alerts that fire but writes
// no samples, because those would replace the state that it restores from
// ALERTS_FOR_STATE. Samples of ALERTS do not, and without them there is no
// record of what fired first or only then.
type restoring struct {
	mu sync.Mutex
	// written are the series of the previous evaluation, by group and hash.
	written map[string]map[uint64]labels.Labels
	// began and since are when a group was evaluated first, and first with its
	// state restored.
	began, since map[string]time.Time
}

func newRestoring() restoring {
	return restoring{
		written: map[string]map[uint64]labels.Labels{},
		began:   map[string]time.Time{}, since: map[string]time.Time{},
	}
}

// evaluated follows each evaluation of a group.
func (m *Manager) evaluated(ctx context.Context, g *rules.Group, at time.Time) {
	m.restoring.mu.Lock()
	defer m.restoring.mu.Unlock()
	key := rules.GroupKey(g.File(), g.Name())
	if _, ok := m.restoring.since[key]; ok || ctx.Err() != nil {
		return
	}
	if _, ok := m.restoring.began[key]; !ok {
		m.restoring.began[key] = at
	}
	restored := true
	written, fires := map[uint64]labels.Labels{}, map[uint64]bool{}
	for _, r := range g.AlertingRules() {
		failed := r.LastError() != nil
		restored = restored && r.Restored() && !failed
		for _, a := range r.ActiveAlerts() {
			if a.State != rules.StateFiring {
				continue
			}
			ls := firingSeries(r, a)
			fires[ls.Hash()] = true
			if !r.Restored() && !failed {
				written[ls.Hash()] = ls
			}
		}
	}
	app := m.opts.Appendable.Appender(ctx)
	ts := timestamp.FromTime(at.Add(-g.QueryOffset()))
	var errs []error
	write := func(ls labels.Labels, v float64) {
		// A clock that was set back, or a restart within an interval.
		if _, err := app.Append(0, ls, ts, v); err != nil && !errors.Is(err, storage.ErrOutOfOrderSample) &&
			!errors.Is(err, storage.ErrDuplicateSampleForTimestamp) && !errors.Is(err, storage.ErrTooOldSample) {
			errs = append(errs, err)
		}
	}
	for _, ls := range written {
		write(ls, 1)
	}
	for hash, ls := range m.restoring.written[key] {
		if !fires[hash] {
			write(ls, math.Float64frombits(value.StaleNaN))
		}
	}
	if err := errors.Join(append(errs, app.Commit())...); err != nil {
		m.logger.Warn("failed to write ALERTS series", "file", g.File(), "group", g.Name(), "err", err)
	}
	m.restoring.written[key] = written
	if restored {
		delete(m.restoring.written, key)
		m.restoring.since[key] = at
	}
}

// firingSeries returns the labels of the series that the rule writes for a
// firing alert.
func firingSeries(r *rules.AlertingRule, a *rules.Alert) labels.Labels {
	b := labels.NewBuilder(r.Labels())
	a.Labels.Range(func(l labels.Label) { b.Set(l.Name, l.Value) })
	b.Set(model.MetricNameLabel, "ALERTS")
	b.Set(labels.AlertName, r.Name())
	b.Set("alertstate", rules.StateFiring.String())
	return b.Labels()
}

// Times are what the rules of an alert have in common: the longest interval and
// query offset, and whether one of them fires at once. Began is when this
// process evaluated one of them first, and Restored when all first had their
// restored state; without rules, those of all groups. They are zero as long as
// that has not happened. What has no samples of ALERTS in between did not fire
// then.
type Times struct {
	Interval, Offset time.Duration
	Immediate        bool
	Began, Restored  time.Time
}

// Times returns those of the alert of this name.
func (m *Manager) Times(alert string) (t Times) {
	groups := m.RuleGroups()
	var own []*rules.Group
	for _, g := range groups {
		for _, r := range g.AlertingRules() {
			if r.Name() == alert {
				own = append(own, g)
				t.Interval, t.Offset = max(t.Interval, g.Interval()), max(t.Offset, g.QueryOffset())
				t.Immediate = t.Immediate || r.HoldDuration() == 0
			}
		}
	}
	if len(own) > 0 {
		groups = own
	}
	m.restoring.mu.Lock()
	defer m.restoring.mu.Unlock()
	var began, restored time.Time
	for _, g := range groups {
		key := rules.GroupKey(g.File(), g.Name())
		at, ok := m.restoring.since[key]
		if !ok {
			return t
		}
		if at.After(restored) {
			restored = at
		}
		if at := m.restoring.began[key]; began.IsZero() || at.Before(began) {
			began = at
		}
	}
	t.Began, t.Restored = began, restored
	return t
}
