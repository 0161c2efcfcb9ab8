package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
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
	"github.com/cyberviser/hancock/alerting/backtest"
	"github.com/cyberviser/hancock/docs"
	"github.com/cyberviser/hancock/internal/events"
	"github.com/cyberviser/hancock/internal/loglimit"
	"github.com/cyberviser/hancock/internal/redact"
	"github.com/cyberviser/hancock/tsdb"
	"github.com/cyberviser/hancock/ui"
	"github.com/cyberviser/hancock/web"
)

// services are the parts of the process, in the order in which serve opens them.
type services struct {
	opts options
	// at is where the process is found.
	at    address
	level *slog.LevelVar
	logs  *requestlog.Log
	// log is for our own packages, quiet for the libraries that they are made of.
	log, quiet *slog.Logger
	reg        *prometheus.Registry
	db         *tsdb.DB
	// notification is where the alerts of rules go.
	notification *notification
	rules        *alerting.Manager
	backend      *llm.Client
	agent        *agent.Agent
	health       *health.Checker
	api          *tsdb.API
	server       *web.Server
	events       *events.Log
	// parts are those that work on their own.
	parts *background
}

// begin opens the log, logs the warnings of the configuration and applies the
// memory limit of a container.
func (s *services) begin(inv invocation, stderr io.Writer) {
	s.level.Set(s.opts.logLevel)
	s.logs = requestlog.NewLog(stderr, s.level)
	s.log, s.quiet = s.logs.Logger(slog.LevelDebug), libraryLogger(s.logs, s.level)
	slog.SetDefault(s.quiet.With("component", "library"))
	logWarnings(s.log, inv.config)
	if _, err := memlimit.Set(); err != nil {
		s.log.Debug("no memory limit of a container to respect", "error", err)
	}
}

// closeAgent waits for the agent's notifications, within its time.
func (s services) closeAgent() {
	if err := s.agent.Close(); err != nil {
		s.log.Warn("notifications were given up at the end", "component", "agent", "error", err)
	}
}

func newRules(s services) (*alerting.Manager, error) {
	return alerting.New(s.opts.alerting, alerting.Storage{
		Queryable: s.db.Queryable(), Appendable: s.db.Appendable(), Query: s.db.QueryFunc(), Ready: s.db.FirstScrape(), Fresh: s.db.Fresh,
	}, s.notification.sender, s.reg, s.quiet.With("component", "alerting"))
}

// reloadables apply changed options. Those that can fail come first, receivers
// before the rules that need them, and models before the agent that counts them.
func (s services) reloadables(reload *reloader) []reloadable {
	return []reloadable{
		{"the storage", func(o options) error { return s.db.Reload(o.tsdb) }},
		{"the Alertmanager", func(o options) error {
			err := s.notification.reload(o)
			if err == nil {
				s.reportHeartbeat(o, s.notification.inside.Notifies())
			}
			return err
		}},
		{"the Alertmanagers outside", func(o options) error { return s.notification.outside.Reload(o.external) }},
		{"the rules", func(o options) error { return s.rules.Reload(o.alerting) }},
		{"the backend", func(o options) error { return s.backend.Reload(o.llm) }},
		{"the agent", func(o options) error { return s.agent.Reload(o.agent) }},
		{"the health checks", func(o options) error { return s.health.Reload(s.healthOptions(o), s.healthBackends()) }},
		{"the log", func(o options) error {
			s.level.Set(o.logLevel)
			return s.logs.Resize(o.log)
		}},
		{"the server", func(o options) error {
			s.parts.patience.Store(int64(o.stopParts))
			s.server.Reload(o.web)
			s.api.Reload(apiOptions(s, o, reload))
			return nil
		}},
	}
}

