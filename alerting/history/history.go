// Package history stands beside alerting and reads what it left in the store: from the ALERTS series it tells when which
// alert fired and for how long, from the silences whether it was silenced, and from the ledger of notifications who was
// told.
package history

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Bounds of a query.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
	DefaultRange = 24 * time.Hour

	// maxEpisodes bounds what a query keeps in memory before the newest of it are chosen.
	maxEpisodes = 50_000
	// maxAttempts bounds how many notifications are looked at for one answer.
	maxAttempts = 5000
	// leastGap is how far two samples of one series may lie apart: beyond it nobody knows what the alert did. It is
	// Prometheus' lookback. Of a rule that is evaluated rarely, it is two of its intervals.
	leastGap = 5 * time.Minute
)

// Episode is one time that an alert fired: from its first sample in the state firing until it was resolved or not
// seen any more.
type Episode struct {
	// Fingerprint is Alertmanager's of the labels.
	Fingerprint string `json:"fingerprint"`
	// Labels are those with which the alert is sent.
	Labels map[string]string `json:"labels"`
	// RuleLabels are those that its rule gave it, if these are others.
	RuleLabels map[string]string `json:"rule_labels,omitempty"`
	// DroppedByRelabeling says that alert_relabel_configs keep it from being sent, so that no receiver is notified.
	DroppedByRelabeling bool `json:"dropped_by_relabeling,omitempty"`
	// ActiveSince is when the expression became true; zero where the store does not know it any more.
	ActiveSince time.Time `json:"active_since,omitzero"`
	StartedAt   time.Time `json:"started_at"`
	// StartedEarlier says that it fired already when the time that was looked at began.
	StartedEarlier bool `json:"started_earlier,omitempty"`
	// EndedAt is zero while the alert fires.
	EndedAt time.Time `json:"ended_at,omitzero"`
	// Lost says that the end is only where the samples end: the process was not watching.
	Lost            bool           `json:"lost,omitempty"`
	DurationSeconds float64        `json:"duration_seconds"`
	Silences        []Silence      `json:"silences"`
	Notifications   []Notification `json:"notifications"`
	// NotificationsSince is set when there are more notifications than are looked at: those before it are left out.
	NotificationsSince time.Time `json:"notifications_since,omitzero"`

	next  time.Time // When the alert fired again; zero when it has not.
	anew  time.Time // From when on a notification that it fires can be of that.
	ended time.Time // When it had ended before; zero when it had not fired.
}

// Silence is one that matched the alert within its time.
type Silence struct {
	ID        string    `json:"id"`
	CreatedBy string    `json:"created_by"`
	Comment   string    `json:"comment"`
	StartsAt  time.Time `json:"starts_at"`
	EndsAt    time.Time `json:"ends_at"`
}

// Notification is one attempt to tell somebody of the alert.
type Notification struct {
	Time        time.Time `json:"time"`
	Receiver    string    `json:"receiver"`
	Integration string    `json:"integration"`
	// Status is the alert's in the message: firing or resolved.
	Status  string `json:"status"`
	Outcome string `json:"outcome"`
	Error   string `json:"error,omitempty"`
}

// Attempt is one line of the ledger, which may tell of many alerts.
type Attempt struct {
	Notification
	// Statuses are those of the alerts, by fingerprint.
	Statuses map[string]string
}

// Times are what is known of the rules of an alert.
type Times struct {
	// Interval is how often they are evaluated, 0 where that is not known.
	Interval time.Duration
	// Offset is their query offset: samples are older by it than their evaluation.
	Offset time.Duration
	// Immediate says that they fire as soon as their expression is true.
	Immediate bool
	// Began is when this process evaluated them first, and Restored when it had restored their state: what fires has
	// samples in between. Both are zero as long as that is not known.
	Began, Restored time.Time
}

// gap is how far two samples of one time may lie apart.
func (t Times) gap() time.Duration { return max(leastGap, 2*t.Interval) }

