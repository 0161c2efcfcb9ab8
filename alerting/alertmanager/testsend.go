package alertmanager

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/marker"
	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/common/model"
)

const (
	testName    = "HancockTest"
	testTimeout = 30 * time.Second
)

// ErrTestRunning says that there is a test already.
var ErrTestRunning = errors.New("a test notification is being sent; try again when it has ended")

// TestRequest is an alert to try the routing and the receivers with.
type TestRequest struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	// Resolve also tells that the alert has ended.
	Resolve bool `json:"resolve"`
}

// TestReport is what became of it.
type TestReport struct {
	// Labels are those with which the alert is sent.
	Labels map[string]string `json:"labels"`
	// GivenLabels are those before external labels and alert_relabel_configs, if these change them.
	GivenLabels map[string]string `json:"given_labels,omitempty"`
	Annotations map[string]string `json:"annotations"`
	// Dropped is true if alert_relabel_configs drop the alert, so that no receiver is notified.
	Dropped bool `json:"dropped,omitempty"`
	// Notifies is false when nothing went to anybody outside.
	Notifies bool        `json:"notifies"`
	Routes   []TestRoute `json:"routes"`
}

// TestRoute is a route that matches. The test is sent even when an alert of
// these labels would be held back at this moment.
type TestRoute struct {
	Receiver    string            `json:"receiver"`
	Route       string            `json:"route"` // its matchers, from the root
	RouteID     string            `json:"route_id"`
	GroupLabels map[string]string `json:"group_labels"`
	SilencedBy  []string          `json:"silenced_by"`
	InhibitedBy []string          `json:"inhibited_by"` // fingerprints
	MutedBy     []string          `json:"muted_by"`     // time intervals
	// Withheld says why the route does not notify of this alert at all.
	Withheld string       `json:"withheld,omitempty"`
	Results  []TestResult `json:"results"`
}

// TestResult is one message.
type TestResult struct {
	Receiver    string  `json:"receiver"`
	Integration string  `json:"integration"`
	Status      string  `json:"status"` // firing, resolved
	Outcome     string  `json:"outcome"`
	StatusCode  int     `json:"status_code"`
	DurationMS  float64 `json:"duration_ms"`
	Error       string  `json:"error,omitempty"`
	Amendment
}

// Test sends an alert to all receivers that the routing tree has for its
// labels, at once and past grouping, silences and the notification log.
func (a *Alertmanager) Test(ctx context.Context, req TestRequest) (*TestReport, error) {
	if !a.testing.TryLock() {
		return nil, ErrTestRunning
	}
	defer a.testing.Unlock()
	g := a.current.Load()
	now := time.Now()
	al := a.testAlert(req, now)
	report, err := a.outgoing(al)
	if err != nil || report.Dropped {
		return report, err
	}
	ctx, cancel := context.WithTimeout(ctx, testTimeout)
	defer cancel()
	silenced, err := a.silencedBy(ctx, al.Labels)
	if err != nil {
		return nil, err
	}
	marks := marker.NewAlertMarker()
	inhibited := []string{}
	if g.inhibitor.Mutes(marker.WithContext(ctx, marks), al.Labels) {
		inhibited = append(inhibited, marks.Status(al.Fingerprint()).InhibitedBy...)
	}
	routes := g.routes.Match(al.Labels)
	report.Routes = make([]TestRoute, len(routes))
	var wg sync.WaitGroup
	for i, r := range routes {
		muted, err := g.mutedBy(r, now)
		if err != nil {
			return nil, err
		}
		report.Routes[i] = TestRoute{
			Receiver: r.RouteOpts.Receiver, Route: r.Key(), RouteID: r.ID(), GroupLabels: plain(groupLabels(r, al.Labels)),
			SilencedBy: silenced, InhibitedBy: inhibited, MutedBy: muted, Results: []TestResult{},
		}
		if g.heartbeat.Withholds(r.ID(), al.Labels) {
			report.Routes[i].Withheld = HeartbeatWithheld
			continue
		}
		report.Notifies = report.Notifies || len(g.receivers[r.RouteOpts.Receiver]) > 0
		wg.Go(func() { report.Routes[i].Results = g.try(ctx, r, al, req.Resolve) })
	}
	wg.Wait()
	if err := ctx.Err(); errors.Is(err, context.Canceled) {
		return nil, fmt.Errorf("sending a test: %w", err)
	}
	return report, nil
}

