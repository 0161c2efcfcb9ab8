package backtest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/common/model"
)

const (
	// Path is where a backtest is asked for.
	Path = "/api/hancock/rules/backtest"
	// MaxFileName is how long the name of a text may be, in bytes: each alert in the report has it.
	MaxFileName = 255
)

const (
	// maxBody is the size of a request, of which the rules are the most.
	maxBody = 1 << 20
	// patience is how long a reader of a stream may take for one piece.
	patience = 10 * time.Second
	// statusClientGone is what nobody receives.
	statusClientGone = 499
	// eventStream is the type of server-sent events.
	eventStream = "text/event-stream"
)

// Handler answers requests for backtests, one at a time. Storage and Current are needed.
type Handler struct {
	Storage Storage
	// Current is a request with everything that is in force at the moment: the loaded rules, the routing, and what the
	// rules manager adds. From and To are not looked at.
	Current func() Request
	// Context ends the backtests that are going on when it ends; nil is one that does not.
	Context context.Context

	busy atomic.Bool
}

// Register mounts the route. It must be called once.
func (h *Handler) Register(e *echo.Echo) { e.POST(Path, h.serve) }

// body is a request over HTTP.
type body struct {
	// Rules is the text of a rule file; without it the loaded rules are replayed.
	Rules *string `json:"rules"`
	// File is what the text is called in errors and in the report.
	File string `json:"file"`
	Rule string `json:"rule"`
	// From and To are times, or durations before now; To is now if it is empty.
	From string `json:"from"`
	To   string `json:"to"`
}

func (h *Handler) serve(c echo.Context) error {
	req, err := h.read(c)
	if err != nil {
		return err
	}
	if !h.busy.CompareAndSwap(false, true) {
		c.Response().Header().Set("Retry-After", "10")
		return echo.NewHTTPError(http.StatusTooManyRequests, "a backtest is going on already; try again when it has ended")
	}
	defer h.busy.Store(false)
	ctx, cancel := context.WithCancel(c.Request().Context())
	defer cancel()
	if h.Context != nil {
		defer context.AfterFunc(h.Context, cancel)()
	}
	c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
	if strings.Contains(c.Request().Header.Get(echo.HeaderAccept), eventStream) {
		return h.stream(ctx, c, req)
	}
	report, err := Run(ctx, h.Storage, req, nil)
	if err != nil {
		return httpError(c, err)
	}
	return c.JSON(http.StatusOK, report)
}

// read makes a request of what came over HTTP. Its errors are for the client.
func (h *Handler) read(c echo.Context) (Request, error) {
	text, err := io.ReadAll(http.MaxBytesReader(c.Response(), c.Request().Body, maxBody))
	if err != nil {
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			return Request{}, echo.NewHTTPError(http.StatusRequestEntityTooLarge, fmt.Sprintf("the request is larger than %d bytes", maxBody))
		}
		return Request{}, echo.NewHTTPError(http.StatusBadRequest, "the request could not be read")
	}
	b, err := parseBody(text)
	if err != nil {
		return Request{}, echo.NewHTTPError(http.StatusBadRequest, err.Error())
	}
	req := h.Current()
	req.Rule = b.Rule
	if req.From, req.To, err = Period(b.From, b.To, time.Now()); err != nil {
		return Request{}, echo.NewHTTPError(http.StatusBadRequest, err.Error())
	}
	if len(b.File) > MaxFileName {
		return Request{}, echo.NewHTTPError(http.StatusBadRequest, fmt.Sprintf("file: a name of %d bytes, %d are the limit", len(b.File), MaxFileName))
	}
	if b.Rules != nil {
		req.Files = []File{{Name: cmp.Or(b.File, "rules"), Text: *b.Rules}}
		req.Untrusted = true
	}
	return req, nil
}

