// Package backtest stands beside alerting and reads the same store: it replays rules over what is stored, as the rules
// manager would have evaluated them, and tells which alerts there would have been and who would have been told. It
// writes nothing to the store and notifies nobody.
package backtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"time"

	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"

	"github.com/cyberviser/hancock/alerting/outgoing"
	"github.com/cyberviser/hancock/alerting/ruletemplate"
	"github.com/cyberviser/hancock/internal/amcompat"
	"github.com/cyberviser/hancock/internal/render"
)

// Storage is what a backtest reads.
type Storage struct {
	// Queryable has the history. It is only read.
	Queryable storage.Queryable
	// Engine evaluates the expressions, within its own limits of samples and time. nil is one with Prometheus' defaults.
	Engine promql.QueryEngine
	// Folder is where the results of recording rules are kept during a replay, in a folder that is removed; empty is
	// the system's for temporary files.
	Folder string
	// Oldest is the time of the first sample; there is nothing to replay before. It is zero when the store is empty.
	// nil leaves the beginning to the request.
	Oldest func() (time.Time, error)
}

// File is the text of a rule file. The name is part of what decides when a group is evaluated within its interval.
type File struct {
	Name string
	Text string
}

// Request says what is replayed. Rules, From and To are needed.
type Request struct {
	Files []File
	// Rule leaves only the rules of this name, and those whose results they read. Empty is all.
	Rule string
	// From and To bound the report. The replay begins before From, for as long as rules and groups of alerts remember.
	From, To time.Time
	// Interval is for groups that name none; 15 s if it is zero.
	Interval time.Duration
	// QueryOffset is for groups that name none.
	QueryOffset time.Duration
	// ResendDelay is the least time between two sendings of an alert; a minute if it is zero.
	ResendDelay time.Duration
	// ExternalLabels are seen by templates.
	ExternalLabels labels.Labels
	// Relabeling is what is done to the labels of alerts before they are sent to Alertmanager. nil leaves them as they are.
	Relabeling  *outgoing.Relabeling
	ExternalURL *url.URL
	// Routing is the Alertmanager's configuration. nil leaves the messages out of the report.
	Routing *config.Config
	// Untrusted expands the templates of the rules in a child process with limits. One that exceeds them is a
	// *RequestError that names the rule and the template.
	Untrusted bool
	// MaxDetails is how many alerts, and how many messages, are in the report one by one; 1000 if it is zero.
	MaxDetails int
}

// The limits of one backtest.
const (
	// maxEvaluations is about a year of 20 rules each 15 s.
	maxEvaluations = 50_000_000
	// maxRules is how many rules are looked at; who reads whom is asked of each pair.
	maxRules = 2000
	// maxRecorded is how many samples the results of recording rules may have, some 2 bytes each.
	maxRecorded = 100_000_000
	// maxText is how many bytes the labels and annotations of the alerts that are listed may have, and the labels in
	// the messages that are listed.
	maxText = 8 << 20
	// window is how much history is evaluated at once. It bounds the memory.
	window = 6 * time.Hour
)

// Progress is how far a backtest is.
type Progress struct {
	Done  int64     `json:"done"`  // Evaluations of rules,
	Total int64     `json:"total"` // of so many.
	Rule  string    `json:"rule"`  // What is evaluated now,
	At    time.Time `json:"at"`    // and at which time of the past.
}

// RequestError is a request that cannot be replayed. Its text is for who asked.
type RequestError struct {
	Reason string
	// Syntax is true when it is the text of the rules that is wrong.
	Syntax bool
}

func (e *RequestError) Error() string { return e.Reason }

func badRequest(format string, args ...any) error {
	return &RequestError{Reason: fmt.Sprintf(format, args...)}
}

// withDefaults checks the request and fills in what it leaves open.
func (r Request) withDefaults() (Request, error) {
	if r.Interval == 0 {
		r.Interval = 15 * time.Second
	}
	if r.ResendDelay == 0 {
		r.ResendDelay = time.Minute
	}
	if r.MaxDetails == 0 {
		r.MaxDetails = 1000
	}
	if r.ExternalURL == nil {
		r.ExternalURL = &url.URL{}
	}
	switch {
	case len(r.Files) == 0:
		return r, badRequest("there are no rules to replay")
	case r.From.IsZero() || r.To.IsZero():
		return r, badRequest("a backtest needs the time from which and to which it goes")
	case !r.From.Before(r.To):
		return r, badRequest("from (%s) must be before to (%s)", r.From.Format(time.RFC3339), r.To.Format(time.RFC3339))
	case r.From.Unix() < 0 || r.To.Year() > 9999:
		return r, badRequest("from and to must lie between 1970 and 9999")
	case r.Interval < time.Millisecond || r.QueryOffset < 0 || r.ResendDelay < 0 || r.MaxDetails < 0:
		return r, badRequest("interval must be at least 1ms, and query offset, resend delay and details not negative")
	}
	return r, nil
}

// defaultEngine has the limits of a Prometheus that was given none.
func defaultEngine() promql.QueryEngine {
	return promql.NewEngine(promql.EngineOpts{
		MaxSamples: 50_000_000, Timeout: 2 * time.Minute, EnableAtModifier: true, EnableNegativeOffset: true,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
		Parser:                   newParser(),
	})
}

