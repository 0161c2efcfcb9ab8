package alertmanager_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/nflog/nflogpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protodelim"

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
	gone.EndsAt = inAnHour()
	am.Send(firing("alertname", "On", "job", "x"), gone, firing("alertname", "Before", "job", "x"))
	h.nextOf(t, 3)
	am.Send(resolved("alertname", "Before", "job", "x"))
	require.Len(t, h.next(t).Alerts, 3)
	// The receiver has it before the files do.
	require.Eventually(t, holds(t, filepath.Join(dir, "alerts.json"), "Gone"), patience, 5*time.Millisecond)
	require.Eventually(t, func() bool { return endedIn(t, dir) == 1 }, patience, 5*time.Millisecond)
	require.Eventually(t, func() bool { return toldFiring(t, dir) == 2 }, patience, 5*time.Millisecond)
	left := crash(t, dir)
	require.NoError(t, am.Close())
	require.Empty(t, h.got)
	pass(t, left, gone.EndsAt)

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
	text := strings.Replace(quick(h.URL), "group_interval: 100ms", "group_interval: 100ms, routes: ["+probeRoute+"]", 1) +
		`inhibit_rules: [{source_matchers: [alertname="Root"], target_matchers: [alertname="Leaf"]}]`
	text = strings.Replace(text, "receivers: [", "receivers: [{name: probe}, ", 1)
	am, _ := open(t, dir, text)
	am.Send(firing("alertname", "Root"))
	h.next(t)
	require.Eventually(t, holds(t, filepath.Join(dir, "nflog"), "Root"), patience, 5*time.Millisecond)
	untilInhibited(t, am, map[string]string{"alertname": "Leaf"})
	am.Send(firing("alertname", "Leaf"))
	require.Eventually(t, func() bool {
		return strings.Contains(call(am, http.MethodGet, "/api/v2/alerts", "").Body.String(), `"inhibitedBy":["`)
	}, patience, 5*time.Millisecond)
	require.Eventually(t, holds(t, filepath.Join(dir, "alerts.json"), "Leaf"), patience, 5*time.Millisecond)
	left := crash(t, dir)
	require.NoError(t, am.Close())

	am, _ = open(t, left, text)
	am.Send(firing("alertname", "Other"))
	require.Equal(t, "Other", h.next(t).GroupLabels["alertname"])
	am.Send(resolved("alertname", "Root"))
	told := []string{h.next(t).GroupLabels["alertname"], h.next(t).GroupLabels["alertname"]}
	require.ElementsMatch(t, []string{"Root", "Leaf"}, told, "its cause has ended")
}

// probeRoute is the route of tests that reach nobody.
const probeRoute = `{receiver: probe, matchers: [probe="yes"]}`

// untilInhibited waits until an alert of these labels would be inhibited: the inhibitor takes alerts in for itself, and
// may be later than the one who tells of them.
func untilInhibited(t *testing.T, am *alertmanager.Alertmanager, labels map[string]string) {
	t.Helper()
	labels["probe"] = "yes"
	require.Eventually(t, func() bool {
		r, err := am.Test(t.Context(), alertmanager.TestRequest{Labels: labels})
		return err == nil && len(r.Routes[0].InhibitedBy) > 0
	}, patience, 5*time.Millisecond)
}

// toldFiring is of how many alerts the last entry of the notification log says that they fire.
func toldFiring(t *testing.T, dir string) (n int) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "nflog"))
	require.NoError(t, err)
	for r := bytes.NewReader(data); ; {
		var e nflogpb.MeshEntry
		if protodelim.UnmarshalFrom(r, &e) != nil {
			return n
		}
		n = len(e.GetEntry().GetFiringAlerts())
	}
}

// endedIn is how many alerts of the file had ended when they were written.
func endedIn(t *testing.T, dir string) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "alerts.json"))
	require.NoError(t, err)
	ended := map[string]bool{}
	for lines := json.NewDecoder(bytes.NewReader(data)); ; {
		var line struct {
			Labels  map[string]string `json:"labels"`
			EndsAt  time.Time         `json:"ends_at"`
			SavedAt time.Time         `json:"saved_at"`
		}
		if lines.Decode(&line) != nil {
			break
		}
		ended[line.Labels["alertname"]] = line.Labels != nil && !line.EndsAt.After(line.SavedAt)
	}
	n := 0
	for _, is := range ended {
		if is {
			n++
		}
	}
	return n
}
