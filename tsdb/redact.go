package tsdb

import (
	"context"
	"log/slog"
	"net/url"
	"strings"
)

// redactURLs is a slog.Handler that takes passwords out of attributes that are URLs. Remote storage puts the URL
// that it writes to into each line that it logs.
type redactURLs struct{ slog.Handler }

// Handle passes the record on with clean attributes.
func (h redactURLs) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(redactURL(a))
		return true
	})
	return h.Handler.Handle(ctx, clean)
}

// WithAttrs cleans the attributes of all records to come.
func (h redactURLs) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = redactURL(a)
	}
	return redactURLs{h.Handler.WithAttrs(clean)}
}

// WithGroup passes the group on.
func (h redactURLs) WithGroup(name string) slog.Handler { return redactURLs{h.Handler.WithGroup(name)} }

func redactURL(a slog.Attr) slog.Attr {
	if a.Value.Kind() != slog.KindString {
		return a
	}
	a.Value = slog.StringValue(redacted(a.Value.String()))
	return a
}

// redacted is s, without its password if it is a URL that has one.
func redacted(s string) string {
	if !strings.Contains(s, "://") {
		return s
	}
	u, err := url.Parse(s)
	if err != nil || u.User == nil {
		return s
	}
	return u.Redacted()
}
