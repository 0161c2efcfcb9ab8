package alertmanager

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
	"github.com/stretchr/testify/require"
)

func postAlerts(ctx context.Context, am *Alertmanager, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/api/v2/alerts", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	am.API().ServeHTTP(w, r)
	return w
}

// What a client was answered is in the file as a process that is killed then leaves it.
func TestAcknowledgedAlertsAreSaved(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	at := func(d time.Duration) string { return now.Add(d).Format(time.RFC3339Nano) }
	const a = `{"labels":{"alertname":"A"}`
	for name, posts := range map[string][]string{
		"a new alert":              {a + `}`},
		"one with an end":          {a + `,"endsAt":"` + at(time.Minute) + `"}`},
		"a later end":              {a + `,"endsAt":"` + at(time.Minute) + `"}`, a + `,"endsAt":"` + at(2*time.Minute) + `"}`},
		"a later end, far away":    {a + `,"endsAt":"` + at(time.Hour) + `"}`, a + `,"endsAt":"` + at(2*time.Hour) + `"}`},
		"an end that is gone":      {a + `}`, a + `,"startsAt":"` + at(-time.Hour) + `","endsAt":"` + at(-time.Second) + `"}`},
		"one that has ended":       {a + `,"startsAt":"` + at(-time.Hour) + `","endsAt":"` + at(-time.Second) + `"}`},
		"one that fires anew":      {a + `,"endsAt":"` + at(-time.Second) + `"}`, a + `,"startsAt":"` + at(0) + `"}`},
		"another annotation":       {a + `,"annotations":{"a":"1"}}`, a + `,"annotations":{"a":"2"}}`},
		"another source":           {a + `,"generatorURL":"http://a/"}`, a + `,"generatorURL":"http://b/"}`},
		"an earlier begin":         {a + `,"startsAt":"` + at(-time.Minute) + `"}`, a + `,"startsAt":"` + at(-time.Hour) + `"}`},
		"a year without JSON form": {a + `,"endsAt":"9999-12-31T23:59:59.999-12:00"}`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			am := openInternal(t, dir)
			defer am.Close()
			for _, body := range posts {
				w := postAlerts(t.Context(), am, "["+body+"]")
				require.Equal(t, http.StatusOK, w.Code, w.Body)
			}
			saved := savedIn(t, dir) // at once
			require.Len(t, saved, 1)
			is, err := am.alerts.Get(model.LabelSet{"alertname": "A"}.Fingerprint())
			require.NoError(t, err)
			require.True(t, saved[0].posted)
			require.Equal(t, is.Annotations.String(), saved[0].alert.Annotations.String())
			require.Equal(t, is.GeneratorURL, saved[0].alert.GeneratorURL)
			require.True(t, written(is.StartsAt).Equal(saved[0].alert.StartsAt))
			require.True(t, written(is.EndsAt).Equal(saved[0].alert.EndsAt), "%s is not %s", is.EndsAt, saved[0].alert.EndsAt)
		})
	}
	t.Run("the valid one of two", func(t *testing.T) {
		dir := t.TempDir()
		am := openInternal(t, dir)
		defer am.Close()
		require.Equal(t, http.StatusBadRequest, postAlerts(t.Context(), am, `[`+a+`},{"labels":{}}]`).Code)
		require.Len(t, savedIn(t, dir), 1)
	})
}

// An alert that is posted again as it was is answered without a write, and one of a rule costs none while it goes on.
func TestRepeatedAlertsAreNotSaved(t *testing.T) {
	dir := t.TempDir()
	am := openInternal(t, dir)
	defer am.Close()
	const body = `[{"labels":{"alertname":"A"},"annotations":{"a":"1"},"startsAt":"2026-01-01T00:00:00Z"},{"labels":{"alertname":"B"}}]`
	require.Equal(t, http.StatusOK, postAlerts(t.Context(), am, body).Code)
	before, err := os.ReadFile(filepath.Join(dir, alertsFile))
	require.NoError(t, err)
	am.store.journal.mu.Lock() // nothing can be written
	require.Equal(t, http.StatusOK, postAlerts(t.Context(), am, body).Code)
	am.store.journal.mu.Unlock()
	after, err := os.ReadFile(filepath.Join(dir, alertsFile))
	require.NoError(t, err)
	require.Equal(t, string(before), string(after))
}

