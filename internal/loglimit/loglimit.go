// Package loglimit bounds repeated log lines: a library that fails in a loop must not fill the log and push everything else
// out of it.
package loglimit

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// burst is how many lines with one message of one component are passed on in a window.
	burst = 20
	// window is how long lines are counted.
	window = time.Minute
	// maxKeys bounds the messages that are counted apart from each other; all further ones are counted together.
	maxKeys = 1000
)

// NewHandler returns a handler that passes on to h at most 20 lines a minute with the same component, level and message. With
// the first line of any kind after that minute it writes one that has the number of the others. Lines below INFO are all passed
// on: whoever asks for them wants them. It may be used concurrently.
func NewHandler(h slog.Handler) slog.Handler {
	return &handler{Handler: h, counts: &counts{out: h, now: time.Now, lines: map[key]*line{}}}
}

// key is what lines have in common.
type key struct {
	component, message string
	level              slog.Level
}

// line is a kind of lines in its window.
type line struct {
	since         time.Time
	n, suppressed int
}

// counts are shared by all handlers that are made from one.
type counts struct {
	out slog.Handler // without attributes
	now func() time.Time

	mu    sync.Mutex
	lines map[key]*line
	// next is when the first of the windows ends.
	next time.Time
}

type handler struct {
	slog.Handler
	counts    *counts
	component string
}

// Handle passes the record on unless there were too many like it.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelInfo && !h.counts.take(ctx, key{h.component, r.Message, r.Level}) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs notes the component.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	component := h.component
	if i := slices.IndexFunc(attrs, func(a slog.Attr) bool { return a.Key == "component" }); i >= 0 {
		component = attrs[i].Value.String()
	}
	return &handler{h.Handler.WithAttrs(attrs), h.counts, component}
}

// WithGroup passes the group on.
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.Handler.WithGroup(name), h.counts, h.component}
}

// take counts a line and reports whether it is passed on.
func (c *counts) take(ctx context.Context, k key) bool {
	c.mu.Lock()
	now := c.now()
	ended := c.end(now)
	if _, known := c.lines[k]; !known && len(c.lines) >= maxKeys {
		k = key{}
	}
	l := c.lines[k]
	if l == nil {
		l = &line{since: now}
		c.lines[k] = l
	}
	if end := l.since.Add(window); c.next.IsZero() || end.Before(c.next) {
		c.next = end
	}
	l.n++
	pass := l.n <= burst
	if !pass {
		l.suppressed++
	}
	c.mu.Unlock()
	for _, r := range ended {
		_ = c.out.Handle(ctx, r)
	}
	return pass
}

// end ends the windows that are over, and returns a record for each that had too many lines. The caller holds mu.
func (c *counts) end(now time.Time) (records []slog.Record) {
	if c.next.IsZero() || now.Before(c.next) {
		return nil
	}
	c.next = time.Time{}
	for k, l := range c.lines {
		end := l.since.Add(window)
		if now.Before(end) {
			if c.next.IsZero() || end.Before(c.next) {
				c.next = end
			}
			continue
		}
		delete(c.lines, k)
		if l.suppressed == 0 {
			continue
		}
		r := slog.NewRecord(now, k.level, "suppressed repeated log lines", 0)
		r.AddAttrs(slog.String("event", "log_lines_suppressed"), slog.String("component", k.component),
			slog.String("repeated", k.message), slog.Int("count", l.suppressed))
		records = append(records, r)
	}
	slices.SortFunc(records, func(a, b slog.Record) int { return strings.Compare(repeated(a), repeated(b)) })
	return records
}

// repeated is the message that a record is about.
func repeated(r slog.Record) (s string) {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "repeated" {
			s = a.Value.String()
		}
		return true
	})
	return s
}
