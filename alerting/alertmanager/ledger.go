package alertmanager

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/common/model"
)

// AttemptEvent is the value of the field "event" in the log records that form
// the ledger.
const AttemptEvent = "notification_attempt"

// Outcomes of an attempt.
const (
	OutcomeOK     = "ok"
	OutcomeFailed = "failed"
)

const (
	maxListedAlerts = 100
	maxListedBytes  = 32 << 10
	maxErrorBytes   = 2 << 10
)

// Attempt is one try to notify a receiver through one integration.
type Attempt struct {
	Time        time.Time         `json:"time"`
	Receiver    string            `json:"receiver"`
	Integration string            `json:"integration"` // slack[0]
	Kind        string            `json:"kind"`        // slack
	Alerts      []AttemptAlert    `json:"alerts"`      // the first 100
	AlertsTotal int               `json:"alerts_total"`
	GroupKey    string            `json:"group_key"`
	GroupLabels map[string]string `json:"group_labels,omitempty"`
	Outcome     string            `json:"outcome"`
	Retry       bool              `json:"retry"`       // it is tried again
	StatusCode  int               `json:"status_code"` // 0: not known
	Error       string            `json:"error,omitempty"`
	DurationMS  float64           `json:"duration_ms"`
	Try         int               `json:"try"`
	Test        bool              `json:"test"`
	Reason      string            `json:"reason"`
}

// AttemptAlert is an alert that an attempt told of.
type AttemptAlert struct {
	Fingerprint string            `json:"fingerprint"`
	Labels      map[string]string `json:"labels"`
	Status      string            `json:"status"`
}

// LedgerQuery says which attempts are wanted. Zero values do not restrict.
type LedgerQuery struct {
	Limit       int
	Cursor      string
	Since       time.Time
	Until       time.Time
	Receiver    string
	Outcome     string
	Fingerprint string
}

// LedgerPage is a piece of the ledger, newest first. An empty NextCursor says
// that there is no more.
type LedgerPage struct {
	Notifications []Attempt `json:"notifications"`
	NextCursor    string    `json:"next_cursor"`
}

// Ledger models what finds recorded attempts. It is called concurrently.
type Ledger interface {
	Attempts(ctx context.Context, q LedgerQuery) (LedgerPage, error)
}

func (r *recorder) describe(ctx context.Context, alerts []*alert.Alert) Attempt {
	a := Attempt{
		Receiver: r.receiver, Integration: r.inner.String(), Kind: r.inner.Name(),
		Alerts: []AttemptAlert{}, AlertsTotal: len(alerts),
	}
	a.GroupKey, _ = notify.GroupKey(ctx)
	if labels, ok := notify.GroupLabels(ctx); ok {
		a.GroupLabels = plain(labels)
	}
	if reason, ok := notify.NotificationReason(ctx); ok {
		a.Reason = reason.String()
	}
	size := 0
	for _, al := range alerts {
		for n, v := range al.Labels {
			size += len(n) + len(v)
		}
		if len(a.Alerts) == maxListedAlerts || size > maxListedBytes && len(a.Alerts) > 0 {
			break
		}
		a.Alerts = append(a.Alerts, AttemptAlert{al.Fingerprint().String(), plain(al.Labels), string(al.Status())})
	}
	return a
}

func (r *recorder) write(ctx context.Context, a *Attempt) {
	attrs := []slog.Attr{
		slog.String("event", AttemptEvent),
		slog.String("receiver", a.Receiver),
		slog.String("integration", a.Integration),
		slog.String("kind", a.Kind),
		slog.Any("alerts", a.Alerts),
		slog.Int("alerts_total", a.AlertsTotal),
		slog.String("group_key", a.GroupKey),
		slog.Any("group_labels", a.GroupLabels),
		slog.String("outcome", a.Outcome),
		slog.Bool("retry", a.Retry),
		slog.Int("status_code", a.StatusCode),
		slog.Float64("duration_ms", a.DurationMS),
		slog.Int("try", a.Try),
		slog.Bool("test", a.Test),
		slog.String("reason", a.Reason),
	}
	ctx = context.WithoutCancel(ctx)
	if a.Outcome == OutcomeOK {
		r.log.LogAttrs(ctx, slog.LevelInfo, "notification sent", attrs...)
		return
	}
	attrs = append(attrs, slog.String("error", a.Error))
	r.log.LogAttrs(ctx, slog.LevelWarn, "notification failed", attrs...)
}

func plain(labels model.LabelSet) map[string]string {
	m := make(map[string]string, len(labels))
	for n, v := range labels {
		m[string(n)] = string(v)
	}
	return m
}

const ellipsis = "…"

// clip shortens a text and keeps it valid.
func clip(s string, size int) string {
	if len(s) <= size {
		return s
	}
	return strings.ToValidUTF8(s[:size], "") + ellipsis
}
