package backtest

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// The lengths of what WriteText lists; the JSON has all.
const (
	textAlerts   = 50
	textMessages = 50
	textWidth    = 60 // Of a set of labels or an error in a table.
)

// stamp is how times are shown, in UTC.
const stamp = "2006-01-02 15:04:05"

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	p := &printer{}
	p.line("From %s to %s UTC (%s), %s in %s.", r.From.UTC().Format(stamp), r.To.UTC().Format(stamp),
		humanDuration(r.To.Sub(r.From)), plural(int(r.Evaluations), "evaluation"), humanDuration(seconds(r.DurationSeconds)))
	p.line("%s, of which %d fired.", plural(r.AlertsTotal, "alert"), r.FiredTotal)
	p.rules(r)
	p.alerts(r)
	if r.Routing != nil {
		p.routing(r.Routing)
	}
	if len(r.Notes) > 0 {
		p.line("")
		for _, n := range r.Notes {
			p.line("Note: %s", n)
		}
	}
	_, err := io.WriteString(w, p.String())
	return err
}

// printer collects the text.
type printer struct{ strings.Builder }

func (p *printer) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// table writes rows in columns, below a line of its own.
func (p *printer) table(head string, rows [][]string) {
	p.line("")
	t := tabwriter.NewWriter(p, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{strings.Split(head, "|")}, rows...) {
		fmt.Fprintln(t, strings.TrimRight(strings.Join(row, "\t"), "\t"))
	}
	_ = t.Flush() // Into memory.
}

func (p *printer) rules(r *Report) {
	var alerting, recording, failures [][]string
	for _, rule := range r.Rules {
		if rule.Errors > 0 {
			failures = append(failures, []string{clean(rule.Name), number(rule.Errors), number(rule.Evaluations), cut(rule.FirstError.Error, 2*textWidth)})
		}
		if rule.Type == "recording" {
			recording = append(recording, []string{clean(rule.Name), clean(rule.Group), number(rule.Samples)})
			continue
		}
		alerting = append(alerting, []string{
			clean(rule.Name), clean(rule.Group), number(int64(rule.Alerts)), number(int64(rule.Fired)),
			total(rule.PendingSeconds), total(rule.FiringSeconds), number(int64(rule.MaxFiring)),
		})
	}
	if len(alerting) > 0 {
		p.table("ALERTING RULE|GROUP|ALERTS|FIRED|PENDING FOR|FIRING FOR|AT ONCE", alerting)
	}
	if len(recording) > 0 {
		p.table("RECORDING RULE|GROUP|SAMPLES", recording)
	}
	if len(failures) > 0 {
		p.table("FAILING RULE|ERRORS|OF|FIRST ERROR", failures)
	}
}

func (p *printer) alerts(r *Report) {
	var rows [][]string
	for _, a := range r.Alerts {
		if len(rows) == textAlerts {
			break
		}
		fired, ended := "-", "-"
		if a.FiredAt != nil {
			fired = "+" + humanDuration(a.FiredAt.Sub(a.ActiveAt))
		}
		if a.EndedAt != nil {
			ended = "+" + humanDuration(a.EndedAt.Sub(a.ActiveAt))
		}
		set := maps.Clone(a.Labels)
		delete(set, model.AlertNameLabel)
		rows = append(rows, []string{
			a.ActiveAt.UTC().Format(stamp), fired, ended, a.State, clean(a.Name), cut(labels.FromMap(set).String(), textWidth),
		})
	}
	if len(rows) == 0 {
		return
	}
	p.table("ACTIVE AT (UTC)|FIRED|ENDED|STATE|ALERT|LABELS", rows)
	if rest := r.AlertsTotal - len(rows); rest > 0 {
		p.line("… and %d more", rest)
	}
}

func (p *printer) routing(r *RoutingReport) {
	p.line("")
	if r.MessagesTotal == 0 {
		p.line("Nobody would have been told.")
	} else {
		var who []string
		for _, rc := range r.Receivers {
			if rc.Messages > 0 {
				who = append(who, fmt.Sprintf("%s to %s", plural(rc.Messages, "message"), clean(rc.Name)))
			}
		}
		p.line("%s.", strings.Join(who, ", "))
	}
	if r.Dropped > 0 {
		p.line("%s dropped by alert_relabel_configs before routing.", plural(r.Dropped, "alert"))
	}
	for _, rc := range r.Receivers {
		if rc.Inhibited > 0 {
			p.line("%s inhibited on the way to %s.", plural(rc.Inhibited, "alert"), clean(rc.Name))
		}
		if rc.Muted > 0 {
			p.line("%s muted by a time interval on the way to %s.", plural(rc.Muted, "alert"), clean(rc.Name))
		}
	}
	var rows [][]string
	for _, m := range r.Messages {
		if len(rows) == textMessages {
			break
		}
		rows = append(rows, []string{
			m.At.UTC().Format(stamp), clean(m.Receiver), m.Integration, number(int64(m.Firing)), number(int64(m.Resolved)), m.Reason,
			cut(labels.FromMap(m.GroupLabels).String(), textWidth),
		})
	}
	if len(rows) == 0 {
		return
	}
	p.table("SENT AT (UTC)|RECEIVER|BY|FIRING|RESOLVED|REASON|GROUP", rows)
	if rest := r.MessagesTotal - len(rows); rest > 0 {
		p.line("… and %d more", rest)
	}
}

// Line is the progress as a line for a terminal, without an end of line. Each line is as long as the others, so that it
// covers the one before.
func (p Progress) Line() string {
	percent := 100.0
	if p.Total > 0 {
		percent = 100 * float64(p.Done) / float64(p.Total)
	}
	const width = 20
	full := min(int(percent/100*width), width)
	return fmt.Sprintf("[%s%s] %3.0f%%  %s  %-40.40s", strings.Repeat("=", full), strings.Repeat(" ", width-full), percent,
		p.At.UTC().Format("2006-01-02 15:04"), clean(p.Rule))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

// clean leaves nothing in a name that would move the cursor.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

func cut(s string, most int) string {
	s = clean(s)
	if r := []rune(s); len(r) > most {
		return string(slices.Concat(r[:most-1], []rune("…")))
	}
	return s
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// total is a sum of time in a table.
func total(s float64) string {
	if s == 0 {
		return "-"
	}
	return humanDuration(seconds(s))
}

// humanDuration is a duration in two units or so.
func humanDuration(d time.Duration) string {
	switch {
	case d >= 24*time.Hour:
		d = d.Round(time.Hour)
	case d >= time.Hour:
		d = d.Round(time.Minute)
	case d >= time.Second:
		d = d.Round(time.Second)
	default:
		d = d.Round(time.Millisecond)
	}
	return model.Duration(d).String()
}
