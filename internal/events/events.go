// Package events keeps what happened to the process over restarts: starts, stops, downtime, reloads and corruption.
package events

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/prometheus/tsdb/fileutil"
)

// Path is where events are asked for.
const Path = "/api/hancock/events"

// The kinds of events.
const (
	Start        = "start"
	Stop         = "stop"
	Downtime     = "downtime" // it precedes the start after it
	Reload       = "reload"
	ReloadFailed = "reload_failed"
	Corruption   = "corruption"
)

// The causes of a downtime.
const (
	CauseStop    = "stop"
	CauseKill    = "kill" // or a crash, or a power failure: without a stop
	CauseUnknown = "unknown"
)

const (
	// maxEvents is how many are kept. A file with more is cut to keepEvents when it is opened.
	maxEvents  = 2000
	keepEvents = 1000
	// maxFile bounds what is read of a file, in bytes, and maxDetail the text of an event.
	maxFile   = 8 << 20
	maxDetail = 2 << 10
	// defaultLimit and maxLimit bound the events of an answer.
	defaultLimit = 100
	maxLimit     = 1000
)

// Event is something that happened.
type Event struct {
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"`
	Version string    `json:"version,omitempty"`
	// From is when a downtime began: the time of the newest sample before it.
	From *time.Time `json:"from,omitempty"`
	// Cause is that of a downtime or a stop.
	Cause  string `json:"cause,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// Log is the file of the events. It may be used concurrently.
type Log struct {
	path string
	log  *slog.Logger

	mu  sync.Mutex
	all []Event // in the order of the file
	// unsaved is how many of the last ones are not in the file yet; torn says that it does not end with a line.
	unsaved int
	torn    bool
}

// Open reads the events in a file, which is created with the first event. Lines that cannot be read are left out, and
// logged. An error is one of reading.
func Open(path string, log *slog.Logger) (*Log, error) {
	l := &Log{path: path, log: log}
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return l, nil
	case err != nil:
		return nil, fmt.Errorf("opening events: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, fmt.Errorf("reading events: %w", err)
	}
	var bad int
	l.all, bad = parse(text)
	l.torn = len(text) > 0 && text[len(text)-1] != '\n'
	if bad > 0 {
		log.Warn("left out unreadable lines of the events", "path", path, "lines", bad)
	}
	if len(l.all) > maxEvents {
		l.all = slices.Clone(l.all[len(l.all)-keepEvents:])
		if err := l.rewrite(); err != nil {
			log.Warn("failed to shorten the events", "path", path, "error", err)
		}
	}
	return l, nil
}

// parse returns the events of a file and the number of lines that have none.
func parse(text []byte) (all []Event, bad int) {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		var e Event
		switch {
		case len(line) == 0:
		case json.Unmarshal(line, &e) != nil || e.Kind == "" || e.Time.IsZero():
			bad++
		default:
			all = append(all, e)
		}
	}
	return all, bad
}

// rewrite replaces the file by the events in memory.
func (l *Log) rewrite() error {
	var b bytes.Buffer
	for _, e := range l.all {
		if err := json.NewEncoder(&b).Encode(e); err != nil {
			return err
		}
	}
	f, err := os.CreateTemp(filepath.Dir(l.path), ".events-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b.Bytes())
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = fileutil.Rename(f.Name(), l.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	l.torn = false
	return nil
}

// Add notes an event and saves it. One that cannot be saved now is saved with the next.
func (l *Log) Add(e Event) {
	e.Time = cmp.Or(e.Time, time.Now()).UTC().Truncate(time.Millisecond)
	if len(e.Detail) > maxDetail {
		e.Detail = e.Detail[:maxDetail]
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, e)
	l.unsaved++
	if err := l.save(); err != nil {
		l.log.Error("failed to save events", "path", l.path, "unsaved", l.unsaved, "error", err)
	}
	if len(l.all) > maxEvents {
		l.all = slices.Delete(l.all, 0, len(l.all)-keepEvents)
		l.unsaved = min(l.unsaved, len(l.all))
	}
}

// save appends what is not in the file. The caller holds mu.
func (l *Log) save() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if l.torn {
		b.WriteByte('\n') // What a short write has left is a line of its own, and left out.
	}
	for _, e := range l.all[len(l.all)-l.unsaved:] {
		if err := json.NewEncoder(&b).Encode(e); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	n, err := f.Write(b.Bytes())
	if n > 0 {
		l.torn = n < b.Len()
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	l.unsaved = 0
	return nil
}

// Last returns the newest event of a kind, or of any if it is empty.
func (l *Log) Last(kind string) (Event, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range slices.Backward(l.all) {
		if kind == "" || e.Kind == kind {
			return e, true
		}
	}
	return Event{}, false
}

// Started notes a start, and a downtime before it if gap, the time without samples, is longer than least.
func (l *Log) Started(version string, gap, least time.Duration) {
	now := time.Now()
	if last, known := l.Last(""); gap > least {
		cause := CauseKill
		switch {
		case !known:
			cause = CauseUnknown
		case last.Kind == Stop:
			cause = CauseStop
		}
		from := now.Add(-gap).UTC().Truncate(time.Millisecond)
		l.Add(Event{
			Time: now, Kind: Downtime, From: &from, Cause: cause, Version: last.Version,
			Detail: fmt.Sprintf("no samples for %s", gap.Round(time.Second)),
		})
	}
	l.Add(Event{Time: now, Kind: Start, Version: version})
}

// Register mounts the route.
func (l *Log) Register(e *echo.Echo) { e.GET(Path, l.serve) }

// serve answers with the newest events first. Its parameters are kind and limit.
func (l *Log) serve(c echo.Context) error {
	limit, kind := defaultLimit, ""
	for name, values := range c.QueryParams() {
		switch n, err := strconv.Atoi(values[0]); name {
		case "kind":
			kind = values[0]
		case "limit":
			if err != nil || n < 1 || n > maxLimit {
				return echo.NewHTTPError(http.StatusBadRequest, fmt.Sprintf("limit: must be between 1 and %d", maxLimit))
			}
			limit = n
		default:
			return echo.NewHTTPError(http.StatusBadRequest, fmt.Sprintf("%.32q: no such parameter; there are: kind, limit", name))
		}
	}
	found := []Event{}
	l.mu.Lock()
	for _, e := range slices.Backward(l.all) {
		if (kind == "" || e.Kind == kind) && len(found) < limit {
			found = append(found, e)
		}
	}
	l.mu.Unlock()
	c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
	return c.JSON(http.StatusOK, map[string][]Event{"events": found})
}
