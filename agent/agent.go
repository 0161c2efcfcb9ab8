// Package agent stands between the HTTP server and the LLM backends: it turns
// a request of the REST API into a prompt for one of nine specialist modes,
// asks a model, answers, and counts.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cyberviser/hancock/agent/llm"
	"github.com/cyberviser/hancock/agent/notify"
	"github.com/cyberviser/hancock/agent/requestlog"
)

// prefix is that of the paths which are agent traffic: those are limited and
// counted, and nothing else is.
const prefix = "/v1/"

// Options are the settings of the agent.
type Options struct {
	// RateLimit is how many requests one client may make in a minute; 0 is any number.
	RateLimit int
	// MaxBodyBytes bounds a request's body.
	MaxBodyBytes int64
	// Prices are what the models cost, by their ids or short names; those of
	// no price cost nothing that is counted. Without any there is no metric of
	// the cost.
	Prices map[string]Price
	// TrustedProxies are the addresses whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// ClientTimeout is how long a client may take to read one piece of a
	// stream before it counts as gone.
	ClientTimeout time.Duration
	// WebhookSecret, if not empty, is what senders to the webhook sign with.
	WebhookSecret string
	// Notify says who is told of a webhook's triage.
	Notify notify.Options
	// Diagnostics serves GET /internal/diagnostics, to those who know the API
	// key; AuthEnabled tells that there is one.
	Diagnostics, AuthEnabled bool
}

// DefaultOptions allow 60 requests a minute, bodies of 1 MiB, trust no proxy
// and notify nobody.
func DefaultOptions() Options {
	return Options{
		RateLimit: 60, MaxBodyBytes: 1 << 20, ClientTimeout: 30 * time.Second,
		Notify: notify.DefaultOptions(),
	}
}

// Validate reports the first setting that no agent can be made from. The names
// in its errors are those of the configuration file.
func (o Options) Validate() error {
	if o.RateLimit < 0 {
		return fmt.Errorf("agent.rate_limit: must be a number of requests per minute, or 0 for no limit, is %d", o.RateLimit)
	}
	if o.MaxBodyBytes < 1 {
		return fmt.Errorf("agent.max_body: must be at least 1 byte, is %d", o.MaxBodyBytes)
	}
	if o.ClientTimeout <= 0 {
		return fmt.Errorf("agent.client_timeout: must be longer than 0, is %s", o.ClientTimeout)
	}
	if err := validatePrices(o.Prices); err != nil {
		return fmt.Errorf("agent.prices: %w", err)
	}
	for _, p := range o.TrustedProxies {
		if !p.IsValid() {
			return fmt.Errorf("web.trusted_proxies: %q is not an address range", p)
		}
	}
	if err := o.Notify.Validate(); err != nil {
		return fmt.Errorf("agent.webhook.%w", err)
	}
	return nil
}

// Backend models what answers. Its errors are *llm.Error.
type Backend interface {
	// Chat blocks until the whole answer is there.
	Chat(context.Context, llm.Request) (llm.Answer, error)
	// Stream hands over each piece on the caller's goroutine.
	Stream(context.Context, llm.Request, func(piece string) error) (llm.Answer, error)
	// Model is the id of the model that answers as a rule.
	Model() string
	// Models are the ids of all that may answer, coder models or others.
	Models(coder bool) []string
	// Targets are all models that may answer, those of the chosen backend
	// first.
	Targets() []llm.Target
}

// Agent serves the REST API below /v1. Make it with New.
type Agent struct {
	// now is what a reload replaces.
	now       atomic.Pointer[Options]
	limits    *limits
	reloading sync.Mutex
	backend   Backend
	tasks     []task
	metrics   *metrics
	// stopping is set by Stopping.
	stopping atomic.Bool
	log      *slog.Logger
	started  time.Time

	webhookMetrics *webhookMetrics
	notifier       *notify.Notifier
}

// New returns an agent whose metrics are registered, all of them at 0.
func New(opts Options, backend Backend, reg prometheus.Registerer, log *slog.Logger) (*Agent, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	a := &Agent{backend: backend, tasks: tasks(), log: log, started: time.Now()}
	var err error
	if a.metrics, err = newMetrics(reg, a.routes(), backend, opts.Prices); err != nil {
		return nil, fmt.Errorf("registering the agent's metrics: %w", err)
	}
	a.backend = measured{Backend: backend, metrics: a.metrics.llm, stopping: &a.stopping}
	if a.webhookMetrics, err = newWebhookMetrics(reg); err != nil {
		return nil, fmt.Errorf("registering the webhook's metrics: %w", err)
	}
	a.now.Store(&opts)
	a.limits = newLimits(opts.RateLimit, opts.TrustedProxies)
	if a.notifier, err = notify.New(opts.Notify, a.webhookMetrics.notified, log); err != nil {
		return nil, err
	}
	a.warnOfPrices(opts)
	return a, nil
}

// warnOfPrices logs prices of models that are not configured.
func (a *Agent) warnOfPrices(opts Options) {
	if _, unused := pricesOf(a.backend.Targets(), opts.Prices); len(unused) > 0 {
		a.log.Warn("prices of models that are not configured are not used", "event", "prices_unused", "models", unused)
	}
}

