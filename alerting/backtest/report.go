package backtest

import (
	"fmt"
	"time"
)

// Report is what the rules would have done between From and To.
type Report struct {
	From          time.Time `json:"from"`
	To            time.Time `json:"to"`
	RequestedFrom time.Time `json:"requested_from"`
	// WarmupFrom is when the evaluation began.
	WarmupFrom      time.Time `json:"warmup_from"`
	Evaluations     int64     `json:"evaluations"`
	DurationSeconds float64   `json:"duration_seconds"` // How long the backtest took.

	Rules []RuleReport `json:"rules"`
	// Alerts are those that fired first of all, up to the limit of the request and of their texts, oldest first.
	Alerts      []Alert `json:"alerts"`
	AlertsTotal int     `json:"alerts_total"`
	FiredTotal  int     `json:"fired_total"`

	// Routing is nil when no routing was given.
	Routing *RoutingReport `json:"routing,omitempty"`
	// Notes say what limits the truth of the report.
	Notes []string `json:"notes"`
}

func (r *Report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// The ways in which a rule is evaluated.
const (
	// ModeRange evaluates many times at once. It gives what ModeInstant does.
	ModeRange = "range"
	// ModeInstant evaluates one time after the other, for rules that read their own results or each other's.
	ModeInstant = "instant"
)

// RuleReport is what became of a rule.
type RuleReport struct {
	File        string     `json:"file"`
	Group       string     `json:"group"`
	Name        string     `json:"name"`
	Type        string     `json:"type"` // alerting or recording
	Query       string     `json:"query"`
	Mode        string     `json:"mode"`
	Evaluations int64      `json:"evaluations"`
	Errors      int64      `json:"errors"`
	FirstError  *RuleError `json:"first_error,omitempty"`
	LastError   *RuleError `json:"last_error,omitempty"`

	// Alerts are those that were active, Fired those of them that fired.
	Alerts int `json:"alerts"`
	Fired  int `json:"fired"`
	// PendingSeconds and FiringSeconds are the time in which at least one was pending, or fired.
	PendingSeconds float64 `json:"pending_seconds"`
	FiringSeconds  float64 `json:"firing_seconds"`
	MaxFiring      int     `json:"max_firing"` // At the same time.
	// TemplateErrors are alerts with a label or annotation whose template failed.
	TemplateErrors int `json:"template_errors"`
	// Samples are the results of a recording rule.
	Samples int64 `json:"samples"`
}

// RuleError is an evaluation that failed.
type RuleError struct {
	At    time.Time `json:"at"`
	Error string    `json:"error"`
}

// The states in which an alert can be at the end of the backtest.
const (
	StatePending  = "pending"
	StateFiring   = "firing"
	StateResolved = "resolved"
	// StateCancelled was pending and never fired.
	StateCancelled = "cancelled"
	// StateDropped was thrown away with all others of its rule, since there were more than the group's limit.
	StateDropped = "dropped"
)

// Alert is one alert, from becoming active to its end.
type Alert struct {
	Name  string `json:"name"`
	File  string `json:"file"`
	Group string `json:"group"`
	// Annotations and Value are those at the time it fired, or became active if it never did.
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Value       string            `json:"value"` // As in Prometheus: NaN and infinite values have no number in JSON.
	State       string            `json:"state"`

	ActiveAt time.Time  `json:"active_at"`
	FiredAt  *time.Time `json:"fired_at,omitempty"`
	EndedAt  *time.Time `json:"ended_at,omitempty"`
	// How long it was in each state between From and To.
	PendingSeconds float64 `json:"pending_seconds"`
	FiringSeconds  float64 `json:"firing_seconds"`
	// Receivers are those whose route it takes.
	Receivers []string `json:"receivers,omitempty"`
	// SentLabels are those with which it is sent to Alertmanager, if these are others.
	SentLabels map[string]string `json:"sent_labels,omitempty"`
	// DroppedByRelabeling says that alert_relabel_configs keep it from being sent.
	DroppedByRelabeling bool `json:"dropped_by_relabeling,omitempty"`
}

// RoutingReport is who would have been told of what.
type RoutingReport struct {
	Receivers []ReceiverReport `json:"receivers"`
	// Messages are the first ones, up to the limit of the request and of their texts.
	Messages      []Message `json:"messages"`
	MessagesTotal int       `json:"messages_total"`
	// Dropped are alerts that fired and that alert_relabel_configs dropped before they were routed.
	Dropped int `json:"alerts_dropped_by_relabeling"`
}

// ReceiverReport is what a receiver would have got. A receiver with several integrations gets each message by each.
type ReceiverReport struct {
	Name         string         `json:"name"`
	Messages     int            `json:"messages"`
	Integrations map[string]int `json:"integrations"`
	// Inhibited and Muted are alerts that were kept from it at least once, by an inhibition or by a time interval.
	Inhibited int `json:"inhibited_alerts"`
	Muted     int `json:"muted_alerts"`
}

// Message is one notification.
type Message struct {
	At          time.Time         `json:"at"`
	Receiver    string            `json:"receiver"`
	Integration string            `json:"integration"` // slack[0]
	GroupLabels map[string]string `json:"group_labels"`
	Reason      string            `json:"reason"`
	Firing      int               `json:"firing"`
	Resolved    int               `json:"resolved"`
	// Alerts are the first 100, or fewer of the last message for whose texts there was room.
	Alerts []MessageAlert `json:"alerts"`
}

// MessageAlert is an alert in a message.
type MessageAlert struct {
	Labels   map[string]string `json:"labels"`
	Status   string            `json:"status"` // firing or resolved
	StartsAt time.Time         `json:"starts_at"`
	EndsAt   *time.Time        `json:"ends_at,omitempty"`
}
