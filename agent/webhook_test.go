package agent_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent/llm/llmtest"
)

const webhookSecret = "a webhook's secret"

// sign is what a sender puts into X-Hancock-Signature.
func sign(secret, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

func TestWebhookSignature(t *testing.T) {
	const body = ` {"alert" : "brute force", "alert":"` + secretPrompt + `"} `
	good := sign(webhookSecret, body)
	for _, tc := range []struct {
		name, body, signature string
		status                int
		reason                string
	}{
		{"right", body, good, 200, ""},
		{"right in capitals", body, "sha256=" + strings.ToUpper(good[7:]), 200, ""},
		{"missing", body, "", 401, "signature is missing"},
		{"of another body", body + " ", good, 401, "signature does not fit the body"},
		{"of another secret", body, sign("guess", body), 401, "signature does not fit the body"},
		{"without a scheme", body, good[7:], 401, "signature is malformed"},
		{"another scheme", body, "sha1=" + good[7:], 401, "signature is malformed"},
		{"short", body, good[:20], 401, "signature is malformed"},
		{"long", body, good + "00", 401, "signature is malformed"},
		{"not hexadecimal", body, good[:70] + "z", 401, "signature is malformed"},
		{"empty digest", body, "sha256=", 401, "signature is malformed"},
		{"wrong for rubbish", "rubbish", good, 401, "signature does not fit the body"},
		{"right for rubbish", "rubbish", sign(webhookSecret, "rubbish"), 400, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAPI(t, llmtest.Say("ok"), func(s *settings) { s.agent.WebhookSecret = webhookSecret })
			header := []string{"X-Request-ID", "req-4"}
			if tc.signature != "" {
				header = append(header, "X-Hancock-Signature", tc.signature)
			}
			got := a.do(http.MethodPost, "/v1/webhook", tc.body, header...)
			require.Equal(t, tc.status, got.status, got.body)
			outcome := "triaged"
			if tc.status != http.StatusOK {
				outcome = "refused"
				require.Empty(t, a.backend.Requests())
			}
			a.completed("req-4")
			moved := a.moved()
			require.InDelta(t, 1, moved["hancock_webhook_events_total{outcome="+outcome+"}"], 0)
			log := a.log.String()
			require.NotContains(t, log, secretPrompt)
			require.NotContains(t, log, webhookSecret)
			if tc.reason == "" {
				require.NotContains(t, moved, "hancock_webhook_signature_failures_total")
				return
			}
			require.Equal(t, map[string]any{"error": "invalid webhook signature", "request_id": "req-4"}, got.fields(t))
			require.InDelta(t, 1, moved["hancock_webhook_signature_failures_total"], 0)
			require.InDelta(t, 1, moved["hancock_errors_total"], 0)
			line := a.event("webhook_signature_invalid")
			require.Equal(t, "req-4", line["request_id"])
			require.Equal(t, "WARNING", line["level"])
			require.Equal(t, tc.reason, line["error"])
		})
	}
}

// A sender without a signature does not get to send its body.
func TestUnsignedBodyIsNotRead(t *testing.T) {
	// Not so large that the server would close on a client that still writes.
	a := newAPI(t, llmtest.Say("never"), func(s *settings) { s.agent.WebhookSecret, s.agent.MaxBodyBytes = webhookSecret, 100 })
	got := a.do(http.MethodPost, "/v1/webhook", `{"alert":"`+strings.Repeat("x", 200)+`"}`)
	require.Equal(t, http.StatusUnauthorized, got.status)
}

func TestSignatureOfOtherEndpointsIsNotAsked(t *testing.T) {
	a := newAPI(t, llmtest.Say("ok"), func(s *settings) { s.agent.WebhookSecret = webhookSecret })
	require.Equal(t, http.StatusOK, a.post("/v1/triage", `{"alert":"x"}`).status)
	b := newAPI(t, llmtest.Say("ok"))
	got := b.do(http.MethodPost, "/v1/webhook", `{"alert":"x"}`, "X-Hancock-Signature", "rubbish")
	require.Equal(t, http.StatusOK, got.status, "no secret, no check")
}

// event is the first log line of that event.
func (a *api) event(name string) map[string]any {
	a.t.Helper()
	var found map[string]any
	require.Eventually(a.t, func() bool {
		for line := range strings.Lines(a.log.String()) {
			var m map[string]any
			if json.Unmarshal([]byte(line), &m) == nil && m["event"] == name {
				found = m
				return true
			}
		}
		return false
	}, waitFor, tick, name)
	return found
}