// Reload applies options to requests that begin afterwards. The backend is
// reloaded first. Counters continue, and so do the counts of the rate limit.
// After an error nothing has changed.
func (a *Agent) Reload(opts Options) error {
	if err := opts.Validate(); err != nil {
		return err
	}
	a.reloading.Lock()
	defer a.reloading.Unlock()
	if err := a.notifier.Reload(opts.Notify); err != nil {
		return err
	}
	a.metrics.learn(opts.Prices)
	a.limits.reload(opts.RateLimit, opts.TrustedProxies)
	a.now.Store(&opts)
	a.warnOfPrices(opts)
	return nil
}

// Close makes every further request a 503, waits within a bound for the
// notifications that are queued, and frees what the rate limit holds. Requests
// in flight are not touched.
func (a *Agent) Close() error {
	a.limits.close()
	return a.notifier.Close()
}

// Stopping says that the process is about to stop: requests that are cut off
// from now on are ended by that and not by their clients.
func (a *Agent) Stopping() { a.stopping.Store(true) }

// Register mounts the API's routes.
func (a *Agent) Register(e *echo.Echo) {
	for _, t := range a.tasks {
		if t.webhook {
			e.POST(t.path, a.webhook(t))
			continue
		}
		e.POST(t.path, a.handle(t))
	}
	e.GET(agentsPath, a.listAgents)
	e.GET(openAPIPath, a.describeAPI)
	e.GET(diagnosticsPath, a.diagnostics)
}

// agentsPath is the one route of the API that asks no model.
const agentsPath = "/v1/agents"

// route is a path of the API, as the metrics know it.
type route struct {
	path, method string
	// modes are those that a request to it may be in; empty when it has none.
	modes []string
	coder bool
}

// routes are all paths of the API. A task with a mode of its own counts every
// request as that mode, one that is told the mode also has invalidMode.
func (a *Agent) routes() []route {
	var rs []route
	for _, t := range a.tasks {
		modes := []string{t.mode}
		if t.mode == "" {
			modes = append(Modes(), invalidMode)
		}
		rs = append(rs, route{path: t.path, method: http.MethodPost, modes: modes, coder: t.coder})
	}
	return append(rs, route{path: agentsPath, method: http.MethodGet})
}

// Endpoints are the paths of the API, for the health answer.
func (a *Agent) Endpoints() []string {
	var paths []string
	for _, r := range a.routes() {
		paths = append(paths, r.path)
	}
	return paths
}

// listAgents answers GET /v1/agents.
func (a *Agent) listAgents(c echo.Context) error {
	prompts := make(map[string]string, len(Modes()))
	for _, mode := range Modes() {
		prompts[mode] = systemPrompt(mode)
	}
	return c.JSON(http.StatusOK, map[string]any{
		"agents": prompts, "default_mode": DefaultMode, "model": a.backend.Model(),
	})
}

// Middleware limits and counts requests below /v1/, each once, whatever
// becomes of it; it passes other paths on, whose answers tell of the client's
// allowance, too. It belongs outside of everything that may refuse a request,
// and writes errors itself (through the server's error handler) to see the
// status that was sent.
func (a *Agent) Middleware() echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if !strings.HasPrefix(c.Request().URL.Path, prefix) {
				a.limits.peek(c.Request()).setHeaders(c.Response().Header())
				return next(c)
			}
			t := &traffic{Context: c, outcome: outcome{start: time.Now(), status: http.StatusInternalServerError}}
			// Deferred, for a panic that nothing below has caught.
			defer func() { a.metrics.observe(c, &t.outcome) }()
			err := a.limit(c)
			if err == nil {
				err = next(t)
			}
			if err != nil {
				if he, ok := errors.AsType[*echo.HTTPError](err); ok && he.Code == http.StatusServiceUnavailable {
					c.Response().Header().Set(echo.HeaderRetryAfter, "1")
				}
				c.Error(err)
			}
			t.status = c.Response().Status
			return nil
		}
	}
}

// traffic is the context of a request that is counted.
type traffic struct {
	echo.Context
	outcome
}

// outcome is what the metrics need to know of one request.
type outcome struct {
	start  time.Time
	status int
	// mode is empty until a handler has read it.
	mode string
	// foreignMode tells that the request named a mode which is none.
	foreignMode bool
}

// setMode notes the mode that a request is in.
func setMode(c echo.Context, in input) {
	if t, ok := c.(*traffic); ok {
		t.mode, t.foreignMode = in.mode, in.foreignMode
	}
}

// limit takes one request from the client's allowance.
func (a *Agent) limit(c echo.Context) error {
	v, err := a.limits.take(c.Request())
	v.setHeaders(c.Response().Header())
	if err != nil {
		return echo.NewHTTPError(http.StatusServiceUnavailable, shuttingDown)
	}
	requestlog.Add(c.Request().Context(), requestlog.Client(v.client))
	if v.ok {
		return nil
	}
	a.metrics.limited(c.Path(), v.client)
	return echo.NewHTTPError(http.StatusTooManyRequests,
		fmt.Sprintf("Rate limit exceeded: %d requests/min", v.limit))
}

// Modes are the nine modes, the default one among them.
func Modes() []string {
	return []string{"pentest", "soc", "auto", "code", "ciso", "sigma", "yara", "ioc", "osint"}
}

// DefaultMode is the mode of a request that names none.
const DefaultMode = "auto"

func isMode(s string) bool { return slices.Contains(Modes(), s) }
