package web

import (
	"io"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// unreadTimeout is how long net/http may go on reading a body that nobody
// wanted, before it sends an answer that has been written.
const unreadTimeout = time.Second

// bodyDeadline bounds the time that a client takes to send a body: nobody may
// hold a connection by sending the rest never. The deadline ends with the body,
// so answers may take their time.
func bodyDeadline(timeout time.Duration) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			if r.ContentLength == 0 {
				return next(c)
			}
			// A writer without deadlines is one of a test.
			body := &timedBody{ReadCloser: r.Body, control: *http.NewResponseController(c.Response().Writer)}
			start := time.Now()
			_ = body.control.SetReadDeadline(start.Add(timeout))
			if r.ProtoMajor == 1 { // a connection of HTTP/2 may have other requests
				if body.conn = connOf(r); body.conn != nil {
					body.conn.body.Store(start.UnixNano())
				}
			}
			r.Body = body
			err := next(c)
			if !body.ended {
				body.arrived()
				_ = body.control.SetReadDeadline(time.Now().Add(unreadTimeout))
			}
			return err
		}
	}
}

// timedBody takes the deadline off when it has been read.
type timedBody struct {
	io.ReadCloser
	control http.ResponseController
	conn    *conn // nil if it has others, too
	ended   bool
}

// arrived notes that nothing more of the body is waited for.
func (b *timedBody) arrived() {
	if b.conn != nil {
		b.conn.body.Store(0)
	}
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF && !b.ended {
		b.ended = true
		b.arrived()
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}
