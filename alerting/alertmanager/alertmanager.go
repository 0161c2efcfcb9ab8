// Package alertmanager stands at the end of the line from the rules to the
// people: it is Prometheus' Alertmanager inside this process. Alerts come in
// from the rules or over API v2, are grouped, silenced and inhibited, and go
// out to the receivers; each attempt to notify is recorded in a ledger.
//
// Nothing here talks to other Alertmanagers. The routing tree, the receivers,
// the inhibitor and the dispatcher form a generation, which a reload replaces
// as a whole; alerts, silences and the notification log outlive it and, in
// three files, the process.
package alertmanager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/eventrecorder"
	"github.com/prometheus/alertmanager/featurecontrol"
	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/provider/mem"
	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/cyberviser/hancock/internal/amcompat"
)

// Options are what an Alertmanager needs to know.
type Options struct {
	// Path is the folder of the three files; it is made if need be.
	Path string
	// Config is the configuration; nil stands for one receiver that tells
	// nobody, grouped by alertname.
	Config *config.Config
	// ExternalURL is where people find this process; it stands in messages.
	ExternalURL *url.URL
	// Retention is how long the notification log and ended silences are kept.
	Retention time.Duration
	// RestoreGrace is how long after a start an alert from before goes on, if
	// its rule does not say anything: longer than two evaluation intervals.
	RestoreGrace time.Duration
	// AttemptTimeout bounds one try to notify.
	AttemptTimeout time.Duration
	// CloseTimeout is what notifications in flight get to end, in Close and Reload.
	CloseTimeout time.Duration
	// MaintenanceInterval is how often the files are compacted and ended
	// silences and alerts forgotten.
	MaintenanceInterval time.Duration
	// MaxPending bounds the different alerts that wait to be taken in, and those
	// up to which more are taken over the API.
	MaxPending int
	// Ledger reads recorded attempts back; without it nobody can ask for them.
	Ledger Ledger
	// Outgoing returns the labels with which an alert of a rule is sent, and whether it is sent at all. Test alerts get
	// them too. nil leaves labels as they are.
	Outgoing func(labels.Labels) (sent labels.Labels, keep bool)
	// Fresh reports whether the samples of this process are stored. While they are not, the heartbeat is not
	// notified. nil is always true. A reload does not change it.
	Fresh func() bool
}

// DefaultOptions are Alertmanager's own defaults, where it has such.
func DefaultOptions() Options {
	return Options{
		ExternalURL:         &url.URL{Scheme: "http", Host: "127.0.0.1:5000"},
		Retention:           120 * time.Hour,
		RestoreGrace:        5 * time.Minute,
		AttemptTimeout:      time.Minute,
		CloseTimeout:        5 * time.Second,
		MaintenanceInterval: 15 * time.Minute,
		MaxPending:          100_000,
	}
}

// Validate tells what cannot work.
func (o Options) Validate() error {
	switch {
	case o.Path == "":
		return errors.New("alertmanager: no folder for silences and the notification log is given")
	case o.ExternalURL == nil:
		return errors.New("alertmanager: no external URL is given")
	case o.Retention <= 0 || o.RestoreGrace <= 0 || o.AttemptTimeout <= 0 || o.CloseTimeout <= 0 || o.MaintenanceInterval <= 0:
		return errors.New("alertmanager: retention, grace, timeouts and the maintenance interval must be longer than 0")
	case o.MaxPending <= 0:
		return errors.New("alertmanager: the number of pending alerts must be greater than 0")
	}
	return nil
}

// Alertmanager is the embedded Alertmanager. All methods may be called
// concurrently.
type Alertmanager struct {
	// options are those of the start; the generation holds the reloaded ones.
	options Options
	log     *slog.Logger
	metrics *metrics

	silences *silence.Silences
	silencer *silence.Silencer
	nflog    *nflog.Log
	alerts   *mem.Alerts
	store    *store
	inbox    *inbox

	silenceJournal *journal
	nflogJournal   *journal
	pipelines      *notify.PipelineBuilder
	dispatching    *dispatch.DispatcherMetrics

	// current is the generation that works; reloading serialises its change.
	current   atomic.Pointer[generation]
	reloading sync.Mutex
	closed    bool // under reloading

	api     lazyAPI
	testing sync.Mutex // held while a test notification is under way

	stop    chan struct{}
	workers sync.WaitGroup
}

