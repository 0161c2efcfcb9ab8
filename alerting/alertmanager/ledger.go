package alertmanager

import (
	"context"
	"log/slog"
	"maps"
	"slices"
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

// What an attempt may bring into a line of the log, which takes 128 KiB: of a
// longer one the log keeps nothing that could be read back.
const (
	maxListedAlerts  = 100
	maxListedBytes   = 32 << 10 // of all alerts, as lineBytes counts
	maxBriefBytes    = 16 << 10 // of the labels of one alert, or of a group
	maxBriefValue    = 256      // bytes of a value in a set that is larger
	maxGroupKeyBytes = 4 << 10
	maxErrorBytes    = 2 << 10
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
	StatusCode  int               `json:"status_code"` // of HTTP or SMTP; 0: no answer, or not known
	Error       string            `json:"error,omitempty"`
	DurationMS  float64           `json:"duration_ms"`
	Try         int               `json:"try"`
	Test        bool              `json:"test"`
	Reason      string            `json:"reason"`
	Amendment
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
	key, _ := notify.GroupKey(ctx)
	a.GroupKey = clip(key, maxGroupKeyBytes)
	if labels, ok := notify.GroupLabels(ctx); ok {
		a.GroupLabels, _ = brief(labels)
	}
	if reason, ok := notify.NotificationReason(ctx); ok {
		a.Reason = reason.String()
	}
	size := 0
	for _, al := range alerts[:min(len(alerts), maxListedAlerts)] {
		labels, bytes := brief(al.Labels)
		if size += bytes; size > maxListedBytes {
			break
		}
		a.Alerts = append(a.Alerts, AttemptAlert{al.Fingerprint().String(), labels, string(al.Status())})
	}
	return a
}

// brief is labels as a line has room for them, and how much they take: of a set
// that is too large the values are shortened, and what is still too much is
// left out. The name of an alert comes first.
func brief(labels model.LabelSet) (map[string]string, int) {
	const around = 6 // quotes, colon and comma
	size := 0
	for n, v := range labels {
		size += lineBytes(string(n)) + lineBytes(string(v)) + around
	}
	if size <= maxBriefBytes {
		return plain(labels), size
	}
	names := slices.Sorted(maps.Keys(labels))
	if i := slices.Index(names, model.AlertNameLabel); i > 0 {
		names = slices.Insert(slices.Delete(names, i, i+1), 0, model.AlertNameLabel)
	}
	m := map[string]string{}
	size = 0
	for _, n := range names {
		v := clip(string(labels[n]), maxBriefValue)
		if bytes := lineBytes(string(n)) + lineBytes(v) + around; size+bytes <= maxBriefBytes {
			m[string(n)] = v
			size += bytes
		}
	}
	return m, size
}

// lineBytes is how long a text may become in a line of JSON.
func lineBytes(s string) int {
	size := len(s)
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c == '"', c == '\\', c == '<', c == '>', c == '&', c == 0x7f:
			size += 5
		case c > 0x7f:
			size++
		}
	}
	return size
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
	if len(a.FailedFields) > 0 {
		attrs = append(attrs, slog.Any("failed_fields", a.FailedFields))
	}
	if len(a.TruncatedFields) > 0 {
		attrs = append(attrs, slog.Int("alerts_omitted", a.AlertsOmitted), slog.Any("truncated_fields", a.TruncatedFields))
	}
	ctx = context.WithoutCancel(ctx)
	if a.Outcome == OutcomeOK {
		level := slog.LevelInfo
		if len(a.FailedFields) > 0 {
			level = slog.LevelWarn
		}
		r.log.LogAttrs(ctx, level, "notification sent", attrs...)
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
