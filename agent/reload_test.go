package agent_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent"
	"github.com/cyberviser/hancock/agent/llm/llmtest"
)

// TestReload takes another model, prices, a limit and a secret. Counters go on, those of the model before stay, and the
// new one's are there before its first request.
func TestReload(t *testing.T) {
	var o settings
	a := newAPI(t, llmtest.Say("hello"), func(s *settings) { o = *s })
	require.Equal(t, http.StatusOK, a.post("/v1/ask", `{"question":"q"}`).status)
	const calls = "hancock_llm_answers_total{finish_reason=stop,model=%s,provider=ollama}"

	bad := o.agent
	bad.RateLimit = -1
	require.ErrorContains(t, a.agent.Reload(bad), "agent.rate_limit")

	a.options.Ollama.Model = "next-model"
	require.NoError(t, a.model.Reload(a.options))
	o.agent.Prices = map[string]agent.Price{"next-model": {Input: 1e6, Output: 1e6}}
	o.agent.RateLimit, o.agent.MaxBodyBytes, o.agent.WebhookSecret, o.agent.Diagnostics = 500, 1000, "s", true
	require.NoError(t, a.agent.Reload(o.agent))
	before := a.counters()
	require.InDelta(t, 1, before["hancock_requests_total"], 0)
	require.InDelta(t, 1, before[fmt.Sprintf(calls, "test-model")], 0)
	require.Contains(t, before, fmt.Sprintf(calls, "next-model"))
	require.Contains(t, before, "hancock_llm_cost_total{model=next-model,provider=ollama}")

	got := a.post("/v1/ask", `{"question":"q"}`)
	require.Equal(t, http.StatusOK, got.status, got.body)
	require.Equal(t, "next-model", got.fields(t)["model"])
	require.Equal(t, "500", got.header.Get("X-RateLimit-Limit"))
	require.Equal(t, http.StatusUnauthorized, a.post("/v1/webhook", `{"alert":"a"}`).status)
	require.Equal(t, http.StatusForbidden, a.do(http.MethodGet, "/internal/diagnostics", "").status)
	require.Equal(t, http.StatusRequestEntityTooLarge, a.post("/v1/ask", `{"question":"`+string(make([]byte, 1000))+`"}`).status)
	after := a.counters()
	require.InDelta(t, 4, after["hancock_requests_total"], 0)
	require.InDelta(t, 1, after[fmt.Sprintf(calls, "next-model")], 0)
	require.Positive(t, after["hancock_llm_cost_total{model=next-model,provider=ollama}"])
	require.Zero(t, after["hancock_label_overflow_total{label=model}"])
}

// TestReloadUnderRequests changes the rate limit and the model again and again: no request fails for it.
func TestReloadUnderRequests(t *testing.T) {
	var o settings
	a := newAPI(t, llmtest.Say("hello"), func(s *settings) { o = *s })
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if got := a.post("/v1/ask", `{"question":"q"}`); got.status != http.StatusOK {
					t.Errorf("status %d: %s", got.status, got.body)
				}
				a.do(http.MethodGet, "/health", "")
			}
		})
	}
	for i := range 200 {
		a.options.Ollama.Model = fmt.Sprintf("model-%d", i%3)
		require.NoError(t, a.model.Reload(a.options))
		o.agent.RateLimit = 1_000_000 + i
		require.NoError(t, a.agent.Reload(o.agent))
	}
	close(stop)
	clients.Wait()
	require.Zero(t, a.counters()["hancock_label_overflow_total{label=model}"])
}
