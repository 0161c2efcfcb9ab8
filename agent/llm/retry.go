package llm

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"
)

const (
	// maxRetries bounds Options.MaxRetries: what fails more often is down.
	maxRetries = 10
	// maxRetryWait bounds how far the waits double.
	maxRetryWait = 8 * time.Second
)

// askBackend asks the i-th backend. The chosen one is asked again while its
// failures may pass, nothing of an answer was handed on, and another try fits
// into the timeout; the fallback is asked once.
func (s *settings) askBackend(ctx context.Context, r Request, i int, ask asking) (Answer, bool, *Error) {
	b := s.backends[i]
	deadline := time.Now().Add(b.timeout)
	var retryOf Kind
	for n := 0; ; n++ {
		at := Attempt{Provider: b.provider, Model: b.modelFor(r), Host: b.Host(), Fallback: i > 0, RetryOf: retryOf}
		if r.Asking != nil {
			r.Asking(Destination{Provider: b.provider, Host: b.Host(), Fallback: i > 0})
		}
		start := time.Now()
		answer, started, err := ask(b, &at, deadline)
		answer.Host = b.Host()
		at.Duration, at.Usage, at.Err = time.Since(start), answer.Usage, err
		if err == nil {
			at.Finish = answer.Finish
		} else if err.passing && !started && i == 0 && n < s.retries {
			at.RetryIn = s.pause(ctx, n, err.retryAfter, deadline)
		}
		b.saw(&at)
		if r.Observe != nil {
			r.Observe(at)
		}
		if at.RetryIn == 0 {
			return answer, started, err
		}
		if !wait(ctx, at.RetryIn) {
			return answer, false, b.classify(ctx, ctx, at.Model, nil, ctx.Err())
		}
		retryOf = err.Kind
	}
}

// pause is how long to wait before the n-th retry, or 0 when that would not
// end before the deadlines. Half of it is chance, so that those who failed
// together do not come back together.
func (s *settings) pause(ctx context.Context, n int, retryAfter time.Duration, deadline time.Time) time.Duration {
	if callers, ok := ctx.Deadline(); ok && callers.Before(deadline) {
		deadline = callers
	}
	left := time.Until(deadline)
	if retryAfter >= left { // it may be centuries, to which nothing can be added
		return 0
	}
	d := min(s.retryWait<<n, max(maxRetryWait, s.retryWait))
	d = d/2 + rand.N(d/2+1)                    // #nosec G404 -- no secret hangs on it
	d = max(d, retryAfter+rand.N(s.retryWait)) // #nosec G404
	if d >= left {
		return 0
	}
	return d
}

// wait returns false when ctx ended it.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// mayPass tells whether a refusal is about the moment and not about the
// request: a queue that is full, a gateway whose server restarts. An account
// without money stays without it.
func mayPass(e *Error) bool {
	switch e.Status {
	case http.StatusTooManyRequests:
		return e.Kind == RateLimited && e.detail != "insufficient_quota"
	case http.StatusBadGateway, http.StatusServiceUnavailable:
		return e.Kind == Unavailable
	default:
		return false
	}
}

// connectionMayPass tells whether connecting again can help.
func connectionMayPass(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return false
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return !dns.IsNotFound
	}
	return true
}

// retryAfter reads a Retry-After header, in seconds or as a date; 0 when there
// is none that makes sense.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second // #nosec G115 -- 31 bits
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}
