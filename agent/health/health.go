// Package health stands beside the agent and looks at what it depends on: the
// backends, the machine's memory and disk, and the process's own samples.
package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Status is the health of one part or of the whole.
type Status string

// The three statuses.
const (
	OK       Status = "ok"
	Degraded Status = "degraded" // it works, but someone should look
	Error    Status = "error"    // it does not work
)

// Deps are what the checker looks at. What is nil is not checked.
type Deps struct {
	// Backends are the chosen backend and then its fallback.
	Backends []Backend
	// LastSample is the time of the newest of our own samples that can be
	// queried, zero while there is none.
	LastSample func() time.Time
	// StorageProblem says why samples cannot be stored; empty while they can.
	// Nil for never.
	StorageProblem func() string
	// Memory is the available memory in bytes, Disk the free space of the
	// file system that holds a folder. Default: those of this machine.
	Memory func(context.Context) (uint64, error)
	Disk   func(ctx context.Context, dir string) (uint64, error)
	// Now is the clock. Default: time.Now.
	Now func() time.Time
	// Log is told when a check's status changes. Nil for nobody.
	Log *slog.Logger
	// Metrics is where the result is exposed as hancock_health_check_status,
	// with the figures of disk and memory. Nil for nowhere.
	Metrics prometheus.Registerer
}

// Check is the result for one part.
type Check struct {
	Status Status `json:"status"`
	// LatencyMS is how long a backend took to answer: the last real request,
	// where its health is known from that (a stream until its first token),
	// else the question for its models.
	LatencyMS *int64 `json:"latency_ms,omitempty"`
	Detail    string `json:"detail,omitempty"`

	// logged is the detail for the log, when it may tell more.
	logged string
	// waiting says that it is about what has not come yet.
	waiting bool
	// observed is the figure behind the status, nil when there is none.
	observed *observation
}

// observation is a figure with its name and unit as application/health+json
// has them.
type observation struct {
	name, unit string
	value      float64
}

// Report is the body of GET /health.
type Report struct {
	Status    Status           `json:"status"`
	Checks    map[string]Check `json:"checks"`
	Agent     string           `json:"agent"`
	Model     string           `json:"model"`
	Modes     []string         `json:"modes"`
	Endpoints []string         `json:"endpoints"`
	// Destinations are left out when there are none.
	Destinations []Destination `json:"destinations,omitempty"`
}

// Checker looks when somebody asks and remembers for a while. It may be used
// by any number of goroutines.
type Checker struct {
	// now is what a reload replaces.
	now     atomic.Pointer[settings]
	deps    Deps
	started time.Time

	// mu is held during a look: whoever asks meanwhile waits for it and
	// takes its result.
	mu     sync.Mutex
	latest atomic.Pointer[result] // nil before the first look

	// life ends with Close, and every look with it.
	life   context.Context
	end    context.CancelFunc
	behind behind

	memory, disk reading
}

// settings are what a look goes by.
type settings struct {
	opts     Options
	backends []Backend
}

// result is a report, by which settings and when it was made.
type result struct {
	report Report
	by     *settings
	taken  time.Time
	// until is when it ends to be true whatever its age, zero for never.
	until time.Time
}

