package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// target is one integration that is told.
type target struct {
	name, url string
	encode    func(Message) []byte
	// opts say how hard to try.
	opts   Options
	queue  chan job
	client *http.Client
}

// same reports whether the other one leads to the same place in the same way.
func (t *target) same(other *target) bool {
	how, its := t.opts, other.opts
	how.SlackURL, how.TeamsURL, its.SlackURL, its.TeamsURL = "", "", "", ""
	return t.name == other.name && t.url == other.url && how == its
}

// result is what became of one attempt.
type result struct {
	status int // 0 if there was no answer
	err    error
	// retry tells that another attempt may succeed.
	retry bool
	// retryAfter is the pause that the receiver asks for.
	retryAfter time.Duration
}

// newClient returns a client that follows no redirect: one could lead to a
// place that was not configured.
func newClient(loopback bool) *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   5 * time.Second,
		IdleConnTimeout:       30 * time.Second,
		MaxIdleConnsPerHost:   2,
		ResponseHeaderTimeout: 0, // the attempt's timeout covers it
	}
	if loopback {
		transport.Proxy = nil
		dialer.Control = func(_, address string, _ syscall.RawConn) error { return onlyLoopback(address) }
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// reasonRE is the form of the short reasons that Slack gives. Other bodies are
// kept out of the log: they may repeat the URL.
var reasonRE = regexp.MustCompile(`^[a-z_]{3,60}$`)

// attempt posts one notification once. No error of it holds the URL.
func (n *Notifier) attempt(t *target, j job) result {
	ctx, cancel := context.WithTimeout(n.ctx, t.opts.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(j.body))
	if err != nil {
		return result{err: errors.New("the URL cannot be used")}
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("User-Agent", "hancock")
	res, err := t.client.Do(req)
	if err != nil {
		return result{err: withoutURL(err), retry: n.ctx.Err() == nil}
	}
	defer func() { _ = res.Body.Close() }()
	// Read for its reason, and so that the connection can be used again.
	body, _ := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	if res.StatusCode >= 200 && res.StatusCode < 300 {
		return result{status: res.StatusCode}
	}
	out := result{status: res.StatusCode, err: fmt.Errorf("status %d", res.StatusCode)}
	if reason := strings.TrimSpace(string(body)); reasonRE.MatchString(reason) {
		out.err = fmt.Errorf("status %d: %s", res.StatusCode, reason)
	}
	out.retry = res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500
	out.retryAfter = retryAfter(res.Header.Get("Retry-After"), time.Now())
	return out
}

// withoutURL is the cause of a failed request: net/http puts the URL around it.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	return err
}

// retryAfter reads the header of that name: seconds, or a date. It is 0 where
// there is none that makes sense.
func retryAfter(value string, now time.Time) time.Duration {
	if s, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(s) * time.Second // #nosec G115 -- at most 31 bits
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return max(at.Sub(now), 0)
}

// jitter spreads pauses between d and 1.25 d, so that several workers do not
// come back at the same time.
func jitter(d time.Duration) time.Duration {
	return d + time.Duration(rand.Int64N(int64(d)/4+1)) // #nosec G404 -- no secret
}
