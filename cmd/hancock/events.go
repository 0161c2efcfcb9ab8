package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/prometheus/common/version"

	"github.com/cyberviser/hancock/internal/events"
)

// openEvents opens the events in the data directory and notes the start, with the downtime before it and what the storage
// has moved aside.
func (s *services) openEvents() (err error) {
	if s.events, err = events.Open(filepath.Join(s.opts.tsdb.Path, "events.jsonl"), s.log.With("component", "events")); err != nil {
		return err
	}
	s.events.Started(version.Version, s.db.Gap(), max(4*s.opts.tsdb.ScrapeInterval, 10*time.Second))
	if n := s.db.Corrupt(); n > 0 {
		s.events.Add(events.Event{Kind: events.Corruption, Detail: fmt.Sprintf("moved %d corrupt blocks or directories of head chunks aside", n)})
	}
	return nil
}

// stopped notes the stop and its cause.
func (s *services) stopped(ctx context.Context) {
	cause := "error"
	if ctx.Err() != nil {
		cause = oneLine(context.Cause(ctx))
	}
	s.events.Add(events.Event{Kind: events.Stop, Cause: cause, Version: version.Version})
}

// reloaded notes an attempt to reload.
func (r *reloader) reloaded(err error) {
	if r.events == nil {
		return // in tests
	}
	if err != nil {
		r.events.Add(events.Event{Kind: events.ReloadFailed, Detail: oneLine(err)})
		return
	}
	r.events.Add(events.Event{Kind: events.Reload})
}
