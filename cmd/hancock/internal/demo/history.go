package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb/fileutil"
)

const (
	// Job is the job label under which the process scrapes itself.
	Job = "hancock"
	// MarkerFile is the file in a data folder that says that generated samples are in it.
	MarkerFile = "HANCOCK_DEMO"

	markerText = "This folder belongs to \"hancock demo\": its samples are generated, not measured.\n" +
		"Delete the whole folder to get a fresh history at the next start of the demo.\n"
	// newBlocksFolder is where blocks are written before they are moved to their place.
	newBlocksFolder = "demo-history.tmp"
)

// ErrNotDemo says that a data folder has samples in it and that no demo made them.
var ErrNotDemo = errors.New("the data folder holds samples that are not of a demo; the demo needs a folder of its own")

// HistoryOptions describe the generated history. Take [DefaultHistoryOptions] and set the rest.
type HistoryOptions struct {
	// Dir is the data folder of the store; it is made if it is missing. The store must not be open.
	Dir string
	// Now is the end of the history. The store accepts samples from Now on.
	Now time.Time
	// Duration is the length of the history, from one hour to seven days.
	Duration time.Duration
	// Interval is the time between scrapes. Below five seconds, five are taken, as the history would
	// take long to write; above a minute, one minute, as the panels would find too few samples.
	Interval time.Duration
	// Instance is the instance label, host:port of the live process.
	Instance string
	// Model is the model label, that of the live process.
	Model string
	// Seed decides everything but the times.
	Seed uint64
	// Logger gets one line about what was done, and the block writer's warnings; nil drops them.
	Logger *slog.Logger
}

// DefaultHistoryOptions is six hours at 15 seconds, up to the present.
func DefaultHistoryOptions() HistoryOptions {
	return HistoryOptions{
		Now: time.Now(), Duration: 6 * time.Hour, Interval: 15 * time.Second,
		Instance: "localhost:5000", Model: Model, Seed: DefaultSeed,
	}
}

// Validate reports the first option that is missing or out of range.
func (o HistoryOptions) Validate() error {
	switch {
	case o.Dir == "":
		return errors.New("data folder is empty")
	case o.Duration < time.Hour || o.Duration > 7*24*time.Hour:
		return fmt.Errorf("duration %s: not from 1h to 7d", o.Duration)
	case o.Interval <= 0:
		return fmt.Errorf("interval %s: not above 0", o.Interval)
	case o.Now.Add(-o.Duration).Unix() <= 0:
		return fmt.Errorf("end of history %s: too early", o.Now)
	case o.Instance == "":
		return errors.New("instance is empty")
	case o.Model == "":
		return errors.New("model is empty")
	}
	return nil
}