// A disk that fails is answered with 500, and all is well when it is back.
func TestAlertsThatCannotBeSaved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "am")
	am := openInternal(t, dir)
	defer am.Close()
	one := func(name string) string { return `[{"labels":{"alertname":"` + name + `"}}]` }
	require.Equal(t, http.StatusOK, postAlerts(t.Context(), am, one("Before")).Code)

	am.store.journal.file.Close() // the next append fails
	require.Equal(t, http.StatusOK, postAlerts(t.Context(), am, one("Healed")).Code, "a new file heals")
	require.Len(t, savedIn(t, dir), 2)

	am.store.journal.file.Close()
	require.NoError(t, os.Rename(dir, dir+".gone"))
	for range 2 { // the second time, the alert is known but not saved
		w := postAlerts(t.Context(), am, one("Meanwhile"))
		require.Equal(t, http.StatusInternalServerError, w.Code)
		require.Contains(t, w.Body.String(), "change applied but not persisted; see the log")
	}
	require.Equal(t, http.StatusOK, postAlerts(t.Context(), am, one("Before")).Code, "this one is saved")
	require.Positive(t, testutil.ToFloat64(am.metrics.saveErrors.WithLabelValues(alertsFile)))
	require.NoError(t, os.Rename(dir+".gone", dir))
	require.Equal(t, http.StatusOK, postAlerts(t.Context(), am, one("Meanwhile")).Code)
	require.Len(t, savedIn(t, dir), 3)
}

// Many requests share a write. Those that wait are answered when it is done, do not hold up a reload, and end with
// their client or with the process.
func TestRequestsThatWait(t *testing.T) {
	dir := t.TempDir()
	am := openInternal(t, dir)
	one := func(i int) string { return fmt.Sprintf(`[{"labels":{"alertname":"A","i":"%d"}}]`, i) }
	am.store.journal.mu.Lock() // a disk that takes its time
	const requests = 50
	var codes [requests]int
	var wait sync.WaitGroup
	for i := range requests {
		wait.Go(func() { codes[i] = postAlerts(t.Context(), am, one(i)).Code })
	}
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan int, 1)
	go func() { gone <- postAlerts(ctx, am, one(requests)).Code }()
	require.Eventually(t, func() bool {
		am.store.mu.Lock()
		defer am.store.mu.Unlock()
		return am.store.latest == requests+1
	}, time.Minute, time.Millisecond)
	require.NoError(t, am.Reload(am.Options()))
	cancel()
	require.Equal(t, http.StatusInternalServerError, <-gone)
	am.store.mu.Lock()
	before := am.store.attempts
	am.store.mu.Unlock()
	am.store.journal.mu.Unlock()
	wait.Wait()
	for _, code := range codes {
		require.Equal(t, http.StatusOK, code)
	}
	am.store.mu.Lock()
	require.LessOrEqual(t, am.store.attempts-before, uint64(2), "the requests shared a write")
	am.store.mu.Unlock()
	require.Len(t, savedIn(t, dir), requests+1)

	require.NoError(t, am.Close())
	w := postAlerts(t.Context(), am, one(-1))
	require.Equal(t, http.StatusInternalServerError, w.Code, "it would be forgotten")
}

