package requestlog

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

// The paths of the search.
const (
	RequestsPath = "/api/hancock/requests"
	LogsPath     = "/api/hancock/logs"
)

const (
	// heartbeat is how often a silent live tail shows that it lives.
	heartbeat = 15 * time.Second
	// patience is how long a reader of a live tail may take for one piece.
	patience = 10 * time.Second
	// statusClientGone is what nobody receives, see the agent.
	statusClientGone = 499
)

// Register mounts the search: RequestsPath for the records of requests,
// LogsPath for all lines. With follow=true, or for who accepts
// text/event-stream, they tell what comes from now on.
func (l *Log) Register(e *echo.Echo) {
	e.GET(RequestsPath, l.serve(true))
	e.GET(LogsPath, l.serve(false))
}

// The answers of the search.
type (
	recordsAnswer struct {
		Requests   []Record `json:"requests"`
		NextCursor string   `json:"next_cursor"`
	}
	linesAnswer struct {
		Lines      []json.RawMessage `json:"lines"`
		NextCursor string            `json:"next_cursor"`
	}
)

func (l *Log) serve(records bool) echo.HandlerFunc {
	return func(c echo.Context) error {
		params := c.QueryParams()
		if strings.Contains(c.Request().Header.Get(echo.HeaderAccept), "text/event-stream") && params.Get("follow") == "" {
			params.Set("follow", "true")
		}
		q, follow, err := parseQuery(params)
		if err != nil {
			return echo.NewHTTPError(http.StatusBadRequest, err.Error())
		}
		c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
		if follow {
			return l.follow(c, newMatcher(q, records))
		}
		var answer any
		if records {
			var page Page[Record]
			page, err = l.Records(c.Request().Context(), q)
			answer = recordsAnswer{page.Items, page.Next}
		} else {
			var page Page[json.RawMessage]
			page, err = l.Lines(c.Request().Context(), q)
			answer = linesAnswer{page.Items, page.Next}
		}
		switch {
		case errors.Is(err, ErrNoFiles):
			return echo.NewHTTPError(http.StatusNotFound, "no log files are kept, so there is nothing to search; follow=true works")
		case c.Request().Context().Err() != nil:
			return echo.NewHTTPError(statusClientGone, "the client went away")
		case err != nil:
			return fmt.Errorf("searching the log: %w", err)
		}
		return c.JSON(http.StatusOK, answer)
	}
}

// follow sends what matches as server-sent events until the client goes away,
// does not read any more, or the log ends its streams. The data of an event is
// a line or a record. Where a client reads too slowly, lines are left out, and
// an event of the type "lost" says how many that may match.
func (l *Log) follow(c echo.Context, m *matcher) error {
	w := l.tail.watch(m)
	if w == nil {
		return echo.NewHTTPError(http.StatusServiceUnavailable, "no more live tails at the moment")
	}
	defer l.tail.leave(w)
	h := c.Response().Header()
	h.Set(echo.HeaderContentType, "text/event-stream")
	// Proxies in nginx's manner would collect the pieces.
	h.Set("X-Accel-Buffering", "no")
	s := sender{c.Response(), http.NewResponseController(c.Response().Writer), l.patience}
	defer s.end()

	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	err := s.send(": new lines follow\n\n", true)
	for err == nil {
		select {
		case <-c.Request().Context().Done():
			return nil
		case <-l.tail.done:
			return nil
		case <-beat.C:
			err = s.send(": still here\n\n", true)
		case line := <-w.lines:
			if data, ok := m.event(line); ok {
				err = s.send("data: "+string(data)+"\n\n", len(w.lines) == 0)
			} else if len(w.lines) == 0 {
				err = s.send("", true)
			}
			// When the buffer is empty, those that did not fit would be next.
			if lost := w.lost.Load(); err == nil && len(w.lines) == 0 && lost > 0 {
				w.lost.Add(-lost)
				err = s.send(fmt.Sprintf("event: lost\ndata: {\"lines\":%d}\n\n", lost), true)
			}
		}
	}
	return nil // the client is gone, or as good as gone
}

// event is what a live tail tells of a line.
func (m *matcher) event(line []byte) (data []byte, ok bool) {
	if !m.slow(line) {
		return nil, false
	}
	if !m.records {
		return line, true
	}
	var r Record
	if json.Unmarshal(line, &r) != nil {
		return nil, false
	}
	data, err := json.Marshal(r)
	return data, err == nil
}

// sender writes pieces of a stream.
type sender struct {
	response *echo.Response
	control  *http.ResponseController
	patience time.Duration
}

// send fails when the client has not taken the piece within its patience.
func (s sender) send(piece string, flush bool) error {
	// A writer without deadlines is one of a test or behind a wrapper.
	_ = s.control.SetWriteDeadline(time.Now().Add(s.patience))
	if _, err := s.response.Write([]byte(piece)); err != nil {
		return err
	}
	if !flush {
		return nil
	}
	if err := s.control.Flush(); err != nil {
		return err
	}
	// Over HTTP/2 a deadline ends the stream also when nothing is written.
	s.end()
	return nil
}

// end takes the deadline off the connection.
func (s sender) end() { _ = s.control.SetWriteDeadline(time.Time{}) }
