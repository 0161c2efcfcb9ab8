// Package alerting stands between the store and the people that get told: it evaluates rules over tsdb at an
// interval, keeps the state of each alert, stores it as ALERTS series beside the samples, and hands what fires to a
// sender. The rules are Prometheus' own, evaluated by its own manager; rules.yml is built in.
package alerting

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"
)

// Options of a Manager. The zero value is not usable; start from DefaultOptions.
type Options struct {
	// BuiltinRules says whether the embedded rules are evaluated.
	BuiltinRules bool
	// Choice is which of them, and how.
	Choice Choice
	// RuleFiles are paths or patterns of further rule files. A path without a pattern must exist.
	RuleFiles []string
	// Loaded is what Read returned for these rules, so that it is not done again. nil reads the files.
	Loaded *RuleFiles
	// EvaluationInterval is for groups that name none.
	EvaluationInterval time.Duration
	// ExternalURL is where users reach the server. It stands in templates and in the source link of alerts. nil
	// leaves the host out.
	ExternalURL *url.URL
	// ExternalLabels are seen by templates as $externalLabels.
	ExternalLabels labels.Labels
	// OutageTolerance is how long a gap may be after which pending alerts still go on where they were.
	OutageTolerance time.Duration
	// ForGracePeriod is the shortest `for` whose state survives a restart, and the least that such an alert waits
	// after it. Prometheus has ten minutes, for servers whose targets come back one by one; ours are there at once.
	ForGracePeriod time.Duration
	// QueryOffset is how far in the past rules are evaluated, for samples that arrive late.
	QueryOffset time.Duration
	// ResendDelay is the least time between two sendings of the same firing alert.
	ResendDelay time.Duration
	// StateFile keeps the firing alerts over a restart. It is written when they change. Empty keeps none.
	StateFile string
	// SettleTime is how long after the start an alert that fired before it is not resolved only because its rule does
	// not have it: samples may be missing still.
	SettleTime time.Duration
}

// DefaultOptions evaluates the built-in rules each 15 seconds.
func DefaultOptions() Options {
	return Options{
		BuiltinRules:       true,
		EvaluationInterval: 15 * time.Second,
		OutageTolerance:    time.Hour,
		ResendDelay:        time.Minute,
	}
}

// Validate reports every option that cannot work, by its name. It reads no files; that is Check's.
func (o Options) Validate() error {
	var errs []error
	if o.EvaluationInterval < time.Millisecond {
		errs = append(errs, fmt.Errorf("evaluation interval must be at least 1ms, not %s", o.EvaluationInterval))
	}
	for _, d := range []struct {
		name string
		d    time.Duration
	}{
		{"outage tolerance", o.OutageTolerance},
		{"for grace period", o.ForGracePeriod},
		{"resend delay", o.ResendDelay},
		{"query offset", o.QueryOffset},
		{"settle time", o.SettleTime},
	} {
		if d.d < 0 {
			errs = append(errs, fmt.Errorf("%s must not be negative, is %s", d.name, d.d))
		}
	}
	if err := o.Choice.Validate(); err != nil {
		errs = append(errs, err)
	}
	for _, f := range o.RuleFiles {
		if f == "" {
			errs = append(errs, errors.New("a rule file has an empty path"))
		}
	}
	return errors.Join(errs...)
}

// Storage is what rules read from and write to.
type Storage struct {
	// Queryable is the local storage. Pending alerts are restored from it.
	Queryable storage.Queryable
	// Appendable takes ALERTS, ALERTS_FOR_STATE and the results of recording rules.
	Appendable storage.Appendable
	// Query evaluates the expressions.
	Query rules.QueryFunc
	// Ready is closed when the first samples of this process' life can be queried; no rule is evaluated before.
	// nil is always ready.
	Ready <-chan struct{}
	// Fresh reports whether the samples of this process are stored. While they are not, the heartbeat is not sent. nil is
	// always true.
	Fresh func() bool
}

// Sender takes the alerts that fire or are resolved. It must not block. rules.Sender of Prometheus is the same.
type Sender = rules.Sender

// stopGrace is how long an evaluation that is going on may take to end by itself when the manager is stopped.
const stopGrace = 5 * time.Second

// Manager evaluates rule groups. Its methods are safe for concurrent use.
type Manager struct {
	rules  *rules.Manager
	ready  <-chan struct{}
	fresh  func() bool
	cancel context.CancelFunc // Ends evaluations.
	to     Sender
	logger *slog.Logger
	alerts *handover

	// mtx is held by what loads rules: one at a time.
	mtx sync.Mutex
	// opts are what rules was made with. Evaluations read them, so they are changed only while gate is held.
	opts *rules.ManagerOptions
	gate sync.RWMutex
	// in is what was checked last, and evaluated as soon as began.
	in    ruleSet
	began bool
	// shown are the groups until then; nil from then on.
	shown atomic.Pointer[[]*rules.Group]

	restoring restoring

	begun    atomic.Bool   // Run was called.
	closed   atomic.Bool   // Close was called.
	closing  chan struct{} // Closed when Close begins,
	finished chan struct{} // and when it has ended.
	ended    chan struct{} // Closed when the evaluation that began is over.
}

