package agent

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/cyberviser/hancock/agent/llm"
	"github.com/cyberviser/hancock/agent/notify"
)

// signatureHeader carries "sha256=" and the hexadecimal HMAC-SHA256 of the raw
// body.
const signatureHeader = "X-Hancock-Signature"

// webhook answers the requests to a task that a monitoring system sends.
func (a *Agent) webhook(t task) echo.HandlerFunc {
	return func(c echo.Context) error {
		ctx := c.Request().Context()
		outcome := eventRefused
		defer func() { a.webhookMetrics.event(outcome) }()

		secret := a.now.Load().WebhookSecret
		sum, err := claimedSignature(c.Request(), secret)
		if err != nil {
			return a.signatureInvalid(ctx, err)
		}
		body, err := a.readBody(c)
		if err != nil {
			return err
		}
		if secret != "" && !hmac.Equal(sum, signature(secret, body)) {
			return a.signatureInvalid(ctx, errSignatureWrong)
		}
		in, err := a.understand(c, t, body)
		if err != nil {
			return err
		}
		answer, err := a.chat(c, t, in)
		if err != nil {
			outcome = eventOf(err)
			if errors.Is(err, llm.ErrEmpty) {
				a.log.ErrorContext(ctx, "the model's triage of a webhook alert was empty", "event", "webhook_empty_response")
			}
			return a.failure(ctx, err)
		}
		outcome = eventTriaged
		a.answered(ctx, answer)
		a.notifier.Notify(ctx, notify.Message{
			Source: in.text["source"], Severity: in.text["severity"],
			Alert: in.text["alert"], Triage: answer.Text, Model: answer.Model + " at " + answer.Host, RequestID: requestID(c),
		})
		return c.JSON(http.StatusOK, t.answer(in, answer.Text, answer.Model))
	}
}

// requestID is the id that the answer carries.
func requestID(c echo.Context) string { return c.Response().Header().Get(echo.HeaderXRequestID) }

// eventOf is the outcome of a webhook event whose alert no model has triaged.
func eventOf(err error) string {
	switch {
	case errors.Is(err, llm.ErrEmpty):
		return eventEmpty
	case llm.KindOf(err) == llm.Canceled:
		return eventCanceled
	default:
		return eventFailed
	}
}

// What can be wrong with a signature. The texts are for the log.
var (
	errSignatureMissing   = errors.New("signature is missing")
	errSignatureMalformed = errors.New("signature is malformed")
	errSignatureWrong     = errors.New("signature does not fit the body")
)

// claimedSignature is what the request's header claims, before the body is
// read; nil where no secret is set.
func claimedSignature(r *http.Request, secret string) ([]byte, error) {
	if secret == "" {
		return nil, nil
	}
	values := r.Header.Values(signatureHeader)
	if len(values) == 0 {
		return nil, errSignatureMissing
	}
	sum, ok := parseSignature(values[0])
	if !ok || len(values) > 1 {
		return nil, errSignatureMalformed
	}
	return sum, nil
}

// parseSignature reads the header's value.
func parseSignature(value string) ([]byte, bool) {
	digits, ok := strings.CutPrefix(value, "sha256=")
	if !ok || len(digits) != 2*sha256.Size {
		return nil, false
	}
	sum, err := hex.DecodeString(digits)
	return sum, err == nil
}

// signature is the HMAC of a body.
func signature(secret string, body []byte) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return mac.Sum(nil)
}

// signatureInvalid counts and logs a request that its sender has not signed.
// The answer does not say what was wrong.
func (a *Agent) signatureInvalid(ctx context.Context, err error) error {
	a.webhookMetrics.signatureFailures.Inc()
	a.log.LogAttrs(ctx, slog.LevelWarn, "webhook refused", slog.String("event", "webhook_signature_invalid"),
		slog.String("error", err.Error()))
	return echo.NewHTTPError(http.StatusUnauthorized, "invalid webhook signature")
}
