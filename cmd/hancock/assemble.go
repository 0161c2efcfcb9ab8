package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
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
	"github.com/cyberviser/hancock/tsdb"
	"github.com/cyberviser/hancock/ui"
	"github.com/cyberviser/hancock/web"
)

// services are the parts of the process, in the order in which serve opens them.
type services struct {
	opts options
	logs *requestlog.Log
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
}

// begin tells what the configuration has of no effect, and respects the memory
// limit of a container.
func (s services) begin(inv invocation) {
	logFindings(s.log, inv.config, s.opts)
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
		Queryable: s.db.Queryable(), Appendable: s.db.Appendable(), Query: s.db.QueryFunc(), Ready: s.db.FirstScrape(),
	}, s.notification.sender, s.reg, s.quiet.With("component", "alerting"))
}

// reloadables take a changed configuration. Receivers are there before the
// rules that need them.
func (s services) reloadables() []reloadable {
	return []reloadable{
		{"the Alertmanager", func(o options) error {
			err := s.notification.reload(o)
			if err == nil {
				s.reportHeartbeat(o, s.notification.inside.Notifies())
			}
			return err
		}},
		{"the Alertmanagers outside", func(o options) error { return s.notification.outside.Reload(o.external) }},
		{"the rules", func(o options) error { return s.rules.Reload(o.alerting) }},
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
func newServer(ctx context.Context, s services, api http.Handler, reload *reloader, demo bool) (*web.Server, error) {
	page, err := ui.New(ui.Options{Version: cmp.Or(version.Version, "dev"), Demo: demo})
	if err != nil {
		return nil, fmt.Errorf("preparing the page: %w", err)
	}
	return web.New(s.opts.web, web.Handlers{
		Outer: []echo.MiddlewareFunc{requestlog.Middleware(s.log), s.agent.Middleware()},
		Routes: []web.Routes{
			s.agent, s.health, s.logs, s.notification.inside, newHistory(s), newOutgoing(s), newBacktest(ctx, s, reload), reload,
			rulesExport{func() alerting.Options { return reload.current.Load().alerting }},
		},
		Metrics: metricsHandler(s.reg, s.log),
		API:     api,
		Page:    page,
	}, s.reg, s.quiet.With("component", "web")), nil
}

func newChecker(s services) (*health.Checker, error) {
	opts := s.opts.health
	opts.Model, opts.Modes, opts.Endpoints = s.backend.Model(), agent.Modes(), s.agent.Endpoints()
	var backends []health.Backend
	for _, b := range s.backend.Backends() {
		backends = append(backends, b)
	}
	return health.New(opts, health.Deps{
		Backends: backends, LastSample: s.db.LastScrape, Metrics: s.reg, Log: s.log.With("component", "health"),
	})
}

// libraryLogger keeps secrets out of the log, and the steps of libraries unless
// somebody is looking for a fault.
func libraryLogger(l *requestlog.Log, level slog.Level) *slog.Logger {
	minimum := slog.LevelWarn
	if level < slog.LevelInfo {
		minimum = slog.LevelDebug
	}
	return slog.New(redacting{l.Logger(minimum).Handler()})
}

// apiOptions are those of Prometheus' HTTP API.
func apiOptions(inv invocation, listen net.Addr, s services, reload *reloader) tsdb.APIOptions {
	return tsdb.APIOptions{
		Rules: s.rules, Alertmanagers: s.notification.outside, ExternalURL: s.opts.alerting.ExternalURL, ListenAddress: listen.String(), Flags: inv.flags, Reloaded: reload.last,
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
