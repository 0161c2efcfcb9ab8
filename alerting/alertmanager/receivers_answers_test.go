package alertmanager_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/alertmanager"
)

// What a receiver answers decides whether it is asked again at once; what it
// said stands in the ledger.
func TestReceiversAnswer(t *testing.T) {
	t.Parallel()
	text := func(status int, body string) answer {
		return answer{status: status, contentType: "text/plain", body: body}
	}
	receivers := map[string]string{
		"slack":     "  slack_configs: [{api_url: URL/services/T, channel: '#alerts'}]",
		"pagerduty": "  pagerduty_configs: [{url: URL/v2/enqueue, routing_key: 0123456789abcdef0123456789abcdef}]",
		"webhook":   "  webhook_configs: [{url: URL/in}]",
		"msteams":   "  msteams_configs: [{webhook_url: URL/in}]",
		"msteamsv2": "  msteamsv2_configs: [{webhook_url: URL/in}]",
	}
	for _, test := range []struct {
		name     string
		receiver string
		answer   answer
		code     int
		retry    bool
		fails    string
	}{
		{"Slack 400", "slack", text(400, "invalid_payload"), 400, false, "invalid_payload"},
		{"Slack 403", "slack", text(403, "invalid_token"), 403, false, "invalid_token"},
		{"Slack 404", "slack", text(404, "channel_not_found"), 404, false, "channel_not_found"},
		{"Slack 429", "slack", text(429, "rate_limited"), 429, false, "rate_limited"},
		{"Slack 500", "slack", text(500, "rollup_error"), 500, true, "rollup_error"},
		{
			"Slack 200 that is no", "slack",
			answer{status: 200, contentType: "application/json", body: `{"ok":false,"error":"channel_is_archived"}`},
			200, false, "channel_is_archived",
		},
		{"Slack 200 that says no", "slack", text(200, "no_service"), 200, false, "no_service"},
		{
			"PagerDuty 400", "pagerduty",
			answer{
				status: 400, contentType: "application/json",
				body: `{"status":"invalid event","message":"Event object is invalid","errors":["'routing_key' is blocked"]}`,
			},
			400, false, "'routing_key' is blocked",
		},
		{"PagerDuty 429", "pagerduty", text(429, "slow down"), 429, true, "429"},
		{"PagerDuty 500", "pagerduty", text(500, ""), 500, true, "500"},
		{"webhook 401", "webhook", text(401, "who are you"), 401, false, "who are you"},
		{"webhook 429", "webhook", text(429, "slow down"), 429, false, "slow down"},
		{"webhook 503", "webhook", text(503, "later"), 503, true, "later"},
		{"Teams 400", "msteams", text(400, "Bad payload"), 400, false, "Bad payload"},
		{"Teams 502", "msteamsv2", text(502, "bad gateway"), 502, true, "bad gateway"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			well := answer{status: http.StatusOK, contentType: "text/plain", body: "ok"}
			hook := newReceiver(t, test.answer, well)
			s := newStation(t, oneReceiver(once, receivers[test.receiver], hook.URL))
			s.Send(alertOf("HancockDown", "critical"))
			a := s.first(t, "it")
			require.Equal(t, "failed", a.Outcome)
			require.Equal(t, test.code, a.StatusCode)
			require.Equal(t, "first notification", a.Reason)
			require.Equal(t, test.retry, a.Retry)
			require.Contains(t, a.Error, test.fails)
			require.Equal(t, 1, a.AlertsTotal)
			hook.next(t)
			if !test.retry {
				require.NoError(t, s.Close())
				hook.quiet(t)
				return
			}
			again := s.attempt(t, "the second try", func(a alertmanager.Attempt) bool { return a.Try == 2 })
			require.Equal(t, "ok", again.Outcome)
			require.Equal(t, 200, again.StatusCode)
			hook.next(t)
		})
	}
}

// What is not tried again at once is told again with the group's next turn:
// a notification that was refused is not lost.
func TestReceiversRefusedIsToldAgain(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t, answer{status: http.StatusTooManyRequests}, answer{status: http.StatusOK})
	s := newStation(t, oneReceiver(quickly, "  webhook_configs: [{url: URL}]", hook.URL))
	s.Send(alertOf("HancockDown", "critical"))
	require.Equal(t, "failed", s.first(t, "it").Outcome)
	s.attempt(t, "the next turn", func(a alertmanager.Attempt) bool { return a.Outcome == "ok" })
	hook.next(t)
	hook.next(t)
}
