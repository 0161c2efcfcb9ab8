// Package external stands behind alerting, beside the embedded Alertmanager: it sends what fires, and what no longer
// does, to Alertmanagers outside. Which ones, and how to reach them, stands under `alerting` in the prometheus section;
// finding and sending are Prometheus' own.
package external

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/notifier"
)

// Options of a Forwarder. The zero value is not usable; start from DefaultOptions.
type Options struct {
	// Config is the `alerting` section. Without Alertmanagers in it, or without it, nothing is sent and nothing runs.
	// External labels and alert_relabel_configs for all Alertmanagers are applied before Send.
	Config *promconfig.AlertingConfig
	// QueueCapacity is how many alerts wait for each Alertmanager. When there are more, the oldest are dropped.
	QueueCapacity int
	// DrainTimeout is how long a stop may take to send what waits.
	DrainTimeout time.Duration
}

// DefaultOptions have Prometheus' queue and send to nobody.
func DefaultOptions() Options {
	return Options{QueueCapacity: 10_000, DrainTimeout: 5 * time.Second}
}

// Validate reports every option that cannot work. Check looks at the section, too.
func (o Options) Validate() error {
	var errs []error
	if o.QueueCapacity < 1 {
		errs = append(errs, fmt.Errorf("queue capacity must be at least 1, not %d", o.QueueCapacity))
	}
	if o.DrainTimeout < 0 {
		errs = append(errs, fmt.Errorf("drain timeout must not be negative, is %s", o.DrainTimeout))
	}
	return errors.Join(errs...)
}

// sends says that there is somebody to send to.
func (o Options) sends() bool { return o.Config != nil && len(o.Config.AlertmanagerConfigs) > 0 }

// same says that nothing has to be made anew to get from before to o.
func (o Options) same(before Options) bool {
	if o.sends() != before.sends() || !o.sends() {
		return o.sends() == before.sends()
	}
	return o.QueueCapacity == before.QueueCapacity && reflect.DeepEqual(o.Config.AlertmanagerConfigs, before.Config.AlertmanagerConfigs)
}

// Forwarder sends alerts to Alertmanagers. Its methods are safe for concurrent use.
type Forwarder struct {
	reg    prometheus.Registerer
	logger *slog.Logger

	// life is held by what starts and stops sending.
	life    sync.Mutex
	opts    Options
	begun   bool
	running *pipeline // nil while nothing is sent.
	closed  bool

	// mtx is held only for as long as alerts take to be put somewhere.
	mtx sync.Mutex
	// to is where alerts go once the Alertmanagers are known; until then, and during a reload, they are held.
	to       *notifier.Manager
	queued   time.Time // When it last got some.
	held     []*notifier.Alert
	capacity int // Of held; 0 when nobody wants them.
	lost     int // Of held, for lack of room.

	closing  chan struct{}
	close    sync.Once
	finished chan struct{} // Closed when Run has ended.
}

// Open checks the options. Nothing is sent before Run. The Forwarder must be closed, run or not. What libraries log has
// whole addresses in it, with whatever secret stands in them: the logger has to take those out.
func Open(o Options, reg prometheus.Registerer, logger *slog.Logger) (*Forwarder, error) {
	if err := Check(o); err != nil {
		return nil, err
	}
	f := &Forwarder{
		opts:     o,
		reg:      reg,
		logger:   slog.New(quiet{logger.Handler()}),
		closing:  make(chan struct{}),
		finished: make(chan struct{}),
	}
	f.hold(o)
	return f, nil
}

// Send queues alerts for each Alertmanager. It never waits for one of them.
func (f *Forwarder) Send(alerts ...*notifier.Alert) {
	f.mtx.Lock()
	defer f.mtx.Unlock()
	if f.to != nil {
		f.to.Send(alerts...)
		f.queued = time.Now()
		return
	}
	f.held = append(f.held, alerts...)
	if more := len(f.held) - f.capacity; more > 0 {
		f.held = append([]*notifier.Alert(nil), f.held[more:]...)
		if f.capacity > 0 {
			f.lost += more
		}
	}
}

