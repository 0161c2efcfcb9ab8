package agent

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cyberviser/hancock/agent/llm"
	"github.com/cyberviser/hancock/agent/requestlog"
)

// stream answers with server-sent events. Nothing is sent before the first
// piece is there: until then a failure is an ordinary error.
func (a *Agent) stream(c echo.Context, t task, in input) error {
	ctx := c.Request().Context()
	requestlog.Add(ctx, requestlog.Stream())
	events := &eventWriter{c: c, timeout: a.now.Load().ClientTimeout}
	var last llm.Attempt
	answer, err := a.backend.Stream(ctx, a.question(c, t, in, &last), func(piece string) error {
		return events.send(delta{Delta: piece})
	})
	ended(ctx, last)
	if err == nil {
		a.answered(ctx, answer)
		err = events.send(done{Done: true, Response: answer.Text})
	} else if failure := a.failure(ctx, err); !events.started {
		return failure
	} else {
		// No "done" after this: a client must not take half for the whole.
		err = events.send(failed{Error: fmt.Sprint(failure.Message), RequestID: requestlog.ID(ctx)})
	}
	if err != nil {
		a.log.DebugContext(ctx, "client of a stream went away", "event", "stream_aborted", "error", err.Error())
	}
	return nil
}

// The events of a stream.
type (
	delta struct {
		Delta string `json:"delta"`
	}
	failed struct {
		Error     string `json:"error"`
		RequestID string `json:"request_id"`
	}
	done struct {
		Done     bool   `json:"done"`
		Response string `json:"response"`
	}
)

// eventWriter writes events, each of them out to the client at once.
type eventWriter struct {
	c       echo.Context
	timeout time.Duration
	started bool
}

// send writes one event. It fails when the client has not taken it within the
// timeout: a client that does not read must not hold a model.
func (w *eventWriter) send(event any) error {
	data, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("encoding an event: %w", err)
	}
	res := w.c.Response()
	// Not the controller of echo's Response: its Flush panics where the
	// writer below cannot flush.
	control := http.NewResponseController(res.Writer)
	// A writer without deadlines is one of a test or behind a wrapper.
	_ = control.SetWriteDeadline(time.Now().Add(w.timeout))
	if !w.started {
		h := res.Header()
		h.Set(echo.HeaderContentType, "text/event-stream")
		h.Set(echo.HeaderCacheControl, "no-store")
		// Proxies in nginx's manner would collect the pieces.
		h.Set("X-Accel-Buffering", "no")
		res.WriteHeader(http.StatusOK)
		w.started = true
	}
	if _, err := fmt.Fprintf(res, "data: %s\n\n", data); err != nil {
		return fmt.Errorf("writing an event: %w", err)
	}
	if err := control.Flush(); err != nil {
		return fmt.Errorf("flushing an event: %w", err)
	}
	// The next piece may take its time: HTTP/2 ends a stream whose deadline
	// passes even while nothing is written.
	_ = control.SetWriteDeadline(time.Time{})
	return nil
}
