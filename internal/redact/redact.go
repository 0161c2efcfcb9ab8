// Package redact takes secrets out of what is shown: log lines, metrics and answers. Of a URL only the scheme and the
// host remain; a user, a path or a query may hold credentials.
package redact

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
)

// urlRE finds the addresses in a text: scheme, host, and what is around and behind that.
var urlRE = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)(?:[^/?#\s"']*@)?([^/\s"'?#\\]*)[^\s"'\\]*`)

// Mask replaces a secret, as in Prometheus' own output.
const Mask = "<secret>"

// URLs leaves only the scheme and the host of each URL in a text.
func URLs(s string) string {
	if !strings.Contains(s, "://") {
		return s
	}
	return urlRE.ReplaceAllString(s, "$1$2")
}

// NewHandler returns a handler that passes records on with only the hosts of URLs. It is for libraries, which put those
// that they call into their lines: of remote storage, service discovery, external Alertmanagers.
func NewHandler(h slog.Handler) slog.Handler { return redacting{h} }

// redacting cleans URLs wherever they are in a record.
type redacting struct{ slog.Handler }

// Handle passes the record on with clean texts.
func (h redacting) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, URLs(r.Message), r.PC)
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
		return slog.String(a.Key, URLs(v.String()))
	case slog.KindAny:
		text := fmt.Sprint(v.Any()) // of an error, what it says
		if clean := URLs(text); clean != text {
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
