package backtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/rules"

	"github.com/cyberviser/hancock/internal/render"
)

const (
	// minSteps is what is not divided further when a range query fails: then each time is asked for itself.
	minSteps = 8
	// checkSteps is after how many evaluations that do nothing the context is asked.
	checkSteps = 1024
	// firstSteps is how much the first query of a rule is about, when nobody knows yet how much it reads.
	firstSteps = 64
	// goodPeak is how many samples a query should hold at once, at 16 bytes each or more.
	goodPeak = 2_000_000
	// progressEvery is how often progress is told.
	progressEvery = 200 * time.Millisecond
)

// run is one backtest. Nothing in it is for concurrent use, but the engine and the store, which answer one query while
// the results of another are used.
type run struct {
	engine   promql.QueryEngine
	store    *overlay
	request  Request
	progress func(Progress)
	start    time.Time // Of the evaluation; the report's is From.
	rules    []*rule   // In the manager's order.
	units    []unit
	router   *router // nil without a routing.
	sent     []sending
	metrics  *rules.Metrics // Of all groups; nobody looks at them.
	report   *Report
	process  *render.Process // Expands templates from a request; nil for those of the configuration.
	failed   error           // Of templates: it ends the replay.
	ctx      context.Context // Of replay; rules.Group does not hand it to the sender.

	firedRoom, waitedRoom room // Alerts that fired, and that never did.

	done, total int64
	told        time.Time
}

// turn is a rule that is evaluated at a time.
type turn struct {
	rule *rule
	at   time.Time
}

// replay evaluates all rules, a window of time after the other.
func (x *run) replay(ctx context.Context) error {
	x.ctx = ctx
	for at := x.start; at.Before(x.request.To); at = at.Add(window) {
		end := at.Add(window)
		if end.After(x.request.To) {
			end = x.request.To
		}
		if err := x.replayWindow(at, end); err != nil {
			return err
		}
		if n := x.store.appended; n > maxRecorded {
			return badRequest("the results of the recording rules are more than %d samples: choose a shorter time or fewer rules", maxRecorded)
		}
		if x.router != nil {
			slices.SortStableFunc(x.sent, func(a, b sending) int { return a.at.Compare(b.at) })
			x.router.take(x.sent, end)
			x.sent = x.sent[:0]
		}
	}
	return x.stopped()
}

// replayWindow evaluates all rules from a time to before another. While one is looked at the query of the next runs
// already, if it does not read what is not there yet.
func (x *run) replayWindow(from, to time.Time) error {
	var ahead *answer
	defer func() {
		if ahead != nil {
			ahead.close()
		}
	}()
	launch := func(u unit) *answer {
		r := u.rules[0]
		return x.ask(r, r.first(from), min(int(r.steps(from, to)), r.maxSteps))
	}
	for i, u := range x.units {
		if u.instant {
			if err := x.inTurns(u, from, to); err != nil {
				return err
			}
			continue
		}
		now := ahead
		if ahead = nil; now == nil {
			now = launch(u)
		}
		if i+1 < len(x.units) && !x.units[i+1].instant && x.units[i+1].depth == u.depth {
			ahead = launch(x.units[i+1])
		}
		r := u.rules[0]
		if err := x.ranged(r, r.first(from), int(r.steps(from, to)), now); err != nil {
			return err
		}
	}
	return nil
}

// answer is that of a range query, which runs by itself until done is closed.
type answer struct {
	query  promql.Query // nil if there could be none.
	result *promql.Result
	done   chan struct{}
}

// ask begins a range query of n steps. The answer must be closed.
func (x *run) ask(r *rule, first time.Time, n int) *answer {
	a := &answer{done: make(chan struct{})}
	if n < 1 {
		close(a.done)
		return a
	}
	go func() {
		defer close(a.done)
		start := first.Add(-r.group.offset)
		q, err := x.engine.NewRangeQuery(x.ctx, x.store, nil, r.text, start, start.Add(time.Duration(n-1)*r.group.interval), r.group.interval)
		if err == nil {
			a.query, a.result = q, q.Exec(x.ctx)
		}
	}()
	return a
}

