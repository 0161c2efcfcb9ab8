package alertmanager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	// saveDelay is the time between two saves: the first change is saved at
	// once, what follows is collected. While saving fails it becomes longer.
	saveDelay    = 500 * time.Millisecond
	maxSaveDelay = time.Minute
	// lookDelay is how often the file is compared with the alerts that ended
	// because their time is up.
	lookDelay = 15 * time.Second
)

// store keeps the set of alerts in a file, so that a restart in the middle of
// group_wait loses none and what ends meanwhile is told. It sees all changes
// as the callback of the set, under the set's lock.
type store struct {
	path    string
	grace   time.Duration // see Options.RestoreGrace
	alerts  *mem.Alerts
	nflog   *nflog.Log
	next    mem.AlertStoreCallback
	metrics *metrics
	log     *slog.Logger

	mu    sync.Mutex
	known map[model.Fingerprint]seen
	// owed are alerts that have ended and left the set, of which some receiver
	// still believes that they fire: it could not be told for so long.
	owed    map[model.Fingerprint]*alert.Alert
	changed chan struct{}

	saving sync.Mutex
	ended  int // alerts that had ended at the last save; under saving
}

// seen is what is known of an alert without asking the set.
type seen struct {
	ended bool
	end   time.Time
}

// savedAlerts is the content of the file.
type savedAlerts struct {
	Version int          `json:"version"`
	SavedAt time.Time    `json:"saved_at"`
	Alerts  []savedAlert `json:"alerts"`
}

type savedAlert struct {
	Labels       model.LabelSet `json:"labels"`
	Annotations  model.LabelSet `json:"annotations,omitempty"`
	StartsAt     time.Time      `json:"starts_at"`
	EndsAt       time.Time      `json:"ends_at"`
	UpdatedAt    time.Time      `json:"updated_at"`
	GeneratorURL string         `json:"generator_url,omitempty"`
	Timeout      bool           `json:"timeout,omitempty"`
}

const savedVersion = 1

func newStore(o Options, l *nflog.Log, next mem.AlertStoreCallback, m *metrics, log *slog.Logger) *store {
	return &store{
		path: filepath.Join(o.Path, alertsFile), grace: o.RestoreGrace, nflog: l, next: next, metrics: m, log: log,
		known: map[model.Fingerprint]seen{}, owed: map[model.Fingerprint]*alert.Alert{}, changed: make(chan struct{}, 1),
	}
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
	s.known[fp] = seen{a.ResolvedAt(now), a.EndsAt}
	delete(s.owed, fp)
	// That an alert goes on is not saved, since a restart moves its end anyway,
	// unless somebody gave it an end that is farther away.
	far := func(t time.Time) bool { return t.After(now.Add(s.grace)) }
	moved := !before.end.Equal(a.EndsAt) && (far(before.end) || far(a.EndsAt))
	if !known || before.ended != a.ResolvedAt(now) || moved {
		s.signal()
	}
}

// PostDelete implements mem.AlertStoreCallback.
func (s *store) PostDelete(a *alert.Alert) {
	s.next.PostDelete(a)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, a.Fingerprint())
	s.owed[a.Fingerprint()] = a
	s.signal()
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

func (s *store) signal() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// run saves when something changed.
func (s *store) run(stop <-chan struct{}) {
	look := time.NewTicker(lookDelay)
	defer look.Stop()
	for delay := saveDelay; ; {
		select {
		case <-stop:
			return
		case <-look.C:
			if !s.stale() {
				continue
			}
		case <-s.changed:
		}
		if err := s.save(); err != nil {
			s.metrics.saveErrors.WithLabelValues(alertsFile).Inc()
			delay = min(2*delay, maxSaveDelay)
			s.log.Error("the active alerts are not on disk; a crash would forget what changed",
				"error", err, "next_try_in", delay.String())
			s.signal()
		} else {
			delay = saveDelay
		}
		pause := time.NewTimer(delay)
		select {
		case <-stop:
			pause.Stop()
			return
		case <-pause.C:
		}
	}
}

// stale tells whether alerts ended since the last save only because their
// time is up.
func (s *store) stale() bool {
	ended := 0
	for _, a := range s.list() {
		if a.Resolved() {
			ended++
		}
	}
	s.saving.Lock()
	defer s.saving.Unlock()
	return ended != s.ended
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

func (s *store) save() error {
	s.saving.Lock()
	defer s.saving.Unlock()
	saved := savedAlerts{Version: savedVersion, SavedAt: time.Now(), Alerts: []savedAlert{}}
	s.ended = 0
	alerts := s.list()
	for _, a := range alerts {
		if a.ResolvedAt(saved.SavedAt) {
			s.ended++
		}
	}
	for _, a := range s.withOwed(alerts) {
		saved.Alerts = append(saved.Alerts, savedAlert{
			a.Labels, a.Annotations, a.StartsAt, a.EndsAt, a.UpdatedAt, a.GeneratorURL, a.Timeout,
		})
	}
	data, err := json.Marshal(saved)
	if err != nil {
		return fmt.Errorf("writing the active alerts: %w", err)
	}
	return writeFile(s.path, data)
}

// restore puts back what the file has. What fired then goes on to do so for
// the grace, within which its rule is evaluated again.
func (s *store) restore() error {
	removeLeftovers(s.path)
	data, err := os.ReadFile(s.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the active alerts: %w", err)
	}
	alerts, err := parseAlerts(data, time.Now(), s.grace)
	if err != nil {
		aside, moved := moveAside(s.path)
		if moved != nil {
			return moved
		}
		s.log.Warn("the file of active alerts is damaged; it is kept beside, and rules will fire again",
			"path", s.path, "kept_as", aside, "error", err)
		return nil
	}
	if len(alerts) == 0 {
		return nil
	}
	s.log.Info("alerts from before the restart are back", "alerts", len(alerts))
	return s.alerts.Put(context.Background(), alerts...)
}

// parseAlerts reads the file. It leaves out what is not a valid alert.
func parseAlerts(data []byte, now time.Time, grace time.Duration) ([]*alert.Alert, error) {
	var saved savedAlerts
	if err := json.Unmarshal(data, &saved); err != nil {
		return nil, fmt.Errorf("parsing the active alerts: %w", err)
	}
	if saved.Version != savedVersion {
		return nil, fmt.Errorf("the active alerts are in version %d, known is %d", saved.Version, savedVersion)
	}
	// A clock that was set back must not make them last until it is there again.
	if ahead := saved.SavedAt.Sub(now); ahead > 0 {
		saved.SavedAt = now
		for i := range saved.Alerts {
			s := &saved.Alerts[i]
			s.StartsAt, s.EndsAt, s.UpdatedAt = s.StartsAt.Add(-ahead), s.EndsAt.Add(-ahead), s.UpdatedAt.Add(-ahead)
		}
	}
	alerts := make([]*alert.Alert, 0, len(saved.Alerts))
	for _, s := range saved.Alerts {
		a := &alert.Alert{
			Alert: model.Alert{
				Labels: s.Labels, Annotations: s.Annotations, StartsAt: s.StartsAt, EndsAt: s.EndsAt, GeneratorURL: s.GeneratorURL,
			},
			UpdatedAt: s.UpdatedAt, Timeout: s.Timeout,
		}
		if a.Validate() != nil {
			continue
		}
		if !a.ResolvedAt(saved.SavedAt) && a.EndsAt.Before(now.Add(grace)) {
			a.EndsAt = now.Add(grace)
		}
		alerts = append(alerts, a)
	}
	return alerts, nil
}
