package alertmanager

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/common/model"
)

// The file of alerts has one JSON object on each line: a header, then alerts. A
// later line of the same labels replaces an earlier one. Version 1 has a header
// that contains all alerts, and nothing else.
const (
	savedVersion    = 2
	savedOldVersion = 1
)

type savedHeader struct {
	Version int          `json:"version"`
	SavedAt time.Time    `json:"saved_at"`
	Alerts  []savedAlert `json:"alerts,omitempty"` // version 1
}

type savedAlert struct {
	Labels       model.LabelSet `json:"labels"`
	Annotations  model.LabelSet `json:"annotations,omitempty"`
	StartsAt     time.Time      `json:"starts_at"`
	EndsAt       time.Time      `json:"ends_at"`
	UpdatedAt    time.Time      `json:"updated_at"`
	GeneratorURL string         `json:"generator_url,omitempty"`
	Timeout      bool           `json:"timeout,omitempty"`
	Posted       bool           `json:"posted,omitempty"`
	Renewed      bool           `json:"renewed,omitempty"`
	SavedAt      time.Time      `json:"saved_at,omitzero"` // zero: as the header's
}

// savedFile is what could be read of a file.
type savedFile struct {
	alerts []savedAlert // each with its SavedAt
	latest time.Time    // the latest SavedAt
	old    bool         // nothing can be appended to it
}

// encode returns the lines of changes.
func encode(changes []change, at time.Time) []byte {
	var out bytes.Buffer
	lines := json.NewEncoder(&out)
	for _, c := range changes {
		a := c.alert
		// It cannot fail: the buffer takes all, and each value has a JSON form.
		_ = lines.Encode(savedAlert{
			a.Labels, a.Annotations, written(a.StartsAt), written(a.EndsAt), written(a.UpdatedAt),
			a.GeneratorURL, a.Timeout, c.posted, c.renewed, at,
		})
	}
	return out.Bytes()
}

// written returns the time nearest to t that has a JSON form: the year has four
// digits.
func written(t time.Time) time.Time {
	switch t = t.UTC(); {
	case t.Year() < 0:
		return time.Date(0, time.January, 1, 0, 0, 0, 0, time.UTC)
	case t.Year() > 9999:
		return time.Date(9999, time.December, 31, 0, 0, 0, 0, time.UTC)
	}
	return t
}

// encodeAll returns a file with the present alerts.
func (s *store) encodeAll() []byte {
	now := time.Now()
	alerts := s.withOwed(s.list())
	changes := make([]change, len(alerts))
	s.mu.Lock()
	for i, a := range alerts {
		k := s.known[a.Fingerprint()]
		changes[i] = change{a, k.posted, k.renewed}
	}
	s.mu.Unlock()
	header, _ := json.Marshal(savedHeader{Version: savedVersion, SavedAt: now}) // has a JSON form
	return append(append(header, '\n'), encode(changes, time.Time{})...)
}

// parseFile reads a file. With an error it returns the alerts that are not
// affected by the damage.
func parseFile(data []byte) (savedFile, error) {
	var f savedFile
	var damage []error
	index := map[model.Fingerprint]int{}
	add := func(a savedAlert) {
		if a.SavedAt.After(f.latest) {
			f.latest = a.SavedAt
		}
		fp := a.Labels.Fingerprint()
		if i, ok := index[fp]; ok {
			f.alerts[i] = a
			return
		}
		index[fp] = len(f.alerts)
		f.alerts = append(f.alerts, a)
	}
	first, rest, terminated := bytes.Cut(data, []byte("\n"))
	var header savedHeader
	err := json.Unmarshal(first, &header)
	switch {
	case err != nil:
		damage = append(damage, fmt.Errorf("line 1: %w", err))
	case header.Version == 0:
		damage, rest = append(damage, errors.New("line 1 is not a header")), data
	case header.Version != savedVersion && header.Version != savedOldVersion:
		return f, fmt.Errorf("the active alerts are in version %d, known are %d and %d", header.Version, savedOldVersion, savedVersion)
	}
	f.old = header.Version == savedOldVersion || !terminated
	f.latest = header.SavedAt
	for _, a := range header.Alerts {
		a.SavedAt = header.SavedAt
		add(a)
	}
	lost := 0
	for len(rest) > 0 {
		var line []byte
		var a savedAlert
		if line, rest, terminated = bytes.Cut(rest, []byte("\n")); !terminated || json.Unmarshal(line, &a) != nil {
			lost++
			continue
		}
		if a.SavedAt.IsZero() {
			a.SavedAt = header.SavedAt
		}
		add(a)
	}
	if lost > 0 {
		damage = append(damage, fmt.Errorf("%d lines are damaged", lost))
	}
	return f, errors.Join(damage...)
}

// restorable returns the valid alerts as a process that starts now continues
// with them.
func (f savedFile) restorable(now time.Time, grace time.Duration) []change {
	// A clock that was set back must not make them last until it is there again.
	ahead := max(0, f.latest.Sub(now))
	found := make([]change, 0, len(f.alerts))
	for _, s := range f.alerts {
		a := &alert.Alert{
			Alert: model.Alert{
				Labels: s.Labels, Annotations: s.Annotations, GeneratorURL: s.GeneratorURL,
				StartsAt: s.StartsAt.Add(-ahead), EndsAt: s.EndsAt.Add(-ahead),
			},
			UpdatedAt: s.UpdatedAt.Add(-ahead), Timeout: s.Timeout,
		}
		if a.Validate() != nil {
			continue
		}
		// An alert that had not ended goes on until its source had time to report.
		// The end that a client posted once is kept, and so is one that its sender
		// has moved and can move again.
		extend := a.EndsAt.Before(now.Add(grace))
		if s.Posted && !s.Timeout {
			extend = s.Renewed && a.EndsAt.Before(now)
		}
		if extend && !a.ResolvedAt(s.SavedAt.Add(-ahead)) {
			a.EndsAt = now.Add(grace)
		}
		found = append(found, change{a, s.Posted, s.Renewed})
	}
	return found
}

// contentHash is the hash of what a client posts besides labels and end.
func contentHash(a *alert.Alert) uint64 {
	var h xxhash.Digest
	h.Reset()
	start, _ := a.StartsAt.UTC().MarshalBinary() // fails only for zones with seconds
	_, _ = h.Write(start)
	_, _ = fmt.Fprintf(&h, "%d %t %q", alertHash(a.Annotations), a.Timeout, a.GeneratorURL)
	return h.Sum64()
}
