package tsdb

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
)

// observedAppendable stands between the scrape manager and the storage and sees when samples of the process itself
// have become queryable. After stop it takes nothing any more, whatever scrape loop should still be alive.
type observedAppendable struct {
	next storage.AppendableV2
	// kept takes the samples that cannot be written.
	kept *unwritten
	// up is the series that every scrape of ourselves ends with, a failed one too.
	up labels.Labels

	newest    atomic.Int64 // Milliseconds; 0 while there is none. Successful scrapes only.
	firstOnce sync.Once
	first     chan struct{}
	stopped   atomic.Bool
}

func newObservedAppendable(next storage.AppendableV2, kept *unwritten, instance string) *observedAppendable {
	return &observedAppendable{
		next: next, kept: kept,
		up: labels.FromStrings(model.MetricNameLabel, "up",
			"instance", instance, "job", JobName),
		first: make(chan struct{}),
	}
}

// AppenderV2 begins a transaction that is observed.
func (o *observedAppendable) AppenderV2(ctx context.Context) storage.AppenderV2 {
	return &observedAppender{AppenderV2: o.next.AppenderV2(ctx), to: o}
}

func (o *observedAppendable) stop() { o.stopped.Store(true) }

type observedAppender struct {
	storage.AppenderV2
	to *observedAppendable
	// ours says that this transaction is the end of a scrape of ourselves, at when that was, if it succeeded.
	ours  bool
	at    int64
	batch batch
}

// Append passes a sample on. The interface of storage has that many arguments.
//
//nolint:revive // See above.
func (a *observedAppender) Append(ref storage.SeriesRef, ls labels.Labels, st, t int64, v float64,
	h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AppendV2Options,
) (storage.SeriesRef, error) {
	if a.to.stopped.Load() {
		return 0, errClosed
	}
	ref, err := a.AppenderV2.Append(ref, ls, st, t, v, h, fh, opts)
	if labels.Equal(ls, a.to.up) && !value.IsStaleNaN(v) {
		a.ours = true
		if err == nil && v == 1 {
			a.at = t
		}
	}
	return ref, a.batch.add(rawSample{ls, t, v, h, fh}, err)
}

// Commit makes the samples queryable, and lets that be known.
func (a *observedAppender) Commit() error {
	if a.to.stopped.Load() {
		return a.Rollback()
	}
	written := a.AppenderV2.Commit()
	err := a.to.kept.ended(written, a.batch)
	a.batch = batch{}
	if written == nil && a.at != 0 {
		a.to.newest.Store(a.at)
	}
	if a.ours {
		a.to.firstOnce.Do(func() { close(a.to.first) })
	}
	return err
}

// Rollback drops the samples.
func (a *observedAppender) Rollback() error {
	if a.ours {
		a.to.firstOnce.Do(func() { close(a.to.first) }) // Rules do not wait for a store that refuses everything.
	}
	a.batch = batch{}
	return a.AppenderV2.Rollback()
}
