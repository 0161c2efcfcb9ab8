package backtest

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/rules"

	"github.com/cyberviser/hancock/alerting/alertmanager"
)

// watch follows the alerts of a rule from evaluation to evaluation.
type watch struct {
	run  *run
	rule *rule
	// active are the alerts that go on, by where the rule keeps them: a new alert with the same labels has a new place.
	active map[*rules.Alert]*course
	round  int64 // To tell which alerts the rule has no more.

	pending, firing span // In which at least one was.
}

// course is an alert from becoming active on.
type course struct {
	alert   Alert
	labels  labels.Labels
	fired   time.Time
	value   float64 // Of the last evaluation.
	round   int64
	failing bool  // A template failed.
	room    *room // nil if it is only counted.
	size    int   // What it takes of it.
}

// room is where so many alerts, with texts of so many bytes, are listed one by one: the first ones that come. The others
// are only counted, which keeps the memory bounded and saves their templates.
type room struct {
	free   int
	bytes  int
	alerts []Alert
}

// take gives an alert a place, in exchange for one that it has elsewhere.
func (r *room) take(c *course) bool {
	if r.free == 0 || r.bytes <= 0 {
		return false
	}
	r.free--
	c.room.give(c)
	c.room = r
	return true
}

// give takes the place of an alert back.
func (r *room) give(c *course) {
	if r != nil {
		r.free++
		r.bytes += c.size
		c.room, c.size = nil, 0
	}
}

// fill says how long the texts of an alert are. One that does not fit loses its place.
func (r *room) fill(c *course, size int) bool {
	c.size += size
	if r.bytes -= size; r.bytes < 0 {
		r.give(c)
		return false
	}
	return true
}

// span is a sum of times.
type span struct {
	since time.Time // Zero when it does not go on.
	sum   time.Duration
}

// set says whether it goes on from t.
func (s *span) set(on bool, t, from time.Time) {
	switch {
	case on && s.since.IsZero():
		s.since = t
	case !on && !s.since.IsZero():
		s.sum += between(s.since, t, from)
		s.since = time.Time{}
	}
}

// between is how much of the time from a to b lies after from.
func between(a, b, from time.Time) time.Duration {
	if a.Before(from) {
		a = from
	}
	return max(b.Sub(a), 0)
}

func newWatch(x *run, r *rule) watch {
	return watch{run: x, rule: r, active: map[*rules.Alert]*course{}}
}

// look notes the state after an evaluation at t.
func (w *watch) look(t time.Time, failed error) {
	from := w.run.report.From
	if !t.Before(from) {
		w.count(t, failed)
	}
	if w.rule.alert == nil {
		return
	}
	w.round++
	pending, firing := 0, 0
	var fresh []*course // Whose annotations are of now.
	w.rule.alert.ForEachActiveAlert(func(a *rules.Alert) {
		c := w.active[a]
		if c == nil {
			if a.State == rules.StateInactive {
				return // Ended before; it is kept only to be sent again.
			}
			c = &course{labels: a.Labels, alert: Alert{ActiveAt: a.ActiveAt}}
			w.active[a] = c
			if a.State == rules.StatePending && w.run.waitedRoom.take(c) {
				fresh = append(fresh, c)
			}
		}
		c.round, c.value = w.round, a.Value
		switch a.State {
		case rules.StatePending:
			pending++
		case rules.StateFiring:
			firing++
			if c.fired.IsZero() {
				c.fired = a.FiredAt
				if w.run.firedRoom.take(c) {
					fresh = append(fresh, c)
				}
			}
		case rules.StateInactive:
			w.end(c, a.ResolvedAt, StateResolved)
			delete(w.active, a)
		}
	})
	for a, c := range w.active {
		if c.round == w.round {
			continue
		}
		state := StateCancelled
		if failed != nil {
			state = StateDropped // The rule forgot them all, see its limit.
		}
		w.end(c, t, state)
		delete(w.active, a)
	}
	w.describe(fresh)
	w.pending.set(pending > 0, t, from)
	w.firing.set(firing > 0, t, from)
	if !t.Before(from) {
		w.rule.report.MaxFiring = max(w.rule.report.MaxFiring, firing)
	}
}

// count counts what an evaluation came to.
func (w *watch) count(t time.Time, failed error) {
	r := &w.rule.report
	if failed == nil {
		return
	}
	r.Errors++
	r.LastError = &RuleError{At: t, Error: failed.Error()}
	if r.FirstError == nil {
		r.FirstError = r.LastError
	}
}

