package external

import (
	"context"
	"log/slog"
)

// notDrained is what Prometheus says whenever a sender stops, whether or not something was left in its queue.
const notDrained = "Alert notification queue not drained on shutdown, dropping alerts"

// quiet is a slog.Handler that leaves out that line when nothing was left.
type quiet struct{ slog.Handler }

// Handle passes on all other records.
func (h quiet) Handle(ctx context.Context, r slog.Record) error {
	empty := false
	r.Attrs(func(a slog.Attr) bool {
		empty = a.Key == "count" && a.Value.Kind() == slog.KindInt64 && a.Value.Int64() == 0
		return !empty
	})
	if empty && r.Message == notDrained {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs passes the attributes on.
func (h quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{h.Handler.WithAttrs(attrs)} }

// WithGroup passes the group on.
func (h quiet) WithGroup(name string) slog.Handler { return quiet{h.Handler.WithGroup(name)} }
