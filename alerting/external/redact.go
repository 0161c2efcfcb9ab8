package external

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
)

// urlRE finds the addresses in a text: scheme, host, and what is around and behind that.
var urlRE = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)(?:[^/?#\s"']*@)?([^/\s"'?#\\]*)[^\s"'\\]*`)

// redacted leaves only the host of each address in a text. The rest may hold credentials: a user, a path that only who
// may use it knows, a token.
func redacted(s string) string { return urlRE.ReplaceAllString(s, "$1$2") }

// notDrained is what Prometheus says whenever a sender stops, whether or not something was left in its queue.
const notDrained = "Alert notification queue not drained on shutdown, dropping alerts"

// redacting is a slog.Handler that takes secrets out of addresses, wherever they stand in a record.
type redacting struct{ slog.Handler }

// Handle passes the record on with clean texts.
func (h redacting) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, redacted(r.Message), r.PC)
	empty := false
	r.Attrs(func(a slog.Attr) bool {
		empty = empty || a.Key == "count" && a.Value.Kind() == slog.KindInt64 && a.Value.Int64() == 0
		clean.AddAttrs(redactAttr(a))
		return true
	})
	if empty && r.Message == notDrained {
		return nil
	}
	return h.Handler.Handle(ctx, clean)
}

// WithAttrs cleans the attributes of all records to come.
func (h redacting) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = redactAttr(a)
	}
	return redacting{h.Handler.WithAttrs(clean)}
}

// WithGroup passes the group on.
func (h redacting) WithGroup(name string) slog.Handler { return redacting{h.Handler.WithGroup(name)} }

func redactAttr(a slog.Attr) slog.Attr {
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindString:
		return slog.String(a.Key, redacted(v.String()))
	case slog.KindAny:
		if err, ok := v.Any().(error); ok {
			return slog.String(a.Key, redacted(err.Error()))
		}
		return slog.String(a.Key, redacted(fmt.Sprint(v.Any())))
	case slog.KindGroup:
		group := v.Group()
		clean := make([]slog.Attr, len(group))
		for i, member := range group {
			clean[i] = redactAttr(member)
		}
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(clean...)}
	default:
		return a
	}
}
