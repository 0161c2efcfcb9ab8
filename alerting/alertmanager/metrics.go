package alertmanager

import (
	"regexp"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	dto "github.com/prometheus/client_model/go"
)

// metrics are what this package adds to Alertmanager's own.
type metrics struct {
	attempts   *prometheus.CounterVec
	dropped    *prometheus.CounterVec
	saveErrors *prometheus.CounterVec
	registerer prometheus.Registerer

	// used is the kinds of integrations that are configured.
	used atomic.Pointer[map[string]bool]
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		registerer: reg,
		attempts: f.NewCounterVec(prometheus.CounterOpts{
			Name: "hancock_notification_attempts_total",
			Help: "Tries to notify a receiver, by kind of integration and outcome (ok, failed); tests count too.",
		}, []string{"integration", "outcome"}),
		dropped: f.NewCounterVec(prometheus.CounterOpts{
			Name: "hancock_alerts_dropped_total",
			Help: "Alerts of rules that were dropped before routing, by reason (invalid, queue_full) and name of the alert.",
		}, []string{"reason", "alert"}),
		saveErrors: f.NewCounterVec(prometheus.CounterOpts{
			Name: "hancock_alertmanager_save_errors_total",
			Help: "Failures to write silences, the notification log or active alerts to disk, by file.",
		}, []string{"file"}),
	}
	for _, reason := range []string{dropInvalid, dropFull} {
		m.dropped.WithLabelValues(reason, otherAlerts)
	}
	// One kind is always there, so that a rule on failures has something to
	// look at before anybody is configured.
	m.attempts.WithLabelValues("webhook", OutcomeOK)
	m.attempts.WithLabelValues("webhook", OutcomeFailed)
	for _, file := range []string{silencesFile, nflogFile, alertsFile} {
		m.saveErrors.WithLabelValues(file)
	}
	return m
}

// use makes the series of the kinds of integrations that are configured, so
// that rate() sees their first failure.
func (m *metrics) use(kinds map[string]bool) {
	for kind := range kinds {
		m.attempts.WithLabelValues(kind, OutcomeOK)
		m.attempts.WithLabelValues(kind, OutcomeFailed)
	}
	m.used.Store(&kinds)
}

// usedOnly registers collectors so that of Alertmanager's series only those of
// integrations in use are shown: it makes three hundred, and most processes
// have one integration or none.
type usedOnly struct {
	prometheus.Registerer
	am *Alertmanager
}

// Register implements prometheus.Registerer.
func (u usedOnly) Register(c prometheus.Collector) error { return u.Registerer.Register(u.wrap(c)) }

// MustRegister implements prometheus.Registerer.
func (u usedOnly) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		u.Registerer.MustRegister(u.wrap(c))
	}
}

// Unregister implements prometheus.Registerer.
func (u usedOnly) Unregister(c prometheus.Collector) bool { return u.Registerer.Unregister(u.wrap(c)) }

// wrap leaves alone what has no series of integrations.
func (u usedOnly) wrap(c prometheus.Collector) prometheus.Collector {
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		c.Describe(descs)
	}()
	found := false
	for d := range descs {
		found = found || integrationLabelRE.MatchString(d.String())
	}
	if !found {
		return c
	}
	return usedCollector{c, u.am.metrics}
}

var integrationLabelRE = regexp.MustCompile(`variableLabels: \{[^}]*\bintegration\b`)

type usedCollector struct {
	prometheus.Collector
	metrics *metrics
}

// Collect implements prometheus.Collector.
func (u usedCollector) Collect(ch chan<- prometheus.Metric) {
	all := make(chan prometheus.Metric)
	go func() {
		defer close(all)
		u.Collector.Collect(all)
	}()
	used := u.metrics.used.Load()
	for m := range all {
		if used == nil || shown(m, *used) {
			ch <- m
		}
	}
}

func shown(m prometheus.Metric, used map[string]bool) bool {
	var d dto.Metric
	if m.Write(&d) != nil {
		return true
	}
	for _, l := range d.GetLabel() {
		if l.GetName() == "integration" {
			return used[l.GetValue()]
		}
	}
	return true
}