// Run replays the rules. It blocks until the end of the replay or of ctx. progress is called from the same goroutine,
// a few times a second at the most; nil is nobody.
//
// A request that is wrong gives a *RequestError.
func Run(ctx context.Context, s Storage, r Request, progress func(Progress)) (_ *Report, err error) {
	amcompat.Init()
	if r, err = r.withDefaults(); err != nil {
		return nil, err
	}
	if s.Engine == nil {
		s.Engine = defaultEngine()
	}
	x, err := prepare(s, r, progress)
	if x != nil {
		defer func() { err = errors.Join(err, x.store.close()) }()
	}
	if err != nil {
		return nil, err
	}
	if r.Untrusted {
		x.process = render.New(render.Options{MaxTotal: maxTemplateTime}, ruletemplate.Kind())
		defer x.process.Close()
	}
	begun := time.Now()
	if err := x.noteDowntime(ctx); err != nil {
		return nil, err
	}
	if err := x.replay(ctx); err != nil {
		return nil, err
	}
	return x.finish(time.Since(begun)), nil
}

// prepare parses the rules and plans their evaluation. A run that it returns has a store that must be closed, even with
// an error.
func prepare(s Storage, r Request, progress func(Progress)) (*run, error) {
	groups, err := parse(r)
	if err != nil {
		return nil, err
	}
	x := &run{
		engine: s.Engine, request: r, progress: progress, metrics: rules.NewGroupMetrics(nil),
		firedRoom: room{free: r.MaxDetails, bytes: maxText}, waitedRoom: room{free: r.MaxDetails, bytes: maxText},
		report: &Report{From: r.From, To: r.To, RequestedFrom: r.From, Alerts: []Alert{}, Rules: []RuleReport{}},
	}
	var all []*rule
	for _, g := range groups {
		all = append(all, g.rules...)
	}
	if len(all) > maxRules {
		return nil, badRequest("these are %d rules; %d are the limit", len(all), maxRules)
	}
	if r.Rule != "" {
		if all = closure(all, r.Rule); len(all) == 0 {
			return nil, badRequest("there is no rule named %q", r.Rule)
		}
	}
	plan := newPlan(all)
	x.units, x.rules = plan.units, plan.rules
	if err := x.begin(s.Oldest, plan.warmup(r)); err != nil {
		return nil, err
	}
	x.store = newOverlay(s, x.rules)
	if plan.stored() {
		if err := x.store.open(); err != nil {
			return nil, errors.Join(err, x.store.close())
		}
	}
	for _, rule := range x.rules {
		rule.arm(x)
		x.total += rule.steps(x.start, r.To)
	}
	if x.total > maxEvaluations {
		return x, badRequest("these are %d evaluations; %d are the limit: choose a shorter time or fewer rules", x.total, maxEvaluations)
	}
	if r.Routing != nil {
		if x.router, err = newRouter(r.Routing, r, x.start, x.report.From); err != nil {
			return x, &RequestError{Reason: fmt.Sprintf("routing: %s", err)}
		}
	}
	return x, nil
}

// begin decides when the replay begins: as long before From as the rules remember, but not before the first sample.
func (x *run) begin(oldest func() (time.Time, error), warmup time.Duration) error {
	r := x.report
	x.start = r.From.Add(-warmup)
	if oldest != nil {
		first, err := oldest()
		switch {
		case err != nil:
			return fmt.Errorf("asking the store for its first sample: %w", err)
		case first.IsZero() || !first.Before(r.To):
			r.note("Nothing is stored before %s, so there is nothing to replay.", r.To.UTC().Format(time.RFC3339))
			r.From, x.start = r.To, r.To
		case first.After(r.From):
			r.note("The store begins at %s; the replay begins there, too.", first.UTC().Format(time.RFC3339))
			r.From, x.start = first, first
		case first.After(x.start):
			x.start = first
		}
	}
	if x.start.Unix() < 0 {
		x.start = time.Unix(0, 0)
	}
	r.WarmupFrom = x.start
	if lead := r.From.Sub(x.start); lead > 0 {
		r.note("The rules were evaluated from %s before the beginning on, as by a manager that had been running: what held"+
			" then counts for `for`, and what was sent then is not reported.", humanDuration(lead))
	} else {
		r.note("There was no history before the beginning: whatever held then counts for `for` only from there on.")
	}
	return nil
}

// milliseconds of t, as the engine counts.
func milliseconds(t time.Time) int64 {
	return t.Unix()*1000 + int64(t.Nanosecond())/int64(time.Millisecond)
}

// fromMilliseconds is StartTime of Prometheus' storages as a time.
func fromMilliseconds(ms int64) time.Time {
	if ms == math.MaxInt64 || ms == math.MinInt64 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// StartTime makes Storage.Oldest from what Prometheus' storages have.
func StartTime(s interface{ StartTime() (int64, error) }) func() (time.Time, error) {
	return func() (time.Time, error) {
		ms, err := s.StartTime()
		return fromMilliseconds(ms), err
	}
}
