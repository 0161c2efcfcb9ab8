package alertmanager_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/alertmanager"
)

// Alertmanager's router takes more than one spelling of a path; none of them
// leads past the bounds.
func TestAPIBoundsUnderOtherSpellings(t *testing.T) {
	am, _ := open(t, t.TempDir(), `
route: {receiver: hook}
receivers: [{name: hook, webhook_configs: [{url: 'http://127.0.0.1:1/', http_config: {http_headers: {X-Token: {values: [open-secret]}}}}]}]
`)
	body := `[{"labels":{"alertname":"A","x":"` + strings.Repeat("v", 20<<10) + `"}}]`
	for _, path := range []string{"/alerts", "/alerts/", "//alerts", "/./alerts", "/x/../alerts", "/%61lerts"} {
		w := call(am, http.MethodPost, "/api/v2"+path, body)
		require.NotEqual(t, http.StatusOK, w.Code, path)
	}
	require.JSONEq(t, "[]", call(am, http.MethodGet, "/api/v2/alerts", "").Body.String(), "nothing was taken")
	for _, path := range []string{"/status", "/status/", "//status", "/./status", "/x/../status", "/%73tatus"} {
		require.NotContains(t, call(am, http.MethodGet, "/api/v2"+path, "").Body.String(), "open-secret", path)
	}
}

// The log takes lines of 128 KiB; a longer one would be missing from the ledger.
func TestAttemptsFitIntoALine(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	text := strings.Replace(quick(h.URL), "[alertname]", "['...']", 1)
	am, l := open(t, t.TempDir(), text)
	pairs := []string{"alertname", "Huge"}
	for i := range 7 {
		pairs = append(pairs, "l"+strconv.Itoa(i), strings.Repeat("<&\x01\"", 2000))
	}
	am.Send(firing(pairs...))
	h.next(t)
	require.Eventually(t, func() bool { return len(l.attempts(t)) == 1 }, patience, 5*time.Millisecond)
	a := l.attempts(t)[0]
	require.Equal(t, "Huge", a.Alerts[0].Labels["alertname"])
	require.Equal(t, "Huge", a.GroupLabels["alertname"])
	require.Len(t, a.Alerts[0].Fingerprint, 16)
	for line := range strings.Lines(l.String()) {
		require.Less(t, len(line), 128<<10)
	}
	_, err := json.Marshal(a)
	require.NoError(t, err)
}

// A template can cut a text in the middle of a character. Alertmanager would
// get it mended, since JSON holds nothing else.
func TestTextsThatAreNotUTF8(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	am, _ := open(t, t.TempDir(), quick(h.URL))
	a := firing("alertname", "Cut", "host", "m\xc3")
	a.Annotations = labels.FromStrings("summary", "caf\xc3 is down")
	am.Send(a)
	m := h.next(t)
	require.Equal(t, "caf\ufffd is down", m.Alerts[0].Annotations["summary"])
	require.Equal(t, "m\ufffd", m.Alerts[0].Labels["host"])
}

// Who posts ever new alerts or silences fills the memory only so far.
func TestAPITakesSoManyAndNoMore(t *testing.T) {
	am, _ := open(t, t.TempDir(), "", func(o *alertmanager.Options) { o.MaxPending = 3 })
	post := func(names ...string) int {
		alerts := []string{}
		for _, n := range names {
			alerts = append(alerts, `{"labels":{"alertname":"`+n+`","empty":""}}`)
		}
		return call(am, http.MethodPost, "/api/v2/alerts", "["+strings.Join(alerts, ",")+"]").Code
	}
	require.Equal(t, http.StatusOK, post("A", "B"))
	require.Equal(t, http.StatusServiceUnavailable, post("A", "C", "D"))
	require.Equal(t, http.StatusOK, post("A", "B", "C"))
	require.Equal(t, http.StatusServiceUnavailable, post("D"))
	require.Equal(t, http.StatusOK, post("A", "B", "C"), "those that are there go on")
	am.Send(firing("alertname", "Rule"))
	require.Eventually(t, func() bool {
		return strings.Contains(call(am, http.MethodGet, "/api/v2/alerts", "").Body.String(), "Rule")
	}, patience, 5*time.Millisecond, "what the rules find is taken in any case")

	w := call(am, http.MethodPost, "/api/v2/alerts", "["+strings.Repeat(`{"labels":{}},`, 70_000)+`{"labels":{}}]`)
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Contains(t, w.Body.String(), "70001 alerts, more than 5000")

	silence := `{"matchers":[{"name":"a","value":"b","isRegex":false}],"startsAt":"2026-01-01T00:00:00Z","endsAt":"2099-01-01T00:00:00Z","createdBy":"me","comment":"`
	require.Equal(t, http.StatusBadRequest, call(am, http.MethodPost, "/api/v2/silences", silence+strings.Repeat("x", 100<<10)+`"}`).Code)
	require.Equal(t, http.StatusOK, call(am, http.MethodPost, "/api/v2/silences", silence+`why"}`).Code)
}
