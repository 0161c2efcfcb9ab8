// Package health stands beside the agent and looks at what it depends on: the
// backends, the machine's memory and disk, and the process's own samples.
package health

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
)

// Status is the health of one part or of the whole.
type Status string

// The three statuses.
const (
	OK       Status = "ok"
	Degraded Status = "degraded" // it works, but someone should look
	Error    Status = "error"    // it does not work
)

// Options are the thresholds of the checks.
type Options struct {
	// CacheTTL is how long a result is given out before the next look.
	CacheTTL time.Duration
	// Timeout bounds one look.
	Timeout time.Duration
	// TrafficAge is how long the outcome of real traffic to a backend is
	// trusted more than a look at it.
	TrafficAge time.Duration
	// MinMemoryBytes and MinDiskBytes are the bytes of available memory and of free
	// disk below which the status is degraded.
	MinMemoryBytes, MinDiskBytes uint64
	// MaxSampleAge is how old the newest of our own samples may be. A few
	// scrape intervals.
	MaxSampleAge time.Duration
	// DataDir is the folder on the disk that is checked.
	DataDir string
	// Model, Modes and Endpoints are part of the answer.
	Model            string
	Modes, Endpoints []string
}

// DefaultOptions are the guide's thresholds, for a scrape interval of 15 s.
func DefaultOptions() Options {
	return Options{
		CacheTTL:       30 * time.Second,
		Timeout:        5 * time.Second,
		TrafficAge:     time.Minute,
		MinMemoryBytes: 512 << 20,
		MinDiskBytes:   1 << 30,
		MaxSampleAge:   time.Minute,
		DataDir:        "data",
	}
}

// Validate reports the first setting that no checker can be made from. The
// names in its errors are those of the configuration file.
func (o Options) Validate() error {
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"cache_ttl", o.CacheTTL},
		{"timeout", o.Timeout},
		{"traffic_age", o.TrafficAge},
		{"max_sample_age", o.MaxSampleAge},
	} {
		if d.value <= 0 {
			return fmt.Errorf("agent.health.%s: must be longer than 0, is %s", d.name, d.value)
		}
	}
	return nil
}

// Deps are what the checker looks at. What is nil is not checked.
type Deps struct {
	// Backends are the chosen backend and then its fallback.
	Backends []Backend
	// LastSample is the time of the newest of our own samples that can be
	// queried, zero while there is none.
	LastSample func() time.Time
	// Memory is the available memory in bytes, Disk the free space of the
	// file system that holds a folder. Default: those of this machine.
	Memory func(context.Context) (uint64, error)
	Disk   func(ctx context.Context, dir string) (uint64, error)
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// Check is the result for one part.
type Check struct {
	Status Status `json:"status"`
	// LatencyMS is how long a backend took to answer.
	LatencyMS *int64 `json:"latency_ms,omitempty"`
	Detail    string `json:"detail,omitempty"`
}

// Report is the body of GET /health.
type Report struct {
	Status    Status           `json:"status"`
	Checks    map[string]Check `json:"checks"`
	Agent     string           `json:"agent"`
	Model     string           `json:"model"`
	Modes     []string         `json:"modes"`
	Endpoints []string         `json:"endpoints"`
}

// Checker looks when somebody asks and remembers for a while. It may be used
// by any number of goroutines.
type Checker struct {
	opts    Options
	deps    Deps
	started time.Time

	// mu is held during a look: whoever asks meanwhile waits for it and
	// takes its result.
	mu     sync.Mutex
	report Report
	taken  time.Time
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
	// Clients expect lists, also empty ones.
	opts.Modes, opts.Endpoints = append([]string{}, opts.Modes...), append([]string{}, opts.Endpoints...)
	return &Checker{opts: opts, deps: deps, started: deps.Now()}, nil
}

// Register mounts GET /health: 200 while something can answer, else 503.
func (c *Checker) Register(e *echo.Echo) {
	h := func(ec echo.Context) error {
		report := c.Report(ec.Request().Context())
		ec.Response().Header().Set(echo.HeaderCacheControl, "no-store")
		code := http.StatusOK
		if report.Status == Error {
			code = http.StatusServiceUnavailable
		}
		return ec.JSON(code, report)
	}
	e.GET("/health", h)
	e.HEAD("/health", h)
}

// Report returns the newest result, looking first when that is too old. It
// blocks for the timeout at the most. Callers must not change the result.
func (c *Checker) Report(ctx context.Context) Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.deps.Now(); c.taken.IsZero() || now.Sub(c.taken) >= c.opts.CacheTTL || now.Before(c.taken) {
		// The result is for everyone, so one client that goes away must not
		// spoil it.
		look, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.opts.Timeout)
		defer cancel()
		c.report = c.look(look)
		c.taken = c.deps.Now()
	}
	return c.report
}

// look makes all checks, those over the network at the same time.
func (c *Checker) look(ctx context.Context) Report {
	backends := make([]Check, len(c.deps.Backends))
	var wg sync.WaitGroup
	for i, b := range c.deps.Backends {
		wg.Go(func() { backends[i] = c.checkBackend(ctx, b) })
	}
	checks := map[string]Check{
		"memory": c.checkMemory(ctx),
		"disk":   c.checkDisk(ctx),
	}
	if c.deps.LastSample != nil {
		checks["prometheus"] = c.checkSamples()
	}
	wg.Wait()
	for i, b := range c.deps.Backends {
		checks[b.Name()] = backends[i]
	}
	return Report{
		Status: c.overall(backends, checks), Checks: checks, Agent: "Hancock",
		Model: c.opts.Model, Modes: c.opts.Modes, Endpoints: c.opts.Endpoints,
	}
}

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

func (c *Checker) checkMemory(ctx context.Context) Check {
	available, err := c.deps.Memory(ctx)
	if err != nil {
		return Check{Status: Degraded, Detail: "available memory cannot be read: " + err.Error()}
	}
	return threshold(available, c.opts.MinMemoryBytes, fmt.Sprintf("available_mb=%d", available>>20))
}

func (c *Checker) checkDisk(ctx context.Context) Check {
	free, err := c.deps.Disk(ctx, c.opts.DataDir)
	if err != nil {
		return Check{Status: Degraded, Detail: "free disk space cannot be read: " + err.Error()}
	}
	return threshold(free, c.opts.MinDiskBytes, fmt.Sprintf("available_gb=%d", free>>30))
}

func threshold(have, want uint64, detail string) Check {
	if have < want {
		return Check{Status: Degraded, Detail: detail}
	}
	return Check{Status: OK, Detail: detail}
}

// checkSamples tells whether our own metrics still arrive in the store.
func (c *Checker) checkSamples() Check {
	last, now := c.deps.LastSample(), c.deps.Now()
	switch age := now.Sub(last); {
	case last.IsZero() && now.Sub(c.started) < c.opts.MaxSampleAge:
		return Check{Status: OK, Detail: "waiting for the first sample"}
	case last.IsZero():
		return Check{Status: Degraded, Detail: "no sample was stored"}
	case age > c.opts.MaxSampleAge:
		return Check{Status: Degraded, Detail: fmt.Sprintf("last_sample_age_s=%.0f", age.Seconds())}
	default:
		return Check{Status: OK, Detail: fmt.Sprintf("last_sample_age_s=%.0f", max(age, 0).Seconds())}
	}
}
