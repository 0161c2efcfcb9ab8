// Package outgoing makes alerts of rules what they are when they are sent: with the external labels and after
// alert_relabel_configs, as Prometheus does before any Alertmanager. The sending, the backtest and the history share it,
// so that all of them have the same labels.
package outgoing

import (
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
)

// Relabeling is what is done to the labels of alerts before they are sent. The zero value and nil leave them as they are.
// Its methods are safe for concurrent use.
type Relabeling struct {
	external labels.Labels
	configs  []*relabel.Config
}

// New returns the relabeling by the external labels and alert_relabel_configs of a valid configuration.
func New(external labels.Labels, configs []*relabel.Config) *Relabeling {
	r := &Relabeling{external: external}
	for _, c := range configs {
		own := *c
		// A configuration that was loaded has the scheme of its global section.
		if own.NameValidationScheme == model.UnsetValidation {
			own.NameValidationScheme = model.UTF8Validation
		}
		r.configs = append(r.configs, &own)
	}
	return r
}

// Labels returns the labels with which an alert with the labels ls is sent: the external labels that it lacks are added,
// then it is relabeled. keep is false if relabeling drops the alert. The labels can be empty, as in Prometheus.
func (r *Relabeling) Labels(ls labels.Labels) (sent labels.Labels, keep bool) {
	if r == nil || r.external.IsEmpty() && len(r.configs) == 0 {
		return ls, true
	}
	b := labels.NewBuilder(ls)
	r.external.Range(func(l labels.Label) {
		if ls.Get(l.Name) == "" {
			b.Set(l.Name, l.Value)
		}
	})
	if !relabel.ProcessBuilder(b, r.configs...) {
		return labels.EmptyLabels(), false
	}
	return b.Labels(), true
}
