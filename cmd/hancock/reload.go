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
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
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

	// failed says that the last attempt did, succeeded when the last one that did not was, in milliseconds.
	failed    atomic.Bool
	succeeded atomic.Int64
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

// last is what Prometheus' API tells of the configuration.
func (r *reloader) last() (section *promconfig.Config, success bool, at time.Time) {
	return r.current.Load().tsdb.Prometheus, !r.failed.Load(), time.UnixMilli(r.succeeded.Load())
}

// reload reads everything again. It returns the names of the settings that
// need a restart.
func (r *reloader) reload() (restart []string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() {
		r.failed.Store(err != nil)
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
	opts, err := composeAndCheck(inv.config)
	if err != nil {
		return nil, err
	}
	// What is known only since the port was bound stays.
	good := r.current.Load()
	opts.alerting.ExternalURL, opts.alertmanager.ExternalURL = good.alerting.ExternalURL, good.alertmanager.ExternalURL
	logFindings(r.log, inv.config, opts)
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
// start takes.
func changedSettings(old, now config.Config) []string {
	// A reload takes these; those of a group are compared one by one; the rest has no effect, or as the scheme of
	// escaping, which is filled in where global says anything, has it in scrape_configs.
	others := []string{
		"alerting.builtin_rules", "alerting.disabled", "alerting.severity", "alerting.traffic_hours", "alerting.evaluation_interval", "prometheus.rule_files", "prometheus.alerting",
		"prometheus.global.evaluation_interval", "prometheus.global.rule_query_offset",
		"prometheus.global", "prometheus.storage",
		"prometheus.runtime", "prometheus.tracing", "prometheus.global.metric_name_escaping_scheme",
	}
	was, is := prometheusSection(old), prometheusSection(now)
	changed := []string{}
	for _, s := range []struct {
		name     string
		old, now any
	}{
		{"web", old.Web, now.Web},
		{"agent", old.Agent, now.Agent},
		{"storage", old.Storage, now.Storage},
		{"alerting", old.Alerting, now.Alerting},
		{"prometheus", was, is},
		{"prometheus.global", was.GlobalConfig, is.GlobalConfig},
		{"prometheus.storage", was.StorageConfig, is.StorageConfig},
	} {
		a, b := reflect.ValueOf(s.old), reflect.ValueOf(s.now)
		for i := range a.NumField() {
			tag, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("yaml"), ",")
			name := s.name + "." + tag
			if tag != "" && !slices.Contains(others, name) && !same(a.Field(i), b.Field(i)) {
				changed = append(changed, name)
			}
		}
	}
	slices.Sort(changed)
	return changed
}

// prometheusSection is that of c, or an empty one.
func prometheusSection(c config.Config) promconfig.Config {
	if c.Prometheus != nil {
		return *c.Prometheus
	}
	empty, err := promconfig.Load("", promslog.NewNopLogger())
	if err != nil {
		panic("loading an empty configuration: " + err.Error())
	}
	return *empty
}

// same compares two values of one field. A list that is missing is an empty one.
func same(a, b reflect.Value) bool {
	if a.Kind() == reflect.Slice && a.Len() == 0 && b.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}
