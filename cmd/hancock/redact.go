package main

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

// redacting is a slog.Handler that takes secrets out of addresses, wherever they stand in a record. Libraries put those
// that they call into their lines: of remote storage, service discovery, Alertmanagers outside.
type redacting struct{ slog.Handler }

// Handle passes the record on with clean texts.
func (h redacting) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, redacted(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(redactAttr(a))
		return true
	})
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
		text := fmt.Sprint(v.Any()) // of an error, what it says
		if clean := redacted(text); clean != text {
			return slog.String(a.Key, clean)
		}
		return a // A list stays one.
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
