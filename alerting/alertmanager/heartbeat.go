package alertmanager

import (
	"context"
	"log/slog"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/model"
)

// HeartbeatAlert is the name of the alert that always fires, for a dead man's
// switch. It is notified only by routes that name it: people gain nothing from
// a message that says that all is well.
const HeartbeatAlert = "Watchdog"

// HeartbeatWithheld says why a route does not notify of the heartbeat.
const HeartbeatWithheld = `the heartbeat is notified only by routes that name it, such as matchers: [alertname = "Watchdog"]`

// unrelated are names that have nothing in common with the heartbeat's. A
// pattern that matches one of them as well selects the heartbeat by accident.
var unrelated = [...]string{"Xyzzy", "Bluebird", "SomeOtherAlert", "lower_case", "A1"}

// Heartbeat knows the routes of a tree that notify of the heartbeat.
type Heartbeat struct{ named map[string]bool } // by route ID

// NewHeartbeat walks the tree below root.
func NewHeartbeat(root *dispatch.Route) Heartbeat {
	h := Heartbeat{named: map[string]bool{}}
	h.walk(root, false)
	return h
}

func (h Heartbeat) walk(r *dispatch.Route, named bool) {
	named = named || slices.ContainsFunc(r.Matchers, namesHeartbeat)
	if named {
		h.named[r.ID()] = true
	}
	for _, child := range r.Routes {
		h.walk(child, named)
	}
}

// namesHeartbeat reports whether a matcher selects the heartbeat by its name: it
// equals the name, or is a pattern for it that does not match just any name.
func namesHeartbeat(m *labels.Matcher) bool {
	if m.Name != model.AlertNameLabel || !m.Matches(HeartbeatAlert) {
		return false
	}
	switch m.Type {
	case labels.MatchEqual:
		return true
	case labels.MatchRegexp:
		return !slices.ContainsFunc(unrelated[:], m.Matches)
	default:
		return false
	}
}

// Withholds reports whether the route with this ID does not notify of an alert
// with these labels.
func (h Heartbeat) Withholds(routeID string, set model.LabelSet) bool {
	return set[model.AlertNameLabel] == HeartbeatAlert && !h.named[routeID]
}

// Deliver returns those of the routes that notify of an alert with these labels.
func (h Heartbeat) Deliver(routes []*dispatch.Route, set model.LabelSet) []*dispatch.Route {
	return slices.DeleteFunc(slices.Clone(routes), func(r *dispatch.Route) bool { return h.Withholds(r.ID(), set) })
}

// heartbeatApart is a copy of a route, and of those below it, in which the
// heartbeat has a group of its own wherever it is withheld. In a group with
// other alerts it would keep the group alive, and a new alert would wait for
// group_interval in place of group_wait.
func heartbeatApart(r *config.Route, named bool) *config.Route {
	out := *r
	named = named || slices.ContainsFunc(dispatch.NewRoute(r, nil).Matchers, namesHeartbeat)
	out.Routes = make([]*config.Route, 0, len(r.Routes)+1)
	for _, child := range r.Routes {
		out.Routes = append(out.Routes, heartbeatApart(child, named))
	}
	if !named {
		out.Routes = append(out.Routes, &config.Route{Match: map[string]string{model.AlertNameLabel: HeartbeatAlert}})
	}
	return &out
}

// before removes withheld alerts from what a group notifies of: the heartbeat in
// routes that do not name it, and in all of them while fresh is false. nil is
// always true.
func (h Heartbeat) before(s notify.Stage, fresh func() bool) notify.Stage {
	return notify.StageFunc(func(ctx context.Context, l *slog.Logger, alerts ...*alert.Alert) (context.Context, []*alert.Alert, error) {
		id, _ := notify.RouteID(ctx)
		stale := fresh != nil && !fresh()
		alerts = slices.DeleteFunc(slices.Clone(alerts), func(a *alert.Alert) bool {
			return h.Withholds(id, a.Labels) || stale && a.Labels[model.AlertNameLabel] == HeartbeatAlert
		})
		if len(alerts) == 0 {
			return ctx, nil, nil
		}
		return s.Exec(ctx, l, alerts...)
	})
}

// Notified is a receiver that is notified of the alerts with some labels.
type Notified struct {
	Receiver string
	// Integrations are the kinds of the receiver's integrations, each once. A
	// webhook whose address the configuration contains has its host: "webhook,
	// hc.example.org". The rest of the address may be a secret.
	Integrations []string
	// Limited reports that the route has time intervals.
	Limited bool
}

// NotifiedBy returns the receivers that c notifies of alerts with these labels,
// each once per route. A nil configuration notifies nobody.
func NotifiedBy(c *config.Config, set model.LabelSet) []Notified {
	if c == nil || c.Route == nil {
		return nil
	}
	root := dispatch.NewRoute(c.Route, nil)
	var all []Notified
	for _, r := range NewHeartbeat(root).Deliver(root.Match(set), set) {
		n := Notified{
			Receiver: r.RouteOpts.Receiver,
			Limited:  len(r.RouteOpts.MuteTimeIntervals)+len(r.RouteOpts.ActiveTimeIntervals) > 0,
		}
		for i := range c.Receivers {
			if c.Receivers[i].Name == n.Receiver {
				n.describe(&c.Receivers[i])
			}
		}
		all = append(all, n)
	}
	return all
}

// describe lists the integrations of r.
func (n *Notified) describe(r *config.Receiver) {
	v := reflect.ValueOf(r).Elem()
	for i := range v.NumField() {
		tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		kind, ok := strings.CutSuffix(tag, "_configs")
		if !ok || v.Field(i).Len() == 0 {
			continue
		}
		if kind != "webhook" {
			n.Integrations = append(n.Integrations, kind)
			continue
		}
		for _, w := range r.WebhookConfigs {
			name := kind
			if u, err := url.Parse(string(w.URL)); err == nil && u.Host != "" && !strings.Contains(u.Host, "{{") {
				name += ", " + u.Hostname()
			}
			if !slices.Contains(n.Integrations, name) {
				n.Integrations = append(n.Integrations, name)
			}
		}
	}
}
