package history

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/common/model"
)

// silenced adds the silences to the episodes that they concern.
func (h *History) silenced(episodes []Episode) error {
	if h.Silences == nil {
		return nil
	}
	for i := range episodes {
		e := &episodes[i]
		if e.DroppedByRelabeling {
			continue
		}
		all, err := h.Silences(e.Labels)
		if err != nil {
			return err
		}
		for _, s := range all {
			if s.EndsAt.After(e.StartedAt) && (e.EndedAt.IsZero() || s.StartsAt.Before(e.EndedAt)) && s.StartsAt.Before(h.Now()) {
				e.Silences = append(e.Silences, s)
			}
		}
	}
	return nil
}

// notifiedFrom is from when on a notification of the status can belong to the episode. Where samples are missing, an
// alert fires before its first one, though not before its expression became true.
func (e Episode) notifiedFrom(status string) time.Time {
	anew := e.ActiveSince.After(e.ended) && e.ActiveSince.Before(e.StartedAt)
	if anew && status == string(model.AlertFiring) {
		return e.ActiveSince
	}
	return e.StartedAt
}

// notified adds the notifications to their episodes: a notification belongs to the last episode of its
// alert that had begun.
func (h *History) notified(ctx context.Context, q Query, episodes []Episode) error {
	if h.Attempts == nil || len(episodes) == 0 {
		return nil
	}
	from, to, by := q.From, time.Time{}, make(map[string][]int)
	for i, e := range episodes { // the newest first
		switch {
		case e.next.IsZero():
			to = h.Now()
		case e.next.After(to):
			to = e.next
		}
		if !e.DroppedByRelabeling {
			by[e.Fingerprint] = append(by[e.Fingerprint], i)
		}
		if begin := e.notifiedFrom("firing"); begin.Before(from) {
			from = begin
		}
	}
	attempts, err := h.Attempts(ctx, from, to, maxAttempts)
	if err != nil {
		return err
	}
	if len(attempts) == maxAttempts {
		oldest := attempts[len(attempts)-1].Time
		for i := range episodes {
			if episodes[i].StartedAt.Before(oldest) {
				episodes[i].NotificationsSince = oldest
			}
		}
	}
	for _, a := range slices.Backward(attempts) {
		for fingerprint, status := range a.Statuses {
			// One episode of each alert; relabeling can give several alerts the same labels.
			for _, i := range by[fingerprint] {
				e := &episodes[i]
				until := e.next
				if status == string(model.AlertFiring) {
					until = e.anew
				}
				if !a.Time.Before(e.notifiedFrom(status)) && (until.IsZero() || a.Time.Before(until)) {
					n := a.Notification
					n.Status = status
					e.Notifications = append(e.Notifications, n)
				}
			}
		}
	}
	return nil
}
