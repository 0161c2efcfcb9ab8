package backtest

import (
	"cmp"
	"container/heap"
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/timeinterval"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/rules"

	"github.com/cyberviser/hancock/alerting/alertmanager"
	"github.com/cyberviser/hancock/alerting/outgoing"
)

const (
	// logRetention is how long Alertmanager remembers what it sent, at the most.
	logRetention = 120 * time.Hour
	// logMaintenance is how often it forgets what is older.
	logMaintenance = 15 * time.Minute
	// maxMessageAlerts is how many alerts of a message are listed.
	maxMessageAlerts = 100
	// maxKeptBack is how many alerts that nobody is notified of are counted, for each reason.
	maxKeptBack = 100_000
)

// sending is what the rules manager sends at a time.
type sending struct {
	at     time.Time
	alerts []*rules.Alert
}

// router is an Alertmanager under a clock of its own, which goes from event to event: the same routes, groups, timers,
// inhibitions, time intervals and notification log, but its notifications reach nobody.
type router struct {
	start, from time.Time // Of the clock and of the report.
	relabeling  *outgoing.Relabeling
	collisions  outgoing.Collisions
	dropped     map[uint64]struct{} // Alerts that relabeling drops, by their labels.
	route       *dispatch.Route
	heartbeat   alertmanager.Heartbeat
	withheld    bool // Some route did not notify of the heartbeat.
	times       *timeinterval.Intervener
	inhibitions []*inhibition
	receivers   map[string]*receiver
	order       []string // Names of receivers as configured.
	maxMessages int
	text        int // Bytes that the labels in the messages may still take.

	known  map[string]*routed // Alerts by their labels.
	alerts map[model.Fingerprint]*alert.Alert
	groups map[groupID]*alertGroup
	timers timers
	seq    int
	log    map[string]*logEntry

	messages []Message
	total    int
}

// receiver is who is told.
type receiver struct {
	integrations []integration
	report       ReceiverReport
	// Alerts that were kept from it, by fingerprint and start.
	inhibited, muted map[string]struct{}
}

type integration struct {
	name         string // slack[0]
	sendResolved bool
}

// routed is where the alerts with some labels go.
type routed struct {
	sent        labels.Labels // After relabeling,
	dropped     bool          // which may drop them. Then they go nowhere.
	labels      model.LabelSet
	fingerprint model.Fingerprint
	routes      []*dispatch.Route
	groups      []groupID
}

type groupID struct {
	route int
	group model.Fingerprint
}

// alertGroup is what is told of together.
type alertGroup struct {
	id     groupID
	key    string
	labels model.LabelSet
	opts   *dispatch.RouteOpts
	alerts map[model.Fingerprint]*alert.Alert
	next   time.Time
	seq    int // Timers of the same time go by it.
	index  int // In the heap.
}

// logEntry is what an integration was told of a group last.
type logEntry struct {
	at, expires      time.Time
	firing, resolved map[model.Fingerprint]struct{}
}

// newRouter prepares the routing. cfg must have been checked by its own loading.
func newRouter(cfg *config.Config, r Request, start, from time.Time) (*router, error) {
	if cfg.Route == nil {
		return nil, fmt.Errorf("the configuration has no route")
	}
	intervals := map[string][]timeinterval.TimeInterval{}
	for _, ti := range cfg.MuteTimeIntervals {
		intervals[ti.Name] = ti.TimeIntervals
	}
	for _, ti := range cfg.TimeIntervals {
		intervals[ti.Name] = ti.TimeIntervals
	}
	out := &router{
		start: start, from: from, relabeling: r.Relabeling, dropped: map[uint64]struct{}{}, maxMessages: r.MaxDetails, text: maxText,
		route: dispatch.NewRoute(cfg.Route, nil), times: timeinterval.NewIntervener(intervals),
		receivers: map[string]*receiver{}, known: map[string]*routed{}, alerts: map[model.Fingerprint]*alert.Alert{},
		groups: map[groupID]*alertGroup{}, log: map[string]*logEntry{}, messages: []Message{},
	}
	for i := range cfg.Receivers {
		name := cfg.Receivers[i].Name
		out.order = append(out.order, name)
		out.receivers[name] = &receiver{
			integrations: integrationsOf(&cfg.Receivers[i]),
			report:       ReceiverReport{Name: name, Integrations: map[string]int{}},
			inhibited:    map[string]struct{}{}, muted: map[string]struct{}{},
		}
	}
	out.heartbeat = alertmanager.NewHeartbeat(out.route)
	var err error
	out.route.Walk(func(rt *dispatch.Route) {
		if out.receivers[rt.RouteOpts.Receiver] == nil {
			err = fmt.Errorf("the receiver %q of a route is not defined", rt.RouteOpts.Receiver)
		}
		for _, name := range slices.Concat(rt.RouteOpts.MuteTimeIntervals, rt.RouteOpts.ActiveTimeIntervals) {
			if _, ok := intervals[name]; !ok {
				err = fmt.Errorf("the time interval %q of a route is not defined", name)
			}
		}
	})
	for _, ir := range cfg.InhibitRules {
		out.inhibitions = append(out.inhibitions, newInhibition(ir))
	}
	return out, err
}

