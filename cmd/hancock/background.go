package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// background runs the parts of the process that work on their own. A part that
// fails ends the process, with its failure as the cause.
type background struct {
	// fail ends the process.
	fail context.CancelCauseFunc
	// patience is how long all parts together may take to stop, a time.Duration.
	patience atomic.Int64
	// deadline is set by the first part that is stopped. Parts are stopped one
	// after the other by one goroutine.
	deadline time.Time
}

// leastPatience is what a part gets when those before it took all the time.
const leastPatience = 200 * time.Millisecond

// partError is the failure of a part that nobody asked to stop.
type partError struct{ error }

func (e partError) Unwrap() error { return e.error }

// start runs a part in a goroutine of its own and returns what stops it: it
// cancels the part's context and waits for it. To be called in a defer on the
// same line, so that parts stop in the reverse order of their start.
func (b *background) start(name string, part func(context.Context) error) (stop func(*error)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := part(ctx)
		if ctx.Err() == nil {
			if err == nil {
				err = errors.New("ended by itself")
			}
			b.fail(partError{fmt.Errorf("%s: %w", name, err)})
			err = nil // told already
		}
		done <- err
	}()
	return func(result *error) {
		cancel()
		if b.deadline.IsZero() {
			b.deadline = time.Now().Add(time.Duration(b.patience.Load()))
		}
		patience := time.NewTimer(max(time.Until(b.deadline), leastPatience))
		defer patience.Stop()
		select {
		case err := <-done:
			if err != nil && !errors.Is(err, context.Canceled) {
				*result = errors.Join(*result, fmt.Errorf("stopping %s: %w", name, err))
			}
		case <-patience.C:
			*result = errors.Join(*result, fmt.Errorf("stopping %s: not done after %s", name, time.Duration(b.patience.Load())))
		}
	}
}

// closing adds the error of closing a part to the result of the process.
func closing(result *error, name string, closer func() error) {
	if err := closer(); err != nil {
		*result = errors.Join(*result, fmt.Errorf("closing %s: %w", name, err))
	}
}
