package alertmanager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/notify"
)

const (
	// maxTries bounds the tries of an integration at a time: a storm in ten
	// thousand groups must not take all the connections a process may have.
	maxTries = 32
	// maxHanging bounds the tries of an integration that were given up and
	// still run: mail knows no deadline once it talks to a server.
	maxHanging = 3
	// lastWords is how long an integration whose time is up may take to say why.
	lastWords = 500 * time.Millisecond
	// maxAnswerBytes bounds what a receiver may answer to one request.
	maxAnswerBytes = 1 << 20
	dialTimeout    = 10 * time.Second
)

// recorder is a notifier around an integration: it puts each try into the
// ledger, keeps secrets out of errors, survives panics and bounds the time.
type recorder struct {
	inner          *notify.Integration
	composer       *composer
	receiver       string
	secrets        *secrets
	log            *slog.Logger
	metrics        *metrics
	timeout, grace time.Duration
	turns          chan struct{} // a token for each try under way
	hanging        atomic.Int32  // tries that were given up but have not returned
	refused        sync.Map      // of a group key, the messageHash of the message that its receiver refused as too large
}

// Notify implements notify.Notifier. When ctx is cancelled, because the
// generation ends, a try that has begun may still end within the grace: the
// receiver may have got it already, and only a try that ended is logged as sent.
func (r *recorder) Notify(ctx context.Context, alerts ...*alert.Alert) (bool, error) {
	f, ok := ctx.Value(flushKey{}).(*flush)
	if !ok {
		ctx, f = withFlush(ctx, false)
	}
	if !f.test && r.wasRefused(ctx, alerts) {
		return false, nil
	}
	attempt := r.describe(ctx, alerts)
	attempt.Try, attempt.Test = f.next(r), f.test

	got := &answered{}
	start, answered := r.inTurn(context.WithValue(ctx, answerKey{}, got), alerts)
	retry, err := answered.retry, answered.err
	attempt.Amendment = r.clean(answered.Amendment)
	attempt.Time = start.UTC()
	attempt.DurationMS = float64(time.Since(start).Microseconds()) / 1000
	attempt.Outcome, attempt.StatusCode = OutcomeOK, r.statusCode(got, err)
	r.remember(ctx, alerts, errors.Is(err, errTooLarge) && !f.test)
	if err != nil {
		attempt.Outcome, attempt.Retry = OutcomeFailed, retry && !f.test
		err = r.secrets.error(err)
		attempt.Error = err.Error()
	}
	f.last.Store(&attempt)
	r.metrics.attempts.WithLabelValues(attempt.Kind, attempt.Outcome).Inc()
	r.write(ctx, &attempt)
	return retry, err
}

type answer struct {
	retry bool
	err   error
	Amendment
}

// inTurn waits until few enough tries are under way. The time starts then.
func (r *recorder) inTurn(ctx context.Context, alerts []*alert.Alert) (start time.Time, a answer) {
	select {
	case r.turns <- struct{}{}:
		defer func() { <-r.turns }()
	case <-ctx.Done():
		return time.Now(), answer{retry: true, err: fmt.Errorf("not begun, because %d other tries were under way: %w", cap(r.turns), ctx.Err())}
	}
	trying, cancel := outlive(ctx, r.timeout, r.grace)
	defer cancel()
	start = time.Now()
	return start, r.bounded(trying, alerts)
}

// bounded returns when the time is up, whatever the integration does.
func (r *recorder) bounded(ctx context.Context, alerts []*alert.Alert) answer {
	if r.hanging.Load() >= maxHanging {
		return answer{retry: true, err: fmt.Errorf("%d earlier tries still hang; this one was not begun", maxHanging)}
	}
	answered := make(chan answer, 1)
	go func() { answered <- r.safely(ctx, alerts) }()
	select {
	case a := <-answered:
		return a
	case <-ctx.Done():
	}
	timer := time.NewTimer(lastWords)
	defer timer.Stop()
	select {
	case a := <-answered:
		return a
	case <-timer.C:
		r.hanging.Add(1)
		go func() {
			<-answered
			r.hanging.Add(-1)
		}()
		return answer{retry: true, err: fmt.Errorf("the receiver did not answer in time: %w", ctx.Err())}
	}
}

// safely turns a panic of a template or a notifier into an error.
func (r *recorder) safely(ctx context.Context, alerts []*alert.Alert) (a answer) {
	defer func() {
		if p := recover(); p != nil {
			r.log.ErrorContext(ctx, "an integration panicked", "receiver", r.receiver, "integration", r.inner.String(),
				"error", r.secrets.scrub(fmt.Sprint(p)), "stack", r.secrets.scrub(string(debug.Stack())))
			a.retry, a.err = false, fmt.Errorf("the integration panicked: %v", p)
		}
	}()
	return r.compose(ctx, alerts)
}

// outlive is a context that ends when its time is up or when the parent's
// deadline passes, but only after the grace when the parent is cancelled.
func outlive(parent context.Context, timeout, grace time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(parent), timeout)
	stop := context.AfterFunc(parent, func() {
		if errors.Is(parent.Err(), context.DeadlineExceeded) {
			cancel()
			return
		}
		timer := time.AfterFunc(grace, cancel)
		context.AfterFunc(ctx, func() { timer.Stop() })
	})
	return ctx, func() {
		stop()
		cancel()
	}
}

// dialBounded connects to a receiver and bounds what it may answer.
func dialBounded(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &boundedConn{Conn: c}, nil
}

// boundedConn fails when more is read between two writes than an answer to a
// notification can be. It relies on HTTP/1, where a client is silent while it
// reads. It is used by one goroutine for reading and one for writing.
type boundedConn struct {
	net.Conn
	read atomic.Int64
}

var errAnswerTooLong = fmt.Errorf("the receiver answered with more than %d bytes", maxAnswerBytes)

func (c *boundedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.read.Add(int64(n)) > maxAnswerBytes {
		return 0, errAnswerTooLong
	}
	return n, err
}

func (c *boundedConn) Write(p []byte) (int, error) {
	c.read.Store(0)
	return c.Conn.Write(p)
}