// WriteHistory fills an empty data folder with blocks of generated samples that end at Now: what a
// process with the demo's traffic would have scraped from itself, with one incident (see simulate.go)
// and one restart, and with the stale markers of a clean stop just before Now.
//
// A folder is written to once in its life. If it holds blocks or a write-ahead log, it is left alone:
// with the [MarkerFile] in it that is fine, it is the folder of an earlier run, and without it the
// error is [ErrNotDemo]. A call that fails or is cancelled leaves no block behind.
func WriteHistory(ctx context.Context, o HistoryOptions) (err error) {
	if err := o.Validate(); err != nil {
		return fmt.Errorf("demo history: %w", err)
	}
	o.Interval = min(max(o.Interval, 5*time.Second), time.Minute)
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if used, err := checkFolder(o.Dir); err != nil || used {
		if err == nil {
			log.Info("demo history kept", "path", o.Dir)
		}
		return err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return fmt.Errorf("making data folder: %w", err)
	}
	unlock, err := lockFolder(o.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if used, err := checkFolder(o.Dir); err != nil || used {
		return err // another process was quicker
	}
	begin := time.Now()
	if err := os.WriteFile(filepath.Join(o.Dir, MarkerFile), []byte(markerText), 0o644); err != nil {
		return fmt.Errorf("marking data folder: %w", err)
	}
	fresh := filepath.Join(o.Dir, newBlocksFolder)
	if err := os.RemoveAll(fresh); err != nil { // of a run that was killed
		return fmt.Errorf("removing unfinished history: %w", err)
	}
	if err := os.Mkdir(fresh, 0o700); err != nil {
		return fmt.Errorf("making folder for history: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(fresh)) }()
	if err := o.write(ctx, fresh, log); err != nil {
		return fmt.Errorf("writing demo history: %w", err)
	}
	if err := moveBlocks(fresh, o.Dir); err != nil {
		return fmt.Errorf("writing demo history: %w", err)
	}
	debug.FreeOSMemory() // else the first chart of the live process shows what this took
	log.Info("demo history written", "path", o.Dir, "duration", o.Duration.String(), "took_ms", time.Since(begin).Milliseconds())
	return nil
}

// lockFolder takes the lock that an open store holds, and returns what gives it back. The file
// stays: who removed it could take it from another process that holds it by then, and a third one
// would make and lock another file.
func lockFolder(dir string) (unlock func() error, err error) {
	name := filepath.Join(dir, "lock")
	lock, _, err := fileutil.Flock(name)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("data folder %s is in use by another process", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("locking data folder: %w", err)
	}
	return lock.Release, nil
}

// checkFolder reports whether dir holds a store's data. Data of something else than a demo is an error.
func checkFolder(dir string) (used bool, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, fmt.Errorf("reading data folder: %w", err)
	}
	demo := false
	for _, e := range entries {
		switch name := e.Name(); name {
		case MarkerFile:
			demo = true
		case "wal", "wbl", "chunks_head":
			used = true
		default:
			if _, err := ulid.ParseStrict(name); err == nil && e.IsDir() {
				used = true
			}
		}
	}
	if used && !demo {
		return true, fmt.Errorf("%s: %w", dir, ErrNotDemo)
	}
	return used, nil
}

// write simulates and stores the history, scrape by scrape.
func (o HistoryOptions) write(ctx context.Context, dir string, log *slog.Logger) (err error) {
	out := &blocks{ctx: ctx, dir: dir, log: slog.New(warnings{log.Handler()})}
	defer func() { err = errors.Join(err, out.close()) }()

	var (
		begin    = o.Now.Add(-o.Duration).UnixMilli()
		end      = o.Now.UnixMilli()
		interval = o.Interval.Milliseconds()
		inc      = newIncident(o.Duration)
		life     = newLife(o, 0)
		rule     = newAlert(o.Instance)
		feed     = newFeed(simulate(o.Duration, o.Seed))
		stopped  = false
	)
	for t := begin; t < end; t += interval {
		seconds := float64(t-begin) / 1000
		if !stopped && seconds >= inc.end {
			stopped = true
			if err := o.stop(out, life.exposition, rule, begin+int64(inc.end*1000)); err != nil {
				return err
			}
			feed.until(inc.end, life.count) // what the stopped process counted after its last scrape
			life = newLife(o, inc.up)
		}
		if inc.down(seconds) {
			continue
		}
		if err := out.at(t); err != nil {
			return err
		}
		inflight := feed.until(seconds, life.count)
		life.gauges(seconds, inflight)
		if err := life.exposition.write(out, t); err != nil {
			return err
		}
		if err := rule.evaluate(out, observation{t, life.exposition.requests.value, life.exposition.errors.value}); err != nil {
			return err
		}
	}
	// The generated process ends just before the live one begins.
	if err := o.stop(out, life.exposition, rule, end-1); err != nil {
		return err
	}
	return out.flush()
}

// stop stores what a clean stop of the process at t stores.
func (o HistoryOptions) stop(out *blocks, x *exposition, rule *alert, t int64) error {
	if err := out.at(t); err != nil {
		return err
	}
	if err := x.end(out, t); err != nil {
		return err
	}
	return rule.restart(out, t)
}

// life is the process between two restarts.
type life struct {
	exposition *exposition
	begin      float64 // seconds after the history's beginning
	incident   incident
	failed     int // model calls that failed in the incident
	rng        *rand.Rand
}

func newLife(o HistoryOptions, begin float64) *life {
	return &life{
		exposition: newExposition(o.Instance, o.Model),
		begin:      begin,
		incident:   newIncident(o.Duration),
		rng:        rand.New(rand.NewPCG(o.Seed, math.Float64bits(begin))),
	}
}

func (l *life) count(e event) {
	l.exposition.count(e)
	if e.outcome.status >= 500 && l.incident.severity(e.end) > 0 {
		l.failed++
	}
}

// gauges sets what is measured at the moment of a scrape.
func (l *life) gauges(t float64, inflight int) {
	l.exposition.memory.value = memory(l.rng, t-l.begin, inflight, l.failed)
	// A connection is active while a request is under way on it; the page makes one now and then.
	l.exposition.connections.value = float64(inflight + l.rng.IntN(2))
}

// warnings lets nothing below a warning through: block writers tell of each block at INFO.
type warnings struct{ slog.Handler }

// Enabled implements slog.Handler.
func (w warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && w.Handler.Enabled(ctx, level)
}