// Open reads what an earlier process left in the folder and starts to work.
// The three files belong to the Alertmanager until Close.
func Open(o Options, reg prometheus.Registerer, log *slog.Logger) (am *Alertmanager, err error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	amcompat.Init()
	listen()
	a := &Alertmanager{options: o, log: log, metrics: newMetrics(reg), stop: make(chan struct{})}
	g, err := a.build(o.Config)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Path, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the alertmanager: %w", err)
	}
	defer func() {
		if err != nil {
			a.release()
		}
	}()
	used := usedOnly{reg, a}
	if err := a.openSilences(used); err != nil {
		return nil, err
	}
	if err := a.openNotificationLog(used); err != nil {
		return nil, err
	}
	a.silencer = silence.NewSilencer(a.silences, log, eventrecorder.Recorder{})
	a.store = newStore(o, a.nflog, a.silencer, a.metrics, log)
	a.alerts, err = mem.NewAlerts(context.Background(), o.MaintenanceInterval, 0, a.store, log,
		eventrecorder.Recorder{}, used, featurecontrol.NoopFlags{})
	if err != nil {
		return nil, fmt.Errorf("making the set of alerts: %w", err)
	}
	a.store.alerts = a.alerts
	if err := a.store.open(); err != nil {
		return nil, err
	}
	a.warnOfBroadSilences(context.Background(), silence.QState(silence.SilenceStateActive))
	a.pipelines = notify.NewPipelineBuilder(used, featurecontrol.NoopFlags{}, eventrecorder.Recorder{})
	a.dispatching = dispatch.NewDispatcherMetrics(false, used, featurecontrol.NoopFlags{})
	a.inbox = newInbox(o.MaxPending, a.metrics, log)

	a.workers.Go(func() { a.silences.Maintenance(o.MaintenanceInterval, silencesFile, a.stop, a.compactSilences) })
	a.workers.Go(func() { a.nflog.Maintenance(o.MaintenanceInterval, nflogFile, a.stop, a.compactNotificationLog) })
	a.workers.Go(func() { a.nflogJournal.run(a.stop) })
	a.workers.Go(func() { a.store.run(a.stop) })
	a.workers.Go(func() { a.store.maintain(a.stop) })
	a.workers.Go(func() { a.inbox.run(a.stop, a.put) })
	a.start(g)
	return a, nil
}

// release gives back what an Open that failed had taken.
func (a *Alertmanager) release() {
	if a.alerts != nil {
		a.alerts.Close()
	}
	if a.silenceJournal != nil {
		a.silenceJournal.close()
	}
	if a.nflogJournal != nil {
		a.nflogJournal.close()
	}
	if a.store != nil && a.store.journal != nil {
		a.store.journal.close()
	}
}

// put takes alerts in. It waits for the dispatcher when that is behind.
func (a *Alertmanager) put(alerts []*alert.Alert) {
	if err := a.store.put(context.Background(), false, alerts...); err != nil {
		a.log.Error("taking alerts in failed", "alerts", len(alerts), "error", err)
	}
}

// Reload applies a configuration, external URL, retention and timeouts; other
// options do not change. All that can fail is done first; then
// the running generation ends, notifications in flight get CloseTimeout to do
// so, and the new one starts. Options that fail change nothing. The functions
// are called in between: alerts that they send, or resolve, are routed by the new configuration alone.
func (a *Alertmanager) Reload(o Options, between ...func()) error {
	if err := o.Validate(); err != nil {
		return err
	}
	builder := &Alertmanager{options: o, log: a.log, metrics: a.metrics}
	g, err := builder.build(o.Config)
	if err != nil {
		return err
	}
	a.reloading.Lock()
	defer a.reloading.Unlock()
	if a.closed {
		return errors.New("the alertmanager is closed")
	}
	before := a.current.Load().options
	a.current.Load().stop(before.CloseTimeout)
	for _, change := range between {
		change()
	}
	a.inbox.flush(a.put)
	a.start(g)
	if o.Retention != before.Retention {
		// The next compaction tries again.
		if err := a.retainSilences(o.Retention); err != nil {
			a.log.Warn("failed to apply the retention to silences", "err", err)
		}
	}
	return nil
}

// Options returns the options in effect.
func (a *Alertmanager) Options() Options { return a.current.Load().options }

// Notifies tells whether somebody outside this process is told of anything.
func (a *Alertmanager) Notifies() bool { return a.current.Load().notifies }

// Close ends what runs and saves silences, notification log and alerts. What
// is being sent gets CloseTimeout to end.
func (a *Alertmanager) Close() error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	if a.closed {
		return nil
	}
	a.closed = true
	a.inbox.close(a.put)
	g := a.current.Load()
	g.stop(g.options.CloseTimeout)
	close(a.stop)
	a.workers.Wait()
	err := errors.Join(a.store.close(), a.store.journal.close(), a.silenceJournal.close(), a.nflogJournal.close())
	a.alerts.Close()
	if err != nil {
		return fmt.Errorf("closing the alertmanager: %w", err)
	}
	return nil
}

// silencedBy is the identifiers of the silences that hold the labels back now.
func (a *Alertmanager) silencedBy(ctx context.Context, labels model.LabelSet) ([]string, error) {
	found, _, err := a.silences.Query(ctx, silence.QState(silence.SilenceStateActive), silence.QMatches(labels))
	if err != nil {
		return nil, fmt.Errorf("looking for silences: %w", err)
	}
	ids := make([]string, len(found))
	for i, s := range found {
		ids[i] = s.Id
	}
	return ids, nil
}
