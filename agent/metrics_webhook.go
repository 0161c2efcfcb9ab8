package agent

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cyberviser/hancock/agent/notify"
)

// The outcomes of webhook events.
const (
	eventTriaged = "triaged"
	// eventRefused is every 4xx: a signature, a body, a field.
	eventRefused  = "refused"
	eventEmpty    = "empty_response"
	eventFailed   = "failed"
	eventCanceled = "canceled"
)

// webhookMetrics are those of /v1/webhook and of what follows it.
type webhookMetrics struct {
	events            *prometheus.CounterVec
	signatureFailures prometheus.Counter
	notifications     *prometheus.CounterVec
}

// newWebhookMetrics registers the metrics with all their label sets.
func newWebhookMetrics(reg prometheus.Registerer) (*webhookMetrics, error) {
	m := &webhookMetrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hancock_webhook_events_total",
			Help: "Webhook requests that passed authentication and rate limit, by outcome.",
		}, []string{"outcome"}),
		signatureFailures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "hancock_webhook_signature_failures_total",
			Help: "Webhook requests whose signature was missing, malformed or wrong.",
		}),
		notifications: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hancock_notifications_total",
			Help: "Notifications about webhook triages, by integration and by outcome after all attempts.",
		}, []string{"integration", "outcome"}),
	}
	for _, c := range []prometheus.Collector{m.events, m.signatureFailures, m.notifications} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	for _, outcome := range []string{eventTriaged, eventRefused, eventEmpty, eventFailed, eventCanceled} {
		m.events.WithLabelValues(outcome)
	}
	for _, integration := range notify.Integrations() {
		for _, outcome := range notify.Outcomes() {
			m.notifications.WithLabelValues(integration, outcome)
		}
	}
	return m, nil
}

func (m *webhookMetrics) event(outcome string) { m.events.WithLabelValues(outcome).Inc() }

func (m *webhookMetrics) notified(integration, outcome string) {
	m.notifications.WithLabelValues(integration, outcome).Inc()
}
