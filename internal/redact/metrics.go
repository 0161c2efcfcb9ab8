package redact

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Gatherer returns the metrics of g with only the hosts of URLs in the values of labels. Series that would become the same
// are told apart by a number behind the host, in the order of their full URLs: http://example.com#2.
func Gatherer(g prometheus.Gatherer) prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families, err := g.Gather()
		for _, f := range families {
			cleanFamily(f)
		}
		return families, err
	})
}

// cleanFamily replaces labels, which the metrics of a library share with it, and changes none.
func cleanFamily(f *dto.MetricFamily) {
	changed := map[string][]*dto.Metric{} // by the labels as they would be
	before := map[*dto.Metric]string{}
	for _, m := range f.Metric {
		if !slices.ContainsFunc(m.Label, func(l *dto.LabelPair) bool { return URLs(l.GetValue()) != l.GetValue() }) {
			continue
		}
		before[m] = key(m.Label)
		labels := make([]*dto.LabelPair, len(m.Label))
		for i, l := range m.Label {
			value := URLs(l.GetValue())
			labels[i] = &dto.LabelPair{Name: l.Name, Value: &value}
		}
		m.Label = labels
		k := key(labels)
		changed[k] = append(changed[k], m)
	}
	if len(changed) == 0 {
		return
	}
	for _, m := range f.Metric {
		if _, ok := before[m]; !ok {
			if k := key(m.Label); changed[k] != nil { // It had the bare host all along, and is the first.
				changed[k] = append(changed[k], m)
			}
		}
	}
	for _, same := range changed {
		slices.SortStableFunc(same, func(a, b *dto.Metric) int { return strings.Compare(before[a], before[b]) })
		for n, m := range same[1:] {
			for _, l := range m.Label {
				if strings.Contains(l.GetValue(), "://") {
					numbered := fmt.Sprintf("%s#%d", l.GetValue(), n+2)
					l.Value = &numbered
				}
			}
		}
	}
	slices.SortStableFunc(f.Metric, func(a, b *dto.Metric) int { return strings.Compare(key(a.Label), key(b.Label)) })
}

func key(labels []*dto.LabelPair) string {
	var b strings.Builder
	for _, l := range labels {
		fmt.Fprintf(&b, "%s\x00%s\x00", l.GetName(), l.GetValue())
	}
	return b.String()
}
