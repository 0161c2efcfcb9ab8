package events_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/internal/events"
)

func open(t *testing.T, path string) (*events.Log, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	l, err := events.Open(path, slog.New(slog.NewTextHandler(&out, nil)))
	require.NoError(t, err)
	return l, &out
}

// ask returns the kinds of the events in the answer, or its text if it is an error.
func ask(t *testing.T, l *events.Log, query string) ([]string, string) {
	t.Helper()
	e := echo.New()
	l.Register(e)
	rec := httptest.NewRecorder()
	e.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, events.Path+query, nil))
	if rec.Code != http.StatusOK {
		return nil, rec.Body.String()
	}
	var answer struct{ Events []events.Event }
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &answer))
	kinds := []string{}
	for _, e := range answer.Events {
		kinds = append(kinds, e.Kind+e.Cause)
	}
	return kinds, ""
}

func TestRestarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	l, _ := open(t, path)
	kinds, _ := ask(t, l, "")
	require.Empty(t, kinds)
	l.Started("1.0", 0, time.Minute)
	l.Add(events.Event{Kind: events.Reload})
	l.Add(events.Event{Kind: events.Stop, Cause: "signal"})

	l, _ = open(t, path)
	l.Started("1.1", time.Hour, time.Minute)
	down, ok := l.Last(events.Downtime)
	require.True(t, ok)
	require.InDelta(t, time.Hour.Seconds(), down.Time.Sub(*down.From).Seconds(), 1)

	l, _ = open(t, path) // as after kill -9
	l.Started("1.2", 10*time.Minute, time.Minute)
	l.Started("1.2", time.Second, time.Minute)
	kinds, _ = ask(t, l, "")
	require.Equal(t, []string{"start", "start", "downtimekill", "start", "downtimestop", "stopsignal", "reload", "start"}, kinds)
	kinds, _ = ask(t, l, "?kind=downtime&limit=1")
	require.Equal(t, []string{"downtimekill"}, kinds)
	for query, want := range map[string]string{"?limit=0": "limit: must be", "?limit=x": "limit: must be", "?x=1": "no such parameter"} {
		_, message := ask(t, l, query)
		require.Contains(t, message, want)
	}
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())

	// A store with samples and no events is one of an older version.
	l, _ = open(t, filepath.Join(t.TempDir(), "events.jsonl"))
	l.Started("1.3", time.Hour, time.Minute)
	kinds, _ = ask(t, l, "")
	require.Equal(t, []string{"start", "downtimeunknown"}, kinds)
}

func TestDamagedFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	l, _ := open(t, path)
	l.Started("1.0", 0, time.Minute)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for name, text := range map[string][]byte{
		"torn": append(bytes.Clone(whole), whole[:len(whole)/2]...), "garbage": append([]byte("\x00\xff{}\n[]\n"), whole...), "empty": nil,
	} {
		require.NoError(t, os.WriteFile(path, text, 0o600))
		l, out := open(t, path)
		l.Add(events.Event{Kind: events.Reload})
		l, _ = open(t, path)
		kinds, _ := ask(t, l, "")
		if name == "empty" {
			require.Equal(t, []string{"reload"}, kinds)
			continue
		}
		require.Equal(t, []string{"reload", "start"}, kinds, name)
		require.Contains(t, out.String(), "left out unreadable lines")
	}
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Mkdir(path, 0o700))
	_, err = events.Open(path, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "reading events")
}

// What cannot be saved is saved later.
func TestUnsavedEvents(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	path := filepath.Join(dir, "events.jsonl")
	l, out := open(t, path)
	l.Add(events.Event{Kind: events.Start}) // without the directory
	l.Add(events.Event{Kind: events.Reload})
	require.Contains(t, out.String(), "unsaved=2")
	require.NoError(t, os.Mkdir(dir, 0o700))
	l.Add(events.Event{Kind: events.Stop})
	l, _ = open(t, path)
	kinds, _ := ask(t, l, "")
	require.Equal(t, []string{"stop", "reload", "start"}, kinds)
}

func TestManyEvents(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	line, err := json.Marshal(events.Event{Time: time.Now(), Kind: events.Reload})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, bytes.Repeat(append(line, '\n'), 2500), 0o600))
	l, _ := open(t, path)
	l.Add(events.Event{Kind: events.Stop, Detail: string(bytes.Repeat([]byte("x"), 10_000))})
	kinds, _ := ask(t, l, "?limit=1000")
	require.Len(t, kinds, 1000)
	require.Equal(t, "stop", kinds[0])
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, 1001, bytes.Count(text, []byte("\n")))
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(`{"time":"2026-12-01T00:00:00Z","kind":"start"}` + "\n"))
	f.Add([]byte("{\"time\":\"2026-12-01T00:00:00Z\",\"kind\":\"st"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "events.jsonl")
		require.NoError(t, os.WriteFile(path, text, 0o600))
		l, err := events.Open(path, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		l.Add(events.Event{Kind: events.Stop})
		again, err := events.Open(path, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		last, ok := again.Last("")
		require.True(t, ok)
		require.Equal(t, events.Stop, last.Kind)
	})
}
