package rulecheck

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// Metric is a family of series that is emitted.
type Metric struct {
	Type   model.MetricType
	Labels []string
	// Values are the values of those labels whose set is closed.
	Values map[string][]string
}

// Known is what is known of the metrics that rules may speak of. Start from DefaultKnown.
type Known struct {
	// Metrics are what is emitted for certain, by their names, without the suffixes of histograms and summaries.
	Metrics map[string]Metric
	// TargetLabels are the labels that scraping puts on all series.
	TargetLabels []string
	// ExternalLabels are put on what is sent elsewhere; nothing in the store has them.
	ExternalLabels []string
	// Own are prefixes of names that nobody but us emits.
	Own []string
	// Later are prefixes of names that the configuration makes us emit, though not from the start or not in a mere check.
	Later []string
	// Open says that there are other targets or writers, whose metrics are not in Metrics.
	Open bool
	// Jobs are all values that the label job can have; nil when they are not known.
	Jobs []string
	// Recorded and Alerts are what rules outside of the checked files record and raise.
	Recorded, Alerts []string
	// Exists asks the store whether it has a series, of a time that makes it likely to come back. nil is no store. It
	// is called once for each set of matchers.
	Exists func(ctx context.Context, matchers ...*labels.Matcher) (bool, error)
}

// DefaultKnown knows nothing but that scraping adds job and instance, and that hancock_ is ours.
func DefaultKnown() Known {
	return Known{
		Metrics:      map[string]Metric{},
		TargetLabels: []string{model.InstanceLabel, model.JobLabel},
		Own:          []string{"hancock_"},
	}
}

var (
	contractRE = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)\{([a-zA-Z0-9_,]*)\} ([A-Z_]+)$`)
	labelRE    = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
)

// ParseContract reads metrics from a list of what is exposed: a line with name{label,label} TYPE for each, and lines
// that begin with space, which are their descriptions.
func ParseContract(r io.Reader) (map[string]Metric, error) {
	metrics := map[string]Metric{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line == "" || line[0] == ' ' || line[0] == '\t' {
			continue
		}
		found := contractRE.FindStringSubmatch(line)
		if found == nil {
			return nil, fmt.Errorf("line %d: %q is not like name{label,label} TYPE", n, line)
		}
		kind, ok := metricType(found[3])
		if !ok {
			return nil, fmt.Errorf("line %d: %s is of no known type: %s", n, found[1], found[3])
		}
		if _, ok := metrics[found[1]]; ok {
			return nil, fmt.Errorf("line %d: %s is there twice", n, found[1])
		}
		m := Metric{Type: kind}
		for _, l := range strings.FieldsFunc(found[2], func(r rune) bool { return r == ',' }) {
			if !labelRE.MatchString(l) {
				return nil, fmt.Errorf("line %d: %s: %q is no name of a label", n, found[1], l)
			}
			m.Labels = append(m.Labels, l)
		}
		metrics[found[1]] = m
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	return metrics, nil
}

// metricType translates the name of a type in the exposition format.
func metricType(name string) (model.MetricType, bool) {
	n, ok := dto.MetricType_value[name]
	if !ok {
		return "", false
	}
	switch dto.MetricType(n) {
	case dto.MetricType_COUNTER:
		return model.MetricTypeCounter, true
	case dto.MetricType_GAUGE:
		return model.MetricTypeGauge, true
	case dto.MetricType_SUMMARY:
		return model.MetricTypeSummary, true
	case dto.MetricType_HISTOGRAM:
		return model.MetricTypeHistogram, true
	case dto.MetricType_GAUGE_HISTOGRAM:
		return model.MetricTypeGaugeHistogram, true
	default:
		return model.MetricTypeUnknown, true
	}
}

// Add adds metrics; the labels of one that is known already are joined.
func (k *Known) Add(metrics map[string]Metric) {
	if k.Metrics == nil {
		k.Metrics = map[string]Metric{}
	}
	for name, m := range metrics {
		before := k.Metrics[name]
		m.Labels = slices.Compact(slices.Sorted(slices.Values(slices.Concat(before.Labels, m.Labels))))
		if m.Values == nil {
			m.Values = before.Values
		}
		k.Metrics[name] = m
	}
}

// AddFamilies adds what a registry has gathered, such as what the Go runtime and the operating system bring.
func (k *Known) AddFamilies(families []*dto.MetricFamily) {
	metrics := map[string]Metric{}
	for _, mf := range families {
		kind, _ := metricType(mf.GetType().String())
		names := map[string]bool{}
		for _, m := range mf.GetMetric() {
			for _, l := range m.GetLabel() {
				names[l.GetName()] = true
			}
		}
		metrics[mf.GetName()] = Metric{Type: kind, Labels: slices.Sorted(maps.Keys(names))}
	}
	k.Add(metrics)
}

// series is what a name of a series stands for.
type series struct {
	family string
	typ    model.MetricType
	labels map[string]bool
	values map[string][]string
	// any says that the labels are not known.
	any bool
}

// index has all names of series that exist for certain.
func (k Known) index(files []File) map[string]series {
	all := map[string]series{}
	add := func(name, family string, m Metric, more ...string) {
		s := series{family: family, typ: m.Type, labels: map[string]bool{}, values: m.Values}
		for _, l := range slices.Concat(m.Labels, more, k.TargetLabels) {
			s.labels[l] = true
		}
		all[name] = s
	}
	// What scraping itself tells of each target.
	for _, name := range [...]string{
		"up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added",
		"scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes",
	} {
		add(name, name, Metric{Type: model.MetricTypeGauge})
	}
	for name, m := range k.Metrics {
		switch m.Type {
		case model.MetricTypeHistogram, model.MetricTypeGaugeHistogram:
			add(name, name, m) // As a native one.
			add(name+"_bucket", name, m, model.BucketLabel)
			add(name+"_count", name, m)
			add(name+"_sum", name, m)
		case model.MetricTypeSummary:
			add(name, name, m, model.QuantileLabel)
			add(name+"_count", name, m)
			add(name+"_sum", name, m)
		default:
			add(name, name, m)
		}
	}
	// What rules write.
	for _, name := range append([]string{alertsMetric, "ALERTS_FOR_STATE"}, k.Recorded...) {
		all[name] = series{family: name, any: true}
	}
	for _, f := range files {
		for _, g := range f.Groups.Groups {
			for _, r := range g.Rules {
				if r.Record != "" {
					all[r.Record] = series{family: r.Record, any: true}
				}
			}
		}
	}
	return all
}