// integrationsOf finds the integrations of a receiver: all its lists of what can send resolved alerts or not.
func integrationsOf(r *config.Receiver) []integration {
	var out []integration
	v := reflect.ValueOf(r).Elem()
	for i := range v.NumField() {
		tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		kind, ok := strings.CutSuffix(tag, "_configs")
		if !ok || v.Field(i).Kind() != reflect.Slice {
			continue
		}
		for j := range v.Field(i).Len() {
			if rs, ok := reflect.TypeAssert[interface{ SendResolved() bool }](v.Field(i).Index(j)); ok {
				out = append(out, integration{fmt.Sprintf("%s[%d]", kind, j), rs.SendResolved()})
			}
		}
	}
	return out
}

// longestWait is the longest group_wait of all routes.
func longestWait(cfg *config.Config) time.Duration {
	var longest time.Duration
	if cfg.Route != nil {
		dispatch.NewRoute(cfg.Route, nil).Walk(func(r *dispatch.Route) { longest = max(longest, r.RouteOpts.GroupWait) })
	}
	return longest
}

// find says where alerts with these labels go.
func (r *router) find(l labels.Labels) *routed {
	key := string(l.Bytes(nil))
	if k := r.known[key]; k != nil {
		return k
	}
	sent, keep := r.relabeling.Labels(l)
	k := &routed{sent: sent, dropped: !keep || sent.IsEmpty(), labels: model.LabelSet{}}
	if k.dropped { // Alertmanager refuses an alert without labels.
		r.known[key] = k
		return k
	}
	sent.Range(func(l labels.Label) { k.labels[model.LabelName(l.Name)] = model.LabelValue(l.Value) })
	matched := r.route.Match(k.labels)
	k.fingerprint, k.routes = k.labels.Fingerprint(), r.heartbeat.Deliver(matched, k.labels)
	r.withheld = r.withheld || len(k.routes) < len(matched)
	for _, rt := range k.routes {
		k.groups = append(k.groups, groupID{rt.Idx, groupLabels(k.labels, rt).Fingerprint()})
	}
	r.known[key] = k
	return k
}

// describe says where an alert with these labels goes.
func (r *router) describe(a *Alert, l labels.Labels) {
	k := r.find(l)
	if a.DroppedByRelabeling = k.dropped; !k.dropped && !labels.Equal(k.sent, l) {
		a.SentLabels = k.sent.Map()
	}
	for _, rt := range k.routes {
		if !slices.Contains(a.Receivers, rt.RouteOpts.Receiver) {
			a.Receivers = append(a.Receivers, rt.RouteOpts.Receiver)
		}
	}
}

func groupLabels(set model.LabelSet, rt *dispatch.Route) model.LabelSet {
	out := model.LabelSet{}
	for name, value := range set {
		if _, ok := rt.RouteOpts.GroupBy[name]; ok || rt.RouteOpts.GroupByAll {
			out[name] = value
		}
	}
	return out
}

// take lets the clock go on to end, with what is sent until then, in order of time.
func (r *router) take(sent []sending, end time.Time) {
	for _, s := range sent {
		// What is sent at the very time of a timer is in the message: both take about as long to get there.
		r.pass(s.at)
		// The rules manager sends them in any order. Those that are resolved come last, as outgoing.Sender sends them.
		slices.SortFunc(s.alerts, func(a, b *rules.Alert) int {
			return cmp.Or(a.ResolvedAt.Compare(b.ResolvedAt), a.FiredAt.Compare(b.FiredAt), labels.Compare(a.Labels, b.Labels))
		})
		for _, a := range s.alerts {
			r.put(a, s.at)
		}
	}
	r.pass(end)
	r.forget(end)
}

// pass lets the timers go off that end before t.
func (r *router) pass(t time.Time) {
	for len(r.timers) > 0 && r.timers[0].next.Before(t) {
		r.fire(r.timers[0], r.timers[0].next)
	}
}

// fire is the end of a timer.
func (r *router) fire(g *alertGroup, now time.Time) {
	g.next = now.Add(g.opts.GroupInterval)
	heap.Fix(&r.timers, g.index)
	r.flush(g, now)
}