// New loads the rules and returns a manager that Run starts. With a nil sender nobody is told; states are kept and
// stored all the same. The manager must be closed, run or not.
//
// A rule file that does not parse is an error that names the file, the line and the rule.
func New(o Options, s Storage, to Sender, reg prometheus.Registerer, logger *slog.Logger) (*Manager, error) {
	// Prometheus' manager only logs what is wrong with a rule; here it is an error.
	in, err := load(o, logger)
	if err != nil {
		return nil, err
	}
	if s.Ready == nil {
		ready := make(chan struct{})
		close(ready)
		s.Ready = ready
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &Manager{
		opts: &rules.ManagerOptions{
			QueryFunc:  s.Query,
			Context:    ctx,
			Appendable: s.Appendable,
			Queryable:  s.Queryable,
			Logger:     logger,
			Registerer: reg,
			Parser:     in.parser,
		},
		ready:     s.Ready,
		fresh:     s.Fresh,
		cancel:    cancel,
		to:        to,
		logger:    logger,
		in:        in,
		restoring: newRestoring(),
		closing:   make(chan struct{}),
		finished:  make(chan struct{}),
		ended:     make(chan struct{}),
	}
	m.configure(in)
	m.rules = rules.NewManager(m.opts)
	m.alerts = newHandover(o, m.opts, to, logger)
	if err := m.show(); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (o Options) externalURL() *url.URL {
	if o.ExternalURL == nil {
		return &url.URL{}
	}
	return o.ExternalURL
}

func (o Options) notify(to Sender) rules.NotifyFunc {
	if to == nil {
		return func(context.Context, string, ...*rules.Alert) {}
	}
	return rules.SendAlerts(to, o.externalURL().String())
}

// withHeartbeat sends the heartbeat only while the samples of this process are stored. All other alerts are sent.
func (m *Manager) withHeartbeat(send rules.NotifyFunc) rules.NotifyFunc {
	if m.fresh == nil {
		return send
	}
	return func(ctx context.Context, expr string, alerts ...*rules.Alert) {
		if slices.ContainsFunc(alerts, isHeartbeat) && !m.fresh() {
			alerts = slices.DeleteFunc(slices.Clone(alerts), isHeartbeat)
		}
		send(ctx, expr, alerts...)
	}
}

func isHeartbeat(a *rules.Alert) bool { return a.Labels.Get(labels.AlertName) == heartbeatAlert }

// Run evaluates the rules until ctx ends or the manager is closed, and returns nil then. It begins when the storage
// is ready. It can be called once.
func (m *Manager) Run(ctx context.Context) error {
	if !m.begun.CompareAndSwap(false, true) {
		return errors.New("rules can be run only once")
	}
	defer m.Close()
	select {
	case <-m.ready:
	case <-ctx.Done():
		return nil
	case <-m.closing:
		return nil
	}
	if err := m.begin(); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-m.closing:
	}
	return nil
}

// begin evaluates what is loaded from now on, unless the manager is closed.
func (m *Manager) begin() error {
	m.mtx.Lock()
	defer m.mtx.Unlock()
	if m.closed.Load() {
		return nil
	}
	if err := m.update(m.alerts.load(time.Now())); err != nil {
		return err
	}
	m.began = true
	m.shown.Store(nil)
	go func() {
		defer close(m.ended)
		m.rules.Run()
	}()
	return nil
}

// evaluate returns the evaluation of groups that wait for what they take over.
func (m *Manager) evaluate(known <-chan struct{}) rules.GroupEvalIterationFunc {
	return func(ctx context.Context, g *rules.Group, at time.Time) {
		<-known
		m.gate.RLock()
		defer m.gate.RUnlock()
		m.alerts.before(ctx, g, at)
		rules.DefaultEvalIterationFunc(ctx, g, at)
		m.evaluated(ctx, g, at)
		m.alerts.after(g)
	}
}

// Close stops the evaluation and waits until it has ended; one that is going on gets five seconds and is then
// cancelled. It always returns nil and may be called more than once.
func (m *Manager) Close() error {
	if !m.closed.CompareAndSwap(false, true) {
		<-m.finished
		return nil
	}
	defer close(m.finished)
	close(m.closing)
	giveUp := time.AfterFunc(stopGrace, m.cancel)
	defer giveUp.Stop()
	m.mtx.Lock() // A reload may wait for evaluations, too.
	began := m.began
	m.mtx.Unlock()
	if began {
		m.rules.Stop()
		<-m.ended
	}
	m.cancel()
	return nil
}

// RuleGroups are the loaded groups, by file and name.
func (m *Manager) RuleGroups() []*rules.Group {
	if shown := m.shown.Load(); shown != nil {
		return slices.Clone(*shown)
	}
	return m.rules.RuleGroups()
}

// AlertingRules are the rules of all groups that can raise alerts.
func (m *Manager) AlertingRules() []*rules.AlertingRule {
	var all []*rules.AlertingRule
	for _, g := range m.RuleGroups() {
		all = append(all, g.AlertingRules()...)
	}
	return all
}
