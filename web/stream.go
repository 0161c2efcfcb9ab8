package web

import (
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
)

// streamPart is how much of an answer a client of HTTP/2 has to take within WriteTimeout: a frame of the usual size.
const streamPart = 16 << 10

// boundStreams resets streams of HTTP/2 whose client does not take the answer. It stops them by flow control, while the
// connection is not blocked, so that conn does not notice.
func (s *Server) boundStreams(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if c.Request().ProtoMajor < 2 {
			return next(c)
		}
		res := c.Response()
		w := &stream{ResponseWriter: res.Writer, control: http.NewResponseController(res.Writer), timeout: s.now.Load().opts.WriteTimeout}
		w.timer = time.AfterFunc(w.timeout, func() { w.expire(s.conns.dropped.WithLabelValues(dropStalled).Inc) })
		w.timer.Stop()
		defer w.end()
		res.Writer = w
		return next(c)
	}
}

// stream writes an answer in parts, each of them within the timeout.
type stream struct {
	http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
	timer   *time.Timer

	mu    sync.Mutex
	ended bool // net/http takes the writer back
}

// expire resets the stream. A deadline would cost a message to the connection's goroutine for each part.
func (w *stream) expire(count func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended && w.control.SetWriteDeadline(time.Now()) == nil {
		count()
	}
}

// end bounds the writing of what is buffered, after the handler.
func (w *stream) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
	w.ended = true
	// A writer without deadlines is one of a test.
	_ = w.control.SetWriteDeadline(time.Now().Add(w.timeout))
}

func (w *stream) Write(p []byte) (n int, err error) {
	defer w.timer.Stop()
	for {
		part := p[n:min(n+streamPart, len(p))]
		w.timer.Reset(w.timeout)
		m, err := w.ResponseWriter.Write(part)
		n += m
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

// FlushError writes what is buffered.
func (w *stream) FlushError() error {
	w.timer.Reset(w.timeout)
	defer w.timer.Stop()
	return w.control.Flush()
}

// Flush writes what is buffered.
func (w *stream) Flush() { _ = w.FlushError() }

// Unwrap returns the writer below, for http.ResponseController.
func (w *stream) Unwrap() http.ResponseWriter { return w.ResponseWriter }
