package alertmanager

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/internal/bubble"
)

func openInternal(t *testing.T, path string) *Alertmanager {
	t.Helper()
	o := DefaultOptions()
	o.Path = path
	am, err := Open(o, prometheus.NewPedanticRegistry(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return am
}

// savedIn returns the alerts that a process would restore from the directory.
func savedIn(t *testing.T, dir string) []change {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, alertsFile))
	require.NoError(t, err)
	saved, err := parseFile(data)
	require.NoError(t, err)
	return saved.restorable(time.Now(), time.Minute)
}

func silenceOnce(am *Alertmanager) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/api/v2/silences", strings.NewReader(`{"matchers":[{"name":"a","value":"b","isRegex":false}],
		"startsAt":"2026-01-01T00:00:00Z","endsAt":"2099-01-01T00:00:00Z","createdBy":"me","comment":"known"}`))
	r.Header.Set("Content-Type", "application/json")
	am.API().ServeHTTP(w, r)
	return w
}

// A silence that cannot be written is told as such, and one that can be after
// all is fine.
func TestSilenceThatCannotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "am")
	am := openInternal(t, dir)
	defer am.Close()

	am.silenceJournal.file.Close() // the next append fails
	require.Equal(t, http.StatusOK, silenceOnce(am).Code, "a new snapshot heals")
	require.InEpsilon(t, 1, testutil.ToFloat64(am.metrics.saveErrors.WithLabelValues(silencesFile)), 0)
	data, err := os.ReadFile(filepath.Join(dir, silencesFile))
	require.NoError(t, err)
	require.Contains(t, string(data), "known")

	am.silenceJournal.file.Close()
	require.NoError(t, os.Rename(dir, dir+".gone"))
	w := silenceOnce(am)
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.Contains(t, w.Body.String(), "change applied but not persisted; see the log")
	require.NoError(t, os.Rename(dir+".gone", dir))
	require.Equal(t, http.StatusOK, silenceOnce(am).Code, "and when the disk is back, all is well")
}

// The set of alerts is in the file soon after a change, and what ends because
// its time is up is noticed.
func TestStoreUnderFakeTime(t *testing.T) {
	dir := t.TempDir()
	bubble.Test(t, func(t *testing.T) {
		am := openInternal(t, dir)
		path := filepath.Join(dir, alertsFile)
		has := func() (ended int) {
			alerts := savedIn(t, dir)
			require.Len(t, alerts, 1)
			if alerts[0].alert.Resolved() {
				return 1
			}
			return 0
		}
		am.Send(&notifier.Alert{Labels: labels.FromStrings("alertname", "A"), StartsAt: time.Now(), EndsAt: time.Now().Add(time.Minute)})
		synctest.Wait()
		require.Zero(t, has(), "at once")
		before, err := os.ReadFile(path)
		require.NoError(t, err)
		time.Sleep(30 * time.Second)
		am.Send(&notifier.Alert{Labels: labels.FromStrings("alertname", "A"), StartsAt: time.Now(), EndsAt: time.Now().Add(time.Minute)})
		time.Sleep(30 * time.Second)
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, string(before), string(after), "an alert that goes on is not written again")
		time.Sleep(time.Minute)
		require.Equal(t, 1, has(), "it has ended, says the file")
		require.NoError(t, am.Close())
		synctest.Wait()
	})
}