// newBacktest replays rules over what is stored. It gives up when ctx ends.
func newBacktest(ctx context.Context, s services, reload *reloader) *backtest.Handler {
	return &backtest.Handler{
		Storage: backtest.Storage{Queryable: s.db.Queryable(), Engine: s.db.Engine(), Oldest: s.db.Oldest},
		Context: ctx,
		Current: func() backtest.Request {
			opts := reload.current.Load().alerting
			r := backtest.Request{
				Interval: opts.EvaluationInterval, QueryOffset: opts.QueryOffset, ResendDelay: opts.ResendDelay,
				ExternalLabels: opts.ExternalLabels, Relabeling: s.notification.sender.Relabeling(), ExternalURL: opts.ExternalURL,
				Routing: s.notification.inside.Config(),
			}
			for _, f := range s.rules.Files() {
				r.Files = append(r.Files, backtest.File(f))
			}
			return r
		},
	}
}

// newServer mounts everything on the one HTTP server.
func newServer(ctx context.Context, s services, reload *reloader, demo bool) (*web.Server, error) {
	page, err := ui.New(ui.Options{Version: cmp.Or(version.Version, "dev"), Demo: demo})
	if err != nil {
		return nil, fmt.Errorf("preparing the page: %w", err)
	}
	documents, err := docs.New(docs.Options{Style: page.Asset("page/style.css"), Script: page.Asset("page/early.js")})
	if err != nil {
		return nil, err
	}
	return web.New(s.opts.web, web.Handlers{
		Log: requestlog.Middleware(s.log), Outer: []echo.MiddlewareFunc{s.agent.Middleware()},
		Routes: []web.Routes{
			s.agent, s.health, s.logs, s.events, s.notification.inside, newHistory(s), newOutgoing(s), newBacktest(ctx, s, reload), reload, documents,
			rulesExport{func() alerting.Options { return reload.current.Load().alerting }},
		},
		Metrics: metricsHandler(s.reg, s.log),
		API:     s.api,
		Page:    page, PagePaths: ui.Paths(),
	}, s.reg, s.quiet.With("component", "web")), nil
}

// healthOptions returns the options of the health checks, with the agent's model, modes and endpoints.
func (s services) healthOptions(o options) health.Options {
	opts := o.health
	opts.Model, opts.Modes, opts.Endpoints = s.backend.Model(), agent.Modes(), s.agent.Endpoints()
	opts.Destinations = nil
	for _, d := range o.destinations() {
		opts.Destinations = append(opts.Destinations, health.Destination{Purpose: d.purpose, Host: d.host})
	}
	return opts
}

// healthBackends returns the backends in effect.
func (s services) healthBackends() (backends []health.Backend) {
	for _, b := range s.backend.Backends() {
		backends = append(backends, b)
	}
	return backends
}

func newChecker(s services) (*health.Checker, error) {
	return health.New(s.healthOptions(s.opts), health.Deps{
		Backends: s.healthBackends(), LastSample: s.db.LastScrape, StorageProblem: s.db.Problem, Metrics: s.reg, Log: s.log.With("component", "health"),
	})
}

// libraryLogger keeps secrets out of the log, lines that a library repeats
// without end, and its steps unless somebody is looking for a fault.
func libraryLogger(l *requestlog.Log, level slog.Leveler) *slog.Logger {
	return slog.New(loglimit.NewHandler(redact.NewHandler(l.Logger(libraryLevel{level}).Handler())))
}

// libraryLevel is what libraries log from, by the level of the log.
type libraryLevel struct{ slog.Leveler }

// Level is WARN, unless the log's is lower than INFO.
func (l libraryLevel) Level() slog.Level {
	if l.Leveler.Level() < slog.LevelInfo {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

// apiOptions are those of Prometheus' HTTP API.
func apiOptions(s services, o options, reload *reloader) tsdb.APIOptions {
	api := o.api
	api.Rules, api.Alertmanagers, api.Reloaded = s.rules, s.notification.outside, reload.last
	api.ExternalURL, api.ListenAddress = o.alerting.ExternalURL, s.at.listen
	api.Build = v1.PrometheusVersion{
		Version: prometheusVersion(), Revision: version.GetRevision(), Branch: version.Branch,
		BuildUser: version.BuildUser, BuildDate: version.BuildDate, GoVersion: version.GoVersion,
	}
	return api
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
	return promhttp.HandlerFor(redact.Gatherer(reg), promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.With("component", "metrics").Handler(), slog.LevelError),
	})
}