// TestRestoredEnd has what a process restores of alerts whose end comes soon or has passed.
func TestRestoredEnd(t *testing.T) {
	now := time.Now().UTC()
	saved := now.Add(-10 * time.Minute) // the process died right then
	const grace = 5 * time.Minute
	for name, tc := range map[string]struct {
		alert savedAlert
		end   time.Time
	}{
		"of a rule, to come":                 {savedAlert{EndsAt: now.Add(time.Minute)}, now.Add(grace)},
		"of a rule, passed":                  {savedAlert{EndsAt: now.Add(-time.Minute)}, now.Add(grace)},
		"of a rule, far away":                {savedAlert{EndsAt: now.Add(time.Hour)}, now.Add(time.Hour)},
		"of a rule, before the crash":        {savedAlert{EndsAt: saved.Add(-time.Second)}, saved.Add(-time.Second)},
		"posted, to come":                    {savedAlert{EndsAt: now.Add(time.Minute), Posted: true}, now.Add(time.Minute)},
		"posted, passed":                     {savedAlert{EndsAt: now.Add(-time.Minute), Posted: true}, now.Add(-time.Minute)},
		"posted, before the crash":           {savedAlert{EndsAt: saved.Add(-time.Second), Posted: true}, saved.Add(-time.Second)},
		"posted without one":                 {savedAlert{EndsAt: now.Add(-time.Minute), Posted: true, Timeout: true}, now.Add(grace)},
		"posted and renewed, to come":        {savedAlert{EndsAt: now.Add(time.Minute), Posted: true, Renewed: true}, now.Add(time.Minute)},
		"posted and renewed, passed":         {savedAlert{EndsAt: now.Add(-time.Minute), Posted: true, Renewed: true}, now.Add(grace)},
		"posted, renewed, before the crash":  {savedAlert{EndsAt: saved.Add(-time.Second), Posted: true, Renewed: true}, saved.Add(-time.Second)},
		"posted without, before the crash":   {savedAlert{EndsAt: saved.Add(-time.Second), Posted: true, Timeout: true}, saved.Add(-time.Second)},
		"of a rule, saved with a later line": {savedAlert{EndsAt: now.Add(-time.Minute), SavedAt: now.Add(-30 * time.Second)}, now.Add(-time.Minute)},
	} {
		t.Run(name, func(t *testing.T) {
			tc.alert.Labels, tc.alert.StartsAt = model.LabelSet{"alertname": "A"}, saved.Add(-time.Hour)
			header, err := json.Marshal(savedHeader{Version: savedVersion, SavedAt: saved})
			require.NoError(t, err)
			line, err := json.Marshal(tc.alert)
			require.NoError(t, err)
			file, err := parseFile(bytes.Join([][]byte{header, line, nil}, []byte("\n")))
			require.NoError(t, err)
			found := file.restorable(now, grace)
			require.Len(t, found, 1)
			require.Equal(t, tc.end, found[0].alert.EndsAt)
		})
	}
}

// A sender that renews its alerts, as Prometheus does, is known as such; a client that posts once is not.
func TestRenewedIsSaved(t *testing.T) {
	dir := t.TempDir()
	am := openInternal(t, dir)
	defer am.Close()
	post := func(name string, end time.Duration) {
		require.Equal(t, http.StatusOK, postAlerts(t.Context(), am,
			`[{"labels":{"alertname":"`+name+`"},"endsAt":"`+time.Now().Add(end).UTC().Format(time.RFC3339Nano)+`"}]`).Code)
	}
	post("Once", time.Minute)
	post("Renewed", time.Minute)
	post("Renewed", 2*time.Minute)
	post("Ended", time.Minute)
	post("Ended", 2*time.Minute)
	post("Ended", 0)
	renewed := func(dir string) map[string]bool {
		found := map[string]bool{}
		for _, c := range savedIn(t, dir) {
			found[c.alert.Name()] = c.renewed
		}
		return found
	}
	want := map[string]bool{"Once": false, "Renewed": true, "Ended": false}
	require.Equal(t, want, renewed(dir))
	require.NoError(t, am.Close())
	require.Equal(t, want, renewed(dir), "a new file has it, too")
	am = openInternal(t, dir)
	require.NoError(t, am.Close())
	require.Equal(t, want, renewed(dir), "and so after a restart")
}

