package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/cyberviser/hancock/alerting/alertmanager"
)

// sendTestAlert sends a test alert through the routing of a running Hancock
// and prints whom it reached. The error is nil when every message arrived.
func sendTestAlert(ctx context.Context, inv invocation, stdout io.Writer) error {
	resp, err := inv.call(ctx, alertmanager.TestPath, inv.testAlert, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var report alertmanager.TestReport
	if err := json.NewDecoder(resp.Body).Decode(&report); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if report.Dropped {
		return errors.New("prometheus.alerting.alert_relabel_configs drop this alert: no receiver is notified of it")
	}
	failed := 0
	table := tabwriter.NewWriter(stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "RECEIVER\tINTEGRATION\tALERT\tOUTCOME\tTOOK\tDETAIL")
	for _, route := range report.Routes {
		if len(route.Results) == 0 && route.Withheld == "" {
			fmt.Fprintf(table, "%s\t-\t-\t-\t-\ttells nobody outside\n", route.Receiver)
		}
		for _, r := range route.Results {
			if r.Outcome != alertmanager.OutcomeOK {
				failed++
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%.0f ms\t%s\n", r.Receiver, r.Integration, r.Status, r.Outcome, r.DurationMS, printable(detail(r)))
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if report.GivenLabels != nil {
		fmt.Fprintf(stdout, "\nsent with the labels %s\n", printable(labels.FromMap(report.Labels).String()))
	}
	withheld := ""
	for _, route := range report.Routes {
		fmt.Fprintf(stdout, "\nroute of %s: %s\n", route.Receiver, route.Route)
		if route.Withheld != "" {
			withheld = route.Withheld
			fmt.Fprintf(stdout, "  not notified: %s\n", route.Withheld)
		}
		for _, kept := range []struct {
			what string
			by   []string
		}{{"silenced", route.SilencedBy}, {"inhibited", route.InhibitedBy}, {"muted", route.MutedBy}} {
			if len(kept.by) > 0 {
				fmt.Fprintf(stdout, "  an alert with these labels would be %s now, by %s\n", kept.what, strings.Join(kept.by, ", "))
			}
		}
	}
	switch {
	case failed > 0:
		return fmt.Errorf("%d messages did not arrive", failed)
	case !report.Notifies && withheld != "":
		return errors.New("no receiver is notified: " + withheld)
	case !report.Notifies:
		return errors.New("nobody outside is told: the receiver has no integrations; see alertmanager in the configuration")
	}
	return nil
}

// detail says what became of a message beside its outcome: the error, the
// templates that failed and what was left out.
func detail(r alertmanager.TestResult) string {
	var parts []string
	if r.Error != "" {
		parts = append(parts, r.Error)
	}
	for _, f := range r.FailedFields {
		parts = append(parts, fmt.Sprintf("%s: template failed, default sent: %s", f.Field, f.Error))
	}
	if len(r.TruncatedFields) > 0 {
		parts = append(parts, "truncated: "+strings.Join(r.TruncatedFields, ", "))
	}
	return strings.Join(parts, "; ")
}

// printable is text from outside on one line, without what a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}
