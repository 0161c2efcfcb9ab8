// Package requestlog stands around the whole HTTP server: it gives each
// request its id, writes what happened to it as JSON lines, and lets the agent
// below it add what it alone knows.
package requestlog

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
)

// timeFormat is RFC 3339 in UTC with exactly three digits of a second.
const timeFormat = "2006-01-02T15:04:05.000Z"

// New returns a logger that writes one JSON object a line to w: timestamp,
// level (DEBUG, INFO, WARNING, ERROR), message, the attributes, and request_id
// when the context belongs to a request. Writes to w are serialised.
func New(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(newHandler(w, level))
}

// ParseLevel reads a level as LOG_LEVEL has it: DEBUG, INFO, WARNING or ERROR,
// in any case.
func ParseLevel(s string) (slog.Level, error) {
	switch strings.ToUpper(s) {
	case "DEBUG":
		return slog.LevelDebug, nil
	case "INFO":
		return slog.LevelInfo, nil
	case "WARNING":
		return slog.LevelWarn, nil
	case "ERROR":
		return slog.LevelError, nil
	default:
		return 0, fmt.Errorf("unknown log level %q; valid: DEBUG, INFO, WARNING, ERROR", s)
	}
}

// handler adds what is known of the request that the context belongs to: its
// id, its endpoint and, once it has been read, its mode.
type handler struct {
	slog.Handler
	plain *plain // nil when every line has attributes of the logger's
}

func newHandler(w io.Writer, level slog.Leveler) handler {
	out := &sink{w: w}
	return handler{
		Handler: slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level, ReplaceAttr: rename}),
		plain:   &plain{out: out},
	}
}

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	if h.plain != nil {
		if ok, err := h.plain.handle(ctx, r); ok {
			return err
		}
	}
	if rec, ok := ctx.Value(contextKey{}).(*record); ok {
		var fields []slog.Attr
		rec.common(r, func(a slog.Attr) { fields = append(fields, a) })
		r = r.Clone()
		r.AddAttrs(fields...)
	}
	return h.Handler.Handle(ctx, r)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{Handler: h.Handler.WithAttrs(attrs)}
}

func (h handler) WithGroup(name string) slog.Handler {
	return handler{Handler: h.Handler.WithGroup(name)}
}

// rename gives slog's own three fields the names and forms of our log, and all other values readable ones. The kinds
// tell the three from attributes of the same names.
func rename(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		a.Value = readable(a.Value)
		return a
	}
	switch a.Key {
	case slog.TimeKey:
		if a.Value.Kind() == slog.KindTime {
			return slog.String("timestamp", a.Value.Time().UTC().Format(timeFormat))
		}
	case slog.LevelKey:
		if level, ok := a.Value.Any().(slog.Level); ok {
			return slog.String(slog.LevelKey, levelName(level))
		}
	case slog.MessageKey:
		return slog.Attr{Key: "message", Value: readable(a.Value)}
	}
	a.Value = readable(a.Value)
	return a
}

func levelName(l slog.Level) string {
	switch {
	case l < slog.LevelInfo:
		return "DEBUG"
	case l < slog.LevelWarn:
		return "INFO"
	case l < slog.LevelError:
		return "WARNING"
	default:
		return "ERROR"
	}
}

// milliseconds is d in ms with two decimals.
func milliseconds(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond).Microseconds()) / 1000
}