// Sources are what a history is made of.
type Sources struct {
	// Storage has the ALERTS series.
	Storage storage.Queryable
	// Sent returns the labels with which an alert is sent to Alertmanagers, and whether it is sent at all. nil is its own.
	Sent func(labels.Labels) (sent labels.Labels, keep bool)
	// Rules are the times of the rules of an alert; nil knows of none.
	Rules func(alert string) Times
	// Silences are all that are known, also expired ones, that match labels.
	Silences func(labels map[string]string) ([]Silence, error)
	// Attempts are those of a time, newest first, at most limit. nil where no ledger is kept.
	Attempts func(ctx context.Context, from, to time.Time, limit int) ([]Attempt, error)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// History answers what fired when. Make it with New.
type History struct{ Sources }

// New returns a history that reads from s.
func New(s Sources) *History {
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Rules == nil {
		s.Rules = func(string) Times { return Times{} }
	}
	if s.Sent == nil {
		s.Sent = func(ls labels.Labels) (labels.Labels, bool) { return ls, true }
	}
	return &History{s}
}

// Query says which episodes are wanted.
type Query struct {
	// From and To bound the time within which an episode must lie, at least in part.
	From, To time.Time
	// Alert is the name of an alert; empty for all.
	Alert string
	// Limit is how many are wanted, 1 to MaxLimit.
	Limit int
}

// Episodes are those of the query, the one that began last first. more says that there are others.
func (h *History) Episodes(ctx context.Context, q Query) (episodes []Episode, more bool, err error) {
	found, more, err := h.read(ctx, q)
	if err != nil {
		return nil, false, err
	}
	slices.SortStableFunc(found, func(a, b Episode) int { return b.StartedAt.Compare(a.StartedAt) })
	if len(found) > q.Limit {
		found, more = found[:q.Limit], true
	}
	if err := h.silenced(found); err != nil {
		return nil, false, fmt.Errorf("reading the silences: %w", err)
	}
	if err := h.notified(ctx, q, found); err != nil {
		return nil, false, fmt.Errorf("reading the ledger of notifications: %w", err)
	}
	return found, more, nil
}

// read finds the episodes in the store.
func (h *History) read(ctx context.Context, q Query) (found []Episode, more bool, err error) {
	// What fired before From and goes on is told from where its samples begin, as far as one more day tells.
	from := q.From.Add(-DefaultRange)
	// And to now, as only what came later tells how it went on.
	now := h.Now()
	querier, err := h.Storage.Querier(from.UnixMilli(), now.UnixMilli())
	if err != nil {
		return nil, false, fmt.Errorf("reading the alerts: %w", err)
	}
	defer func() { _ = querier.Close() }() // Nothing was written.

	matchers := func(name string, more ...*labels.Matcher) []*labels.Matcher {
		m := append([]*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name)}, more...)
		if q.Alert != "" {
			m = append(m, labels.MustNewMatcher(labels.MatchEqual, model.AlertNameLabel, q.Alert))
		}
		return m
	}
	known := make(map[string]Times)
	rules := func(ls labels.Labels) Times {
		alert := ls.Get(model.AlertNameLabel)
		t, ok := known[alert]
		if !ok {
			t = h.Rules(alert)
			known[alert] = t
		}
		return t
	}
	active, err := activeTimes(ctx, querier, rules, matchers("ALERTS_FOR_STATE"))
	if err != nil {
		return nil, false, err
	}
	set := querier.Select(ctx, false, nil, matchers("ALERTS", labels.MustNewMatcher(labels.MatchEqual, "alertstate", "firing"))...)
	var samples chunkenc.Iterator
	for set.Next() {
		series := set.At()
		samples = series.Iterator(samples)
		times := rules(series.Labels())
		spans, err := firing(samples, now, times)
		if err != nil {
			return nil, false, fmt.Errorf("reading the alerts: %w", err)
		}
		ls := labels.NewBuilder(series.Labels()).Del(model.MetricNameLabel, "alertstate").Labels()
		for i, s := range spans {
			if s.start.After(q.To) || !s.end.IsZero() && s.end.Before(q.From) {
				continue
			}
			if len(found) == maxEpisodes {
				return found, true, nil
			}
			e := h.episode(ls, s, active[ls.Hash()])
			if e.ActiveSince.IsZero() && times.Immediate {
				e.ActiveSince = e.StartedAt
			}
			e.StartedEarlier = s.start.Sub(from) < times.gap() && e.ActiveSince.Before(from)
			if i+1 < len(spans) {
				e.next = spans[i+1].start
				after := Episode{StartedAt: e.next, ActiveSince: activeSince(active[ls.Hash()], spans[i+1]), ended: s.end}
				e.anew = after.notifiedFrom(string(model.AlertFiring))
			}
			if i > 0 {
				e.ended = spans[i-1].end
			}
			found = append(found, e)
		}
	}
	if err := set.Err(); err != nil {
		return nil, false, fmt.Errorf("reading the alerts: %w", err)
	}
	return found, false, nil
}

