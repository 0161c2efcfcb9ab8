package agent_test

import (
	"bufio"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent"
	"github.com/cyberviser/hancock/agent/llm/llmtest"
)

// ofLLM are the metrics of the backends that have moved, without their prefix.
func (a *api) ofLLM() map[string]float64 {
	out := make(map[string]float64)
	for k, v := range a.moved() {
		if name, ok := strings.CutPrefix(k, "hancock_llm_"); ok {
			out[name] = v
		}
	}
	return out
}

// later answers the first calls with a status and then properly.
func later(failures int64, status int) llmtest.Reply {
	var calls atomic.Int64
	return func(c *llmtest.Call) {
		if calls.Add(1) <= failures {
			llmtest.JSON(status, `{}`)(c)
			return
		}
		llmtest.Say("at last")(c)
	}
}

const (
	ask       = `{"message":"hi","mode":"soc"}`
	askStream = `{"message":"hi","mode":"soc","stream":true}`
)

func TestMetricsOfTheBackends(t *testing.T) {
	whole := `{"choices":[{"message":{"content":"x"},"finish_reason":"length"}]}`
	for _, tc := range []struct {
		name     string
		reply    llmtest.Reply
		fallback llmtest.Reply
		body     string
		status   int
		want     map[string]float64
	}{
		{"whole answer", llmtest.Say("a b"), nil, ask, 200, map[string]float64{
			"answers_total{finish_reason=stop,model=test-model,provider=ollama}": 1,
			"tokens_total{model=test-model,provider=ollama,type=input}":          7,
			"tokens_total{model=test-model,provider=ollama,type=output}":         3,
			"cost_total{model=test-model,provider=ollama}":                       (7*2 + 3*10) / 1e6,
		}},
		{"stream", llmtest.Say("a b"), nil, askStream, 200, map[string]float64{
			"answers_total{finish_reason=stop,model=test-model,provider=ollama}": 1,
			"tokens_total{model=test-model,provider=ollama,type=input}":          7,
			"tokens_total{model=test-model,provider=ollama,type=output}":         3,
			"cost_total{model=test-model,provider=ollama}":                       (7*2 + 3*10) / 1e6,
			"time_to_first_token_seconds{model=test-model,provider=ollama}":      1,
			"time_per_output_token_seconds{model=test-model,provider=ollama}":    1,
		}},
		{"no usage, cut off at its length", llmtest.JSON(200, whole), nil, ask, 200, map[string]float64{
			"answers_total{finish_reason=length,model=test-model,provider=ollama}": 1,
			"calls_without_usage_total{model=test-model,provider=ollama}":          1,
		}},
		{"retries", later(2, http.StatusTooManyRequests), nil, ask, 200, map[string]float64{
			"errors_total{kind=rate_limited,provider=ollama}":                    2,
			"retries_total{kind=rate_limited,provider=ollama}":                   2,
			"answers_total{finish_reason=stop,model=test-model,provider=ollama}": 1,
			"tokens_total{model=test-model,provider=ollama,type=input}":          7,
			"tokens_total{model=test-model,provider=ollama,type=output}":         3,
			"cost_total{model=test-model,provider=ollama}":                       (7*2 + 3*10) / 1e6,
		}},
		{"retries, then the fallback", later(99, http.StatusServiceUnavailable), llmtest.Say("at last"), ask, 200, map[string]float64{
			"errors_total{kind=unavailable,provider=ollama}":  3,
			"retries_total{kind=unavailable,provider=ollama}": 2,
			"fallbacks_total": 1,
			"answers_total{finish_reason=stop,model=cloud-model,provider=openai}": 1,
			"tokens_total{model=cloud-model,provider=openai,type=input}":          7,
			"tokens_total{model=cloud-model,provider=openai,type=output}":         3,
		}},
		{"no retry of the fallback", llmtest.JSON(500, `{}`), later(1, http.StatusBadGateway), ask, 502, map[string]float64{
			"errors_total{kind=unavailable,provider=ollama}": 1,
			"errors_total{kind=unavailable,provider=openai}": 1,
			"fallbacks_total": 1,
		}},
		{"wrong key", llmtest.JSON(401, `{}`), nil, ask, 502, map[string]float64{
			"errors_total{kind=auth,provider=ollama}": 1,
		}},
		{"backend ends a stream", llmtest.Midway(llmtest.Abort), nil, askStream, 200, map[string]float64{
			"errors_total{kind=bad_response,provider=ollama}":               1,
			"streams_aborted_total{by=backend}":                             1,
			"calls_without_usage_total{model=test-model,provider=ollama}":   1,
			"time_to_first_token_seconds{model=test-model,provider=ollama}": 1,
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAPI(t, tc.reply, func(s *settings) {
				s.fallback = tc.fallback
				s.agent.Prices = map[string]agent.Price{"test-model": {Input: 2, Output: 10}, "unused": {Input: 1}}
			})
			got := a.do(http.MethodPost, "/v1/chat", tc.body, "X-Request-ID", "req-llm")
			require.Equal(t, tc.status, got.status, got.body)
			a.completed("req-llm")
			moved := a.ofLLM()
			for k, v := range tc.want {
				require.InDelta(t, v, moved[k], 1e-12, k)
				delete(moved, k)
			}
			require.Empty(t, moved)
		})
	}
}

