package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	promconfig "github.com/prometheus/prometheus/config"

	"github.com/cyberviser/hancock/cmd/hancock/internal/config"
)

// reloader takes new rules, a new Alertmanager section and new Alertmanagers
// outside into the running process, when SIGHUP or POST /-/reload asks for it.
// Everything that can be wrong with them is found before anything is touched:
// with a bad configuration, the last good one goes on.
type reloader struct {
	// load reads the command line, the environment and the file again.
	load func() (invocation, error)
	// parts are what takes new options, in the order in which they do.
	parts []reloadable
	// look warns of what is valid but of no use.
	look func(context.Context, config.Config)
	log  *slog.Logger
	// hangups are the signals that ask for a reload.
	hangups <-chan os.Signal

	mu sync.Mutex
	// good is the last invocation that was taken.
	good invocation
	// current are the options of the last good configuration, set under mu.
	current atomic.Pointer[options]
	// started is the configuration of the start: what of it cannot be taken
	// while the process runs still counts.
	started config.Config

	success   prometheus.Gauge
	succeeded prometheus.Gauge
}

// reloadable is one part that takes new options while it runs.
type reloadable struct {
	name   string
	reload func(options) error
}

func newReloader(inv invocation, s services, hangups <-chan os.Signal) *reloader {
	begun := time.Now()
	r := &reloader{
		hangups: hangups, good: inv,
		load: inv.again, parts: s.reloadables(),
		look: func(ctx context.Context, c config.Config) { warnOfRules(ctx, s, c, time.Since(begun) >= settling(c)) },
		log:  s.log.With("component", "configuration"), started: inv.config,
		success: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "hancock_config_last_reload_successful",
			Help: "Whether the last attempt to read the configuration succeeded.",
		}),
		succeeded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "hancock_config_last_reload_success_timestamp_seconds",
			Help: "Time of the last attempt to read the configuration that succeeded.",
		}),
	}
	r.current.Store(&s.opts)
	s.reg.MustRegister(r.success, r.succeeded)
	r.success.Set(1)
	r.succeeded.SetToCurrentTime()
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
	r.look(ctx, r.started)
	settled := time.NewTimer(settling(r.started))
	defer settled.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-settled.C:
			r.mu.Lock()
			if c := r.good.config; settling(c) > 0 {
				r.look(ctx, c)
			}
			r.mu.Unlock()
		case <-r.hangups:
			_, _ = r.reload() // logged
		}
	}
}

// reload reads everything again. It returns the names of the settings that
// need a restart.
func (r *reloader) reload() (restart []string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() {
		if err != nil {
			r.success.Set(0)
			r.log.Error("configuration not reloaded, the last good one goes on", "event", "config_reload_failed", "error", oneLine(err))
			return
		}
		r.success.Set(1)
		r.succeeded.Set(float64(time.Now().UnixMilli()) / 1000)
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
	opts, err := composeAndCheck(inv.config)
	if err != nil {
		return nil, err
	}
	// What is known only since the port was bound stays.
	good := r.current.Load()
	opts.alerting.ExternalURL, opts.alertmanager.ExternalURL = good.alerting.ExternalURL, good.alertmanager.ExternalURL
	for _, warning := range inv.config.Warnings {
		r.log.Warn("configuration", "detail", warning)
	}
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
	r.good = inv
	r.look(context.Background(), inv.config)
	return changedSettings(r.started, inv.config), nil
}

// changedSettings are the names of the settings that differ and that only a
// start takes: all but the rules, the Alertmanager section and the
// Alertmanagers outside.
func changedSettings(old, now config.Config) []string {
	changed := []string{}
	for _, s := range []struct {
		name     string
		old, now any
	}{
		{"web", old.Web, now.Web}, {"agent", old.Agent, now.Agent}, {"storage", old.Storage, now.Storage},
	} {
		a, b := reflect.ValueOf(s.old), reflect.ValueOf(s.now)
		for i := range a.NumField() {
			if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
				changed = append(changed, s.name+"."+a.Type().Field(i).Tag.Get("yaml"))
			}
		}
	}
	if old.Alerting.Retention != now.Alerting.Retention {
		changed = append(changed, "alerting.retention")
	}
	was, is := prometheusSettings(old.Prometheus), prometheusSettings(now.Prometheus)
	for name := range is {
		if !reflect.DeepEqual(was[name], is[name]) {
			changed = append(changed, "prometheus."+name)
		}
	}
	slices.Sort(changed)
	return changed
}

// prometheusSettings are those of the prometheus section that only a start takes.
func prometheusSettings(c *promconfig.Config) map[string]any {
	if c == nil {
		c = new(promconfig.Config)
	}
	list := func(n int, v any) any {
		if n == 0 {
			return nil // missing and empty are the same
		}
		return v
	}
	return map[string]any{
		"global.external_labels": c.GlobalConfig.ExternalLabels.String(),
		"scrape_configs":         list(len(c.ScrapeConfigs), c.ScrapeConfigs),
		"scrape_config_files":    list(len(c.ScrapeConfigFiles), c.ScrapeConfigFiles),
		"remote_write":           list(len(c.RemoteWriteConfigs), c.RemoteWriteConfigs),
		"remote_read":            list(len(c.RemoteReadConfigs), c.RemoteReadConfigs),
	}
}
