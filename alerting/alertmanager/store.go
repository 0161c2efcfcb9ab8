package alertmanager

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/provider/mem"
	"github.com/prometheus/common/model"
)

const (
	// retryDelay is the shortest time between two attempts to save after one
	// that failed. Without a waiting request it doubles up to maxSaveDelay.
	retryDelay   = 500 * time.Millisecond
	maxSaveDelay = time.Minute
	// endDelay is how often alerts whose end has passed are looked for.
	endDelay = time.Second
	// waitTimeout bounds how long a request waits until its alerts are saved.
	waitTimeout = 10 * time.Second
	// minCompactBytes is the size up to which the file is left to grow.
	minCompactBytes = 4 << 20
)

var errNotPersisted = errors.New("change applied but not persisted; see the log")

// store keeps the set of alerts in a journal, so that a restart in the middle
// of group_wait loses none and what ends meanwhile is notified. It receives all
// changes as the callback of the set, under the set's lock, and numbers those
// that a restart needs. One goroutine appends what has accumulated and syncs
// the file, so many requests share one write.
type store struct {
	path    string
	grace   time.Duration // see Options.RestoreGrace
	upkeep  time.Duration // see Options.MaintenanceInterval
	alerts  *mem.Alerts
	journal *journal
	nflog   *nflog.Log
	next    mem.AlertStoreCallback
	metrics *metrics
	log     *slog.Logger

	putting sync.Mutex // serialises put
	posting bool       // the source of the alerts that are being put; under putting

	mu    sync.Mutex
	known map[model.Fingerprint]seen
	// owed are alerts that have ended and left the set, of which some receiver
	// still believes that they fire: it could not be notified for so long.
	owed    map[model.Fingerprint]*alert.Alert
	nextEnd time.Time // no known alert that fires ends earlier
	pending []change  // not yet handed to the journal
	// latest is the number of the last change, saved that up to which all are on
	// disk, and attempts how often saving has begun.
	latest, saved, attempts uint64
	failed                  uint64        // the last attempt that failed
	attempted               chan struct{} // closed and replaced when an attempt ends
	closed                  bool

	changed chan struct{} // something is pending
	urged   chan struct{} // a request waits
	grown   chan struct{} // the file is large enough to be compacted

	size, base int64 // bytes of the file, now and when it was compacted; under flushing
	flushing   sync.Mutex
	complained time.Time // under flushing
}

// seen is what is known of an alert without the set.
type seen struct {
	ended bool
	end   time.Time
	// change is the number of the last change that a restart needs.
	change uint64
	// posted tells that the alert came over the API, and renewed that its sender
	// has moved the end, as Prometheus does while an alert fires.
	posted, renewed bool
	content         uint64 // of a posted alert, see contentHash
}

// change is an alert to be saved.
type change struct {
	alert           *alert.Alert
	posted, renewed bool
}

func newStore(o Options, l *nflog.Log, next mem.AlertStoreCallback, m *metrics, log *slog.Logger) *store {
	return &store{
		path: filepath.Join(o.Path, alertsFile), grace: o.RestoreGrace, upkeep: o.MaintenanceInterval,
		nflog: l, next: next, metrics: m, log: log,
		known: map[model.Fingerprint]seen{}, owed: map[model.Fingerprint]*alert.Alert{},
		attempted: make(chan struct{}), changed: make(chan struct{}, 1), urged: make(chan struct{}, 1), grown: make(chan struct{}, 1),
	}
}

// put adds alerts to the set. posted tells that they come over the API.
func (s *store) put(ctx context.Context, posted bool, alerts ...*alert.Alert) error {
	s.putting.Lock()
	defer s.putting.Unlock()
	s.posting = posted
	return s.alerts.Put(ctx, alerts...)
}

// PreStore implements mem.AlertStoreCallback.
func (s *store) PreStore(a *alert.Alert, existing bool) error { return s.next.PreStore(a, existing) }

// PostStore implements mem.AlertStoreCallback.
func (s *store) PostStore(a *alert.Alert, existing bool) {
	s.next.PostStore(a, existing)
	s.mu.Lock()
	defer s.mu.Unlock()
	now, fp := time.Now(), a.Fingerprint()
	before, known := s.known[fp]
	is := seen{ended: a.ResolvedAt(now), end: a.EndsAt, change: before.change, posted: s.posting}
	delete(s.owed, fp)
	// The moved end of an alert that goes on is not saved, because a restart
	// extends it, unless it is farther away or the sender's own.
	far := func(t time.Time) bool { return t.After(now.Add(s.grace)) }
	moved := !before.end.Equal(a.EndsAt)
	save := !known || before.ended != is.ended || before.posted != is.posted || moved && (far(before.end) || far(a.EndsAt))
	if s.posting {
		is.content = contentHash(a)
		is.renewed = known && !before.ended && !is.ended && (before.renewed || a.EndsAt.After(before.end))
		save = save || is.content != before.content || moved && !a.Timeout
	}
	s.known[fp] = is
	if !is.ended && a.EndsAt.Before(s.nextEnd) {
		s.nextEnd = a.EndsAt
	}
	if save {
		s.add(fp, a)
	}
}