func TestNoCostWithoutPrices(t *testing.T) {
	a := newAPI(t, llmtest.Say("ok"))
	for name := range a.counters() {
		require.NotContains(t, name, "cost")
	}
}

func TestStreamsAbortedByWhom(t *testing.T) {
	for _, tc := range []struct {
		by   string
		stop bool
	}{{"client", false}, {"shutdown", true}} {
		t.Run(tc.by, func(t *testing.T) {
			a := newAPI(t, llmtest.Midway(llmtest.Hang))
			ctx, cancel := canceled(t)
			res := a.open(ctx, askStream)
			_, err := bufio.NewReader(res.Body).ReadString('\n')
			require.NoError(t, err)
			require.InDelta(t, 1, a.gauge("hancock_llm_in_flight"), 0)
			if tc.stop {
				a.agent.Stopping()
			}
			cancel()
			<-a.backend.Gone
			a.completed("req-s")
			moved := a.ofLLM()
			require.InDelta(t, 1, moved["streams_aborted_total{by="+tc.by+"}"], 0)
			require.InDelta(t, 1, moved["errors_total{kind=canceled,provider=ollama}"], 0)
			require.Zero(t, a.gauge("hancock_llm_in_flight"))
		})
	}
}

func TestTooManyInFlight(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	a := newAPI(t, func(c *llmtest.Call) {
		close(arrived)
		<-release
		llmtest.Say("ok")(c)
	}, func(s *settings) { s.inFlight, s.fallback = 1, llmtest.Say("no way around the cap") })
	first := make(chan answer)
	go func() { first <- a.post("/v1/chat", ask) }()
	<-arrived
	for _, body := range []string{ask, askStream} {
		got := a.do(http.MethodPost, "/v1/chat", body, "X-Request-ID", "req-busy")
		require.Equal(t, http.StatusServiceUnavailable, got.status)
		require.Equal(t, "1", got.header.Get("Retry-After"))
		require.JSONEq(t, `{"error":"too many requests in flight","request_id":"req-busy"}`, got.body)
	}
	require.Equal(t, "busy", a.completed("req-busy")["error"])
	require.Equal(t, map[string]float64{"rejected_total": 2}, a.ofLLM())
	close(release)
	require.Equal(t, http.StatusOK, (<-first).status)
}