// New returns a checker. It looks at nothing yet.
func New(opts Options, deps Deps) (*Checker, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	if deps.Memory == nil {
		deps.Memory = availableMemory
	}
	if deps.Disk == nil {
		deps.Disk = freeDisk
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	c := &Checker{deps: deps, started: deps.Now()}
	c.use(opts, deps.Backends)
	c.life, c.end = context.WithCancel(context.Background())
	if deps.Metrics != nil {
		if err := deps.Metrics.Register(collector{c}); err != nil {
			return nil, fmt.Errorf("registering the health checks' metrics: %w", err)
		}
	}
	return c, nil
}

// Close ends a look that is under way and waits for one that a scrape has
// started. Reports that are asked for later say that nothing can be reached.
func (c *Checker) Close() error {
	c.end()
	c.behind.close()
	return nil
}

// Reload applies options and backends and starts a look in the background.
// After an error nothing has changed.
func (c *Checker) Reload(opts Options, backends []Backend) error {
	if err := opts.Validate(); err != nil {
		return err
	}
	c.use(opts, backends)
	c.behind.start(func() { c.current(opts.CacheTTL) })
	return nil
}

func (c *Checker) use(opts Options, backends []Backend) {
	// Clients expect lists, also empty ones.
	opts.Modes, opts.Endpoints = append([]string{}, opts.Modes...), append([]string{}, opts.Endpoints...)
	c.now.Store(&settings{opts: opts, backends: backends})
}

// Report returns the newest result, looking first when that is too old. It
// blocks for the timeout at the most. Callers must not change the result.
func (c *Checker) Report() Report { return c.current(c.now.Load().opts.CacheTTL).report }

// current is a result that is younger than age.
func (c *Checker) current(age time.Duration) *result {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.latest.Load(); c.isYounger(r, age) {
		return r
	}
	now := c.now.Load()
	// The result is for everyone, so one client that goes away must not
	// spoil it.
	ctx, cancel := context.WithTimeout(c.life, now.opts.Timeout)
	defer cancel()
	report := c.look(ctx, now)
	r := &result{report: report, by: now, taken: c.deps.Now()}
	if c.deps.LastSample != nil && report.Checks[samplesCheck].waiting {
		r.until = c.started.Add(now.opts.ScrapeInterval)
	}
	if c.life.Err() == nil {
		c.tell(c.latest.Load(), r)
	}
	c.latest.Store(r)
	return r
}

// tell logs the checks whose status is another one than before; at first that
// is everything that is not well.
func (c *Checker) tell(before, now *result) {
	for _, name := range slices.Sorted(maps.Keys(now.report.Checks)) {
		was, check := OK, now.report.Checks[name]
		if before != nil {
			was = cmp.Or(before.report.Checks[name].Status, OK) // of a backend that is new
		}
		if check.Status == was {
			continue
		}
		level := slog.LevelWarn
		if check.Status == OK {
			level = slog.LevelInfo
		}
		c.deps.Log.Log(c.life, level, "health has changed", "event", "health_changed",
			"check", name, "from", string(was), "to", string(check.Status), "detail", cmp.Or(check.logged, check.Detail))
	}
}

// isYounger does not believe a result of the future, as the clock was set back,
// nor one from before a reload.
func (c *Checker) isYounger(r *result, age time.Duration) bool {
	if r == nil || r.by != c.now.Load() {
		return false
	}
	if now := c.deps.Now(); !r.until.IsZero() && !now.Before(r.until) {
		return false
	}
	since := c.deps.Now().Sub(r.taken)
	return since >= 0 && since < age
}

// look makes all checks, those over the network at the same time.
func (c *Checker) look(ctx context.Context, now *settings) Report {
	backends := make([]Check, len(now.backends))
	var wg sync.WaitGroup
	for i, b := range now.backends {
		wg.Go(func() { backends[i] = c.checkBackend(ctx, b, now.opts.TrafficAge) })
	}
	checks := map[string]Check{
		memoryCheck: c.checkMemory(ctx, now.opts),
		diskCheck:   c.checkDisk(ctx, now.opts),
	}
	if c.deps.LastSample != nil {
		checks[samplesCheck] = c.checkSamples(now.opts)
	}
	wg.Wait()
	for i, b := range now.backends {
		checks[b.Name()] = backends[i]
	}
	for name, check := range checks {
		check.Detail = credentialsRE.ReplaceAllString(check.Detail, "://")
		check.logged = credentialsRE.ReplaceAllString(check.logged, "://")
		checks[name] = check
	}
	return Report{
		Status: c.overall(backends, checks), Checks: checks, Agent: "Hancock",
		Model: now.opts.Model, Modes: now.opts.Modes, Endpoints: now.opts.Endpoints, Destinations: now.opts.Destinations,
	}
}

// credentialsRE finds the user and password of an address. /health is open to
// everybody.
var credentialsRE = regexp.MustCompile(`://[^/\s@]*@`)

// overall is error only when no backend can answer; everything else that is
// wrong, a dead backend with a working fallback included, is degraded.
func (c *Checker) overall(backends []Check, all map[string]Check) Status {
	if len(backends) > 0 && !slices.ContainsFunc(backends, func(b Check) bool { return b.Status != Error }) {
		return Error
	}
	for _, check := range all {
		if check.Status != OK {
			return Degraded
		}
	}
	return OK
}

func (c *Checker) checkMemory(ctx context.Context, o Options) Check {
	available, err := c.memory.read(ctx, func() (uint64, error) { return c.deps.Memory(ctx) })
	if err != nil {
		return Check{Status: Degraded, Detail: "available memory cannot be read: " + reason(err)}
	}
	return threshold(available, o.MinMemoryBytes, fmt.Sprintf("available_mb=%d", available>>20))
}

func (c *Checker) checkDisk(ctx context.Context, o Options) Check {
	free, err := c.disk.read(ctx, func() (uint64, error) { return c.deps.Disk(ctx, o.DataDir) })
	if err != nil {
		return Check{Status: Degraded, Detail: "free disk space cannot be read: " + reason(err)}
	}
	return threshold(free, o.MinDiskBytes, fmt.Sprintf("available_gb=%d", free>>30))
}

// reason leaves the names of files out of an error: they are nobody's business
// outside.
func reason(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return err.Error()
}

func threshold(have, want uint64, detail string) Check {
	check := Check{Status: OK, Detail: detail, observed: &observation{"available", "By", float64(have)}}
	if have < want {
		check.Status = Degraded
	}
	return check
}

// clockTolerance is by how much a clock may be set back without notice.
const clockTolerance = 5 * time.Second

// checkSamples tells whether our own metrics still arrive in the store.
func (c *Checker) checkSamples(o Options) Check {
	last, now := c.deps.LastSample(), c.deps.Now()
	problem := ""
	if c.deps.StorageProblem != nil {
		problem = c.deps.StorageProblem()
	}
	age := now.Sub(last)
	var check Check
	switch wait := o.ScrapeInterval - now.Sub(c.started); {
	case last.IsZero() && wait > 0 && problem == "":
		return Check{Status: OK, waiting: true, Detail: fmt.Sprintf("waiting for the first sample for %.0f s at most", math.Ceil(wait.Seconds()))}
	case last.IsZero():
		check = Check{Status: Degraded, Detail: "no sample was stored since the start"}
	default:
		check = Check{
			Status: OK, Detail: fmt.Sprintf("last_sample_age_s=%.0f", age.Seconds()),
			observed: &observation{"sampleAge", "s", age.Seconds()},
		}
	}
	switch {
	case !last.IsZero() && age < -clockTolerance:
		check.Status = Degraded
		check.Detail += ": the newest sample is ahead of the clock, which was set back: correct the clock"
	case age > o.MaxSampleAge || problem != "":
		check.Status = Degraded
	}
	if problem != "" {
		check.Detail += ": " + problem
	}
	return check
}
