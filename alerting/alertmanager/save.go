package alertmanager

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/provider/mem"
)

// signal wakes up the reader of a channel with a buffer of one.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// run saves what changed, at once. After a failure it waits longer each time,
// but not while a request waits.
func (s *store) run(stop <-chan struct{}) {
	look := time.NewTicker(endDelay)
	defer look.Stop()
	for delay := retryDelay; ; {
		select {
		case <-stop:
			return
		case now := <-look.C:
			s.expire(now)
			continue
		case <-s.changed:
		}
		if s.flush() == nil {
			delay = retryDelay
			continue
		}
		signal(s.changed) // for the next attempt
		delay = min(2*delay, maxSaveDelay)
		if !pause(stop, nil, retryDelay) || !pause(stop, s.urged, delay-retryDelay) {
			return
		}
	}
}

// pause waits for a time or until it is urged. It returns false when stopped.
func pause(stop, urged <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-stop:
		return false
	case <-urged:
	case <-timer.C:
	}
	return true
}

// maintain compacts the file when it has grown.
func (s *store) maintain(stop <-chan struct{}) {
	tick := time.NewTicker(s.upkeep)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			s.flushing.Lock()
			grown := s.size > s.base
			s.flushing.Unlock()
			if !grown {
				continue
			}
		case <-s.grown:
		}
		if err := s.compact(); err != nil {
			s.flushing.Lock()
			s.complain(err)
			s.flushing.Unlock()
		}
	}
}

// flush appends what is pending and syncs the file. Where that fails, only a
// new file with all alerts helps.
func (s *store) flush() error {
	s.mu.Lock()
	changes, latest := s.pending, s.latest
	s.pending = nil
	s.attempts++
	attempt := s.attempts
	s.mu.Unlock()

	s.flushing.Lock()
	if len(changes) > 0 {
		lines := encode(changes, time.Now())
		s.journal.append(lines) // while a new file is written, they get into that
		s.size += int64(len(lines))
		if s.size > max(minCompactBytes, 2*s.base) {
			signal(s.grown)
		}
	}
	s.flushing.Unlock()
	err := s.journal.err()
	if err != nil {
		if err = s.compact(); err != nil {
			s.flushing.Lock()
			s.complain(err)
			s.flushing.Unlock()
		}
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.saved = max(s.saved, latest)
	} else {
		s.failed = attempt
	}
	close(s.attempted)
	s.attempted = make(chan struct{})
	return err
}

// complain counts and logs a failure to save; a long one is not logged each
// time. s.flushing is held.
func (s *store) complain(err error) {
	s.metrics.saveErrors.WithLabelValues(alertsFile).Inc()
	if now := time.Now(); now.Sub(s.complained) >= complainEvery {
		s.complained = now
		s.log.Error("failed to persist change", "file", alertsFile, "error", err)
	}
}

// wait returns nil when the last changes of these alerts are on disk, and
// errNotPersisted when an attempt to save them failed, took too long, or will
// not be made because the store is closed. Without such changes it returns at
// once. urge asks for an attempt when the last one failed; otherwise that is the
// result.
func (s *store) wait(ctx context.Context, alerts []*alert.Alert, urge bool) error {
	s.mu.Lock()
	var change uint64
	for _, a := range alerts {
		change = max(change, s.known[a.Fingerprint()].change)
	}
	attempts := s.attempts
	if !urge && attempts > 0 {
		attempts--
	}
	s.mu.Unlock()
	for {
		s.mu.Lock()
		saved, failed, attempted := s.saved >= change, s.closed || s.failed > attempts, s.attempted
		s.mu.Unlock()
		if saved {
			return nil
		}
		if failed {
			return errNotPersisted
		}
		if urge {
			signal(s.urged)
		}
		select {
		case <-attempted:
		case <-ctx.Done():
			return errNotPersisted
		}
	}
}

// close saves for the last time and releases those who wait.
func (s *store) close() error {
	err := s.flush()
	if err == nil {
		err = s.compact()
	}
	s.mu.Lock()
	s.closed = true
	close(s.attempted)
	s.attempted = make(chan struct{})
	s.mu.Unlock()
	return err
}

// acknowledged is the set of alerts as the API uses it: what it puts is on disk
// when Put returns without an error.
type acknowledged struct {
	*mem.Alerts
	store *store
}

// Put implements provider.Alerts.
func (a acknowledged) Put(ctx context.Context, alerts ...*alert.Alert) error {
	if err := a.store.put(ctx, true, alerts...); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, waitTimeout)
	defer cancel()
	return a.store.wait(ctx, alerts, true)
}

// storedFirst lets a notification go when its alerts are on disk, so that after
// a crash their end is notified, too. A disk that fails delays it only shortly.
func storedFirst(s *store, next notify.Stage) notify.Stage {
	return notify.StageFunc(func(ctx context.Context, l *slog.Logger, alerts ...*alert.Alert) (context.Context, []*alert.Alert, error) {
		waiting, cancel := context.WithTimeout(ctx, retryDelay)
		defer cancel()
		_ = s.wait(waiting, alerts, false) // the failure is logged where it happened
		return next.Exec(ctx, l, alerts...)
	})
}
