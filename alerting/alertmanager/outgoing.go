package alertmanager

import (
	"fmt"
	"maps"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// outgoing gives a test alert the labels with which an alert of a rule would be sent, and returns a report that says so.
// It returns an error if the alert cannot be sent, with the labels that it had or with those that it gets.
func (a *Alertmanager) outgoing(al *alert.Alert) (*TestReport, error) {
	if err := al.Validate(); err != nil {
		return nil, fmt.Errorf("the alert cannot be sent: %w", err)
	}
	report := &TestReport{Labels: plain(al.Labels), Annotations: plain(al.Annotations), Routes: []TestRoute{}}
	if a.options.Outgoing == nil {
		return report, nil
	}
	sent, keep := a.options.Outgoing(labels.FromMap(report.Labels))
	if report.Dropped = !keep; report.Dropped {
		return report, nil
	}
	if set := sent.Map(); !maps.Equal(set, report.Labels) {
		report.Labels, report.GivenLabels = set, report.Labels
		al.Labels = make(model.LabelSet, len(set))
		for n, v := range set {
			al.Labels[model.LabelName(n)] = model.LabelValue(v)
		}
	}
	if err := al.Validate(); err != nil {
		return nil, fmt.Errorf("the alert cannot be sent after alert_relabel_configs: %w", err)
	}
	return report, nil
}
