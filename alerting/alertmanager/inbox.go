package alertmanager

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
)

// What an alert may bring. Values that a rule made are shortened, because to
// lose the alert would be worse; over the API they are refused.
const (
	maxLabels      = 128
	maxLabelBytes  = 8 << 10
	maxAlertBytes  = 64 << 10
	dropInvalid    = "invalid"
	dropFull       = "queue_full"
	otherAlerts    = "other" // Counts alerts without a name, and those of names beyond maxNamed.
	maxNamed       = 50
	complainEvery  = time.Minute
	resolveTimeout = 5 * time.Minute
)

// inbox holds alerts between the rules and the set: taking them in waits for
// the dispatcher, and the evaluation of rules must wait for nothing. Of an
// alert that comes again before it is taken in, the later one counts.
type inbox struct {
	max     int
	metrics *metrics
	log     *slog.Logger

	mu      sync.Mutex
	pending map[model.Fingerprint]*alert.Alert
	order   []model.Fingerprint
	closed  bool
	drops   map[dropped]time.Time // When each was logged last.

	wake   chan struct{}
	taking sync.Mutex // held while a batch is handed on
}

// dropped is what drops are counted and logged by.
type dropped struct{ reason, alert string }

func newInbox(size int, m *metrics, log *slog.Logger) *inbox {
	return &inbox{
		max: size, metrics: m, log: log, pending: map[model.Fingerprint]*alert.Alert{}, wake: make(chan struct{}, 1),
		drops: map[dropped]time.Time{},
	}
}

// Send takes alerts from the rules. It never blocks.
func (a *Alertmanager) Send(alerts ...*notifier.Alert) {
	now := time.Now()
	for _, al := range alerts {
		a.inbox.add(fromRules(al, now))
	}
	a.inbox.signal()
}

// fromRules turns an alert of a rule into one of Alertmanager's.
func fromRules(n *notifier.Alert, now time.Time) *alert.Alert {
	a := &alert.Alert{
		Alert: model.Alert{
			Labels: labelSet(n.Labels), Annotations: labelSet(n.Annotations),
			StartsAt: n.StartsAt, EndsAt: n.EndsAt, GeneratorURL: n.GeneratorURL,
		},
		UpdatedAt: now,
	}
	if a.StartsAt.IsZero() {
		a.StartsAt = now
		if !a.EndsAt.IsZero() {
			a.StartsAt = a.EndsAt
		}
	}
	if a.EndsAt.IsZero() {
		a.Timeout, a.EndsAt = true, now.Add(resolveTimeout)
	}
	return a
}

func labelSet(ls labels.Labels) model.LabelSet {
	size := 0
	ls.Range(func(l labels.Label) { size += len(l.Name) + min(len(l.Value), maxLabelBytes) })
	each := maxLabelBytes
	if size > maxAlertBytes {
		each = maxLabelBytes / 32
	}
	set := make(model.LabelSet, ls.Len())
	ls.Range(func(l labels.Label) {
		if l.Value != "" {
			// A template can cut a character in two.
			value := strings.ToValidUTF8(l.Value, "\uFFFD")
			set[model.LabelName(l.Name)] = model.LabelValue(clip(value, each-len(ellipsis)))
		}
	})
	return set
}

// fits tells whether what shortening leaves is small enough.
func fits(a *alert.Alert) bool {
	return checkSet("labels", a.Labels) == nil && checkSet("annotations", a.Annotations) == nil
}

func (b *inbox) add(a *alert.Alert) {
	err := a.Validate()
	fp := a.Fingerprint()
	b.mu.Lock()
	defer b.mu.Unlock()
	_, waiting := b.pending[fp]
	switch {
	case b.closed:
		return
	case err != nil || !fits(a):
		b.drop(dropInvalid, a, err)
	case !waiting && len(b.order) >= b.max:
		b.drop(dropFull, a, nil)
	default:
		b.pending[fp] = a
		if !waiting {
			b.order = append(b.order, fp)
		}
	}
}

// drop counts and logs an alert that is dropped, each name once in a while.
func (b *inbox) drop(reason string, a *alert.Alert, err error) {
	name := clip(a.Name(), 200)
	d := dropped{reason, name}
	logged, known := b.drops[d]
	if name == "" || !known && len(b.drops) >= maxNamed {
		d.alert = otherAlerts
		logged = b.drops[d]
	}
	b.metrics.dropped.WithLabelValues(d.reason, d.alert).Inc()
	if now := time.Now(); now.Sub(logged) >= complainEvery {
		b.drops[d] = now
		if err == nil && reason == dropInvalid {
			err = errors.Join(checkSet("labels", a.Labels), checkSet("annotations", a.Annotations))
		}
		b.log.Warn("alert dropped", "reason", reason, "alertname", name, "labels", clip(a.Labels.String(), maxErrorBytes),
			"generator_url", clip(a.GeneratorURL, maxErrorBytes), "err", err)
	}
}

func (b *inbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// run hands batches on until it is told to stop.
func (b *inbox) run(stop <-chan struct{}, put func([]*alert.Alert)) {
	for {
		select {
		case <-stop:
			return
		case <-b.wake:
			b.flush(put)
		}
	}
}

func (b *inbox) flush(put func([]*alert.Alert)) {
	b.taking.Lock()
	defer b.taking.Unlock()
	b.mu.Lock()
	batch := make([]*alert.Alert, len(b.order))
	for i, fp := range b.order {
		batch[i] = b.pending[fp]
	}
	b.order = nil
	clear(b.pending)
	b.mu.Unlock()
	if len(batch) > 0 {
		put(batch)
	}
}

// close takes nothing more and hands on what waits.
func (b *inbox) close(put func([]*alert.Alert)) {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.flush(put)
}