// Damage costs the lines that it hits. What a process that was killed has half written does not matter.
func TestDamagedAlerts(t *testing.T) {
	header := `{"version":2,"saved_at":"` + time.Now().UTC().Format(time.RFC3339Nano) + "\"}\n"
	line := func(name string) string {
		return `{"labels":{"alertname":"` + name + `"},"starts_at":"2026-01-01T00:00:00Z","ends_at":"2099-01-01T00:00:00Z"}` + "\n"
	}
	old := `{"version":1,"saved_at":"2026-01-01T00:00:00Z","alerts":[` + strings.TrimSpace(line("A")) + `]}`
	for name, tc := range map[string]struct {
		file  string
		left  []string
		aside bool
	}{
		"none":                        {header + line("A") + line("B"), []string{"A", "B"}, false},
		"a line twice":                {header + line("A") + line("A"), []string{"A"}, false},
		"torn at the end":             {header + line("A") + line("B")[:20], []string{"A"}, true},
		"torn in the middle":          {header + line("A")[:20] + "\n" + line("B"), []string{"B"}, true},
		"zeros at the end":            {header + line("A") + strings.Repeat("\x00", 4096), []string{"A"}, true},
		"no header":                   {line("A") + line("B"), []string{"A", "B"}, true},
		"a header that is damaged":    {header[5:] + line("A"), []string{"A"}, true},
		"a version that is not known": {`{"version":3}` + "\n" + line("A"), nil, true},
		"nothing":                     {"", nil, true},
		"version 1":                   {old, []string{"A"}, false},
		"version 1, torn":             {old[:len(old)-10], nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, alertsFile)
			require.NoError(t, os.WriteFile(path, []byte(tc.file), 0o600))
			require.NoError(t, os.WriteFile(path+".new-1", []byte(header[:10]), 0o600))
			for range 2 { // the second time the file is as it should be
				am := openInternal(t, dir)
				require.Equal(t, http.StatusOK, postAlerts(t.Context(), am, `[{"labels":{"alertname":"New"}}]`).Code)
				var names []string
				for _, c := range savedIn(t, dir) {
					names = append(names, c.alert.Name())
				}
				require.ElementsMatch(t, append([]string{"New"}, tc.left...), names)
				require.NoError(t, am.Close())
				aside, err := filepath.Glob(path + ".damaged-*")
				require.NoError(t, err)
				require.Equal(t, tc.aside, len(aside) == 1, aside)
				left, err := filepath.Glob(path + ".new-*")
				require.NoError(t, err)
				require.Empty(t, left)
			}
		})
	}
}

// The file is compacted when it has grown, also while alerts are posted, and has all of them all the time.
func TestAlertsAreCompacted(t *testing.T) {
	dir := t.TempDir()
	am := openInternal(t, dir)
	defer am.Close()
	path := filepath.Join(dir, alertsFile)
	const alerts = 100
	for round := range 60 {
		var posted []string
		for i := range alerts {
			posted = append(posted, fmt.Sprintf(`{"labels":{"alertname":"A","i":"%d"},"annotations":{"round":"%d","text":%q}}`, i, round, strings.Repeat("x", 1000)))
		}
		require.Equal(t, http.StatusOK, postAlerts(t.Context(), am, "["+strings.Join(posted, ",")+"]").Code)
		if round%10 != 9 {
			continue
		}
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		saved, err := parseFile(data)
		require.NoError(t, err)
		require.Len(t, saved.alerts, alerts)
		for _, a := range saved.alerts {
			require.Equal(t, strconv.Itoa(round), string(a.Annotations["round"]))
		}
	}
	require.Eventually(t, func() bool {
		info, err := os.Stat(path)
		return err == nil && info.Size() < minCompactBytes
	}, time.Minute, time.Millisecond, "of more than that which was written")
}

// What a receiver was notified of is saved before: its end is notified after a crash.
func TestNotifiedAlertsAreSaved(t *testing.T) {
	hook := newStatusHook(t)
	o := hook.options(t, "1h")
	am := openQuietly(t, o)
	defer am.Close()
	for i := range 20 {
		now := time.Now()
		am.Send(&notifier.Alert{Labels: labels.FromStrings("alertname", fmt.Sprint("A", i)), StartsAt: now, EndsAt: now.Add(time.Hour)})
		require.Equal(t, "firing", <-hook.got)
		require.Len(t, savedIn(t, o.Path), i+1)
	}
}
