package demo

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// The incident of the generated history: the backend overloads and half fails, requests wait for it,
// memory grows with what waits and with what failed, and at the end the process is restarted.
const (
	incidentAgo      = 150 * time.Minute // its beginning, before the end of the history
	incidentDuration = 12 * time.Minute
	incidentRamp     = 90 * time.Second // until it is at its worst
	incidentFailing  = 0.32             // share of model calls that fail at its worst
	restartDowntime  = 30 * time.Second
	backendTimeout   = 120 * time.Second // the default of the process: after it comes a 504
	usualFailing     = 0.006             // share of model calls that fail on a normal day
)

// event is one request of the generated history. Times are seconds after the history's beginning.
type event struct {
	start, end float64
	outcome    outcome // status and mode filled in
	model      float64 // seconds that the model took, 0 if it gave no answer
}

// incident is the time of the outage in seconds after the history's beginning.
type incident struct {
	begin, end float64 // the backend is ill
	up         float64 // the process, stopped at end, runs again
}

// newIncident places the incident in a history of duration d: where incidentAgo says, or in the middle
// of a history too short for that. The process stops four seconds after a scrape.
func newIncident(d time.Duration) incident {
	begin := (d - min(incidentAgo, d/2)).Seconds()
	end := begin + incidentDuration.Seconds() + 4
	return incident{begin: begin, end: end, up: end + restartDowntime.Seconds()}
}

// severity is 0 on a normal day and 1 at the incident's worst.
func (i incident) severity(t float64) float64 {
	if t < i.begin || t >= i.end {
		return 0
	}
	return min((t-i.begin)/incidentRamp.Seconds(), 1)
}

// down reports whether no process runs at t.
func (i incident) down(t float64) bool { return t >= i.end && t < i.up }

// simulate draws all requests of a history of duration d, in the order of their ends. Requests that
// meet the restart are left out: nobody counted them.
func simulate(d time.Duration, seed uint64) []event {
	rng := rand.New(rand.NewPCG(seed, 2))
	inc := newIncident(d)
	cards := newDeck(rng)
	total := d.Seconds()
	events := make([]event, 0, int(total*meanRate*1.2))
	const top = meanRate * 5 / 3
	for t := rng.ExpFloat64() / top; t < total; t += rng.ExpFloat64() / top {
		// Thinning: candidates come at the highest rate, and load says how many of them are real.
		if rng.Float64()*top > load(meanRate, time.Duration((t-total)*float64(time.Second))) {
			continue
		}
		e := draft(rng, cards.next(), t, inc.severity(t))
		if inc.down(e.start) || (e.start < inc.end && e.end >= inc.end) {
			continue
		}
		events = append(events, e)
	}
	slices.SortFunc(events, func(a, b event) int { return cmp.Compare(a.end, b.end) })
	return events
}

// draft draws what becomes of one request that starts at t.
func draft(rng *rand.Rand, d draw, t, severity float64) event {
	e := event{start: t, outcome: d.kind.outcome()}
	if e.outcome.mode == "" && !e.outcome.modeless {
		e.outcome.mode = d.mode
	}
	took := 0.0004 + 0.002*rng.Float64()*rng.Float64() // decoding, checking, answering
	norm, luck, how := rng.NormFloat64(), rng.Float64(), rng.Float64()
	if e.outcome.usesModel {
		seconds := latencyOf(norm) * (1 + 6*severity*(0.5+how))
		switch {
		case luck >= usualFailing+incidentFailing*severity:
			e.model = seconds
		case severity > 0 && how < 0.45:
			e.outcome.status, seconds = 504, backendTimeout.Seconds()
		default:
			e.outcome.status, seconds = 502, 0.05+2.5*severity*how
		}
		took += seconds
	}
	e.end = t + took
	return e
}

// memory is the resident size in bytes of a process that has run for age seconds, with inflight
// requests under way after the incident made failed requests fail: a warm-up, the garbage collector's
// saw-tooth, what waits, and what the failures left behind.
func memory(rng *rand.Rand, age float64, inflight, failed int) float64 {
	const mib = 1 << 20
	warm := 58 - 14*math.Exp(-age/400)
	_, saw := math.Modf(age / 130)
	return math.Round((warm+5*saw+0.6*rng.NormFloat64()+1.5*float64(inflight)+0.55*float64(failed))*mib/4096) * 4096
}

// feed hands out events in the order of their ends and knows how many are under way.
type feed struct {
	byEnd  []event
	starts []float64 // of the same events, in their own order
	next   int       // index into byEnd
	begun  int       // index into starts
}

func newFeed(byEnd []event) *feed {
	f := &feed{byEnd: byEnd, starts: make([]float64, len(byEnd))}
	for i, e := range byEnd {
		f.starts[i] = e.start
	}
	slices.Sort(f.starts)
	return f
}

// until calls count for each event that ended by t and was not handed out before, and returns how many
// have begun and not ended.
func (f *feed) until(t float64, count func(event)) int {
	for f.next < len(f.byEnd) && f.byEnd[f.next].end <= t {
		count(f.byEnd[f.next])
		f.next++
	}
	for f.begun < len(f.starts) && f.starts[f.begun] <= t {
		f.begun++
	}
	return f.begun - f.next
}
