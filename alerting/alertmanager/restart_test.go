package alertmanager_test

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/alertmanager"
)

// crash is the folder as a process that is killed at this moment leaves it. A file that is being written has another
// name until it is whole; it may be gone before it is copied.
func crash(t *testing.T, path string) string {
	t.Helper()
	left := t.TempDir()
	files, err := os.ReadDir(path)
	require.NoError(t, err)
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(path, f.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(left, f.Name()), data, 0o600))
	}
	return left
}

// inAnHour is the end of an alert that is over only after the test, in the form in which files have it.
func inAnHour() time.Time { return time.Now().Add(time.Hour).UTC().Truncate(time.Second) }

// pass makes what a crash left that of one in the past: the end of an alert came while no process ran.
func pass(t *testing.T, left string, end time.Time) {
	t.Helper()
	path := filepath.Join(left, "alerts.json")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(data), end.Format(time.RFC3339)))
	passed := strings.Replace(string(data), end.Format(time.RFC3339), time.Now().UTC().Format(time.RFC3339Nano), 1)
	require.NoError(t, os.WriteFile(path, []byte(passed), 0o600))
}

func holds(t *testing.T, path, text string) func() bool {
	t.Helper()
	return func() bool {
		data, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(data), text)
	}
}

func TestKilledInGroupWait(t *testing.T) {
	h := newHook(t)
	dir := t.TempDir()
	am, _ := open(t, dir, strings.Replace(quick(h.URL), "group_wait: 10ms", "group_wait: 1h", 1))
	am.Send(firing("alertname", "Slow"))
	require.Eventually(t, holds(t, filepath.Join(dir, "alerts.json"), "Slow"), patience, 5*time.Millisecond)
	left := crash(t, dir)
	require.NoError(t, am.Close())
	require.Empty(t, h.got, "group_wait was not over")

	am, l := open(t, left, quick(h.URL))
	require.Equal(t, "Slow", h.next(t).GroupLabels["alertname"])
	am.Send(resolved("alertname", "Slow"))
	require.Equal(t, "resolved", h.next(t).Status, "the alert was told once")
	require.Contains(t, l.String(), "alerts from before the restart are back")
}

func TestKilledAfterNotification(t *testing.T) {
	h := newHook(t)
	dir := t.TempDir()
	am, _ := open(t, dir, quick(h.URL))
	a := firing("alertname", "Slow")
	a.EndsAt = inAnHour()
	am.Send(a)
	h.next(t)
	require.Eventually(t, holds(t, filepath.Join(dir, "nflog"), "Slow"), patience, time.Millisecond)
	require.Eventually(t, holds(t, filepath.Join(dir, "alerts.json"), "Slow"), patience, 5*time.Millisecond)
	left := crash(t, dir)
	require.NoError(t, am.Close())
	pass(t, left, a.EndsAt)

	// Nobody says that it goes on, so it ends, and that is told.
	_, l := open(t, left, quick(h.URL), func(o *alertmanager.Options) { o.RestoreGrace = 300 * time.Millisecond })
	m := h.next(t)
	require.Equal(t, "resolved", m.Status, "it was told as firing before")
	require.Eventually(t, func() bool { return len(l.attempts(t)) == 1 }, patience, 5*time.Millisecond)
}

// What ended and was told so is not told again, neither after a restart nor
// after a reload, though the set of alerts has it still.
func TestResolvedOnce(t *testing.T) {
	h := newHook(t)
	dir := t.TempDir()
	text := strings.Replace(quick(h.URL), "alertname]", "job]", 1)
	am, _ := open(t, dir, text)
	am.Send(firing("alertname", "A", "job", "x"), firing("alertname", "B", "job", "x"))
	h.nextOf(t, 2)
	am.Send(resolved("alertname", "B", "job", "x"))
	require.Len(t, h.next(t).Alerts, 2)
	am.Send(firing("alertname", "C", "job", "x"))
	require.Len(t, h.next(t).Alerts, 2, "B is gone")

	require.NoError(t, reload(am, load(t, text)))
	am.Send(firing("alertname", "D", "job", "x"))
	require.Len(t, h.next(t).Alerts, 3, "reload does not bring B back")
	require.NoError(t, am.Close())

	am, _ = open(t, dir, text)
	am.Send(firing("alertname", "E", "job", "x"))
	require.Len(t, h.next(t).Alerts, 4, "a restart does not bring B back")
	am.Send(resolved("alertname", "E", "job", "x"))
	m := h.next(t)
	require.Len(t, m.Alerts, 4)
}

