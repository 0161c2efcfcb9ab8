package alertmanager

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net/http"
	"net/textproto"
	"reflect"
	"regexp"
	"strings"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/config/receiver"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/template"
	commoncfg "github.com/prometheus/common/config"
)

const (
	// secondScale is how much of a message that its receiver refused as too
	// large is sent once more.
	secondScale = 0.5
	// mailTooLarge is a mail server's answer to a message that is larger than
	// it takes (RFC 1870).
	mailTooLarge = 552
	// maxFieldErrorBytes bounds the text of one failed template in the ledger.
	maxFieldErrorBytes = 512
)

// errTooLarge says that a message was refused twice for its size.
var errTooLarge = errors.New("the receiver refuses the message as too large, also at half its size; " +
	"it is not sent again until the group changes or repeat_interval has passed")

// tooLargeRE matches what receivers say of a message that is too large, beside
// the status codes that say it.
var tooLargeRE = regexp.MustCompile(`(?i)too[_ ](long|large|big)|fewer in length|` +
	`(size|length|limit|maximum)\b.{0,60}exceed|exceed.{0,60}(size|length|limit|maximum)`)

// buildOne returns what builds the integration of a receiver for one message;
// no connection outlives it.
func buildOne(name, kind string, tmpl *template.Template, log *slog.Logger) func(reflect.Value) (notify.Notifier, error) {
	return func(c reflect.Value) (notify.Notifier, error) {
		built, err := receiver.BuildReceiverIntegrations(only(name, kind, c), tmpl, log.With("receiver", name),
			commoncfg.WithDialContextFunc(dialBounded), commoncfg.WithHTTP2Disabled(), commoncfg.WithKeepAlivesDisabled())
		if err != nil {
			return nil, err
		}
		return &built[0], nil
	}
}

// compose renders the message and sends it: as it is configured if it can be
// sent so, else amended. A message that is refused as too large is sent once
// more at half its size.
func (r *recorder) compose(ctx context.Context, alerts []*alert.Alert) (a answer) {
	d, err := r.composer.compose(ctx, alerts, 1)
	a.Amendment = d.Amendment
	if err != nil {
		a.err = err
		return a
	}
	a.retry, a.err = r.deliver(ctx, d)
	if !r.tooLarge(ctx, a.err) {
		return a
	}
	first := a.err
	if d, err = r.composer.compose(ctx, alerts, secondScale); err != nil {
		return a
	}
	a.Amendment = d.Amendment
	a.retry, a.err = r.deliver(ctx, d)
	if r.tooLarge(ctx, a.err) {
		a.retry, a.err = false, fmt.Errorf("%w: %w", errTooLarge, first)
	}
	return a
}

// deliver sends a draft.
func (r *recorder) deliver(ctx context.Context, d *draft) (retry bool, err error) {
	var through notify.Notifier = r.inner
	if !d.empty() {
		if through, err = r.composer.integration(d); err != nil {
			return false, fmt.Errorf("making the message without what is wrong with it: %w", err)
		}
	}
	return r.delivered(ctx, func(ctx context.Context) (bool, error) { return through.Notify(ctx, d.alerts...) })
}

// tooLarge reports whether a receiver refuses a message for its size.
func (r *recorder) tooLarge(ctx context.Context, err error) bool {
	if err == nil || ctx.Err() != nil {
		return false
	}
	if smtp := (*textproto.Error)(nil); errors.As(err, &smtp) {
		return smtp.Code == mailTooLarge
	}
	code := 0
	if got, ok := ctx.Value(answerKey{}).(*answered); ok {
		code = r.statusCode(got, err)
	}
	switch code {
	case http.StatusRequestEntityTooLarge:
		return true
	case 0, http.StatusOK, http.StatusBadRequest, http.StatusUnprocessableEntity: // of some clients it is not known
		return tooLargeRE.MatchString(err.Error()) && !errors.Is(err, errAnswerTooLong)
	default:
		return false
	}
}

// wasRefused reports whether this very message was refused as too large
// before. It counts as sent then: Alertmanager sends what is not logged as sent
// at each group_interval, for ever.
func (r *recorder) wasRefused(ctx context.Context, alerts []*alert.Alert) bool {
	key, _ := notify.GroupKey(ctx)
	if !r.refused.CompareAndDelete(key, messageHash(alerts)) {
		return false
	}
	r.log.WarnContext(ctx, "oversized notification not repeated", "receiver", r.receiver, "integration", r.inner.String(),
		"group_key", clip(key, maxGroupKeyBytes))
	return true
}

// remember keeps whether a message was refused as too large.
func (r *recorder) remember(ctx context.Context, alerts []*alert.Alert, refused bool) {
	key, _ := notify.GroupKey(ctx)
	if refused {
		r.refused.Store(key, messageHash(alerts))
	} else {
		r.refused.Delete(key)
	}
}

// messageHash is of the alerts of a message and their states, in any order.
func messageHash(alerts []*alert.Alert) uint64 {
	var sum uint64
	for _, a := range alerts {
		h := fnv.New64a()
		fmt.Fprint(h, a.Fingerprint(), a.Status())
		sum += h.Sum64()
	}
	return sum
}

// clean is an amendment without secrets, and no longer than a line of the
// ledger has room for.
func (r *recorder) clean(a Amendment) Amendment {
	fields := make([]FieldError, len(a.FailedFields))
	for i, f := range a.FailedFields {
		fields[i] = FieldError{f.Field, clip(r.secrets.scrub(strings.ToValidUTF8(f.Error, "�")), maxFieldErrorBytes)}
	}
	if a.FailedFields = fields; len(fields) == 0 {
		a.FailedFields = nil
	}
	a.TruncatedFields = a.TruncatedFields[:min(len(a.TruncatedFields), maxFailedFields)]
	return a
}