// Reasoning is not what the client reads, and it is what the model generates.
func TestReasoningIsNotAnswered(t *testing.T) {
	const thought = 4 * time.Second // Its beginning may be read two seconds late.
	a := newAPI(t, func(c *llmtest.Call) {
		c.Event(`{"choices":[{"delta":{"reasoning":"the user wants"}}]}`)
		<-time.After(thought)
		llmtest.Say("42")(c)
	})
	got := a.do(http.MethodPost, "/v1/chat", askStream, "X-Request-ID", "req-r")
	require.Equal(t, "data: {\"delta\":\"42\"}\n\ndata: {\"done\":true,\"response\":\"42\"}\n\n", got.body)
	a.completed("req-r")
	first := a.metric("hancock_llm_time_to_first_token_seconds", "test-model").GetHistogram()
	require.EqualValues(t, 1, first.GetSampleCount())
	require.Less(t, first.GetSampleSum(), thought.Seconds())
	each := a.metric("hancock_llm_time_per_output_token_seconds", "test-model").GetHistogram()
	require.Greater(t, each.GetSampleSum(), thought.Seconds()/4, "two tokens after the first")
}

func TestExemplarsOfCounters(t *testing.T) {
	a := newAPI(t, later(1, http.StatusServiceUnavailable))
	a.do(http.MethodPost, "/v1/chat", ask, "X-Request-ID", "req-e")
	a.completed("req-e")
	for _, name := range []string{"hancock_llm_errors_total", "hancock_llm_retries_total", "hancock_llm_tokens_total"} {
		found := false
		for _, m := range a.family(name).GetMetric() {
			if e := m.GetCounter().GetExemplar(); e != nil {
				require.Equal(t, "req-e", e.GetLabel()[0].GetValue())
				found = true
			}
		}
		require.True(t, found, name)
	}
}

// family is what is exposed under a name.
func (a *api) family(name string) *dto.MetricFamily {
	a.t.Helper()
	families, err := a.registry.Gather()
	require.NoError(a.t, err)
	for _, f := range families {
		if f.GetName() == name {
			return f
		}
	}
	a.t.Fatal("no metric is called " + name)
	return nil
}

// metric is the first one of a family that has the value in one of its labels.
func (a *api) metric(name, value string) *dto.Metric {
	a.t.Helper()
	for _, m := range a.family(name).GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetValue() == value {
				return m
			}
		}
	}
	a.t.Fatal(name + " has no series of " + value)
	return nil
}

func (a *api) gauge(name string) float64 {
	a.t.Helper()
	return a.family(name).GetMetric()[0].GetGauge().GetValue()
}

func TestPricesAreChecked(t *testing.T) {
	o := agent.DefaultOptions()
	o.Prices = map[string]agent.Price{"m": {Output: -1}}
	require.ErrorContains(t, o.Validate(), "agent.prices: m: must be 0 or more")
	for short, id := range map[string]string{"mistral": "mistral:7b", "nim-llama": "meta/llama-3.1-8b-instruct"} {
		o.Prices = map[string]agent.Price{short: {Input: 1}, id: {Input: 1}, "other": {}}
		require.ErrorContains(t, o.Validate(), "agent.prices: "+short+" and "+id+" are the same model of ")
	}
	// Names of different backends' models.
	o.Prices = map[string]agent.Price{"mistral": {}, "nim-mistral": {}, "mistralai/mistral-7b": {}}
	require.NoError(t, o.Validate())
}

// A price may stand under a model's short name, as its model may. What belongs
// to no model is told when the agent starts.
func TestPricesByShortName(t *testing.T) {
	for name, tc := range map[string]struct {
		prices map[string]agent.Price
		want   float64
		unused bool
	}{
		"short name":  {map[string]agent.Price{"mistral": {Input: 2, Output: 10}}, 44e-6, false},
		"id":          {map[string]agent.Price{"mistral:7b": {Input: 2, Output: 10}}, 44e-6, false},
		"other model": {map[string]agent.Price{"mistrall": {Input: 2}, "nim-mistral": {Input: 2}}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t, llmtest.Say("ok"), func(s *settings) { s.model, s.agent.Prices = "mistral", tc.prices })
			require.Equal(t, http.StatusOK, a.post("/v1/chat", ask).status)
			require.InDelta(t, tc.want, a.ofLLM()["cost_total{model=mistral:7b,provider=ollama}"], 1e-12)
			require.Equal(t, tc.unused, strings.Contains(a.log.String(), `"event":"prices_unused"`))
			if tc.unused {
				require.Contains(t, a.log.String(), `"models":["mistrall","nim-mistral"]`)
			}
		})
	}
}
