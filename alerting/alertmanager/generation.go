package alertmanager

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	texttemplate "text/template"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/config/receiver"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/eventrecorder"
	"github.com/prometheus/alertmanager/inhibit"
	"github.com/prometheus/alertmanager/marker"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/template"
	"github.com/prometheus/alertmanager/timeinterval"
	commoncfg "github.com/prometheus/common/config"

	"github.com/cyberviser/hancock/internal/amcompat"
)

// builtin is the configuration without one: all is visible, nobody is told.
const builtin = `
route: {receiver: nobody, group_by: [alertname]}
receivers: [{name: nobody}]
`

// groupMaintenance is how often groups without alerts are forgotten.
const groupMaintenance = 30 * time.Second

// generation is all that a configuration makes. It works from start to stop.
type generation struct {
	options    Options
	config     *config.Config
	routes     *dispatch.Route
	template   *template.Template
	texts      *texttemplate.Template // what template renders text with
	builtin    *template.Template     // without the files of the configuration
	receivers  map[string][]notify.Integration
	unused     []string // receivers that no route names
	kinds      map[string]bool
	intervener *timeinterval.Intervener
	secrets    *secrets
	notifies   bool
	heartbeat  Heartbeat

	marker     marker.GroupMarker
	inhibitor  *inhibit.Inhibitor
	dispatcher *dispatch.Dispatcher
	flushes    *flushes
}

// Check does with a configuration all that can fail: templates, receivers,
// time intervals. Nil is the built-in configuration, which is right.
func Check(c *config.Config) error {
	if c == nil {
		return nil
	}
	amcompat.Init()
	a := &Alertmanager{options: DefaultOptions(), log: slog.New(slog.DiscardHandler)}
	_, err := a.build(c)
	return err
}

// build makes all parts of a generation that can fail and touches nothing
// that works.
func (a *Alertmanager) build(c *config.Config) (g *generation, err error) {
	if c == nil {
		if c, err = config.Load(builtin); err != nil {
			return nil, fmt.Errorf("the built-in configuration of the alertmanager: %w", err)
		}
	}
	if c.Route == nil {
		return nil, fmt.Errorf("alertmanager: no route is configured; say under route which receiver gets the alerts")
	}
	tmpl, set, err := newTemplate(c.Templates, a.options.ExternalURL)
	if err != nil {
		return nil, fmt.Errorf("alertmanager: parsing templates: %w", err)
	}
	builtin := tmpl
	if len(c.Templates) > 0 {
		if builtin, _, err = newTemplate(nil, a.options.ExternalURL); err != nil {
			return nil, fmt.Errorf("alertmanager: parsing the built-in templates: %w", err)
		}
	}
	g = &generation{
		options: a.options, config: c, template: tmpl, texts: set, builtin: builtin, secrets: collectSecrets(c),
		routes:    dispatch.NewRoute(c.Route, nil),
		receivers: map[string][]notify.Integration{}, kinds: map[string]bool{},
		marker: marker.NewGroupMarker(), flushes: &flushes{},
	}
	intervals := map[string][]timeinterval.TimeInterval{}
	for _, t := range c.MuteTimeIntervals {
		intervals[t.Name] = t.TimeIntervals
	}
	for _, t := range c.TimeIntervals {
		intervals[t.Name] = t.TimeIntervals
	}
	g.intervener = timeinterval.NewIntervener(intervals)
	g.heartbeat = NewHeartbeat(g.routes)
	used := map[string]bool{}
	g.routes.Walk(func(r *dispatch.Route) { used[r.RouteOpts.Receiver] = true })
	for _, r := range c.Receivers {
		integrations, err := a.integrations(g, r)
		if err != nil {
			return nil, fmt.Errorf("alertmanager: receiver %q: %w", r.Name, err)
		}
		if !used[r.Name] {
			g.unused = append(g.unused, r.Name)
			continue
		}
		g.receivers[r.Name] = integrations
		g.notifies = g.notifies || len(integrations) > 0
		for i := range integrations {
			g.kinds[integrations[i].Name()] = true
		}
	}
	for name := range used {
		if _, ok := g.receivers[name]; !ok {
			return nil, fmt.Errorf("alertmanager: a route names the receiver %q, which is not defined", name)
		}
	}
	return g, nil
}

// integrations builds the integrations of a receiver, each with the ledger
// around it.
func (a *Alertmanager) integrations(g *generation, r config.Receiver) ([]notify.Integration, error) {
	log := slog.New(scrubbing{a.log.Handler(), g.secrets})
	completeTexts(&r)
	for _, c := range r.PagerdutyConfigs {
		// Each message would fill it in, those of several groups at once.
		if c.Severity == "" {
			c.Severity = "error"
		}
	}
	inner, err := receiver.BuildReceiverIntegrations(r, g.template, log.With("receiver", r.Name),
		commoncfg.WithDialContextFunc(dialBounded), commoncfg.WithHTTP2Disabled())
	if err != nil {
		return nil, g.secrets.error(err)
	}
	wrapped := make([]notify.Integration, len(inner))
	for i := range inner {
		n := &recorder{
			inner: &inner[i], receiver: r.Name, secrets: g.secrets, log: a.log, metrics: a.metrics,
			timeout: a.options.AttemptTimeout, grace: a.options.CloseTimeout,
			turns: make(chan struct{}, triesAtATime(inner[i].Name())),
		}
		n.composer = newComposer(n.inner, configOf(n.inner, r), g.template, g.builtin)
		n.composer.build = buildOne(r.Name, inner[i].Name(), g.template, log)
		wrapped[i] = notify.NewIntegration(n, &inner[i], inner[i].Name(), inner[i].Index(), r.Name)
	}
	return wrapped, nil
}

