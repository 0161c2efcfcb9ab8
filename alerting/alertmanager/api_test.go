package alertmanager_test

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/alertmanager"
)

func TestAPIRefuses(t *testing.T) {
	am, _ := open(t, t.TempDir(), "")
	post := func(labels string) string { return `[{"labels":{"alertname":"A"` + labels + `}}]` }
	var many strings.Builder
	for i := range 200 {
		many.WriteString(`,"l` + strconv.Itoa(i) + `":"v"`)
	}
	tests := map[string]struct {
		path, body string
		code       int
		message    string
	}{
		"a label value of 1 MB":  {"/api/v2/alerts", post(`,"x":"` + strings.Repeat("v", 1<<20) + `"`), 413, "larger than 1048576 bytes"},
		"a label value of 20 kB": {"/api/v2/alerts", post(`,"x":"` + strings.Repeat("v", 20<<10) + `"`), 400, "more than 8192 bytes"},
		"200 labels":             {"/api/v2/alerts", post(many.String()), 400, "201 labels, more than 128"},
		"no labels":              {"/api/v2/alerts", `[{"labels":{}}]`, 400, "at least one label"},
		"no JSON":                {"/api/v2/alerts", `{`, 400, ""},
		"an object":              {"/api/v2/alerts", `{}`, 400, ""},
		"null":                   {"/api/v2/alerts", `[null]`, 400, "holds null"},
		"a null silence":         {"/api/v2/silences", `null`, 422, ""},
		"a null matcher":         {"/api/v2/silences", `{"matchers":[null],"startsAt":"2026-01-01T00:00:00Z","endsAt":"2099-01-01T00:00:00Z","createdBy":"me","comment":"x"}`, 400, "holds null"},
		"a silence without end":  {"/api/v2/silences", `{"matchers":[],"comment":"x"}`, 422, "required"},
		"another path":           {"/api/v2/nosuch", `{}`, 404, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := call(am, http.MethodPost, test.path, test.body)
			require.Equal(t, test.code, w.Code, w.Body)
			require.Contains(t, w.Body.String(), test.message)
		})
	}
	require.JSONEq(t, "[]", call(am, http.MethodGet, "/api/v2/alerts", "").Body.String(), "nothing of it was taken")
}

func TestAPIShowsGroupsAndSilences(t *testing.T) {
	h := newHook(t)
	am, _ := open(t, t.TempDir(), quick(h.URL))
	require.Equal(t, http.StatusOK, call(am, http.MethodPost, "/api/v2/alerts", `[{"labels":{"alertname":"Slow","env":"prod"}}]`).Code)
	h.next(t)
	require.Equal(t, http.StatusOK, call(am, http.MethodPost, "/api/v2/silences", `{"matchers":[{"name":"env","value":"prod","isRegex":false}],
		"startsAt":"2026-01-01T00:00:00Z","endsAt":"2099-01-01T00:00:00Z","createdBy":"me","comment":"known"}`).Code)
	require.Contains(t, call(am, http.MethodGet, "/api/v2/alerts", "").Body.String(), `"state":"suppressed"`)
	require.Contains(t, call(am, http.MethodGet, "/api/v2/alerts/groups", "").Body.String(), `"receiver":{"name":"hook"}`)
	am.Send(resolved("alertname", "Slow", "env", "prod"))
	am.Send(firing("alertname", "Other"))
	require.Equal(t, "Other", h.next(t).GroupLabels["alertname"], "what is silenced is not told")
}

// testReceivers is the routing tree of the tests of test notifications.
func testReceivers(url string) string {
	return `
route:
  receiver: rest
  group_by: [alertname, severity]
  routes:
  - matchers: [severity="critical"]
    receiver: pager
    continue: true
    mute_time_intervals: [always]
  - matchers: [severity=~"critical|warning"]
    receiver: chat
inhibit_rules:
- {source_matchers: [alertname="Root"], target_matchers: [alertname="HancockTest"]}
time_intervals:
- {name: always, time_intervals: [{years: ['2000:2999']}]}
receivers:
- {name: rest}
- {name: pager, webhook_configs: [{url: '` + url + `'}]}
- name: chat
  webhook_configs: [{url: '` + url + `', send_resolved: false}, {url: 'http://127.0.0.1:1/'}]
`
}

func TestTestNotification(t *testing.T) {
	h := newHook(t)
	am, l := open(t, t.TempDir(), testReceivers(h.URL))
	am.Send(firing("alertname", "Root"))
	require.Eventually(t, func() bool {
		r, err := am.Test(t.Context(), alertmanager.TestRequest{}) // reaches nobody
		return err == nil && len(r.Routes[0].InhibitedBy) == 1
	}, patience, 5*time.Millisecond)
	r, err := am.Test(t.Context(), alertmanager.TestRequest{Labels: map[string]string{"severity": "critical"}, Resolve: true})
	require.NoError(t, err)
	require.True(t, r.Notifies)
	require.Equal(t, "HancockTest", r.Labels["alertname"])
	require.Equal(t, "127.0.0.1:5000", r.Labels["instance"])
	require.Len(t, r.Routes, 2)

	pager, chat := r.Routes[0], r.Routes[1]
	require.Equal(t, "pager", pager.Receiver)
	require.Equal(t, `{}/{severity="critical"}`, pager.Route)
	require.Equal(t, map[string]string{"alertname": "HancockTest", "severity": "critical"}, pager.GroupLabels)
	require.Equal(t, []string{"always"}, pager.MutedBy)
	require.Len(t, pager.InhibitedBy, 1)
	require.Len(t, pager.Results, 2)
	require.Equal(t, "firing", pager.Results[0].Status)
	require.Equal(t, "resolved", pager.Results[1].Status)
	require.Equal(t, "ok", pager.Results[1].Outcome)

	require.Empty(t, chat.MutedBy)
	require.Len(t, chat.Results, 2, "no resolved message where none is wanted or the first failed")
	require.Equal(t, "ok", chat.Results[0].Outcome)
	require.Equal(t, "failed", chat.Results[1].Outcome)
	require.Contains(t, chat.Results[1].Error, "refused")
	for range 3 {
		require.Contains(t, h.next(t).GroupKey, "test/")
	}
	require.NotContains(t, call(am, http.MethodGet, "/api/v2/alerts", "").Body.String(), "HancockTest")
	require.Len(t, l.attempts(t), 4)
	for _, a := range l.attempts(t) {
		require.True(t, a.Test)
		require.False(t, a.Retry)
		require.Equal(t, 1, a.Try)
	}
}

