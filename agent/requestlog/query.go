package requestlog

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of a query.
const (
	DefaultLimit = 100
	MaxLimit     = 1000

	maxQueryText = 256
)

// Query says which lines, or which requests, are wanted. What is zero does not
// matter; everything else must be so.
type Query struct {
	// From and To are the bounds of the line's time, both included.
	From, To time.Time
	// ID, Mode, Model, Endpoint and Event are whole values.
	ID, Mode, Model, Endpoint, Event string
	// MinStatus and MaxStatus are the bounds of the answer's status, both
	// included. Lines that tell no status are left out when one is set.
	MinStatus, MaxStatus int
	// Text stands somewhere in the line, names of fields included. It is
	// compared as the log would write it: a quote in it finds one in a
	// value, which the line has as \", and not those around values. The
	// case of ASCII letters does not matter.
	Text string
	// Level is the lowest level: DEBUG, INFO, WARNING or ERROR.
	Level string
	// Limit is how many are wanted, 1 to MaxLimit; 0 is DefaultLimit.
	Limit int
	// Cursor is the Next of the page before this one; empty for the newest.
	Cursor string
}

// place is where a line begins.
type place struct {
	file   uint64
	offset int64
}

func (p place) String() string { return fmt.Sprintf("%d-%d", p.file, p.offset) }

func parsePlace(s string) (place, error) {
	file, offset, _ := strings.Cut(s, "-")
	n, err1 := strconv.ParseUint(file, 10, 64)
	o, err2 := strconv.ParseInt(offset, 10, 64)
	p := place{n, o}
	if err1 != nil || err2 != nil || o < 0 || p.String() != s {
		return place{}, errors.New("cursor: is not one that this server gave out")
	}
	return p, nil
}

// Validate reports the first part of the query that makes no sense. Its errors
// begin with the name of the parameter.
func (q Query) Validate() error {
	for name, value := range map[string]string{
		"id": q.ID, "mode": q.Mode, "model": q.Model, "endpoint": q.Endpoint, "event": q.Event, "text": q.Text,
	} {
		if len(value) > maxQueryText || !utf8.ValidString(value) {
			return fmt.Errorf("%s: must be UTF-8 of at most %d bytes", name, maxQueryText)
		}
	}
	switch {
	case !q.From.IsZero() && !q.To.IsZero() && q.To.Before(q.From):
		return errors.New("to: must not be before from")
	case !inCalendar(q.From):
		return errors.New("from: must be between the years 1 and 9999")
	case !inCalendar(q.To):
		return errors.New("to: must be between the years 1 and 9999")
	case q.MinStatus < 0 || q.MaxStatus < 0 || q.MinStatus > 999 || q.MaxStatus > 999,
		q.MaxStatus != 0 && q.MaxStatus < q.MinStatus:
		return errors.New("status: must be like 502, 5xx or 400-499")
	case q.Limit < 0 || q.Limit > MaxLimit:
		return fmt.Errorf("limit: must be between 1 and %d", MaxLimit)
	}
	if q.Level != "" {
		if _, err := ParseLevel(q.Level); err != nil {
			return fmt.Errorf("level: %w", err)
		}
	}
	if q.Cursor != "" {
		_, err := parsePlace(q.Cursor)
		return err
	}
	return nil
}

// inCalendar tells whether the log could write the time in its fixed width.
func inCalendar(t time.Time) bool {
	return t.IsZero() || t.UTC().Year() >= 1 && t.UTC().Year() <= 9999
}

// parseQuery reads the parameters of a URL. It says whether new lines are
// wanted instead of old ones. Errors begin with the name of the parameter.
func parseQuery(params map[string][]string) (q Query, follow bool, err error) {
	for name, values := range params {
		if len(values) != 1 {
			return q, false, fmt.Errorf("%s: is given %d times", name, len(values))
		}
		value := values[0]
		if value == "" {
			continue // a form's empty field
		}
		var err error
		switch name {
		case "from":
			q.From, err = parseTime(value)
		case "to":
			q.To, err = parseTime(value)
		case "id":
			q.ID = value
		case KeyMode:
			q.Mode = value
		case KeyModel:
			q.Model = value
		case KeyEndpoint:
			q.Endpoint = value
		case KeyEvent:
			q.Event = value
		case KeyStatus:
			q.MinStatus, q.MaxStatus, err = parseStatus(value)
		case "text":
			q.Text = value
		case slog.LevelKey:
			q.Level = value
		case "limit":
			q.Limit, err = strconv.Atoi(value)
			if err != nil || q.Limit < 1 {
				err = fmt.Errorf("must be between 1 and %d", MaxLimit)
			}
		case "cursor":
			q.Cursor = value
		case "follow":
			follow, err = strconv.ParseBool(value)
			if err != nil {
				err = errors.New("must be true or false")
			}
		default:
			err = errors.New("no such parameter; there are: from, to, id, mode, model, endpoint, event, status, text, level, limit, cursor, follow")
		}
		if err != nil {
			return q, false, fmt.Errorf("%s: %w", clean(name), err)
		}
	}
	if follow && (q.Cursor != "" || q.Limit != 0 || !q.From.IsZero() || !q.To.IsZero()) {
		return q, false, errors.New("follow: takes no from, to, limit or cursor; it tells what comes from now on")
	}
	return q, follow, q.Validate()
}

// clean makes a name from outside fit for an error.
func clean(name string) string { return cut(strings.ToValidUTF8(name, ""), 32) }

// parseTime reads RFC 3339, or seconds since 1970 as Prometheus' API has them.
func parseTime(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	const year9999 = 253402300799
	if seconds, err := strconv.ParseFloat(s, 64); err == nil && seconds >= 0 && seconds <= year9999 {
		return time.UnixMilli(int64(seconds * 1000)).UTC(), nil
	}
	return time.Time{}, errors.New("must be like 2026-01-31T12:00:00Z, or seconds since 1970")
}

// parseStatus reads 502, 5xx or 400-499.
func parseStatus(s string) (low, high int, err error) {
	from, to, isRange := strings.Cut(s, "-")
	switch class, isClass := strings.CutSuffix(strings.ToLower(s), "xx"); {
	case isClass:
		from, to = class+"00", class+"99"
	case !isRange:
		to = from
	}
	low, err1 := strconv.Atoi(from)
	high, err2 := strconv.Atoi(to)
	if err1 != nil || err2 != nil || len(from) != 3 || len(to) != 3 || low < http.StatusContinue || high < low {
		return 0, 0, errors.New("must be like 502, 5xx or 400-499")
	}
	return low, high, nil
}
