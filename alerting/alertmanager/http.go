package alertmanager

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/common/model"
)

// The paths of our own.
const (
	NotificationsPath = "/api/hancock/notifications"
	TestPath          = "/api/hancock/notifications/test"
)

const (
	defaultPage = 50
	maxPage     = 500
)

// Register mounts Alertmanager's API v2, the ledger and the test.
func (a *Alertmanager) Register(e *echo.Echo) {
	e.Any(apiPrefix+"/*", echo.WrapHandler(a.API()))
	e.GET(NotificationsPath, a.serveLedger)
	e.POST(TestPath, a.serveTest)
}

func (a *Alertmanager) serveLedger(c echo.Context) error {
	c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
	q, err := parseLedgerQuery(c.QueryParam, time.Now())
	if err != nil {
		return echo.NewHTTPError(http.StatusBadRequest, err.Error())
	}
	if a.options.Ledger == nil {
		return echo.NewHTTPError(http.StatusNotFound, "no log files are kept, so there are no notifications to look up")
	}
	page, err := a.options.Ledger.Attempts(c.Request().Context(), q)
	if he := (*echo.HTTPError)(nil); errors.As(err, &he) {
		return he
	}
	if err != nil {
		return fmt.Errorf("looking up notifications: %w", err)
	}
	if page.Notifications == nil {
		page.Notifications = []Attempt{}
	}
	return c.JSON(http.StatusOK, ledgerAnswer{page, a.Notifies()})
}

// ledgerAnswer is a page of the ledger, and whether there is somebody to tell.
type ledgerAnswer struct {
	LedgerPage
	Notifies bool `json:"notifies"`
}

// parseLedgerQuery reads the parameters of a look-up.
func parseLedgerQuery(param func(string) string, now time.Time) (q LedgerQuery, err error) {
	q = LedgerQuery{
		Limit: defaultPage, Cursor: param("cursor"), Receiver: param("receiver"),
		Outcome: param("outcome"), Fingerprint: param("fingerprint"),
	}
	if s := param("limit"); s != "" {
		if q.Limit, err = strconv.Atoi(s); err != nil || q.Limit < 1 || q.Limit > maxPage {
			return q, fmt.Errorf("limit must be a number from 1 to %d, not %q", maxPage, clip(s, 50))
		}
	}
	if q.Outcome != "" && q.Outcome != OutcomeOK && q.Outcome != OutcomeFailed {
		return q, fmt.Errorf("outcome must be ok or failed, not %q", clip(q.Outcome, 50))
	}
	if q.Fingerprint != "" {
		fp, err := model.ParseFingerprint(q.Fingerprint)
		if err != nil {
			return q, fmt.Errorf("fingerprint must be 16 hexadecimal digits, not %q", clip(q.Fingerprint, 50))
		}
		q.Fingerprint = fp.String() // as the ledger has it
	}
	if q.Since, err = parseTime("since", param("since"), now); err != nil {
		return q, err
	}
	q.Until, err = parseTime("until", param("until"), now)
	return q, err
}

// parseTime takes a time (RFC 3339), or a duration: so long ago.
func parseTime(name, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	if d, err := model.ParseDuration(s); err == nil {
		return now.Add(-time.Duration(d)), nil
	}
	return time.Time{}, fmt.Errorf("%s must be a time like 2006-01-02T15:04:05Z or a duration like 1h, not %q", name, clip(s, 50))
}

func (a *Alertmanager) serveTest(c echo.Context) error {
	c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
	req, err := parseTest(http.MaxBytesReader(c.Response(), c.Request().Body, maxAlertBytes))
	if err != nil {
		return echo.NewHTTPError(http.StatusBadRequest, err.Error())
	}
	report, err := a.Test(c.Request().Context(), req)
	switch {
	case errors.Is(err, ErrTestRunning):
		return echo.NewHTTPError(http.StatusTooManyRequests, err.Error())
	case errors.Is(err, context.Canceled):
		return echo.NewHTTPError(499, "the client went away")
	case err != nil:
		return echo.NewHTTPError(http.StatusBadRequest, err.Error())
	}
	return c.JSON(http.StatusOK, report)
}

// parseTest reads the body of a test; an empty one asks for the default.
func parseTest(r io.Reader) (req TestRequest, err error) {
	body, err := io.ReadAll(r)
	if err != nil {
		return req, fmt.Errorf("reading the body: %w", err)
	}
	if !utf8.Valid(body) { // The decoder would replace what is invalid, also in names.
		return req, errors.New("the body is not valid UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&req); err != nil && !errors.Is(err, io.EOF) {
		return req, fmt.Errorf("the body must be a JSON object with labels, annotations and resolve: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return req, errors.New("something stands behind the JSON object of the body")
	}
	if err := checkSet("labels", req.Labels); err != nil {
		return req, fmt.Errorf("the alert cannot be sent: %w", err)
	}
	if err := checkSet("annotations", req.Annotations); err != nil {
		return req, fmt.Errorf("the alert cannot be sent: %w", err)
	}
	return req, nil
}