// put is the receipt of an alert: merged with what is known of it, handed to the inhibitions and to its groups.
func (r *router) put(ra *rules.Alert, now time.Time) {
	k := r.find(ra.Labels)
	if k.dropped {
		if !now.Before(r.from) && len(r.dropped) < maxKeptBack {
			r.dropped[ra.Labels.Hash()] = struct{}{}
		}
		return
	}
	if ra.ResolvedAt.IsZero() {
		r.collisions.Fires(ra.Labels, k.sent, ra.ValidUntil, now)
	} else if !r.collisions.Resolves(ra.Labels, k.sent, now) {
		return // Another alert with the same labels fires.
	}
	a := &alert.Alert{Alert: model.Alert{Labels: k.labels, StartsAt: ra.FiredAt, EndsAt: ra.ValidUntil}, UpdatedAt: now}
	if !ra.ResolvedAt.IsZero() {
		a.EndsAt = ra.ResolvedAt
	}
	if old := r.alerts[k.fingerprint]; old != nil {
		a = merged(old, a, now)
	}
	r.alerts[k.fingerprint] = a
	for _, in := range r.inhibitions {
		in.take(k.fingerprint, a)
	}
	for i, rt := range k.routes {
		g := r.groups[k.groups[i]]
		if g == nil {
			set := groupLabels(k.labels, rt)
			g = &alertGroup{
				id: k.groups[i], key: fmt.Sprintf("%s:%s", rt.Key(), set), labels: set, opts: &rt.RouteOpts,
				alerts: map[model.Fingerprint]*alert.Alert{}, next: now.Add(rt.RouteOpts.GroupWait),
			}
			r.seq++
			g.seq = r.seq
			r.groups[g.id] = g
			heap.Push(&r.timers, g)
			g.alerts[k.fingerprint] = a
			if a.StartsAt.Add(rt.RouteOpts.GroupWait).Before(now) {
				// It has waited long enough, or was told before: such a group does not wait for others.
				r.fire(g, now)
			}
			continue
		}
		g.alerts[k.fingerprint] = a
	}
}

// merged joins two reports of an alert whose times overlap, as the store of alerts does.
func merged(old, a *alert.Alert, now time.Time) *alert.Alert {
	within := func(t time.Time) bool { return t.After(old.StartsAt) && t.Before(old.EndsAt) }
	if !within(a.EndsAt) && !within(a.StartsAt) {
		return a
	}
	if old.StartsAt.Before(a.StartsAt) {
		a.StartsAt = old.StartsAt
	}
	if old.EndsAt.After(a.EndsAt) && (!a.ResolvedAt(now) || old.ResolvedAt(now)) {
		a.EndsAt = old.EndsAt
	}
	return a
}

// forget drops what has ended and cannot matter any more.
func (r *router) forget(now time.Time) {
	for fp, a := range r.alerts {
		if a.ResolvedAt(now) {
			delete(r.alerts, fp)
		}
	}
	for _, in := range r.inhibitions {
		in.forget(now)
	}
	for key, e := range r.log {
		if r.expired(e, now) {
			delete(r.log, key)
		}
	}
	// Labels of alerts that come again are cheap to find again.
	if len(r.known) > 100_000 {
		clear(r.known)
	}
}

// expired tells whether the log has forgotten an entry, which happens by its maintenance only.
func (r *router) expired(e *logEntry, now time.Time) bool {
	last := r.start.Add(now.Sub(r.start).Truncate(logMaintenance))
	return !e.expires.After(last)
}

// report is what was sent in all.
func (r *router) report() *RoutingReport {
	out := &RoutingReport{Receivers: []ReceiverReport{}, Messages: r.messages, MessagesTotal: r.total, Dropped: len(r.dropped)}
	for _, name := range r.order {
		rc := r.receivers[name]
		rc.report.Inhibited, rc.report.Muted = len(rc.inhibited), len(rc.muted)
		out.Receivers = append(out.Receivers, rc.report)
	}
	return out
}

// sorted are the alerts of a group in the order in which messages have them.
func (g *alertGroup) sorted() alert.AlertSlice {
	out := make(alert.AlertSlice, 0, len(g.alerts))
	for _, a := range g.alerts {
		out = append(out, a)
	}
	sort.Stable(out)
	return out
}

// timers are the groups by the time of their next message.
type timers []*alertGroup

func (t timers) Len() int { return len(t) }
func (t timers) Less(i, j int) bool {
	return t[i].next.Before(t[j].next) || t[i].next.Equal(t[j].next) && t[i].seq < t[j].seq
}
func (t timers) Swap(i, j int) { t[i], t[j] = t[j], t[i]; t[i].index, t[j].index = i, j }

// Push implements heap.Interface.
func (t *timers) Push(x any) { g := x.(*alertGroup); g.index = len(*t); *t = append(*t, g) }

// Pop implements heap.Interface.
func (t *timers) Pop() any {
	old := *t
	g := old[len(old)-1]
	old[len(old)-1] = nil
	*t = old[:len(old)-1]
	return g
}