// textSize is how many bytes the names and values of a set take.
func textSize(set labels.Labels) int {
	n := 0
	set.Range(func(l labels.Label) { n += len(l.Name) + len(l.Value) })
	return n
}

// describe takes the annotations and the values of now.
func (w *watch) describe(fresh []*course) {
	if len(fresh) == 0 {
		return
	}
	wanted := map[string]bool{}
	for _, c := range fresh {
		wanted[c.labels.String()] = true
	}
	expanded, err := w.rule.annotated(w.run, wanted)
	if err != nil {
		return // It ends the replay.
	}
	const failure = "<error expanding template"
	for _, c := range fresh {
		annotations := expanded[c.labels.String()]
		if c.room.fill(c, textSize(c.labels)+textSize(annotations)) {
			c.alert.Annotations = annotations.Map()
		}
		c.alert.Value = strconv.FormatFloat(c.value, 'f', -1, 64)
		check := func(l labels.Label) { c.failing = c.failing || strings.HasPrefix(l.Value, failure) }
		annotations.Range(check)
		c.labels.Range(check)
	}
}

// end takes an alert into the report. One that ended before the report begins is in none.
func (w *watch) end(c *course, t time.Time, state string) {
	from, r := w.run.report.From, &w.rule.report
	over := state != StatePending && state != StateFiring
	if over && !t.After(from) {
		c.room.give(c)
		return
	}
	a := &c.alert
	a.Name, a.File, a.Group, a.State = w.rule.impl.Name(), w.rule.group.file, w.rule.group.name, state
	if over {
		a.EndedAt = &t
	}
	pendingEnd := t
	if !c.fired.IsZero() {
		fired := c.fired
		a.FiredAt, pendingEnd = &fired, fired
		a.FiringSeconds = between(fired, t, from).Seconds()
		r.Fired++
		w.run.report.FiredTotal++
	}
	a.PendingSeconds = between(a.ActiveAt, pendingEnd, from).Seconds()
	r.Alerts++
	w.run.report.AlertsTotal++
	if c.failing {
		r.TemplateErrors++
	}
	if c.room == nil {
		return
	}
	a.Labels = c.labels.Map()
	if w.run.router != nil {
		w.run.router.describe(a, c.labels)
	}
	c.room.alerts = append(c.room.alerts, *a)
}

// finish makes the report.
func (x *run) finish(took time.Duration) *Report {
	out := x.report
	for _, r := range x.rules {
		for _, c := range r.watch.active {
			state := StatePending
			if !c.fired.IsZero() {
				state = StateFiring
			}
			r.watch.end(c, out.To, state)
		}
		r.watch.pending.set(false, out.To, out.From)
		r.watch.firing.set(false, out.To, out.From)
		r.report.PendingSeconds = r.watch.pending.sum.Seconds()
		r.report.FiringSeconds = r.watch.firing.sum.Seconds()
		if r.alert != nil {
			r.report.Samples = 0 // Those of a recording rule only.
		}
		r.report.Evaluations = r.steps(out.From, out.To)
		out.Rules = append(out.Rules, r.report)
	}
	out.Evaluations, out.DurationSeconds = x.done, took.Seconds()
	// Those that fired come first when there is no room for all.
	out.Alerts = append(out.Alerts, x.firedRoom.alerts...)
	if left := x.request.MaxDetails - len(out.Alerts); left > 0 {
		waited := x.waitedRoom.alerts
		out.Alerts = append(out.Alerts, waited[:min(left, len(waited))]...)
	}
	slices.SortStableFunc(out.Alerts, func(a, b Alert) int {
		return cmp.Or(a.ActiveAt.Compare(b.ActiveAt), strings.Compare(a.Name, b.Name),
			strings.Compare(labels.FromMap(a.Labels).String(), labels.FromMap(b.Labels).String()))
	})
	if n := len(out.Alerts); n < out.AlertsTotal {
		out.note("Only %d of %d alerts are listed one by one; the counts are of all.", n, out.AlertsTotal)
	}
	if x.router != nil {
		out.Routing = x.router.report()
		if x.router.withheld {
			out.note("%s was withheld from a receiver: %s.", alertmanager.HeartbeatAlert, alertmanager.HeartbeatWithheld)
		}
		out.note("Every message is taken to be delivered at once, and no silence is applied.")
		if n := len(out.Routing.Messages); n < out.Routing.MessagesTotal {
			out.note("Only the first %d of %d messages are listed; the counts are of all.", n, out.Routing.MessagesTotal)
		}
	}
	return out
}