func TestSilenceIsOnDiskBeforeTheAnswer(t *testing.T) {
	dir := t.TempDir()
	am, _ := open(t, dir, "")
	w := call(am, http.MethodPost, "/api/v2/silences", `{"matchers":[{"name":"alertname","value":"Slow","isRegex":false}],
		"startsAt":"2026-01-01T00:00:00Z","endsAt":"2099-01-01T00:00:00Z","createdBy":"me","comment":"known"}`)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	id := strings.Split(w.Body.String(), `"`)[3]
	left := crash(t, dir)

	am2, _ := open(t, left, "")
	w = call(am2, http.MethodGet, "/api/v2/silence/"+id, "")
	require.Equal(t, http.StatusOK, w.Code)
	require.Contains(t, w.Body.String(), `"active"`)
	require.Equal(t, http.StatusOK, call(am2, http.MethodDelete, "/api/v2/silence/"+id, "").Code)

	am3, _ := open(t, crash(t, left), "")
	require.Contains(t, call(am3, http.MethodGet, "/api/v2/silence/"+id, "").Body.String(), `"expired"`)
	info, err := os.Stat(filepath.Join(dir, "silences"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestDamagedFiles(t *testing.T) {
	h := newHook(t)
	dir := t.TempDir()
	am, _ := open(t, dir, quick(h.URL))
	am.Send(firing("alertname", "A"))
	h.next(t)
	am.Send(firing("alertname", "B"))
	h.next(t)
	require.NoError(t, am.Close())
	cut := func(data []byte) []byte { return data[:len(data)-3] }
	garbage := func([]byte) []byte { return []byte("\xff\xff\xff\xff garbage") }
	empty := func([]byte) []byte { return []byte{} }
	for file, kinds := range map[string]map[string]func([]byte) []byte{
		"nflog":       {"cut": cut, "garbage": garbage, "empty": empty},
		"silences":    {"garbage": garbage, "empty": empty},
		"alerts.json": {"cut": cut, "garbage": garbage, "empty": empty},
	} {
		for name, damage := range kinds {
			t.Run(file+" "+name, func(t *testing.T) {
				left := crash(t, dir)
				path := filepath.Join(left, file)
				data, err := os.ReadFile(path)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(path, damage(data), 0o600))
				am, l := open(t, left, "")
				aside, err := filepath.Glob(path + ".damaged-*")
				require.NoError(t, err)
				if name == "empty" && file != "alerts.json" {
					require.Empty(t, aside)
					return
				}
				require.Len(t, aside, 1)
				kept, err := os.ReadFile(aside[0])
				require.NoError(t, err)
				require.Equal(t, damage(data), kept)
				require.Contains(t, l.String(), "is damaged")
				require.NoError(t, am.Close())
			})
		}
	}
}

func TestCloseTwiceAndAfterwards(t *testing.T) {
	am, _ := open(t, t.TempDir(), "")
	require.NoError(t, am.Close())
	require.NoError(t, am.Close())
	am.Send(firing("alertname", "Late"))
	require.ErrorContains(t, reload(am, nil), "closed")
}

// A message in flight when the process stops is logged as sent, and so not
// sent again.
func TestCloseWaitsForWhatIsInFlight(t *testing.T) {
	h := newHook(t)
	begun, end := make(chan struct{}), make(chan struct{})
	h.answers(func(http.ResponseWriter, *http.Request) {
		close(begun)
		<-end
	})
	dir := t.TempDir()
	am, l := open(t, dir, quick(h.URL), func(o *alertmanager.Options) { o.CloseTimeout = patience })
	am.Send(firing("alertname", "Slow"))
	<-begun
	time.AfterFunc(50*time.Millisecond, func() { close(end) }) // Close is under way then
	require.NoError(t, am.Close())
	h.next(t)
	require.Equal(t, "ok", first(t, l).Outcome)
	h.answers(nil)
	am, _ = open(t, dir, quick(h.URL))
	am.Send(resolved("alertname", "Slow"))
	require.Equal(t, "resolved", h.next(t).Status)
}