// parseBody decodes a request.
func parseBody(text []byte) (body, error) {
	var b body
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil {
		return b, fmt.Errorf("the request is not as it should be: %w; it is {\"rules\": text, \"file\": name, \"from\": \"7d\", \"to\": …, \"rule\": name}", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return b, errors.New("there is more than one JSON value in the request")
	}
	return b, nil
}

// Period reads the ends of a backtest: times in RFC 3339, or durations before now, as 7d. Without to it is now.
func Period(from, to string, now time.Time) (begin, end time.Time, err error) {
	if from == "" {
		return begin, end, errors.New(`from is missing: say how far back, as "7d", or a time, as "2026-11-01T00:00:00Z"`)
	}
	if begin, err = moment("from", from, now); err != nil {
		return begin, end, err
	}
	end = now
	if to != "" {
		if end, err = moment("to", to, now); err != nil {
			return begin, end, err
		}
	}
	if end.After(now) {
		end = now
	}
	if !begin.Before(end) {
		return begin, end, fmt.Errorf("from (%s) must be before to (%s), and before now", begin.Format(time.RFC3339), end.Format(time.RFC3339))
	}
	return begin, end, nil
}

func moment(name, s string, now time.Time) (time.Time, error) {
	if d, err := model.ParseDuration(s); err == nil {
		return now.Add(-time.Duration(d)), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf(`%s: %q is neither a duration as "7d" nor a time as "2026-11-01T00:00:00Z"`, name, s)
	}
	return t, nil
}

// httpError is what a client is told of an error of Run.
func httpError(c echo.Context, err error) error {
	wrong, ok := errors.AsType[*RequestError](err)
	switch {
	case ok && wrong.Syntax:
		return echo.NewHTTPError(http.StatusUnprocessableEntity, wrong.Reason)
	case ok:
		return echo.NewHTTPError(http.StatusBadRequest, wrong.Reason)
	case c.Request().Context().Err() != nil:
		return echo.NewHTTPError(statusClientGone, "the client went away")
	case errors.Is(err, context.Canceled):
		return echo.NewHTTPError(http.StatusServiceUnavailable, "the server is shutting down")
	}
	return err
}

// stream sends events: progress from time to time, and at the end one report or one error.
func (h *Handler) stream(ctx context.Context, c echo.Context, req Request) error {
	s := sender{c.Response(), http.NewResponseController(c.Response().Writer)}
	begun := false
	send := func(event string, data any) error {
		if !begun {
			begun = true
			header := c.Response().Header()
			header.Set(echo.HeaderContentType, eventStream)
			// Proxies in nginx's manner would collect the pieces.
			header.Set("X-Accel-Buffering", "no")
		}
		return s.send(event, data)
	}
	defer s.end()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	report, err := Run(ctx, h.Storage, req, func(p Progress) {
		if send("progress", p) != nil {
			cancel() // Nobody reads any more.
		}
	})
	switch {
	case err != nil && !begun:
		return httpError(c, err)
	case err != nil:
		what := "the backtest failed; the log says why"
		he := new(echo.HTTPError)
		if errors.As(httpError(c, err), &he) {
			what = fmt.Sprint(he.Message)
		}
		if send("error", map[string]string{"error": what}) == nil {
			return fmt.Errorf("backtest: %w", err) // For the log; the answer has begun.
		}
		return nil
	}
	_ = send("report", report) // The client is gone, or as good as gone.
	return nil
}

// sender writes events.
type sender struct {
	response *echo.Response
	control  *http.ResponseController
}

// send fails when the client has not taken the event within the patience.
func (s sender) send(event string, data any) error {
	text, err := json.Marshal(data)
	if err != nil {
		return err
	}
	// A writer without deadlines is one of a test or behind a wrapper.
	_ = s.control.SetWriteDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintf(s.response, "event: %s\ndata: %s\n\n", event, text); err != nil {
		return err
	}
	defer s.end() // Over HTTP/2 a deadline ends the stream also when nothing is written.
	return s.control.Flush()
}

// end takes the deadline off the connection.
func (s sender) end() { _ = s.control.SetWriteDeadline(time.Time{}) }
