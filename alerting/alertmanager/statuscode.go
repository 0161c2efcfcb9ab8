package alertmanager

import (
	"context"
	"errors"
	"net/http"
	"net/textproto"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// mailTaken is the one answer to a message that a client of SMTP takes for a
// success (RFC 5321, section 4.2.3).
const mailTaken = 250

// answerKey is the key of the *answered of a try in its context.
type answerKey struct{}

// answered holds the status code of the last answer that a try got over HTTP.
type answered struct{ code atomic.Int64 }

// statusCode is the receiver's answer to a try: 0 when there was none, or when
// the integration does not tell.
func (r *recorder) statusCode(got *answered, err error) int {
	smtp := (*textproto.Error)(nil)
	switch {
	case errors.As(err, &smtp):
		return smtp.Code
	case err == nil && r.inner.Name() == "email":
		return mailTaken
	default:
		return int(got.code.Load())
	}
}

// listen makes the process hear the status codes of answers: whether a
// delivery worked is all that an integration returns, but its HTTP client tells
// OpenTelemetry more. What listens has no state, so that it may be set often.
func listen() { otel.SetTracerProvider(listeningProvider{}) }

// The least that can listen: of all that is traced, the status code of an
// answer to a try is taken, and the rest is dropped, as without it.
type (
	listeningProvider struct{ noop.TracerProvider }
	listeningTracer   struct{ noop.Tracer }
	listeningSpan     struct {
		noop.Span
		to *answered
	}
)

func (listeningProvider) Tracer(string, ...trace.TracerOption) trace.Tracer { return listeningTracer{} }

func (t listeningTracer) Start(ctx context.Context, name string, o ...trace.SpanStartOption) (context.Context, trace.Span) {
	if to, ok := ctx.Value(answerKey{}).(*answered); ok {
		return ctx, listeningSpan{to: to}
	}
	return t.Tracer.Start(ctx, name, o...)
}

// SetAttributes is given the attributes that OpenTelemetry's semantic
// conventions have for clients of HTTP.
func (s listeningSpan) SetAttributes(attributes ...attribute.KeyValue) {
	for _, a := range attributes {
		if code := a.Value.AsInt64(); a.Key == "http.response.status_code" && code >= http.StatusContinue {
			s.to.code.Store(code)
		}
	}
}
