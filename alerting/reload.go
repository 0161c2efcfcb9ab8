package alerting

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/rules"
)

// ruleSet is a configuration with its rule files, read and found right. It is the rules.GroupLoader that gives
// Prometheus what was checked, whatever has become of the files since.
type ruleSet struct {
	loader
	opts   Options
	files  []string
	texts  []File
	groups map[string]*rulefmt.RuleGroups
	// shift is a nanosecond of query offset, or none; see outsideChanged.
	shift time.Duration
}

// load reads and checks everything that o names.
func load(o Options, logger *slog.Logger) (ruleSet, error) {
	if err := o.Validate(); err != nil {
		return ruleSet{}, fmt.Errorf("alerting options: %w", err)
	}
	if o.Loaded != nil {
		s := o.Loaded.set
		s.loader, s.opts = newLoader(logger), o
		return s, nil
	}
	files, err := o.files()
	if err != nil {
		return ruleSet{}, err
	}
	s := ruleSet{loader: newLoader(logger), opts: o, files: files, groups: make(map[string]*rulefmt.RuleGroups, len(files))}
	var errs []error
	for _, f := range files {
		text, groups, found := s.read(f, o)
		s.groups[f] = groups
		s.texts = append(s.texts, File{Name: f, Text: text})
		errs = append(errs, found...)
	}
	return s, errors.Join(errs...)
}

// Load gives the groups of a file, each with its query offset written out.
func (s ruleSet) Load(file string, _ bool, _ model.ValidationScheme) (*rulefmt.RuleGroups, []error) {
	out := &rulefmt.RuleGroups{Groups: slices.Clone(s.groups[file].Groups)}
	for i := range out.Groups {
		offset := model.Duration(s.opts.QueryOffset)
		if own := out.Groups[i].QueryOffset; own != nil {
			offset = *own
		}
		offset += model.Duration(s.shift)
		out.Groups[i].QueryOffset = &offset
	}
	return out, nil
}

// outsideChanged says that rules see another outside than before: the URL and the labels that they put into
// templates. Prometheus compares groups by what stands in their files and goes on with those that seem the same, so
// they would keep the old ones; a nanosecond of query offset, which no sample can tell, makes them others. Their
// alerts live on in either case.
func (s ruleSet) outsideChanged(before ruleSet) bool {
	return !labels.Equal(s.opts.ExternalLabels, before.opts.ExternalLabels) ||
		s.opts.externalURL().String() != before.opts.externalURL().String()
}

// Files are the rule files as they were loaded, whatever has become of them since.
func (m *Manager) Files() []File {
	m.mtx.Lock()
	defer m.mtx.Unlock()
	return slices.Clone(m.in.texts)
}

// configure sets what all groups share. Nothing may be evaluated meanwhile.
func (m *Manager) configure(in ruleSet) {
	m.opts.ExternalURL = in.opts.externalURL()
	m.opts.NotifyFunc = m.withHeartbeat(in.opts.notify(m.to))
	m.opts.ResendDelay = in.opts.ResendDelay
	m.opts.GroupLoader = in
	if !m.began { // They are about the restart, which is over then, and groups read them at any time.
		m.opts.OutageTolerance = in.opts.OutageTolerance
		m.opts.ForGracePeriod = in.opts.ForGracePeriod
	}
}

// Reload takes another configuration. All that can be wrong with it is looked for first: when there is something,
// nothing changes, and the error names the file, the line and the rule. Alerts of rules that are the same go on where
// they were, also when their rule moves to another group; firing alerts that no rule has any more are sent as resolved.
//
// It waits for evaluations of groups that change, and of all when what they share does. OutageTolerance and
// ForGracePeriod are about the start and have no effect later.
func (m *Manager) Reload(o Options) error {
	m.mtx.Lock()
	defer m.mtx.Unlock()
	if m.closed.Load() {
		return errClosed
	}
	in, err := load(o, m.logger)
	if err != nil {
		return err
	}
	in.shift = m.in.shift
	if in.outsideChanged(m.in) {
		in.shift = 1 - in.shift
	}
	m.gate.Lock()
	m.configure(in)
	m.gate.Unlock()
	m.in = in
	if !m.began {
		return m.show()
	}
	if err := m.update(nil); err != nil {
		return err
	}
	if m.closed.Load() { // Prometheus takes nothing any more then, and says nothing.
		return errClosed
	}
	return nil
}

var errClosed = errors.New("the rules are closed")

// update hands the loaded rules to the evaluation, and alerts of an earlier process. It waits for those groups that
// change.
func (m *Manager) update(restored []carried) error {
	o := m.in.opts
	known := make(chan struct{})
	defer close(known)
	err := m.rules.Update(o.EvaluationInterval, m.in.files, o.ExternalLabels, o.externalURL().String(), m.evaluate(known))
	if err != nil {
		return fmt.Errorf("loading rules: %w", err)
	}
	m.alerts.change(restored, m.rules.RuleGroups())
	return nil
}

// show makes groups of the loaded rules that can be looked at while nothing is evaluated. They are Prometheus' own,
// but for their metrics, which begin with the evaluation.
func (m *Manager) show() error {
	opts := *m.opts
	opts.Metrics = rules.NewGroupMetrics(nil)
	o := m.in.opts
	byKey, errs := rules.NewManager(&opts).LoadGroups(o.EvaluationInterval, o.ExternalLabels, o.externalURL().String(),
		nil, false, m.in.files...)
	if len(errs) > 0 {
		return fmt.Errorf("loading rules: %w", errors.Join(errs...))
	}
	groups := make([]*rules.Group, 0, len(byKey))
	for _, g := range byKey {
		groups = append(groups, g)
	}
	slices.SortFunc(groups, func(a, b *rules.Group) int {
		return cmp.Or(cmp.Compare(a.File(), b.File()), cmp.Compare(a.Name(), b.Name()))
	})
	m.shown.Store(&groups)
	return nil
}
