package outgoing

import (
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
)

// Receiver takes alerts as they are sent. Send must not block and must not change the alerts.
type Receiver interface {
	Send(alerts ...*notifier.Alert)
}

// withoutEnd is how long an Alertmanager takes an alert without an end for firing.
const withoutEnd = 5 * time.Minute

// Sender relabels alerts of rules and sends them to every receiver. Its methods are safe for concurrent use.
type Sender struct {
	to []Receiver

	mtx        sync.Mutex
	relabeling *Relabeling
	collisions Collisions
	// firing are the alerts that fire, by the hash of their own labels.
	firing map[uint64]sending
	swept  time.Time
}

// sending is an alert of a rule and the labels with which it was sent. Relabeling may have dropped it.
type sending struct {
	alert *notifier.Alert
	sent  labels.Labels
	kept  bool
	until time.Time // When an Alertmanager takes it for resolved if it is not sent again.
}

// NewSender returns a sender to these receivers.
func NewSender(r *Relabeling, to ...Receiver) *Sender {
	return &Sender{to: to, relabeling: r, firing: map[uint64]sending{}}
}

// Labels returns the labels with which an alert with the labels ls is sent at the moment. keep is false if relabeling
// drops the alert.
func (s *Sender) Labels(ls labels.Labels) (sent labels.Labels, keep bool) {
	return s.Relabeling().Labels(ls)
}

// Relabeling returns what is applied at the moment.
func (s *Sender) Relabeling() *Relabeling {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	return s.relabeling
}

// Send relabels the alerts and sends those that are left. The alerts themselves are not changed. It does not block.
func (s *Sender) Send(alerts ...*notifier.Alert) {
	now := time.Now()
	s.mtx.Lock()
	defer s.mtx.Unlock()
	s.sweep(now)
	out := make([]*notifier.Alert, 0, len(alerts))
	var resolved []sending
	for _, a := range alerts {
		sent, keep := s.relabeling.Labels(a.Labels)
		one := sending{alert: a, sent: sent, kept: keep, until: a.EndsAt}
		if a.EndsAt.IsZero() {
			one.until = now.Add(withoutEnd)
		}
		switch {
		case a.ResolvedAt(now):
			delete(s.firing, a.Labels.Hash())
			if keep {
				resolved = append(resolved, one)
			}
		default:
			s.fires(one, now)
			if keep {
				out = append(out, one.outgoing())
			}
		}
	}
	// After those that fire, which may have the same labels once they are relabeled.
	for _, r := range resolved {
		if s.collisions.Resolves(r.alert.Labels, r.sent, now) {
			out = append(out, r.outgoing())
		}
	}
	s.deliver(out)
}

// Reload applies another relabeling from now on. Alerts that fire and get other labels by it are sent with these at once,
// and resolved with the labels that they had, which nothing would do otherwise before they time out.
func (s *Sender) Reload(r *Relabeling) {
	now := time.Now()
	s.mtx.Lock()
	defer s.mtx.Unlock()
	s.relabeling, s.collisions, s.swept = r, Collisions{}, time.Time{}
	s.sweep(now)
	var out, gone []*notifier.Alert
	still := map[uint64]bool{}
	for _, before := range s.firing {
		after := before
		after.sent, after.kept = r.Labels(before.alert.Labels)
		s.fires(after, now)
		if after.kept {
			still[after.sent.Hash()] = true
		}
		changed := before.kept != after.kept || !labels.Equal(before.sent, after.sent)
		if changed && after.kept {
			out = append(out, after.outgoing())
		}
		if changed && before.kept {
			end := *before.outgoing()
			end.EndsAt = now
			gone = append(gone, &end)
		}
	}
	for _, end := range gone {
		if !still[end.Labels.Hash()] {
			still[end.Labels.Hash()] = true // Once.
			out = append(out, end)
		}
	}
	s.deliver(out)
}

// fires notes an alert that fires.
func (s *Sender) fires(one sending, now time.Time) {
	s.firing[one.alert.Labels.Hash()] = one
	if one.kept {
		s.collisions.Fires(one.alert.Labels, one.sent, one.until, now)
	}
}

func (s *Sender) deliver(alerts []*notifier.Alert) {
	if len(alerts) == 0 {
		return
	}
	for _, to := range s.to {
		to.Send(alerts...)
	}
}

// sweep forgets alerts that were not sent again.
func (s *Sender) sweep(now time.Time) {
	if now.Sub(s.swept) < sweepEvery {
		return
	}
	s.swept = now
	for key, one := range s.firing {
		if !one.until.After(now) {
			delete(s.firing, key)
		}
	}
}

// outgoing is the alert with the labels with which it is sent; everything else stays.
func (s sending) outgoing() *notifier.Alert {
	if labels.Equal(s.alert.Labels, s.sent) {
		return s.alert
	}
	a := *s.alert
	a.Labels = s.sent
	return &a
}
