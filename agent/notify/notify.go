// Package notify stands at the end of the agent's webhook: it tells people in
// Slack and Microsoft Teams what a triage has found, behind the back of the
// caller, who does not wait for it.
package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// The integrations. They are values of a metric's label.
const (
	Slack = "slack"
	Teams = "teams"
)

// Integrations are all that there are, configured or not.
func Integrations() []string { return []string{Slack, Teams} }

// The outcomes of a notification. Each one that was handed over has exactly
// one of them in the end.
const (
	Sent = "sent"
	// Failed was refused for good, or every attempt failed.
	Failed = "failed"
	// Dropped was never tried: the queue was full, or the process stopped.
	Dropped = "dropped"
)

// Outcomes are all outcomes.
func Outcomes() []string { return []string{Sent, Failed, Dropped} }

// Options say whom to tell and how hard to try. The URLs are secrets: whoever
// knows one can post.
type Options struct {
	// SlackURL is a Slack incoming webhook; empty turns it off.
	SlackURL string
	// TeamsURL is a webhook of a Teams workflow; empty turns it off.
	TeamsURL string
	// QueueSize is how many notifications wait for each integration at most.
	QueueSize int
	// Workers send to each integration at a time.
	Workers int
	// Attempts is how often a notification is tried, the first time included.
	Attempts int
	// Timeout bounds one attempt.
	Timeout time.Duration
	// Backoff is the pause after the first failure; it doubles each time, up
	// to MaxBackoff.
	Backoff, MaxBackoff time.Duration
	// MaxRetryAfter is the longest pause that a receiver may ask for. Whoever
	// asks for a longer one gets no further attempt.
	MaxRetryAfter time.Duration
	// DrainTimeout bounds how long Close waits for what is queued.
	DrainTimeout time.Duration
}

// DefaultOptions tell nobody.
func DefaultOptions() Options {
	return Options{
		QueueSize: 256, Workers: 2, Attempts: 5,
		Timeout: 10 * time.Second, Backoff: time.Second, MaxBackoff: 30 * time.Second,
		MaxRetryAfter: 2 * time.Minute, DrainTimeout: 10 * time.Second,
	}
}

// Validate reports the first setting that cannot be. Its errors hold no URL.
func (o Options) Validate() error {
	if err := validURL(o.SlackURL); err != nil {
		return fmt.Errorf("slack_url: %w", err)
	}
	if err := validURL(o.TeamsURL); err != nil {
		return fmt.Errorf("teams_url: %w", err)
	}
	switch {
	case o.QueueSize < 1:
		return fmt.Errorf("queue_size: must be at least 1, is %d", o.QueueSize)
	case o.Workers < 1:
		return fmt.Errorf("workers: must be at least 1, is %d", o.Workers)
	case o.Attempts < 1:
		return fmt.Errorf("attempts: must be at least 1, is %d", o.Attempts)
	case o.Timeout <= 0, o.Backoff <= 0, o.MaxBackoff <= 0, o.MaxRetryAfter <= 0, o.DrainTimeout <= 0:
		return errors.New("timeout, backoff, max_backoff, max_retry_after and drain_timeout must be longer than 0")
	}
	return nil
}

// validURL allows https, and http towards this machine.
func validURL(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return errors.New("must be an https URL with a host")
	case u.User != nil:
		return errors.New("must not hold a user or password")
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	default:
		return errors.New("must be an https URL (http only towards a loopback address)")
	}
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// Message is what people are told of one triage.
type Message struct {
	Source, Severity string
	// Alert and Triage may be of any length; people get their beginnings.
	Alert, Triage string
	Model         string
	RequestID     string
}

// Observer is told the outcome of each notification. It may be called from
// several goroutines at a time.
type Observer func(integration, outcome string)

// job is one notification on its way.
type job struct {
	// ctx carries the values of the request, and no deadline of its.
	ctx  context.Context
	body []byte
}

// Notifier sends notifications from queues, one for each integration, so that
// none of them holds up another. Make it with New.
type Notifier struct {
	observe Observer
	log     *slog.Logger
	// pause waits between two attempts; tests replace it.
	pause func(context.Context, time.Duration) error

	mu      sync.RWMutex // guards what follows, and closed against sends to the queues
	opts    Options
	targets []*target
	closed  bool
	ctx     context.Context // ends when draining has taken too long
	cancel  context.CancelFunc
	workers sync.WaitGroup
}

// New starts the workers. observe may be nil.
func New(opts Options, observe Observer, log *slog.Logger) (*Notifier, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	if observe == nil {
		observe = func(string, string) {}
	}
	n := &Notifier{observe: observe, log: log, pause: pause}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.use(opts)
	return n, nil
}

