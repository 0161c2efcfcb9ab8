package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cyberviser/hancock/cmd/hancock/internal/config"
	"github.com/cyberviser/hancock/internal/events"
)

// reloader takes a changed configuration into the running process, when SIGHUP
// or POST /-/reload asks for it: all of it but the listen address, the data
// directory and the path of the web configuration file. Everything that can be
// wrong with it is found before anything is touched: with a bad configuration,
// the last good one goes on.
type reloader struct {
	// load reads the command line, the environment and the file again.
	load func() (invocation, error)
	// parts are what takes new options, in the order in which they do.
	parts []reloadable
	// bind completes options by what only a process that runs has.
	bind func(*options)
	// look warns of what is valid but of no use; settled says that metrics of
	// others should be there by now.
	look   func(_ context.Context, _ config.Config, settled bool)
	log    *slog.Logger
	events *events.Log
	// hangups are the signals that ask for a reload.
	hangups <-chan os.Signal

	mu sync.Mutex
	// good is the last invocation that was taken.
	good invocation
	// since is when others were first asked for their metrics as they are now;
	// moved says that it has changed.
	since time.Time
	moved chan struct{}
	// current are the options of the last good configuration, set under mu.
	current atomic.Pointer[options]
	// started is the configuration of the start: what of it cannot be taken
	// while the process runs still counts. tls says that it turned on TLS.
	started config.Config
	tls     bool

	// failed says that the last attempt did, succeeded when the last one that did not was, in milliseconds.
	failed    atomic.Bool
	succeeded atomic.Int64
}

// reloadable is one part that takes new options while it runs.
type reloadable struct {
	name   string
	reload func(options) error
}

// newReloader returns a reloader without parts. demo is nil but in a demonstration.
func newReloader(inv invocation, s services, demo *demonstration, hangups <-chan os.Signal) *reloader {
	begun := time.Now()
	r := &reloader{
		hangups: hangups, good: inv, load: inv.again, since: begun, moved: make(chan struct{}, 1),
		bind: func(o *options) {
			o.reachedAt(s.at)
			if demo != nil {
				demo.simulate(o)
			}
		},
		look: func(ctx context.Context, c config.Config, settled bool) { warnOfRules(ctx, s, c, settled) },
		log:  s.log.With("component", "configuration"), events: s.events, started: inv.config, tls: tlsEnabled(inv.config.Web.ConfigFile),
	}
	r.current.Store(&s.opts)
	r.succeeded.Store(begun.UnixMilli())
	s.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "hancock_config_last_reload_successful",
		Help: "Whether the last attempt to read the configuration succeeded.",
	}, func() float64 {
		if r.failed.Load() {
			return 0
		}
		return 1
	}), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "hancock_config_last_reload_success_timestamp_seconds",
		Help: "Time of the last attempt to read the configuration that succeeded.",
	}, func() float64 { return float64(r.succeeded.Load()) / 1000 }))
	return r
}

// Register mounts the reload under the name that Prometheus has for it.
func (r *reloader) Register(e *echo.Echo) {
	e.POST("/-/reload", r.serve)
	e.PUT("/-/reload", r.serve)
}

// reloadAnswer is what a reload that succeeded tells.
type reloadAnswer struct {
	Status string `json:"status"`
	// NeedRestart are the settings that differ and count from the next start on.
	NeedRestart []string `json:"need_restart"`
}

func (r *reloader) serve(c echo.Context) error {
	restart, err := r.reload()
	if err != nil {
		return echo.NewHTTPError(http.StatusInternalServerError, "the configuration stays as it is: "+oneLine(err))
	}
	return c.JSON(http.StatusOK, reloadAnswer{"reloaded", restart})
}

// run reloads at each SIGHUP until ctx is done.
func (r *reloader) run(ctx context.Context) error {
	r.look(ctx, r.started, settling(r.started) == 0)
	settled := time.NewTimer(settling(r.started))
	defer settled.Stop()
	started := time.NewTimer(time.Second) // It takes longer than all of the start, and must not delay it.
	defer started.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-started.C:
			logErrors(ctx, r.log, r.started, *r.current.Load())
		case <-settled.C:
			r.mu.Lock()
			if c := r.good.config; settling(c) > 0 {
				r.look(ctx, c, true)
			}
			r.mu.Unlock()
		case <-r.moved:
			r.mu.Lock()
			settled.Reset(settling(r.good.config))
			r.mu.Unlock()
		case <-r.hangups:
			_, _ = r.reload() // logged
		}
	}
}

