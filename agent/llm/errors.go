package llm

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// Kind says in what way a call failed. The set is closed, so that it can be
// the label of a metric.
type Kind string

// The kinds of failures.
const (
	Timeout       Kind = "timeout"        // nothing came within the time allowed
	RateLimited   Kind = "rate_limited"   // 429
	Auth          Kind = "auth"           // 401 or 403
	ContextLength Kind = "context_length" // the prompt is too long for the model
	Unavailable   Kind = "unavailable"    // no connection, or 5xx
	BadResponse   Kind = "bad_response"   // not an answer, half an answer, an empty or an oversized one
	Canceled      Kind = "canceled"       // the caller gave up
	Other         Kind = "other"          // refused for another reason, such as an unknown model
)

// Busy is the kind of a request that no backend was asked for, as too many
// were in progress. It is none of Kinds.
const Busy Kind = "busy"

// Kinds are all that a call to a backend can fail with.
func Kinds() []Kind {
	return []Kind{Timeout, RateLimited, Auth, ContextLength, Unavailable, BadResponse, Canceled, Other}
}

// ErrBusy is wrapped by the Error of a request beyond Options.MaxInFlight.
var ErrBusy = errors.New("too many requests in flight")

// ErrEmpty is wrapped by the Error of a call whose answer had no text.
var ErrEmpty = errors.New("model returned empty response")

// Causes of failures that are ours to detect.
var (
	errTooLarge  = errors.New("answer is too large")
	errCutOff    = errors.New("answer ended before it was complete")
	errNoChoices = errors.New("answer is not a completion")
	errNoModels  = errors.New("answer is not a list of models")
	errSlow      = errors.New("backend took too long")
	errReader    = errors.New("reader of the stream gave up")
)

// Error is the failure of one call to one backend. Its text names the
// backend, the kind and facts about the connection, and never holds anything
// that the backend wrote in prose: servers quote prompts and keys.
type Error struct {
	// Provider and Model were asked.
	Provider, Model string
	Kind            Kind
	// Status is the HTTP status of the backend, 0 when there was none or
	// when it was not the reason.
	Status int
	detail string
	public string // instead of detail for strangers, when not empty
	cause  error
	// passing failures are worth another try, not before retryAfter.
	passing    bool
	retryAfter time.Duration
}

// Error describes the failure for a log.
func (e *Error) Error() string { return e.describe(e.detail) }

// Public describes the failure for everybody: without addresses and names of
// the network.
func (e *Error) Public() string { return e.describe(cmp.Or(e.public, e.detail)) }

func (e *Error) describe(detail string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", e.Provider, e.Kind)
	if e.Status != 0 {
		fmt.Fprintf(&b, ": status %d", e.Status)
	}
	if detail != "" {
		b.WriteString(": " + detail)
	}
	return b.String()
}

// Unwrap returns ErrEmpty, ErrBusy or the context's error where that was the
// cause.
func (e *Error) Unwrap() error { return e.cause }

// KindOf is the kind of an error that a Client returned, Other for any other
// error.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Other
}

// classify turns what went wrong into an Error. ctx is the caller's, call the
// one of this call with its deadline; res is the backend's answer, if any.
func (b *Backend) classify(ctx, call context.Context, model string, res *http.Response, err error) *Error {
	e := &Error{Provider: b.provider, Model: model}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		e.Kind, e.detail, e.cause = Timeout, "caller's deadline passed", context.DeadlineExceeded
	case ctx.Err() != nil:
		e.Kind, e.cause = Canceled, context.Canceled
	case errors.Is(context.Cause(call), errSlow):
		e.Kind, e.detail, e.cause = Timeout, errSlow.Error(), context.DeadlineExceeded
	case errors.Is(err, errReader):
		e.Kind, e.detail, e.cause = Canceled, errReader.Error(), context.Canceled
	case res != nil && res.StatusCode >= http.StatusBadRequest:
		e.Status = res.StatusCode
		e.Kind, e.detail = kindOfStatus(res.StatusCode, err)
		e.passing = mayPass(e)
		e.retryAfter = retryAfter(res.Header.Get("Retry-After"), time.Now())
	case res != nil && res.StatusCode >= http.StatusMultipleChoices:
		// Redirects are not followed: a prompt goes where the
		// configuration says and nowhere else.
		e.Kind, e.Status, e.detail = BadResponse, res.StatusCode, "redirects are not followed"
	case errors.Is(err, ErrEmpty):
		e.Kind, e.detail, e.cause = BadResponse, ErrEmpty.Error(), ErrEmpty
	case errors.Is(err, errTooLarge):
		e.Kind, e.detail = BadResponse, errTooLarge.Error()
	case errors.Is(err, errNoChoices), errors.Is(err, errNoModels):
		e.Kind, e.detail = BadResponse, err.Error()
	case res != nil && (errors.Is(err, errCutOff) || errors.Is(err, io.ErrUnexpectedEOF) || isNetwork(err)):
		e.Kind, e.detail = BadResponse, errCutOff.Error()
	case res != nil:
		e.Kind, e.detail = BadResponse, "answer cannot be read"
	case strings.Contains(err.Error(), "malformed HTTP"):
		e.Kind, e.detail = BadResponse, "answer is not HTTP"
	default:
		e.Kind, e.detail, e.public = Unavailable, networkDetail(err), networkReason(err)
		e.passing = connectionMayPass(err)
	}
	return e
}

// kindOfStatus maps a backend's HTTP error. The detail is the code of OpenAI's
// error object, when it looks like one.
func kindOfStatus(status int, err error) (Kind, string) {
	var code string
	tooLong := status == http.StatusRequestEntityTooLarge
	if api, ok := errors.AsType[*statusError](err); ok {
		tooLong = tooLong || api.tooLong
		for _, c := range []string{api.code, api.kind} {
			if isCode(c) {
				code = c
				break
			}
		}
	}
	switch {
	case tooLong:
		return ContextLength, code
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return Auth, code
	case status == http.StatusTooManyRequests:
		return RateLimited, code
	case status == http.StatusRequestTimeout, status == http.StatusGatewayTimeout:
		return Timeout, code
	case status >= http.StatusInternalServerError:
		return Unavailable, code
	default:
		return Other, code
	}
}

// isCode tells an identifier such as "model_not_found" from prose and from
// things that look like keys.
func isCode(s string) bool {
	if s == "" || len(s) > 48 {
		return false
	}
	for _, r := range s {
		if r != '_' && (r < 'a' || r > 'z') {
			return false
		}
	}
	return true
}

func isNetwork(err error) bool {
	_, ok := errors.AsType[net.Error](err)
	return ok
}

// networkDetail is the reason of a failed connection, such as "dial tcp
// 127.0.0.1:11434: connect: connection refused". It leaves the URL out, and
// everything that the other side may have written.
func networkDetail(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Error()
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.Error()
	}
	if cert, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return cert.Error()
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "connection closed without an answer"
	}
	return "connection failed"
}

// networkReason is the reason of a failed connection out of a closed set.
func networkReason(err error) string {
	dns, isDNS := errors.AsType[*net.DNSError](err)
	_, isCert := errors.AsType[*tls.CertificateVerificationError](err)
	timeout, isNet := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case isDNS && !dns.IsTimeout:
		return "name not found"
	case isCert:
		return "certificate not trusted"
	case isNet && timeout.Timeout():
		return "timed out"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed without an answer"
	default:
		return "connection failed"
	}
}