// Reload applies options to notifications that are queued afterwards. Those in
// the queues are sent to their previous receivers. After an error nothing has
// changed.
func (n *Notifier) Reload(opts Options) error {
	if err := opts.Validate(); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return errors.New("the notifier is closed")
	}
	n.use(opts)
	return nil
}

// use starts new integrations and ends removed ones. The caller holds mu.
func (n *Notifier) use(opts Options) {
	before := n.targets
	n.opts, n.targets = opts, nil
	for _, t := range []*target{
		{name: Slack, url: opts.SlackURL, encode: slackBody},
		{name: Teams, url: opts.TeamsURL, encode: teamsBody},
	} {
		if t.url == "" {
			continue
		}
		t.opts = opts
		t.opts.DrainTimeout = 0 // which is the notifier's
		if i := slices.IndexFunc(before, t.same); i >= 0 {
			n.targets = append(n.targets, before[i])
			continue
		}
		t.queue, t.client = make(chan job, opts.QueueSize), newClient(strings.HasPrefix(t.url, "http:"))
		n.targets = append(n.targets, t)
		for range opts.Workers {
			n.workers.Go(func() { n.work(t) })
		}
	}
	for _, t := range before {
		if !slices.Contains(n.targets, t) {
			close(t.queue)
		}
	}
}

// Configured are the integrations that are told.
func (n *Notifier) Configured() []string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	var names []string
	for _, t := range n.targets {
		names = append(names, t.name)
	}
	return names
}

// Notify queues m for every integration. It never blocks; what does not fit
// into a queue is dropped, logged and counted. Of ctx only the values are
// used, for the log.
func (n *Notifier) Notify(ctx context.Context, m Message) {
	ctx = context.WithoutCancel(ctx)
	n.mu.RLock()
	defer n.mu.RUnlock()
	for _, t := range n.targets {
		if n.closed {
			n.drop(ctx, t, "shutting down")
			continue
		}
		select {
		case t.queue <- job{ctx: ctx, body: t.encode(m)}:
		default:
			n.drop(ctx, t, "queue is full")
		}
	}
}

// Close takes no more notifications, waits for those that are queued within
// DrainTimeout, gives up the rest, and ends the workers. The error tells that
// some were given up.
func (n *Notifier) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	for _, t := range n.targets {
		close(t.queue)
	}
	patience := n.opts.DrainTimeout
	n.mu.Unlock()

	expired := make(chan struct{})
	timer := time.AfterFunc(patience, func() {
		n.cancel()
		close(expired)
	})
	n.workers.Wait()
	stopped := timer.Stop()
	n.cancel()
	if !stopped {
		<-expired
		return fmt.Errorf("notifications were still waiting after %s and were given up", patience)
	}
	return nil
}

// work sends what is queued until the queue is closed and empty.
func (n *Notifier) work(t *target) {
	defer t.client.CloseIdleConnections()
	for j := range t.queue {
		if n.ctx.Err() != nil {
			n.drop(j.ctx, t, "shutting down")
			continue
		}
		n.deliver(t, j)
	}
}

func (n *Notifier) drop(ctx context.Context, t *target, why string) {
	n.observe(t.name, Dropped)
	n.log.WarnContext(ctx, "notification dropped", "event", "notification_dropped",
		"integration", t.name, "error", why)
}

// deliver tries one notification until it is sent or there is no hope.
func (n *Notifier) deliver(t *target, j job) {
	wait := t.opts.Backoff
	for attempt := 1; ; attempt++ {
		res := n.attempt(t, j)
		if res.err == nil {
			n.observe(t.name, Sent)
			n.log.DebugContext(j.ctx, "notification sent", "event", "notification_sent",
				"integration", t.name, "attempts", attempt)
			return
		}
		next := max(jitter(wait), res.retryAfter)
		if !res.retry || attempt == t.opts.Attempts || res.retryAfter > t.opts.MaxRetryAfter || n.pause(n.ctx, next) != nil {
			n.observe(t.name, Failed)
			n.log.ErrorContext(j.ctx, "notification failed", "event", "notification_failed",
				"integration", t.name, "attempts", attempt, "status", res.status, "error", res.err.Error())
			return
		}
		wait = min(2*wait, t.opts.MaxBackoff)
	}
}

// pause returns after d, or with the context's error before it.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// onlyLoopback refuses to connect elsewhere, whatever a name resolves to.
func onlyLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil || !isLoopback(host) {
		return errors.New("http is allowed towards a loopback address only")
	}
	return nil
}
