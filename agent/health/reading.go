package health

import (
	"context"
	"errors"
	"sync/atomic"
)

// errLate is the error of a figure that the system did not tell in time.
var errLate = errors.New("it takes too long")

// reading reads a figure from the system, which a hung file system may hold up
// for ever, whatever the context.
type reading struct{ busy atomic.Bool }

// read does not wait longer than ctx allows, and starts nothing while an
// earlier read is held up.
func (r *reading) read(ctx context.Context, f func() (uint64, error)) (uint64, error) {
	if !r.busy.CompareAndSwap(false, true) {
		return 0, errLate
	}
	type figure struct {
		value uint64
		err   error
	}
	out := make(chan figure, 1)
	go func() {
		value, err := f()
		r.busy.Store(false)
		out <- figure{value, err}
	}()
	select {
	case got := <-out:
		return got.value, got.err
	case <-ctx.Done():
		return 0, errLate
	}
}
