package alertmanager_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/alertmanager"
)

// utf8Value has what parsers of matchers and of group keys have to escape.
const utf8Value = `köln "east", {a=b}\n 🔥 c:\dir`

// utf8Names are names of labels that only the UTF-8 syntax takes, and words that mean something elsewhere.
func utf8Names() map[string]string {
	return map[string]string{
		"dots": "service.name", "emoji": "🔥", "slashes": "app.kubernetes.io/name", "spaces": "team name", "umlauts": "städte",
		"quotes": `say "it"`, "single quotes": "it's", "backslashes": `back\slash`, "matcher": `a="b",c=~d`, "braces": "{a}",
		"newline": "a\nb", "digits first": "2fa", "reserved words": "group", "double underscore": "__tmp",
	}
}

// matcher is an equality in the syntax of matchers.
func matcher(t *testing.T, name string) string {
	t.Helper()
	m, err := amlabels.NewMatcher(amlabels.MatchEqual, name, utf8Value)
	require.NoError(t, err)
	return m.String()
}

// known are the alerts that match a filter, by the value of their label role.
func known(t *testing.T, am *alertmanager.Alertmanager, filter string) map[string]apiAlert {
	t.Helper()
	w := call(am, http.MethodGet, "/api/v2/alerts?"+url.Values{"filter": {filter}}.Encode(), "")
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	var all []apiAlert
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &all))
	alerts := map[string]apiAlert{}
	for _, a := range all {
		alerts[a.Labels["role"]] = a
	}
	return alerts
}

type apiAlert struct {
	Labels map[string]string `json:"labels"`
	Status struct {
		SilencedBy  []string `json:"silencedBy"`
		InhibitedBy []string `json:"inhibitedBy"`
	} `json:"status"`
}

func TestUTF8Names(t *testing.T) {
	for kind, name := range utf8Names() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			h, dir := newHook(t), t.TempDir()
			text := fmt.Sprintf(`
route:
  receiver: nobody
  group_wait: 10ms
  group_interval: 100ms
  routes: [{receiver: hook, group_by: [%q], matchers: [%q, 'role!="inhibited"']}]
inhibit_rules: [{source_matchers: ['role="rule"', %q], target_matchers: ['role="inhibited"'], equal: [%q]}]
receivers: [{name: nobody}, {name: hook, webhook_configs: [{url: '%s'}]}]
`, name, matcher(t, name), matcher(t, name), name, h.URL)
			am, _ := open(t, dir, text)

			am.Send(firing("alertname", "A", "role", "rule", name, utf8Value), firing("alertname", "A", "role", "inhibited", name, utf8Value),
				firing("alertname", "A", "role", "other", name, "other"))
			m := h.nextOf(t, 1)
			require.Equal(t, map[string]string{name: utf8Value}, m.GroupLabels)
			require.Equal(t, map[string]string{"alertname": "A", "role": "rule", name: utf8Value}, m.Alerts[0].Labels)

			posted, err := json.Marshal([]any{map[string]any{"labels": map[string]string{"alertname": "A", "role": "posted", name: utf8Value}}})
			require.NoError(t, err)
			w := call(am, http.MethodPost, "/api/v2/alerts", string(posted))
			require.Equal(t, http.StatusOK, w.Code, w.Body)
			h.nextOf(t, 2)
			require.Eventually(t, func() bool { return len(known(t, am, matcher(t, name))["inhibited"].Status.InhibitedBy) > 0 }, patience, 5*time.Millisecond)
			require.Len(t, known(t, am, matcher(t, name)), 3, "not the one with another value")
			w = call(am, http.MethodGet, "/api/v2/alerts/groups?"+url.Values{"filter": {matcher(t, name)}}.Encode(), "")
			require.Equal(t, http.StatusOK, w.Code, w.Body)

			report, err := am.Test(t.Context(), alertmanager.TestRequest{Labels: map[string]string{name: utf8Value}})
			require.NoError(t, err)
			require.Equal(t, "hook", report.Routes[0].Receiver)
			require.Equal(t, map[string]string{name: utf8Value}, report.Routes[0].GroupLabels)
			require.Equal(t, "ok", report.Routes[0].Results[0].Outcome)
			h.next(t)

			silence, err := json.Marshal(map[string]any{
				"matchers": []any{map[string]any{"name": name, "value": utf8Value, "isRegex": false}}, "comment": "c", "createdBy": "t",
				"startsAt": time.Now(), "endsAt": time.Now().Add(time.Hour),
			})
			require.NoError(t, err)
			w = call(am, http.MethodPost, "/api/v2/silences", string(silence))
			require.Equal(t, http.StatusOK, w.Code, w.Body)
			require.Len(t, known(t, am, matcher(t, name))["rule"].Status.SilencedBy, 1)

			require.NoError(t, am.Close())
			again, _ := open(t, dir, text)
			after := known(t, again, matcher(t, name))
			require.Len(t, after, 3, "the alerts are restored")
			require.Len(t, after["posted"].Status.SilencedBy, 1, "and the silence")
			found, err := again.Silences(after["rule"].Labels)
			require.NoError(t, err)
			require.Len(t, found, 1)
		})
	}
}

// TestInvalidNames has names that no label can have, in every place that takes names.
func TestInvalidNames(t *testing.T) {
	am, _ := open(t, t.TempDir(), "")
	silence := func(name string) string {
		return fmt.Sprintf(`{"matchers":[{"name":%q,"value":"v","isRegex":false}],"comment":"c","createdBy":"t","startsAt":"2026-01-01T00:00:00Z","endsAt":"2099-01-01T00:00:00Z"}`, name)
	}
	for name, tt := range map[string]struct{ method, path, body, want string }{
		"alert, empty name":          {http.MethodPost, "/api/v2/alerts", `[{"labels":{"alertname":"A","":"v"}}]`, `invalid name`},
		"alert, invalid UTF-8":       {http.MethodPost, "/api/v2/alerts", "[{\"labels\":{\"alertname\":\"A\",\"\xff\":\"v\"}}]", "the body is not valid UTF-8"},
		"silence, empty name":        {http.MethodPost, "/api/v2/silences", silence(""), "invalid label name"},
		"silence, invalid UTF-8":     {http.MethodPost, "/api/v2/silences", "{\"matchers\":[{\"name\":\"\xff\",\"value\":\"v\"}]}", "the body is not valid UTF-8"},
		"test, empty name":           {http.MethodPost, alertmanager.TestPath, `{"labels":{"":"v"}}`, "invalid name"},
		"test, invalid UTF-8":        {http.MethodPost, alertmanager.TestPath, "{\"labels\":{\"\xff\":\"v\"}}", "the body is not valid UTF-8"},
		"filter, invalid UTF-8":      {http.MethodGet, "/api/v2/alerts?filter=%FF%3D%22v%22", "", "the query is not valid UTF-8"},
		"filter of groups, no value": {http.MethodGet, "/api/v2/alerts/groups?filter=service.name", "", "bad matcher format"},
	} {
		t.Run(name, func(t *testing.T) {
			w := call(am, tt.method, tt.path, tt.body)
			require.Equal(t, http.StatusBadRequest, w.Code, w.Body)
			require.Contains(t, w.Body.String(), tt.want)
		})
	}
}