// triesAtATime is maxTries, but for an integration that keeps its token between
// two messages without a lock.
func triesAtATime(kind string) int {
	if kind == "wechat" {
		return 1
	}
	return maxTries
}

// start sets a generation to work. The inhibitor knows all alerts before the
// dispatcher runs, so nothing is sent that should be inhibited; the dispatcher
// has its groups before the API shows them. One generation at a time works.
func (a *Alertmanager) start(g *generation) {
	a.warn(g)
	known := reported{a.alerts, a.store, a.nflog, a.log}
	g.inhibitor = inhibit.NewInhibitor(a.alerts, g.config.InhibitRules, a.log, eventrecorder.Recorder{})
	pipeline := a.pipelines.New(g.receivers, func() time.Duration { return 0 },
		g.inhibitor, a.silencer, g.intervener, g.marker, notificationLog{a.nflog, a.nflogJournal, g.options.Retention}, nil)
	stages := g.flushes.around(g.heartbeat.before(storedFirst(a.store, pipeline), a.options.Fresh))
	g.dispatcher = dispatch.NewDispatcher(known, dispatch.NewRoute(heartbeatApart(g.config.Route, false), nil), stages, g.marker,
		func(d time.Duration) time.Duration { return max(d, notify.MinTimeout) },
		groupMaintenance, nil, a.log, eventrecorder.Recorder{}, a.dispatching, g.template)
	a.metrics.use(g.kinds)

	go g.inhibitor.Run()
	g.inhibitor.WaitForLoading()
	go g.dispatcher.Run(time.Now())
	g.dispatcher.WaitForLoading()
	a.current.Store(g)
	a.api.update(a)
}

// stop ends a generation: no flush begins any more; those in flight get the
// time to end, so that what has been sent is also logged as sent.
func (g *generation) stop(patience time.Duration) {
	g.dispatcher.Stop()
	g.flushes.end()
	g.flushes.wait(patience + patience/5)
	g.inhibitor.Stop()
}

// warn says what is allowed but hardly meant.
func (a *Alertmanager) warn(g *generation) {
	a.warnOfTemplates(g)
	for _, name := range g.unused {
		a.log.Warn("no route names this receiver, so it is never told", "receiver", name)
	}
	g.routes.Walk(func(r *dispatch.Route) {
		if r.RouteOpts.RepeatInterval > g.options.Retention {
			a.log.Warn("repeat_interval is longer than the notification log is kept; notifications may repeat more often",
				"repeat_interval", r.RouteOpts.RepeatInterval, "retention", g.options.Retention, "route", r.Key())
		}
		if r.RouteOpts.RepeatInterval < r.RouteOpts.GroupInterval {
			a.log.Warn("repeat_interval is shorter than group_interval; notifications repeat only after that",
				"repeat_interval", r.RouteOpts.RepeatInterval, "group_interval", r.RouteOpts.GroupInterval, "route", r.Key())
		}
	})
	if len(g.receivers) > 0 && !g.notifies {
		a.log.Info("nobody outside is notified of alerts", "receivers", slices.Sorted(maps.Keys(g.receivers)))
	}
}

// flushes counts what a generation is sending, because the dispatcher does not
// wait for it.
type flushes struct {
	mu      sync.Mutex
	ended   bool
	running int
	idle    chan struct{} // closed when ended and nothing runs
}

// flush is one pass of a group through the pipeline. It counts the tries of
// each integration.
type flush struct {
	mu    sync.Mutex
	tries map[*recorder]int
	test  bool
	// last is the attempt a test wants to see.
	last atomic.Pointer[Attempt]
}

type flushKey struct{}

func (f *flush) next(r *recorder) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tries[r]++
	return f.tries[r]
}

func withFlush(ctx context.Context, test bool) (context.Context, *flush) {
	f := &flush{tries: map[*recorder]int{}, test: test}
	return context.WithValue(ctx, flushKey{}, f), f
}

// around counts the passes through a stage; a panic in it is an error.
func (f *flushes) around(s notify.Stage) notify.Stage {
	// The ledger has each try; the stages need not tell of them once more.
	quiet := slog.New(slog.DiscardHandler)
	return notify.StageFunc(func(ctx context.Context, _ *slog.Logger, alerts ...*alert.Alert) (_ context.Context, _ []*alert.Alert, err error) {
		f.mu.Lock()
		if f.ended {
			f.mu.Unlock()
			return ctx, nil, context.Canceled
		}
		f.running++
		f.mu.Unlock()
		defer f.done()
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("the notification pipeline panicked: %v", p)
			}
		}()
		ctx, _ = withFlush(ctx, false)
		return s.Exec(ctx, quiet, alerts...)
	})
}

func (f *flushes) done() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running--
	if f.running == 0 && f.idle != nil {
		close(f.idle)
	}
}

// end lets no flush begin any more.
func (f *flushes) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	f.idle = make(chan struct{})
	if f.running == 0 {
		close(f.idle)
	}
}

// wait blocks until nothing is sent any more, but not longer than patience.
func (f *flushes) wait(patience time.Duration) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-f.idle:
	case <-timer.C:
	}
}