func TestTestNotificationOverHTTP(t *testing.T) {
	h := newHook(t)
	am, _ := open(t, t.TempDir(), testReceivers(h.URL))
	tests := map[string]struct {
		body    string
		code    int
		message string
	}{
		"nothing":       {"", 200, `"notifies":false`},
		"labels":        {`{"labels":{"severity":"warning"}}`, 200, `"receiver":"chat"`},
		"unknown field": {`{"label":{}}`, 400, `unknown field`},
		"trailing":      {`{} {}`, 400, "behind the JSON object"},
		"too much":      {`{"labels":{"x":"` + strings.Repeat("v", 1<<20) + `"}}`, 400, "too large"},
		"bad label":     {`{"labels":{"":"x"}}`, 400, "invalid"},
		"no JSON":       {`[`, 400, "JSON object"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := call(am, http.MethodPost, alertmanager.TestPath, test.body)
			require.Equal(t, test.code, w.Code, w.Body)
			require.Contains(t, w.Body.String(), test.message)
		})
	}
}

func TestOneTestAtATime(t *testing.T) {
	h := newHook(t)
	begun, end := make(chan struct{}), make(chan struct{})
	h.answers(func(http.ResponseWriter, *http.Request) {
		close(begun)
		<-end
	})
	am, _ := open(t, t.TempDir(), quick(h.URL))
	done := make(chan int)
	go func() { done <- call(am, http.MethodPost, alertmanager.TestPath, "").Code }()
	<-begun
	require.Equal(t, http.StatusTooManyRequests, call(am, http.MethodPost, alertmanager.TestPath, "").Code)
	close(end)
	require.Equal(t, http.StatusOK, <-done)
}

type ledger struct{ got alertmanager.LedgerQuery }

func (l *ledger) Attempts(_ context.Context, q alertmanager.LedgerQuery) (alertmanager.LedgerPage, error) {
	l.got = q
	return alertmanager.LedgerPage{NextCursor: "more"}, nil
}

func TestLedgerOverHTTP(t *testing.T) {
	book := &ledger{}
	am, _ := open(t, t.TempDir(), "", func(o *alertmanager.Options) { o.Ledger = book })
	w := call(am, http.MethodGet, alertmanager.NotificationsPath+
		"?limit=7&cursor=c&since=2026-01-01T00:00:00Z&until=1h&receiver=r&outcome=failed&fingerprint=00000000000000FF", "")
	require.Equal(t, http.StatusOK, w.Code)
	require.JSONEq(t, `{"notifications":[],"next_cursor":"more","notifies":false}`, w.Body.String())
	require.Equal(t, 7, book.got.Limit)
	require.Equal(t, "failed", book.got.Outcome)
	require.Equal(t, "00000000000000ff", book.got.Fingerprint, "as the ledger writes it")
	require.Equal(t, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), book.got.Since)
	require.WithinDuration(t, time.Now().Add(-time.Hour), book.got.Until, time.Minute)
	for _, bad := range []string{"limit=0", "limit=x", "limit=1000", "since=yesterday", "until=x", "outcome=maybe", "fingerprint=zz"} {
		require.Equal(t, http.StatusBadRequest, call(am, http.MethodGet, alertmanager.NotificationsPath+"?"+bad, "").Code, bad)
	}
	without, _ := open(t, t.TempDir(), "")
	require.Equal(t, http.StatusNotFound, call(without, http.MethodGet, alertmanager.NotificationsPath, "").Code)
}

// The route of the monitoring guide works once its receivers are defined.
func TestRouteOfTheGuide(t *testing.T) {
	h := newHook(t)
	am, _ := open(t, t.TempDir(), `
route:
  receiver: 'slack-critical'
  group_by: ['alertname', 'severity']
  routes:
    - match:
        severity: critical
      receiver: 'pagerduty'
    - match:
        severity: warning
      receiver: 'slack-warnings'
receivers:
- {name: slack-critical, webhook_configs: [{url: '`+h.URL+`'}]}
- {name: pagerduty, webhook_configs: [{url: '`+h.URL+`'}]}
- {name: slack-warnings, webhook_configs: [{url: '`+h.URL+`'}]}
`)
	for severity, receiver := range map[string]string{"critical": "pagerduty", "warning": "slack-warnings", "info": "slack-critical"} {
		r, err := am.Test(t.Context(), alertmanager.TestRequest{Labels: map[string]string{"severity": severity}})
		require.NoError(t, err)
		require.Equal(t, receiver, r.Routes[0].Receiver)
		require.Equal(t, receiver, h.next(t).Receiver)
	}
}