// chat is Slack or Teams on a real socket: what it was sent, and its URL.
func chat(t *testing.T, status int, wait <-chan struct{}) (url string, bodies chan string) {
	bodies = make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies <- string(body)
		if wait != nil {
			<-wait
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/hush", bodies
}

func TestWebhookNotifies(t *testing.T) {
	slackURL, slack := chat(t, http.StatusOK, nil)
	teamsURL, teams := chat(t, http.StatusAccepted, nil)
	a := newAPI(t, llmtest.Say("Verdict: true positive"), func(s *settings) {
		s.agent.Notify.SlackURL, s.agent.Notify.TeamsURL = slackURL, teamsURL
	})
	got := a.do(http.MethodPost, "/v1/webhook", `{"alert":"brute force <b>","source":"splunk","severity":"critical"}`, "X-Request-ID", "req-5")
	require.Equal(t, http.StatusOK, got.status)
	for _, bodies := range []chan string{slack, teams} {
		body := <-bodies
		for _, part := range []string{"critical", "splunk", "brute force", "Verdict: true positive", "req-5", "test-model"} {
			require.Contains(t, body, part)
		}
	}
	require.Eventually(t, func() bool {
		moved := a.moved()
		return moved["hancock_notifications_total{integration=slack,outcome=sent}"] == 1 &&
			moved["hancock_notifications_total{integration=teams,outcome=sent}"] == 1
	}, waitFor, tick)

	// Nobody is told of what was refused or failed, and of other endpoints.
	a.post("/v1/webhook", `{}`)
	a.post("/v1/triage", `{"alert":"x"}`)
	require.Empty(t, slack)
	require.NotContains(t, a.log.String(), "hush")
	require.NotContains(t, a.log.String(), "brute force")
}

// The caller has its answer while Slack still thinks, and a failure there is
// logged under the request's id and fails nothing.
func TestCallerDoesNotWait(t *testing.T) {
	think := make(chan struct{})
	url, bodies := chat(t, http.StatusForbidden, think)
	a := newAPI(t, llmtest.Say("ok"), func(s *settings) { s.agent.Notify.SlackURL = url })
	got := a.do(http.MethodPost, "/v1/webhook", `{"alert":"x"}`, "X-Request-ID", "req-6")
	require.Equal(t, http.StatusOK, got.status)
	<-bodies
	close(think)
	line := a.event("notification_failed")
	require.Equal(t, "req-6", line["request_id"])
	require.Equal(t, "slack", line["integration"])
	require.InDelta(t, 403, line["status"], 0)
	require.Equal(t, "ERROR", line["level"])
	require.NotContains(t, a.log.String(), "hush")
	require.Eventually(t, func() bool {
		return a.moved()["hancock_notifications_total{integration=slack,outcome=failed}"] == 1
	}, waitFor, tick)
	require.NotContains(t, a.moved(), "hancock_errors_total")
}

// What is queued when the agent closes is still sent.
func TestCloseDrains(t *testing.T) {
	url, bodies := chat(t, http.StatusOK, nil)
	a := newAPI(t, llmtest.Say("ok"), func(s *settings) {
		s.agent.Notify.SlackURL, s.agent.Notify.Workers = url, 1
	})
	for range 20 {
		require.Equal(t, http.StatusOK, a.post("/v1/webhook", `{"alert":"x"}`).status)
	}
	require.NoError(t, a.agent.Close())
	require.Len(t, bodies, 20)
	require.InDelta(t, 20, a.moved()["hancock_notifications_total{integration=slack,outcome=sent}"], 0)
}

func TestWebhookOutcomes(t *testing.T) {
	for _, tc := range []struct {
		name    string
		reply   llmtest.Reply
		status  int
		outcome string
	}{
		{"empty", llmtest.Say(" \n"), 502, "empty_response"},
		{"down", llmtest.JSON(400, `{}`), 502, "failed"},
		{"slow", llmtest.Hang, 504, "failed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			url, bodies := chat(t, http.StatusOK, nil)
			a := newAPI(t, tc.reply, func(s *settings) {
				s.agent.Notify.SlackURL = url
				if tc.name == "slow" {
					s.timeout = 200 * time.Millisecond
				}
			})
			got := a.do(http.MethodPost, "/v1/webhook", `{"alert":"x"}`, "X-Request-ID", "req-8")
			require.Equal(t, tc.status, got.status)
			a.completed("req-8")
			require.InDelta(t, 1, a.moved()["hancock_webhook_events_total{outcome="+tc.outcome+"}"], 0)
			require.Empty(t, bodies)
			if tc.name == "empty" {
				require.Equal(t, "req-8", a.event("webhook_empty_response")["request_id"])
				require.Equal(t, "model returned empty response", got.fields(t)["error"])
			}
		})
	}

	t.Run("canceled", func(t *testing.T) {
		a := newAPI(t, llmtest.Hang)
		ctx, cancel := canceled(t)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url+"/v1/webhook", strings.NewReader(`{"alert":"x"}`))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		failed := make(chan error, 1)
		go func() {
			res, err := a.client.Do(req)
			if err == nil {
				_ = res.Body.Close()
			}
			failed <- err
		}()
		require.Eventually(t, func() bool { return len(a.backend.Requests()) == 1 }, waitFor, tick)
		cancel()
		require.Error(t, <-failed)
		require.Eventually(t, func() bool {
			return a.moved()["hancock_webhook_events_total{outcome=canceled}"] == 1
		}, waitFor, tick)
	})
}

func TestWebhookMetricsExistAtZero(t *testing.T) {
	counters := newAPI(t, llmtest.Say("ok")).counters()
	for _, series := range []string{
		"hancock_webhook_signature_failures_total",
		"hancock_webhook_events_total{outcome=triaged}", "hancock_webhook_events_total{outcome=refused}",
		"hancock_webhook_events_total{outcome=empty_response}", "hancock_webhook_events_total{outcome=failed}",
		"hancock_webhook_events_total{outcome=canceled}",
		"hancock_notifications_total{integration=slack,outcome=sent}", "hancock_notifications_total{integration=slack,outcome=failed}",
		"hancock_notifications_total{integration=slack,outcome=dropped}", "hancock_notifications_total{integration=teams,outcome=dropped}",
	} {
		value, ok := counters[series]
		require.True(t, ok, series)
		require.Zero(t, value, series)
	}
}
