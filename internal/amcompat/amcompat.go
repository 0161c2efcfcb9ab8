// Package amcompat selects how Alertmanager's packages parse label names and matchers: as Alertmanager itself does by
// default, in UTF-8 syntax with a fallback to the classic one.
package amcompat

import (
	"context"
	"log/slog"
	"sync"

	"github.com/prometheus/alertmanager/featurecontrol"
	"github.com/prometheus/alertmanager/matcher/compat"
)

var initialized sync.Once

// Init selects the syntax for the whole process. It must be called before anything parses label names, matchers or
// label sets by Alertmanager's packages, which otherwise accept only classic names. It may be called any number of times
// and concurrently; a caller that parses without having called it races with the first call.
func Init() {
	initialized.Do(func() { compat.InitFromFlags(slog.New(fallbacks{}), featurecontrol.NoopFlags{}) })
}

// fallbacks is the handler of the parser's own records. The parser writes a long warning each time it parses a matcher
// that is only valid in the classic syntax, so each API request with such a filter would repeat it: these records go to
// the debug level of the default logger. Those of a configuration are reported by Warnings.
type fallbacks struct{}

// Enabled implements slog.Handler.
func (fallbacks) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && slog.Default().Enabled(ctx, slog.LevelDebug)
}

// Handle implements slog.Handler.
func (fallbacks) Handle(ctx context.Context, r slog.Record) error {
	var attrs []slog.Attr
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "input" || a.Key == "origin" || a.Key == "suggestion" {
			attrs = append(attrs, a)
		}
		return true
	})
	slog.Default().LogAttrs(ctx, slog.LevelDebug, "matcher parsed in classic syntax", attrs...)
	return nil
}

// WithAttrs implements slog.Handler. The parser adds none.
func (f fallbacks) WithAttrs([]slog.Attr) slog.Handler { return f }

// WithGroup implements slog.Handler. The parser has none.
func (f fallbacks) WithGroup(string) slog.Handler { return f }