// add numbers a change of a known alert. s.mu is held.
func (s *store) add(fp model.Fingerprint, a *alert.Alert) {
	s.latest++
	is := s.known[fp]
	is.change = s.latest
	s.known[fp] = is
	s.pending = append(s.pending, change{a, is.posted, is.renewed})
	signal(s.changed)
}

// PostDelete implements mem.AlertStoreCallback.
func (s *store) PostDelete(a *alert.Alert) {
	s.next.PostDelete(a)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, a.Fingerprint())
	s.owed[a.Fingerprint()] = a
}

// PostGC implements mem.AlertStoreCallback. It comes after PostDelete.
func (s *store) PostGC(fps model.Fingerprints) {
	s.next.PostGC(fps)
	firing, err := firingForReceivers(s.nflog)
	if err != nil {
		s.log.Error("reading the notification log failed; alerts that ended are kept", "error", err)
		return
	}
	// Of those that left just now a message may be on its way, which is logged
	// later; they are judged the next time.
	just := make(map[model.Fingerprint]bool, len(fps))
	for _, fp := range fps {
		just[fp] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.owed, func(fp model.Fingerprint, a *alert.Alert) bool { return !just[fp] && !firing[alertHash(a.Labels)] })
}

// after is how many alerts there would be if these came.
func (s *store) after(posted []model.Fingerprint) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.known)
	for _, fp := range posted {
		if _, ok := s.known[fp]; !ok {
			n++
		}
	}
	return n
}

// withOwed adds to the alerts of the set those that are owed.
func (s *store) withOwed(alerts []*alert.Alert) []*alert.Alert {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.owed) == 0 {
		return alerts
	}
	here := make(map[model.Fingerprint]bool, len(alerts))
	for _, a := range alerts {
		here[a.Fingerprint()] = true
	}
	for fp, a := range s.owed {
		if !here[fp] {
			alerts = append(alerts, a)
		}
	}
	return alerts
}

// expire records alerts that ended only because their time is up: after a
// restart they must not fire again.
func (s *store) expire(now time.Time) {
	var ended []model.Fingerprint
	s.mu.Lock()
	if !now.Before(s.nextEnd) {
		s.nextEnd = now.Add(maxSaveDelay)
		for fp, k := range s.known {
			switch {
			case k.ended:
			case !k.end.After(now):
				ended = append(ended, fp)
			case k.end.Before(s.nextEnd):
				s.nextEnd = k.end
			}
		}
	}
	s.mu.Unlock()
	for _, fp := range ended {
		a, err := s.alerts.Get(fp) // takes the set's lock, which comes before s.mu
		s.mu.Lock()
		if k, ok := s.known[fp]; err == nil && ok && !k.ended && k.end.Equal(a.EndsAt) {
			k.ended = true
			s.known[fp] = k
			s.add(fp, a)
		}
		s.mu.Unlock()
	}
}

func (s *store) list() []*alert.Alert {
	it := s.alerts.GetPending()
	defer it.Close()
	var all []*alert.Alert
	for a := range it.Next() {
		all = append(all, a.Data)
	}
	return all
}

// open restores what the file has and makes it ready for appending. What fired
// then goes on to do so for the grace, within which its rule is evaluated again.
func (s *store) open() error {
	removeLeftovers(s.path)
	data, err := os.ReadFile(s.path)
	missing := errors.Is(err, os.ErrNotExist)
	if err != nil && !missing {
		return fmt.Errorf("reading the active alerts: %w", err)
	}
	var saved savedFile
	if !missing {
		if saved, err = parseFile(data); err != nil {
			aside, moved := moveAside(s.path)
			if moved != nil {
				return moved
			}
			s.log.Warn("the file of active alerts is damaged; what could be read of it is used, and the file is kept beside",
				"path", s.path, "kept_as", aside, "alerts", len(saved.alerts), "error", err)
		}
	}
	if err := s.restore(saved.restorable(time.Now(), s.grace)); err != nil {
		return err
	}
	if missing || err != nil || saved.old {
		if err := writeFile(s.path, s.encodeAll()); err != nil {
			return err
		}
	}
	if s.journal, err = openJournal(s.path, true, s.complain); err != nil {
		return err
	}
	s.size, s.base = int64(len(data)), int64(len(data))
	return nil
}

func (s *store) restore(found []change) error {
	if len(found) == 0 {
		return nil
	}
	s.log.Info("alerts from before the restart are back", "alerts", len(found))
	alerts := make([]*alert.Alert, len(found))
	for i, c := range found {
		alerts[i] = c.alert
	}
	if err := s.put(context.Background(), false, alerts...); err != nil {
		return fmt.Errorf("restoring the active alerts: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range found {
		fp := c.alert.Fingerprint()
		k := s.known[fp]
		k.posted, k.renewed = c.posted, c.renewed
		if c.posted {
			k.content = contentHash(c.alert)
		}
		s.known[fp] = k
	}
	s.pending, s.saved = nil, s.latest // they come from the file
	return nil
}

// compact replaces the file by one with the present alerts.
func (s *store) compact() error {
	size, err := s.journal.compact(func(w io.Writer) (int64, error) {
		n, err := w.Write(s.encodeAll())
		return int64(n), err
	})
	s.flushing.Lock()
	defer s.flushing.Unlock()
	s.base = max(s.base, s.size) // after a failure, the file may grow once more before the next attempt
	if err == nil {
		s.size, s.base = size, size
	}
	return err
}
