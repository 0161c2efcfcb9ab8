package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"runtime/debug"
	"strings"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/version"
	v1 "github.com/prometheus/prometheus/web/api/v1"

	"github.com/cyberviser/hancock/agent"
	"github.com/cyberviser/hancock/agent/health"
	"github.com/cyberviser/hancock/agent/llm"
	"github.com/cyberviser/hancock/agent/requestlog"
	"github.com/cyberviser/hancock/alerting"
	"github.com/cyberviser/hancock/tsdb"
	"github.com/cyberviser/hancock/ui"
	"github.com/cyberviser/hancock/web"
)

// serve runs the whole of Hancock until ctx is done:
//
//	client ──▶ web ──▶ agent ──▶ LLM backend
//	            │        │ counts
//	            │        ▼
//	            │     registry ──scrape──▶ tsdb ──PromQL──▶ alerting
//	            │                           │                 │
//	            └── /metrics, page          └──── /api/v1 ────┘
//
// Everything that is opened is closed by the defer on the next line, so that
// stopping is starting backwards: HTTP drained, rules, scraping, storage. With
// a demonstration, that stands for the model, the clients and the past.
func serve(ctx context.Context, inv invocation, demo *demonstration, stdout, stderr io.Writer) (err error) {
	opts, err := composeAndCheck(inv.config)
	if err != nil {
		return err
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	parts := background{fail: fail, patience: opts.web.ShutdownTimeout}

	log, quiet := newLoggers(opts.logLevel, stderr)
	for _, warning := range inv.config.Warnings {
		log.Warn("setting has no effect", "detail", warning)
	}
	if _, err := memlimit.Set(); err != nil {
		log.Debug("no memory limit of a container to respect", "error", err)
	}

	// Nothing is touched before the port is ours.
	ln, err := web.Listen(ctx, opts.web)
	if err != nil {
		return err
	}
	defer ln.Close() // Serve closes it; this one is for an error on the way there.
	reach := opts.bound(ln.Addr())

	if demo == nil {
		err = refuseGenerated(opts.tsdb.Path)
	} else {
		defer closing(&err, "simulated backend", demo.close)
		err = demo.prepare(ctx, &opts, log)
	}
	if err != nil {
		return err
	}

	reg := newRegistry()
	db, err := tsdb.Open(opts.tsdb, promhttp.HandlerFor(reg, promhttp.HandlerOpts{DisableCompression: true}), reg, quiet.With("component", "tsdb"))
	if err != nil {
		return fmt.Errorf("opening storage: %w", err)
	}
	defer closing(&err, "storage", db.Close)

	rules, err := alerting.New(opts.alerting, alerting.Storage{
		Queryable: db.Queryable(), Appendable: db.Appendable(), Query: db.QueryFunc(), Ready: db.FirstScrape(),
	}, nil, reg, quiet.With("component", "alerting"))
	if err != nil {
		return fmt.Errorf("loading rules: %w", err)
	}
	defer closing(&err, "rules", rules.Close)

	backend, err := llm.New(opts.llm, log.With("component", "llm"))
	if err != nil {
		return fmt.Errorf("preparing the backend: %w", err)
	}
	defer closing(&err, "backend", backend.Close)
	assistant, err := agent.New(opts.agent, backend, reg, log.With("component", "agent"))
	if err != nil {
		return err
	}
	defer closing(&err, "agent", assistant.Close)
	opts.health.Model, opts.health.Modes, opts.health.Endpoints = backend.Model(), agent.Modes(), assistant.Endpoints()
	var checked []health.Backend
	for _, b := range backend.Backends() {
		checked = append(checked, b)
	}
	checker, err := health.New(opts.health, health.Deps{Backends: checked, LastSample: db.LastScrape})
	if err != nil {
		return err
	}

	page, err := ui.New(ui.Options{Version: cmp.Or(version.Version, "dev"), Demo: demo != nil})
	if err != nil {
		return fmt.Errorf("preparing the page: %w", err)
	}
	api := db.NewAPI(apiOptions(inv, ln.Addr(), opts.alerting.ExternalURL, rules))
	server := web.New(opts.web, web.Handlers{
		Outer:   []echo.MiddlewareFunc{requestlog.Middleware(log), assistant.Middleware()},
		Routes:  []web.Routes{assistant, checker},
		Metrics: metricsHandler(reg, log),
		API:     api,
		Page:    page,
	}, reg, quiet.With("component", "web"))

	defer parts.start("scraping", db.Run)(&err)
	defer parts.start("rules", rules.Run)(&err)
	defer parts.start("query API", func(ctx context.Context) error { api.Warm(); <-ctx.Done(); return nil })(&err)
	if demo != nil {
		defer parts.start("demo traffic", demo.traffic(reach, opts.web.APIKey))(&err)
	}

	greet(stdout, inv, opts, reach.String(), demo != nil)
	log.Info("ready", "event", "ready", "url", reach.String(), "version", version.Version, "demo", demo != nil,
		"unwatched_seconds", int(db.Gap().Seconds()))
	defer context.AfterFunc(ctx, func() { log.Info("stopping", "event", "stopping", "cause", context.Cause(ctx)) })()
	err = server.Serve(ctx, ln)
	if failure := (partError{}); errors.As(context.Cause(ctx), &failure) {
		return errors.Join(failure, err)
	}
	return err
}

// apiOptions are those of Prometheus' HTTP API.
func apiOptions(inv invocation, listen net.Addr, external *url.URL, rules v1.RulesRetriever) tsdb.APIOptions {
	return tsdb.APIOptions{
		Rules: rules, ExternalURL: external, ListenAddress: listen.String(), Flags: inv.flags,
		Build: v1.PrometheusVersion{
			Version: prometheusVersion(), Revision: version.GetRevision(), Branch: version.Branch,
			BuildUser: version.BuildUser, BuildDate: version.BuildDate, GoVersion: version.GoVersion,
		},
		EnableAdmin:       inv.config.Web.EnableAdminAPI,
		EnableRemoteWrite: inv.config.Web.EnableRemoteWrite,
		EnableOTLP:        inv.config.Web.EnableOTLP,
	}
}

// prometheusVersion is that of the Prometheus inside, which is what Grafana
// asks the API for: its module v0.315.0 is Prometheus 3.15.0.
func prometheusVersion() string {
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		return ""
	}
	for _, dep := range info.Deps {
		if m := moduleVersionRE.FindStringSubmatch(dep.Version); dep.Path == "github.com/prometheus/prometheus" && m != nil {
			return m[1] + "." + strings.TrimPrefix(m[2], "0") + "." + m[3]
		}
	}
	return ""
}

var moduleVersionRE = regexp.MustCompile(`^v0\.(\d)(\d\d)\.(\d+)`)

// newLoggers returns the logger of our own packages, and a quieter one for the
// libraries that they are made of, whose every step is nobody's business.
func newLoggers(level slog.Level, w io.Writer) (own, libraries *slog.Logger) {
	own = requestlog.New(w, level)
	slog.SetDefault(own.With("component", "library"))
	if level == slog.LevelInfo {
		return own, requestlog.New(w, slog.LevelWarn)
	}
	return own, own
}

// newRegistry has what describes the process whatever it does.
func newRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
		versioncollector.NewCollector("hancock"),
	)
	return reg
}

// metricsHandler answers scrapes from outside. OpenMetrics is not offered: it
// would add _total to the names of the guide's counters that do not have it.
func metricsHandler(reg *prometheus.Registry, log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.With("component", "metrics").Handler(), slog.LevelError),
	})
}
