package alertmanager_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/alertmanager"
)

// TestRelabeledTest sends test alerts whose labels are changed on the way, as those of the alerts of rules are.
func TestRelabeledTest(t *testing.T) {
	h := newHook(t)
	am, _ := open(t, t.TempDir(), `
route: {receiver: nobody, routes: [{receiver: hook, matchers: ['routing.key="db"']}]}
receivers: [{name: nobody}, {name: hook, webhook_configs: [{url: '`+h.URL+`'}]}]
`, func(o *alertmanager.Options) {
		o.Outgoing = func(ls labels.Labels) (labels.Labels, bool) {
			switch ls.Get("case") {
			case "drop":
				return labels.EmptyLabels(), false
			case "empty":
				return labels.EmptyLabels(), true
			case "same":
				return ls, true
			}
			return labels.NewBuilder(ls).Del("replica").Set("routing.key", "db").Labels(), true
		}
	})
	send := func(body string) (int, alertmanager.TestReport, string) {
		w := call(am, http.MethodPost, alertmanager.TestPath, body)
		var report alertmanager.TestReport
		_ = json.Unmarshal(w.Body.Bytes(), &report)
		return w.Code, report, w.Body.String()
	}
	code, report, body := send(`{"labels":{"replica":"a","severity":"x"},"annotations":{"summary":"s"}}`)
	require.Equal(t, http.StatusOK, code, body)
	require.Equal(t, map[string]string{"alertname": "HancockTest", "instance": "127.0.0.1:5000", "severity": "x", "routing.key": "db"}, report.Labels)
	require.Equal(t, map[string]string{"alertname": "HancockTest", "instance": "127.0.0.1:5000", "severity": "x", "replica": "a"}, report.GivenLabels)
	require.True(t, report.Notifies)
	require.Equal(t, "hook", report.Routes[0].Receiver)
	m := h.next(t)
	require.Equal(t, report.Labels, m.Alerts[0].Labels)
	require.Equal(t, "s", m.Alerts[0].Annotations["summary"])

	code, report, body = send(`{"labels":{"case":"same"}}`)
	require.Equal(t, http.StatusOK, code, body)
	require.NotContains(t, body, "given_labels")
	require.False(t, report.Notifies)

	code, report, body = send(`{"labels":{"case":"drop"}}`)
	require.Equal(t, http.StatusOK, code, body)
	require.True(t, report.Dropped)
	require.False(t, report.Notifies)
	require.Empty(t, report.Routes)
	require.Equal(t, "drop", report.Labels["case"])

	code, _, body = send(`{"labels":{"case":"empty"}}`)
	require.Equal(t, http.StatusBadRequest, code, body)
	require.Contains(t, body, "the alert cannot be sent after alert_relabel_configs: at least one label pair required")
	require.Empty(t, h.got)
}
