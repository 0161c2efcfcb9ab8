package history

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/common/model"
)

// Path answers which alerts fired when.
const Path = "/api/hancock/alerts/history"

// statusClientGone is what nobody receives.
const statusClientGone = 499

// Register mounts the history at Path.
func (h *History) Register(e *echo.Echo) { e.GET(Path, h.serve) }

// answer is that of Path, the newest episode first.
type answer struct {
	Alerts []Episode `json:"alerts"`
	// More says that there are others within the time.
	More bool `json:"more"`
}

func (h *History) serve(c echo.Context) error {
	q, err := parseQuery(c.QueryParams(), h.Now())
	if err != nil {
		return echo.NewHTTPError(http.StatusBadRequest, err.Error())
	}
	episodes, more, err := h.Episodes(c.Request().Context(), q)
	switch {
	case c.Request().Context().Err() != nil:
		return echo.NewHTTPError(statusClientGone, "the client went away")
	case err != nil:
		return err
	}
	c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
	if episodes == nil {
		episodes = []Episode{}
	}
	return c.JSON(http.StatusOK, answer{episodes, more})
}

// parseQuery reads the parameters of a URL. Errors begin with the name of the parameter.
func parseQuery(params map[string][]string, now time.Time) (Query, error) {
	q := Query{To: now, Limit: DefaultLimit}
	for name, values := range params {
		if len(values) != 1 {
			return q, fmt.Errorf("%.32q: is given %d times", name, len(values))
		}
		var err error
		switch v := values[0]; name {
		case "from":
			q.From, err = parseTime(v, now)
		case "to":
			q.To, err = parseTime(v, now)
		case "alert":
			q.Alert = v
		case "limit":
			if q.Limit, err = strconv.Atoi(v); err != nil || q.Limit < 1 || q.Limit > MaxLimit {
				err = fmt.Errorf("must be between 1 and %d", MaxLimit)
			}
		default:
			err = errors.New("no such parameter; there are: from, to, alert, limit")
		}
		if err != nil {
			return q, fmt.Errorf("%.32q: %w", name, err)
		}
	}
	if q.From.IsZero() {
		q.From = q.To.Add(-DefaultRange)
	}
	if q.To.Before(q.From) {
		return q, errors.New("to: must not be before from")
	}
	return q, nil
}

// parseTime reads RFC 3339, seconds since 1970, or how long ago: 7d.
func parseTime(s string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t.UTC(), nil
	}
	const year9999 = 253402300799
	if seconds, err := strconv.ParseFloat(s, 64); err == nil && seconds >= 0 && seconds <= year9999 {
		return time.UnixMilli(int64(seconds * 1000)).UTC(), nil
	}
	if ago, err := model.ParseDuration(s); err == nil {
		return now.Add(-time.Duration(ago)), nil
	}
	return time.Time{}, errors.New("must be like 2026-01-31T12:00:00Z, seconds since 1970, or how long ago: 7d")
}
