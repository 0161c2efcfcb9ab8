package alertmanager_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/alertmanager"
)

// Of three alerts of a group one goes on after a crash, one ended meanwhile,
// and one was told as ended before. The rule of the first says nothing new for
// a while; the rule of the second is gone.
func TestGroupOfWhichSomeEndedMeanwhile(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	dir := t.TempDir()
	text := strings.Replace(quick(h.URL), "alertname]", "job]", 1)
	am, _ := open(t, dir, text)
	gone := firing("alertname", "Gone", "job", "x")
	gone.EndsAt = gone.StartsAt.Add(3 * time.Second)
	am.Send(firing("alertname", "On", "job", "x"), gone, firing("alertname", "Before", "job", "x"))
	require.Len(t, h.next(t).Alerts, 3)
	am.Send(resolved("alertname", "Before", "job", "x"))
	require.Len(t, h.next(t).Alerts, 3)
	require.Eventually(t, func() bool {
		posted := call(am, http.MethodGet, "/api/v2/alerts/groups", "").Body.String()
		return !strings.Contains(posted, "Before") && holds(t, filepath.Join(dir, "alerts.json"), "Gone")()
	}, 5*time.Second, 5*time.Millisecond)
	require.Eventually(t, func() bool { return endedIn(t, dir) == 1 }, 5*time.Second, 5*time.Millisecond)
	left := crash(t, dir)
	require.NoError(t, am.Close())
	require.Empty(t, h.got)

	am, _ = open(t, left, text, func(o *alertmanager.Options) { o.RestoreGrace = 500 * time.Millisecond })
	am.Send(firing("alertname", "On", "job", "x"))
	m := h.next(t)
	require.Equal(t, "firing", m.Status)
	status := map[string]string{}
	for _, a := range m.Alerts {
		status[a.Labels["alertname"]] = a.Status
	}
	require.Equal(t, map[string]string{"On": "firing", "Gone": "resolved"}, status)
	am.Send(resolved("alertname", "On", "job", "x"))
	m = h.next(t)
	require.Equal(t, "resolved", m.Status)
	require.Len(t, m.Alerts, 1)
	require.Empty(t, h.got)
}

// What is inhibited stays so across a restart, though nobody has said again
// that the cause goes on.
func TestInhibitedAfterRestart(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	dir := t.TempDir()
	text := quick(h.URL) + `inhibit_rules: [{source_matchers: [alertname="Root"], target_matchers: [alertname="Leaf"]}]`
	am, _ := open(t, dir, text)
	am.Send(firing("alertname", "Root"))
	h.next(t)
	am.Send(firing("alertname", "Leaf"))
	require.Eventually(t, func() bool {
		return strings.Contains(call(am, http.MethodGet, "/api/v2/alerts", "").Body.String(), `"inhibitedBy":["`)
	}, 5*time.Second, 5*time.Millisecond)
	require.Eventually(t, holds(t, filepath.Join(dir, "alerts.json"), "Leaf"), 5*time.Second, 5*time.Millisecond)
	left := crash(t, dir)
	require.NoError(t, am.Close())

	am, _ = open(t, left, text)
	am.Send(firing("alertname", "Other"))
	require.Equal(t, "Other", h.next(t).GroupLabels["alertname"])
	am.Send(resolved("alertname", "Root"))
	told := []string{h.next(t).GroupLabels["alertname"], h.next(t).GroupLabels["alertname"]}
	require.ElementsMatch(t, []string{"Root", "Leaf"}, told, "its cause has ended")
}

// endedIn is how many alerts of the file had ended when it was written.
func endedIn(t *testing.T, dir string) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "alerts.json"))
	require.NoError(t, err)
	var saved struct {
		SavedAt time.Time `json:"saved_at"`
		Alerts  []struct {
			EndsAt time.Time `json:"ends_at"`
		} `json:"alerts"`
	}
	require.NoError(t, json.Unmarshal(data, &saved))
	ended := 0
	for _, a := range saved.Alerts {
		if !a.EndsAt.After(saved.SavedAt) {
			ended++
		}
	}
	return ended
}
