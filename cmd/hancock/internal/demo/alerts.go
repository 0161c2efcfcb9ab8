package demo

import (
	"math"
	"time"

	"github.com/prometheus/prometheus/model/value"
)

// The one rule that the incident violates, as rules.yml has it; a test compares.
const (
	alertName      = "HancockHighErrorRate"
	alertSeverity  = "warning"
	alertThreshold = 0.05
	alertWindow    = 5 * time.Minute
	alertFor       = 5 * time.Minute
)

// observation is the two counters of the rule at one scrape, at milliseconds t.
type observation struct {
	t                int64
	requests, errors float64
}

// alert evaluates the rule over the generated counters and stores the samples that the rule manager
// would: ALERTS while pending or firing, ALERTS_FOR_STATE with the second since when.
type alert struct {
	window                   []observation
	pending, firing          series
	forState                 series
	activeAt                 int64 // milliseconds; 0 when inactive
	saved                    int64 // activeAt of the process before the restart
	pendingSeen, firingSeen  bool  // stored at the evaluation before
	forStateSeen, firstOfAll bool
}

func newAlert(instance string) *alert {
	base := []string{"alertname", alertName, "severity", alertSeverity, "job", Job, "instance", instance}
	of := func(state string) series {
		return newSeries("ALERTS", append([]string{"alertstate", state}, base...)...)
	}
	return &alert{
		pending: of("pending"), firing: of("firing"),
		forState: newSeries("ALERTS_FOR_STATE", base...), firstOfAll: true,
	}
}

// restart ends the alert's life in one process. The next evaluation is a new manager's first one: it
// finds the alert pending again, and then restores since when it was active.
func (a *alert) restart(to *blocks, t int64) error {
	a.saved, a.activeAt, a.firstOfAll = a.activeAt, 0, true
	return a.store(to, t, false, false, false)
}

// evaluate evaluates the rule at t, right after the scrape that observed o.
func (a *alert) evaluate(to *blocks, o observation) error {
	a.window = append(a.window, o)
	for len(a.window) > 0 && a.window[0].t <= o.t-alertWindow.Milliseconds() {
		a.window = a.window[1:]
	}
	first := a.firstOfAll
	a.firstOfAll = false
	if !a.violated() {
		a.activeAt, a.saved = 0, 0
		return a.store(to, o.t, false, false, false)
	}
	if a.activeAt == 0 {
		a.activeAt = o.t
		// A new manager keeps ALERTS_FOR_STATE to itself until it has restored the state.
		return a.store(to, o.t, true, false, !first)
	}
	if a.saved != 0 {
		a.activeAt, a.saved = a.saved, 0
	}
	firing := o.t-a.activeAt >= alertFor.Milliseconds()
	return a.store(to, o.t, !firing, firing, true)
}

// violated reports whether the share of errors in the window is above the threshold.
func (a *alert) violated() bool {
	var requests, errors float64
	for i := 1; i < len(a.window); i++ {
		requests += increase(a.window[i-1].requests, a.window[i].requests)
		errors += increase(a.window[i-1].errors, a.window[i].errors)
	}
	return requests > 0 && errors/requests > alertThreshold
}

// increase is the increase of a counter that may have been reset in between.
func increase(before, after float64) float64 {
	if after < before {
		return after
	}
	return after - before
}

// store writes the samples of one evaluation, and a stale marker to each series that had a sample at
// the one before and has none now.
func (a *alert) store(to *blocks, t int64, pending, firing, forState bool) error {
	for _, s := range []struct {
		series *series
		seen   *bool
		now    bool
		value  float64
	}{
		{&a.pending, &a.pendingSeen, pending, 1},
		{&a.firing, &a.firingSeen, firing, 1},
		{&a.forState, &a.forStateSeen, forState, float64(a.activeAt / 1000)},
	} {
		v := s.value
		if !s.now {
			if !*s.seen {
				continue
			}
			v = math.Float64frombits(value.StaleNaN)
		}
		*s.seen = s.now
		if err := to.float(s.series, t, v); err != nil {
			return err
		}
	}
	return nil
}
