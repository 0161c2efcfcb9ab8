package web

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v4"
)

// apiError is the body of every error that is not written by Prometheus' own
// API, which has its own form.
type apiError struct {
	Error     string `json:"error"`
	RequestID string `json:"request_id"`
}

// writeError is the one place where an error becomes an answer. An error that
// is not an *echo.HTTPError is a fault of ours: it is logged and its text
// stays here.
func (s *Server) writeError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	code, message := http.StatusInternalServerError, "internal error"
	if he := (*echo.HTTPError)(nil); errors.As(err, &he) {
		code, message = he.Code, fmt.Sprint(he.Message)
	} else {
		s.log.ErrorContext(c.Request().Context(), "request failed", "path", c.Request().URL.Path, "error", err)
	}
	switch {
	case errors.Is(err, echo.ErrNotFound):
		message = "no such path: " + c.Request().URL.Path
	case errors.Is(err, echo.ErrMethodNotAllowed):
		message = fmt.Sprintf("%s is not allowed here; allowed: %s",
			c.Request().Method, c.Response().Header().Get(echo.HeaderAllow))
	}
	if c.Request().Method == http.MethodHead {
		err = c.NoContent(code)
	} else {
		err = c.JSON(code, apiError{Error: message, RequestID: c.Response().Header().Get(echo.HeaderXRequestID)})
	}
	if err != nil {
		s.log.DebugContext(c.Request().Context(), "writing an error to the client failed", "error", err)
	}
}

// logPanic keeps the stack in the log; the client gets a plain 500.
func (s *Server) logPanic(c echo.Context, err error, stack []byte) error {
	s.log.ErrorContext(c.Request().Context(), "handler panicked",
		slog.String("path", c.Request().URL.Path), slog.Any("error", err), slog.String("stack", string(stack)))
	return echo.NewHTTPError(http.StatusInternalServerError, "internal error")
}