func (a *Alertmanager) testAlert(req TestRequest, now time.Time) *alert.Alert {
	al := &alert.Alert{
		Alert: model.Alert{
			Labels: model.LabelSet{
				model.AlertNameLabel: testName,
				"instance":           model.LabelValue(a.current.Load().options.ExternalURL.Host),
			},
			Annotations: model.LabelSet{
				"summary":     "This is a test.",
				"description": "Somebody tries out whether notifications arrive. Nothing is wrong.",
			},
			StartsAt: now, EndsAt: now.Add(resolveTimeout), GeneratorURL: a.current.Load().options.ExternalURL.String(),
		},
		UpdatedAt: now,
	}
	for n, v := range req.Labels {
		al.Labels[model.LabelName(n)] = model.LabelValue(v)
	}
	for n, v := range req.Annotations {
		al.Annotations[model.LabelName(n)] = model.LabelValue(v)
	}
	for n, v := range al.Labels {
		if v == "" {
			delete(al.Labels, n)
		}
	}
	return al
}

// mutedBy is the time intervals that hold the alerts of a route back now.
func (g *generation) mutedBy(r *dispatch.Route, now time.Time) ([]string, error) {
	_, by, err := g.intervener.Mutes(r.RouteOpts.MuteTimeIntervals, now)
	if err != nil {
		return nil, fmt.Errorf("route %s: %w", r.Key(), err)
	}
	by = append([]string{}, by...)
	if intervals := r.RouteOpts.ActiveTimeIntervals; len(intervals) > 0 {
		active, _, err := g.intervener.Mutes(intervals, now)
		if err != nil {
			return nil, fmt.Errorf("route %s: %w", r.Key(), err)
		}
		if !active {
			by = append(by, intervals...)
		}
	}
	return by, nil
}

// groupLabels is the labels by which a route groups.
func groupLabels(r *dispatch.Route, labels model.LabelSet) model.LabelSet {
	group := model.LabelSet{}
	for n, v := range labels {
		if _, ok := r.RouteOpts.GroupBy[n]; ok || r.RouteOpts.GroupByAll {
			group[n] = v
		}
	}
	return group
}

// try sends through each integration of a route's receiver. The group key is
// one that no group has, so that a test never ends a real incident.
func (g *generation) try(ctx context.Context, r *dispatch.Route, al *alert.Alert, resolve bool) []TestResult {
	integrations := g.receivers[r.RouteOpts.Receiver]
	results := make([][]TestResult, len(integrations))
	ctx = notify.WithReceiverName(ctx, r.RouteOpts.Receiver)
	ctx = notify.WithGroupKey(ctx, fmt.Sprintf("test/%d/%s:%s", al.StartsAt.UnixNano(), r.Key(), groupLabels(r, al.Labels)))
	ctx = notify.WithGroupLabels(ctx, groupLabels(r, al.Labels))
	ctx = notify.WithRouteLabels(ctx, r.RouteOpts.Labels)
	ctx = notify.WithRouteID(ctx, r.ID())
	ctx = notify.WithRepeatInterval(ctx, r.RouteOpts.RepeatInterval)
	ctx = notify.WithNow(ctx, al.StartsAt)
	ctx = notify.WithNotificationReason(ctx, notify.ReasonFirstNotification)
	var wg sync.WaitGroup
	for i := range integrations {
		wg.Go(func() {
			integration := &integrations[i]
			ctx := notify.WithNflogStore(ctx, nflog.NewStore(nil))
			first := tryOne(ctx, integration, r.RouteOpts.Receiver, al)
			results[i] = append(results[i], first)
			if resolve && integration.SendResolved() && first.Outcome == OutcomeOK {
				ended := *al
				ended.EndsAt = time.Now()
				ctx = notify.WithNotificationReason(ctx, notify.ReasonAllAlertsResolved)
				results[i] = append(results[i], tryOne(ctx, integration, r.RouteOpts.Receiver, &ended))
			}
		})
	}
	wg.Wait()
	all := []TestResult{}
	for _, r := range results {
		all = append(all, r...)
	}
	return all
}

func tryOne(ctx context.Context, i *notify.Integration, receiver string, al *alert.Alert) TestResult {
	ctx, f := withFlush(ctx, true)
	hash := []uint64{alertHash(al.Labels)}
	if al.Resolved() {
		ctx = notify.WithResolvedAlerts(notify.WithFiringAlerts(ctx, nil), hash)
	} else {
		ctx = notify.WithResolvedAlerts(notify.WithFiringAlerts(ctx, hash), nil)
	}
	result := TestResult{Receiver: receiver, Integration: i.String(), Status: string(al.Status()), Outcome: OutcomeOK}
	if _, err := i.Notify(ctx, al); err != nil {
		result.Outcome, result.Error = OutcomeFailed, err.Error()
	}
	if a := f.last.Load(); a != nil {
		result.StatusCode, result.DurationMS, result.Amendment = a.StatusCode, a.DurationMS, a.Amendment
	}
	return result
}