// close waits for the end of the query and gives its memory back.
func (a *answer) close() {
	<-a.done
	if a.query != nil {
		a.query.Close()
	}
}

// stopped is the error of a context that has ended.
func (x *run) stopped() error {
	if x.ctx.Err() == nil {
		return nil
	}
	return fmt.Errorf("backtest stopped after %d of %d evaluations: %w", x.done, x.total, context.Cause(x.ctx))
}

// inTurns evaluates rules that depend on each other, one time after the other.
func (x *run) inTurns(u unit, from, to time.Time) error {
	var turns []turn
	for _, r := range u.rules {
		if at := r.first(from); at.Before(to) {
			turns = append(turns, turn{r, at})
		}
	}
	slices.SortFunc(turns, byTime)
	for len(turns) > 0 {
		t := turns[0]
		t.rule.served = false
		if err := x.evaluate(t.rule, t.at); err != nil {
			return err
		}
		turns = turns[1:]
		if t.at = t.at.Add(t.rule.group.interval); t.at.Before(to) {
			i, _ := slices.BinarySearchFunc(turns, t, byTime)
			turns = slices.Insert(turns, i, t)
		}
	}
	return nil
}

// ranged evaluates a rule n times from first on, by range queries. The answer is that for as many as can be asked for at
// once; ranged closes it.
func (x *run) ranged(r *rule, first time.Time, n int, a *answer) error {
	k := min(n, r.maxSteps)
	for {
		if err := x.attempt(r, first, k, a); err != nil || k == n {
			return err
		}
		first, n = first.Add(time.Duration(k)*r.group.interval), n-k
		k = min(n, r.maxSteps)
		a = x.ask(r, first, k)
	}
}

// attempt evaluates a rule n times by the answer of one range query. Such a query fails as a whole when it fails at one
// time, or only because it is about many: then its halves are tried, down to single times.
func (x *run) attempt(r *rule, first time.Time, n int, a *answer) error {
	defer a.close()
	<-a.done
	if err := x.stopped(); err != nil || n == 0 {
		return err
	}
	if a.query == nil {
		return x.singly(r, first, n)
	}
	matrix, ok := a.result.Value.(promql.Matrix)
	switch {
	case a.result.Err == nil && ok:
		r.adapt(a.query.Stats().Samples.PeakSamples, n)
		return x.serve(r, matrix, first, n)
	case n <= minSteps:
		return x.singly(r, first, n)
	}
	if _, much := errors.AsType[promql.ErrTooManySamples](a.result.Err); much {
		r.mostSteps = max(min(r.mostSteps, n/2), minSteps)
		r.maxSteps = min(r.maxSteps, r.mostSteps)
	}
	if err := x.attempt(r, first, n/2, x.ask(r, first, n/2)); err != nil {
		return err
	}
	rest := first.Add(time.Duration(n/2) * r.group.interval)
	return x.attempt(r, rest, n-n/2, x.ask(r, rest, n-n/2))
}

// singly evaluates a rule n times by instant queries.
func (x *run) singly(r *rule, first time.Time, n int) error {
	r.served = false
	for i := range n {
		if err := x.evaluate(r, first.Add(time.Duration(i)*r.group.interval)); err != nil {
			return err
		}
	}
	return nil
}

// serve evaluates a rule n times with the results of a range query. Times at which nothing is found and nothing is left
// over from before are passed by: an evaluation would change nothing.
func (x *run) serve(r *rule, m promql.Matrix, first time.Time, n int) error {
	defer func() { r.served, r.vector, r.labelled = false, nil, nil }()
	p := points{matrix: m, start: milliseconds(first.Add(-r.group.offset)), step: r.group.interval.Milliseconds()}
	p.sort(n)
	at := func(i int) time.Time { return first.Add(time.Duration(i) * r.group.interval) }
	ready := map[int]promql.Vector{} // Vectors with labels from templates, by step.
	for i := range n {
		if p.count(i) == 0 && r.quiet {
			x.done++
			if x.done%checkSteps == 0 {
				if err := x.stopped(); err != nil {
					return err
				}
				x.tell(r, at(i))
			}
			continue
		}
		if _, ok := ready[i]; r.templated && !ok {
			if err := x.label(r, p.ahead(i, at, ready)); err != nil {
				return err
			}
		}
		// The rule may keep the vector, so it is a new one.
		r.vector, r.labelled, r.served = p.vector(i), ready[i], true
		delete(ready, i)
		if err := x.evaluate(r, at(i)); err != nil {
			return err
		}
	}
	return nil
}