// hold keeps alerts from now on, until pass; of a configuration that sends to nobody it forgets them.
func (f *Forwarder) hold(o Options) {
	f.mtx.Lock()
	defer f.mtx.Unlock()
	f.to, f.capacity = nil, o.QueueCapacity
	if !o.sends() {
		f.held, f.capacity = nil, 0
	}
}

// pass lets held and further alerts go to n.
func (f *Forwarder) pass(n *notifier.Manager) {
	f.mtx.Lock()
	held, lost := f.held, f.lost
	f.held, f.lost, f.to = nil, 0, n
	if len(held) > 0 {
		n.Send(held...)
		f.queued = time.Now()
	}
	f.mtx.Unlock()
	if lost > 0 {
		f.logger.Warn("too many alerts while the Alertmanagers were not known yet, the oldest were dropped", "count", lost)
	}
}

// Run sends until ctx ends or the Forwarder is closed; then it sends what waits, for the drain timeout at the most,
// and returns nil. It can be called once.
func (f *Forwarder) Run(ctx context.Context) error {
	f.life.Lock()
	if f.begun {
		f.life.Unlock()
		return errors.New("alerts can be forwarded only once")
	}
	f.begun = true
	defer close(f.finished)
	err := f.start()
	f.life.Unlock()
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-f.closing:
	}
	f.life.Lock()
	defer f.life.Unlock()
	f.closed = true
	f.stop()
	f.hold(Options{})
	return nil
}

// start begins to send, if there is somebody to send to. life is held.
func (f *Forwarder) start() error {
	if f.closed || !f.opts.sends() {
		return nil
	}
	p, err := newPipeline(f.opts, f.reg, f.logger, f.pass)
	if err != nil {
		return err
	}
	f.running = p
	return nil
}

// stop ends the sending, if it goes on. Alerts are held from then on. life is held.
func (f *Forwarder) stop() {
	if f.running != nil {
		f.running.endDiscovery() // From then on nothing passes any more.
	}
	f.hold(f.opts)
	if f.running != nil {
		f.mtx.Lock()
		queued := f.queued
		f.mtx.Unlock()
		f.running.drain(queued, f.opts.DrainTimeout)
		f.running = nil
	}
}

// Reload takes other options. They are checked first; when something is wrong nothing changes. What waits is sent to
// where it was meant for, which takes the drain timeout at the most; what comes meanwhile goes to the new Alertmanagers.
func (f *Forwarder) Reload(o Options) error {
	if err := Check(o); err != nil {
		return err
	}
	f.life.Lock()
	defer f.life.Unlock()
	if f.closed {
		return errClosed
	}
	if o.same(f.opts) {
		f.opts = o
		return nil
	}
	f.stop()
	f.opts = o
	f.hold(o)
	if !f.begun {
		return nil
	}
	return f.start()
}

var errClosed = errors.New("the forwarding of alerts is closed")

// Close ends Run and waits for it. It always returns nil and may be called more than once.
func (f *Forwarder) Close() error {
	f.close.Do(func() { close(f.closing) })
	f.life.Lock()
	begun := f.begun
	f.closed = true
	f.life.Unlock()
	if begun {
		<-f.finished
	}
	f.hold(Options{})
	return nil
}

// Alertmanagers are the addresses that alerts go to now, without credentials.
func (f *Forwarder) Alertmanagers() []*url.URL {
	return f.addresses((*notifier.Manager).Alertmanagers)
}

// DroppedAlertmanagers are those that were found and that relabelling left out, without credentials.
func (f *Forwarder) DroppedAlertmanagers() []*url.URL {
	return f.addresses((*notifier.Manager).DroppedAlertmanagers)
}

func (f *Forwarder) addresses(of func(*notifier.Manager) []*url.URL) []*url.URL {
	f.mtx.Lock()
	n := f.to
	f.mtx.Unlock()
	clean := []*url.URL{}
	if n == nil {
		return clean
	}
	for _, u := range of(n) {
		shown := *u
		shown.User = nil
		shown.Host = u.Host[strings.LastIndexByte(u.Host, '@')+1:]
		clean = append(clean, &shown)
	}
	return clean
}
