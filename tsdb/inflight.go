package tsdb

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errClosed is what a query gets that comes after Close.
var errClosed = errors.New("storage is closed")

// inflight counts the queries that read the storage, so that Close can end them before the files are unmapped
// under them. The zero value is ready.
type inflight struct {
	mtx     sync.Mutex
	closed  bool
	running sync.WaitGroup
	cancels map[*context.CancelFunc]struct{}
}

// enter admits a query. Its context ends when the storage closes; leave must be called when it has ended.
func (f *inflight) enter(ctx context.Context) (_ context.Context, leave func(), err error) {
	f.mtx.Lock()
	defer f.mtx.Unlock()
	if f.closed {
		return nil, nil, errClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	if f.cancels == nil {
		f.cancels = map[*context.CancelFunc]struct{}{}
	}
	f.cancels[&cancel] = struct{}{}
	f.running.Add(1)
	return ctx, func() {
		cancel()
		f.mtx.Lock()
		delete(f.cancels, &cancel)
		f.mtx.Unlock()
		f.running.Done()
	}, nil
}

// close admits nobody any more, cancels who is in and waits for them, but not longer than that. It returns how many
// have not left by then, and a channel that is closed when all have.
func (f *inflight) close(wait time.Duration) (left int, empty <-chan struct{}) {
	f.mtx.Lock()
	f.closed = true
	for cancel := range f.cancels {
		(*cancel)()
	}
	f.mtx.Unlock()
	done := make(chan struct{})
	go func() {
		f.running.Wait()
		close(done)
	}()
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
		f.mtx.Lock()
		defer f.mtx.Unlock()
		left = len(f.cancels)
	}
	return left, done
}

// querySlots bounds how many queries run at once. Prometheus' own tracker does that with a file in the data folder
// as well, which names after a crash the queries that were running; that file is not worth its writes here.
type querySlots chan struct{}

func newQuerySlots(n int) querySlots { return make(querySlots, n) }

// GetMaxConcurrent is the number of slots.
func (s querySlots) GetMaxConcurrent() int { return cap(s) }

// Insert blocks until a slot is free or the query is given up.
func (s querySlots) Insert(ctx context.Context, _ string) (int, error) {
	select {
	case s <- struct{}{}:
		return 0, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Delete frees a slot.
func (s querySlots) Delete(int) { <-s }

// Close has nothing to do.
func (s querySlots) Close() error { return nil }