// last returns whether the last reload succeeded and when one last did.
func (r *reloader) last() (success bool, at time.Time) {
	return !r.failed.Load(), time.UnixMilli(r.succeeded.Load())
}

// key is the API key in effect.
func (r *reloader) key() string { return r.current.Load().web.APIKey }

// reload reads everything again. It returns the names of the settings that
// need a restart.
func (r *reloader) reload() (restart []string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() {
		r.failed.Store(err != nil)
		r.reloaded(err)
		if err != nil {
			r.log.Error("configuration not reloaded, the last good one goes on", "event", "config_reload_failed", "error", oneLine(err))
			return
		}
		r.succeeded.Store(time.Now().UnixMilli())
		r.log.Info("configuration reloaded", "event", "config_reloaded", "need_restart", restart)
	}()
	inv, err := r.load()
	if err != nil {
		return nil, err
	}
	if r.good.configFile != "" && inv.configFile == "" {
		// Without it everything would be as by default, and nobody would be told any more.
		return nil, fmt.Errorf("%s is not there any more", r.good.configFile)
	}
	if len(inv.config.NewKeys) > 0 {
		k := inv.config.NewKeys[0]
		return nil, usageError{fmt.Errorf("%s: %s does not exist, and only a start creates it: write a key into it", k.Setting, k.File)}
	}
	// Both must be valid: what the next start would read, and the same with the
	// listen address, data directory and TLS file in effect.
	if _, err := compose(inv.config); err != nil {
		return nil, usageError{err}
	}
	effective := inv
	effective.config, effective.flags = r.effective(inv.config), maps.Clone(inv.flags)
	for _, name := range []string{"storage.path", "web.config.file", "web.listen-address"} {
		effective.flags[name] = r.current.Load().api.Flags[name]
	}
	opts, err := effective.options(context.Background())
	if err != nil {
		return nil, err
	}
	r.bind(&opts)
	good := r.current.Load()
	logWarnings(r.log, inv.config)
	logErrors(context.Background(), r.log, inv.config, opts)
	for i, part := range r.parts {
		if err := part.reload(opts); err != nil {
			err = fmt.Errorf("reloading %s: %w", part.name, err)
			for _, done := range r.parts[:i] {
				err = errors.Join(err, done.reload(*good))
			}
			return nil, err
		}
	}
	r.current.Store(&opts)
	if !sameTargets(r.good.config, inv.config) {
		r.since = time.Now()
		select {
		case r.moved <- struct{}{}:
		default:
		}
	}
	r.good = inv
	r.look(context.Background(), inv.config, time.Since(r.since) >= settling(inv.config))
	return r.needRestart(inv.config), nil
}

// needRestart returns the names of changed settings that take effect at the next
// start. The web configuration file is read for each connection, except that
// TLS is turned on or off at startup.
func (r *reloader) needRestart(now config.Config) []string {
	need := []string{}
	if now.Storage.Path != r.started.Storage.Path {
		need = append(need, "storage.path")
	}
	if now.Web.ConfigFile != r.started.Web.ConfigFile || tlsEnabled(now.Web.ConfigFile) != r.tls {
		need = append(need, "web.config_file")
	}
	if now.Web.ListenAddress != r.started.Web.ListenAddress {
		need = append(need, "web.listen_address")
	}
	return need
}

// effective returns the configuration that a reload applies: written, with the
// listen address, data directory and TLS file of the start.
func (r *reloader) effective(written config.Config) config.Config {
	written.Storage.Path = r.started.Storage.Path
	written.Web.ConfigFile, written.Web.ListenAddress = r.started.Web.ConfigFile, r.started.Web.ListenAddress
	return written
}

// sameTargets reports whether the scrape jobs of a and b are equal.
func sameTargets(a, b config.Config) bool {
	if a.Prometheus == nil || b.Prometheus == nil {
		return a.Prometheus == b.Prometheus
	}
	return reflect.DeepEqual(a.Prometheus.ScrapeConfigs, b.Prometheus.ScrapeConfigs) &&
		slices.Equal(a.Prometheus.ScrapeConfigFiles, b.Prometheus.ScrapeConfigFiles)
}