func (h *History) episode(ls labels.Labels, s span, active []activity) Episode {
	e := Episode{
		Labels: ls.Map(), StartedAt: s.start, EndedAt: s.end, Lost: s.lost,
		Silences: []Silence{}, Notifications: []Notification{},
	}
	if sent, keep := h.Sent(ls); !keep || sent.IsEmpty() { // Alertmanager refuses an alert without labels.
		e.DroppedByRelabeling = true
	} else if !labels.Equal(sent, ls) {
		e.Labels, e.RuleLabels = sent.Map(), e.Labels
	}
	set := make(model.LabelSet, len(e.Labels))
	for name, v := range e.Labels {
		set[model.LabelName(name)] = model.LabelValue(v)
	}
	e.Fingerprint = set.Fingerprint().String()
	end := s.end
	if end.IsZero() {
		end = h.Now()
	}
	e.DurationSeconds = end.Sub(s.start).Seconds()
	e.ActiveSince = activeSince(active, s)
	return e
}

// activeSince is when the expression became true that led to the span. After a start, an alert may have fired for two
// evaluations before that is stored.
func activeSince(active []activity, s span) (since time.Time) {
	for _, a := range active {
		if a.at.After(s.start) {
			within := s.end.IsZero() || a.at.Before(s.end)
			if within && a.since.After(since) && !a.since.After(s.start) {
				since = a.since
			}
			break
		}
		since = a.since
	}
	// The store has whole seconds.
	if since.Equal(s.start.Truncate(time.Second)) {
		return s.start
	}
	return since
}

// span is one time in which a series had samples.
type span struct {
	start, end time.Time // end is zero while it goes on
	lost       bool
}

// firing are the times in which the samples say that an alert fired. Samples that lie further apart than the gap
// are of two such times, and so are those before and after the first evaluations of the process, in which an alert that
// goes on has samples.
func firing(samples chunkenc.Iterator, now time.Time, t Times) ([]span, error) {
	var spans []span
	var last int64 // of the span that is open
	open := false
	finish := func(end int64, lost bool) {
		spans[len(spans)-1].end, spans[len(spans)-1].lost = time.UnixMilli(end).UTC(), lost
		open = false
	}
	for kind := samples.Next(); kind != chunkenc.ValNone; kind = samples.Next() {
		if kind != chunkenc.ValFloat {
			continue // no rule writes histograms here
		}
		at, v := samples.At()
		at += t.Offset.Milliseconds()
		if open && (at-last > t.gap().Milliseconds() || last < t.Began.UnixMilli() && at > t.Restored.UnixMilli()) {
			finish(last, true)
		}
		switch {
		case value.IsStaleNaN(v):
			if open {
				finish(at, false)
			}
			continue
		case !open:
			spans = append(spans, span{start: time.UnixMilli(at).UTC()})
			open = true
		}
		last = at
	}
	if open && (now.UnixMilli()-last > t.gap().Milliseconds() || last < t.Began.UnixMilli()) {
		finish(last, true)
	}
	return spans, samples.Err()
}

// activity is when an expression became true, as it was known at a time; since is zero when it is not true any more.
type activity struct{ at, since time.Time }

// activeTimes are the changes of the ALERTS_FOR_STATE series, by the hash of the alert's labels.
func activeTimes(
	ctx context.Context, querier storage.Querier, rules func(labels.Labels) Times, matchers []*labels.Matcher,
) (map[uint64][]activity, error) {
	times := make(map[uint64][]activity)
	set := querier.Select(ctx, false, nil, matchers...)
	var samples chunkenc.Iterator
	for set.Next() {
		series := set.At()
		hash := labels.NewBuilder(series.Labels()).Del(model.MetricNameLabel).Labels().Hash()
		samples = series.Iterator(samples)
		offset := rules(series.Labels()).Offset.Milliseconds()
		known := math.NaN()
		for kind := samples.Next(); kind != chunkenc.ValNone; kind = samples.Next() {
			if kind != chunkenc.ValFloat {
				continue
			}
			ms, v := samples.At()
			if math.IsNaN(v) && math.IsNaN(known) || v == known {
				continue
			}
			known = v
			a := activity{at: time.UnixMilli(ms + offset).UTC()}
			if !math.IsNaN(v) {
				a.since = time.Unix(int64(v), 0).UTC()
			}
			if a.since.Equal(a.at.Truncate(time.Second)) {
				a.since = a.at // the store has whole seconds
			}
			times[hash] = append(times[hash], a)
		}
		if err := samples.Err(); err != nil {
			return nil, fmt.Errorf("reading the alerts: %w", err)
		}
	}
	if err := set.Err(); err != nil {
		return nil, fmt.Errorf("reading the alerts: %w", err)
	}
	return times, nil
}
