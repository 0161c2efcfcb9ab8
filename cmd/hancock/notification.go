package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/cyberviser/hancock/agent/requestlog"
	"github.com/cyberviser/hancock/alerting/alertmanager"
	"github.com/cyberviser/hancock/alerting/external"
	"github.com/cyberviser/hancock/alerting/history"
	"github.com/cyberviser/hancock/alerting/outgoing"
)

// notification is where alerts go: to the Alertmanager within the process, and
// to those outside that the configuration names.
type notification struct {
	inside  *alertmanager.Alertmanager
	outside *external.Forwarder
	// sender relabels the alerts of rules and sends them to both.
	sender *outgoing.Sender
}

func openNotification(s services) (*notification, error) {
	opts := s.opts.alertmanager
	opts.Ledger, opts.Fresh = ledger{s.logs}, s.db.Fresh
	n := new(notification)
	opts.Outgoing = func(ls labels.Labels) (labels.Labels, bool) { return n.sender.Labels(ls) }
	inside, err := alertmanager.Open(opts, s.reg, s.log.With("component", "alertmanager"))
	if err != nil {
		return nil, fmt.Errorf("preparing the Alertmanager: %w", err)
	}
	outside, err := external.Open(s.opts.external, s.reg, s.quiet.With("component", "alerting"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("preparing the Alertmanagers outside: %w", err), inside.Close())
	}
	n.inside, n.outside, n.sender = inside, outside, outgoing.NewSender(s.opts.relabeling(), outside, inside)
	s.reportHeartbeat(s.opts, inside.Notifies())
	return n, nil
}

// relabeling is what is done to the labels of alerts before they are sent.
func (o options) relabeling() *outgoing.Relabeling {
	if o.external.Config == nil {
		return outgoing.New(o.alerting.ExternalLabels, nil)
	}
	return outgoing.New(o.alerting.ExternalLabels, o.external.Config.AlertRelabelConfigs)
}

// reload takes another Alertmanager section, and another relabeling.
func (n *notification) reload(o options) error {
	return n.inside.Reload(o.alertmanager, func() { n.sender.Reload(o.relabeling()) })
}

// Close ends what Run has left, and saves what the Alertmanager remembers.
func (n *notification) Close() error { return errors.Join(n.outside.Close(), n.inside.Close()) }

// ledger reads back the attempts to notify from the log, where each of them is
// a line.
type ledger struct{ logs *requestlog.Log }

// Attempts are those of the query, newest first.
func (l ledger) Attempts(ctx context.Context, q alertmanager.LedgerQuery) (alertmanager.LedgerPage, error) {
	page := alertmanager.LedgerPage{Notifications: []alertmanager.Attempt{}, NextCursor: q.Cursor}
	limit := cmp.Or(q.Limit, requestlog.DefaultLimit)
	// The text leaves out most lines; the rest is compared in full.
	lines := requestlog.Query{
		Event: alertmanager.AttemptEvent, From: q.Since, To: q.Until, Text: cmp.Or(q.Fingerprint, q.Receiver, q.Outcome),
	}
	lines.Cursor = page.NextCursor
	if err := lines.Validate(); err != nil {
		return page, echo.NewHTTPError(http.StatusBadRequest, err.Error())
	}
	for len(page.Notifications) < limit {
		lines.Cursor, lines.Limit = page.NextCursor, min(limit-len(page.Notifications), requestlog.MaxLimit)
		found, err := l.logs.Lines(ctx, lines)
		if errors.Is(err, requestlog.ErrNoFiles) {
			err = nil
		}
		if err != nil {
			return page, err
		}
		for _, line := range found.Items {
			if a, err := readAttempt(line); err == nil && fits(a, q) {
				page.Notifications = append(page.Notifications, a)
			}
		}
		if page.NextCursor = found.Next; page.NextCursor == "" {
			break
		}
	}
	return page, nil
}

// readAttempt reads the log's form of an attempt, whose time is the line's.
func readAttempt(line []byte) (alertmanager.Attempt, error) {
	var a struct {
		alertmanager.Attempt
		Written time.Time `json:"timestamp"`
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return a.Attempt, err
	}
	if a.Alerts == nil {
		a.Alerts = []alertmanager.AttemptAlert{}
	}
	if a.Time.IsZero() {
		a.Time = a.Written
	}
	return a.Attempt, nil
}

func fits(a alertmanager.Attempt, q alertmanager.LedgerQuery) bool {
	return (q.Receiver == "" || a.Receiver == q.Receiver) && (q.Outcome == "" || a.Outcome == q.Outcome) &&
		(q.Fingerprint == "" || slices.ContainsFunc(a.Alerts, func(one alertmanager.AttemptAlert) bool {
			return one.Fingerprint == q.Fingerprint
		}))
}

// newHistory tells what fired, from the store, the silences and the ledger.
func newHistory(s services) *history.History {
	return history.New(history.Sources{
		Storage: s.db.Queryable(),
		Sent:    s.notification.sender.Labels,
		Rules:   func(alert string) history.Times { return history.Times(s.rules.Times(alert)) },
		Silences: func(set map[string]string) ([]history.Silence, error) {
			found, err := s.notification.inside.Silences(set)
			silences := make([]history.Silence, len(found))
			for i, f := range found {
				silences[i] = history.Silence(f)
			}
			return silences, err
		},
		Attempts: func(ctx context.Context, from, to time.Time, limit int) ([]history.Attempt, error) {
			page, err := ledger{s.logs}.Attempts(ctx, alertmanager.LedgerQuery{Since: from, Until: to, Limit: limit})
			var attempts []history.Attempt
			for _, a := range page.Notifications {
				told := history.Attempt{
					Notification: history.Notification{
						Time: a.Time, Receiver: a.Receiver, Integration: a.Integration, Outcome: a.Outcome, Error: a.Error,
					},
					Statuses: make(map[string]string, len(a.Alerts)),
				}
				// A test tells of no alert that fired, but counts against the limit.
				for _, one := range a.Alerts {
					if !a.Test {
						told.Statuses[one.Fingerprint] = one.Status
					}
				}
				attempts = append(attempts, told)
			}
			return attempts, err
		},
	})
}

// newOutgoing lists the alerts that are sent with other labels than those of their rules.
func newOutgoing(s services) outgoing.Handler {
	return outgoing.Handler{Sender: s.notification.sender, Active: func() []labels.Labels {
		var active []labels.Labels
		for _, r := range s.rules.AlertingRules() {
			for _, a := range r.ActiveAlerts() {
				active = append(active, a.Labels)
			}
		}
		return active
	}}
}
