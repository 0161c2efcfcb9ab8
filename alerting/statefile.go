package alerting

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/tsdb/fileutil"
)

const stateVersion = 1

// stateFile is the content of Options.StateFile.
type stateFile struct {
	Version int          `json:"version"`
	SavedAt time.Time    `json:"saved_at"`
	Alerts  []savedAlert `json:"alerts"`
}

// savedAlert is an alert and its rule: one that fires, or one that was resolved lately because no rule has it any more
// and that an Alertmanager may not have received.
type savedAlert struct {
	File            string            `json:"file"`
	Group           string            `json:"group"`
	Rule            string            `json:"rule"`
	RuleLabels      string            `json:"rule_labels"`
	Expr            string            `json:"expr"`
	Labels          labels.Labels     `json:"labels"`
	Annotations     labels.Labels     `json:"annotations"`
	Value           model.SampleValue `json:"value"`
	ActiveAt        time.Time         `json:"active_at"`
	FiredAt         time.Time         `json:"fired_at"`
	KeepFiringSince time.Time         `json:"keep_firing_since,omitzero"`
	ResolvedAt      time.Time         `json:"resolved_at,omitzero"`
}

// save persists the firing alerts if they changed. A failure is logged once; the next evaluation saves again. mtx is
// held.
func (h *handover) save() {
	if !h.unsaved || h.path == "" {
		return
	}
	err := h.write()
	if err != nil && !h.failing {
		h.logger.Error("failed to persist the state of alerts", "path", h.path, "err", err)
	}
	h.unsaved, h.failing = err != nil, err != nil
}

func (h *handover) write() error {
	s := stateFile{Version: stateVersion, SavedAt: time.Now(), Alerts: []savedAlert{}}
	add := func(c carried) {
		s.Alerts = append(s.Alerts, savedAlert{
			File: c.file, Group: c.group, Rule: c.rule, RuleLabels: c.labels, Expr: c.expr,
			Labels: c.alert.Labels, Annotations: c.alert.Annotations, Value: model.SampleValue(c.alert.Value),
			ActiveAt: c.alert.ActiveAt, FiredAt: c.alert.FiredAt, KeepFiringSince: c.alert.KeepFiringSince,
			ResolvedAt: c.alert.ResolvedAt,
		})
	}
	for _, c := range h.owed {
		add(c)
	}
	for _, g := range h.groups {
		for _, r := range g.AlertingRules() {
			o := originOf(g, r)
			r.ForEachActiveAlert(func(a *rules.Alert) {
				if c, owed := h.owed[a.Labels.Hash()]; a.State == rules.StateFiring && (!owed || !c.alert.ResolvedAt.IsZero()) {
					add(carried{origin: o, alert: *a})
				}
			})
		}
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	dir := filepath.Dir(h.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// The name is fixed, so that a file that a crash has left is overwritten.
	f, err := os.OpenFile(h.path+".tmp", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return fileutil.Rename(f.Name(), h.path)
}

// load returns the alerts that an earlier process has saved. Without a file that can be read there are none.
func (h *handover) load(now time.Time) []carried {
	if h.path == "" {
		return nil
	}
	s, err := readState(h.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		h.logger.Warn("failed to restore the state of alerts", "path", h.path, "err", err)
		return nil
	}
	// A clock that was set back must not keep an alert firing until it is there again.
	ahead := max(s.SavedAt.Sub(now), 0)
	back := func(t time.Time) time.Time {
		if t.IsZero() {
			return t
		}
		return t.Add(-ahead)
	}
	var all []carried
	for _, a := range s.Alerts {
		state := rules.StateFiring
		if !a.ResolvedAt.IsZero() {
			state = rules.StateInactive
		}
		all = append(all, carried{
			origin: origin{a.File, a.Group, a.Rule, a.RuleLabels, a.Expr},
			alert: rules.Alert{
				State: state, Labels: a.Labels, Annotations: a.Annotations, Value: float64(a.Value),
				ActiveAt: back(a.ActiveAt), FiredAt: back(a.FiredAt), KeepFiringSince: back(a.KeepFiringSince),
				ResolvedAt: back(a.ResolvedAt),
			},
			restored: true, notBefore: now.Add(h.settle),
		})
	}
	return all
}

func readState(path string) (s stateFile, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("parsing: %w", err)
	}
	if s.Version != stateVersion {
		return s, fmt.Errorf("version %d is not supported", s.Version)
	}
	return s, nil
}