// ahead are step i and as many after it as are labelled at once. Their vectors with labels are put into ready.
func (p points) ahead(i int, at func(int) time.Time, ready map[int]promql.Vector) (steps []*step) {
	count := 0
	for j := i; j < len(p.ends) && (j == i || count+p.count(j) <= expandAtOnce); j++ {
		count += p.count(j)
		steps = append(steps, &step{at: at(j), vector: p.vector(j), done: func(labelled promql.Vector) { ready[j] = labelled }})
	}
	return steps
}

// points are those of a matrix by time, with the order of the series unchanged: those of step i are at
// places[ends[i-1]:ends[i]].
type points struct {
	matrix      promql.Matrix
	start, step int64 // Milliseconds.
	ends        []int
	places      []place
}

// place is a point of a matrix.
type place struct{ series, point int32 }

// of are the points of step i.
func (p points) of(i int) []place {
	from := 0
	if i > 0 {
		from = p.ends[i-1]
	}
	return p.places[from:p.ends[i]]
}

func (p points) count(i int) int { return len(p.of(i)) }

// vector is a new one with the points of step i.
func (p points) vector(i int) promql.Vector {
	v := make(promql.Vector, 0, p.count(i))
	for _, at := range p.of(i) {
		series := p.matrix[at.series]
		s := promql.Sample{T: p.start + int64(i)*p.step, Metric: series.Metric, DropName: series.DropName}
		if f := series.Floats; int(at.point) < len(f) {
			s.F = f[at.point].F
		} else {
			s.H = series.Histograms[int(at.point)-len(f)].H
		}
		v = append(v, s)
	}
	return v
}

// sort sorts the points into n steps.
func (p *points) sort(n int) {
	p.ends = make([]int, n)
	total := 0
	count := func(t int64) { p.ends[(t-p.start)/p.step]++; total++ }
	for _, s := range p.matrix {
		for i := range s.Floats {
			count(s.Floats[i].T)
		}
		for i := range s.Histograms {
			count(s.Histograms[i].T)
		}
	}
	sum := 0
	for i, c := range p.ends {
		p.ends[i] = sum // For now where the step begins.
		sum += c
	}
	p.places = make([]place, total)
	put := func(t int64, at place) {
		i := (t - p.start) / p.step
		p.places[p.ends[i]] = at
		p.ends[i]++
	}
	for i, s := range p.matrix {
		for j := range s.Floats {
			put(s.Floats[j].T, place{int32(i), int32(j)})
		}
		for j := range s.Histograms {
			put(s.Histograms[j].T, place{int32(i), int32(len(s.Floats) + j)})
		}
	}
}

// evaluate lets Prometheus' group evaluate the rule, and looks what became of it.
func (x *run) evaluate(r *rule, at time.Time) error {
	if err := x.stopped(); err != nil {
		return err
	}
	r.now = at
	found := len(r.vector)
	r.one.Eval(x.ctx, at)
	x.done++
	if err := x.stopped(); err != nil {
		return err // And not an error of the rule.
	}
	if x.failed != nil {
		return x.failed
	}
	err := r.impl.LastError()
	r.quiet = err == nil && r.served && found == 0 && (r.alert == nil || r.alert.ActiveAlertsCount() == 0)
	r.watch.look(at, err)
	x.tell(r, at)
	return x.failed
}

// tell tells the progress, not too often.
func (x *run) tell(r *rule, at time.Time) {
	if x.progress == nil || x.done%64 != 0 {
		return
	}
	if now := time.Now(); now.Sub(x.told) >= progressEvery {
		x.told = now
		x.progress(Progress{Done: x.done, Total: x.total, Rule: r.impl.Name(), At: at})
	}
}
