package agent_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent/llm/llmtest"
)

// guide are the metrics that dashboards and rules rely on.
func guide() map[string]dto.MetricType {
	return map[string]dto.MetricType{
		"hancock_requests_total":              dto.MetricType_COUNTER,
		"hancock_errors_total":                dto.MetricType_COUNTER,
		"hancock_requests_by_endpoint":        dto.MetricType_COUNTER,
		"hancock_requests_by_mode":            dto.MetricType_COUNTER,
		"hancock_request_duration_seconds":    dto.MetricType_HISTOGRAM,
		"hancock_model_response_time_seconds": dto.MetricType_HISTOGRAM,
		"hancock_rate_limit_exceeded_total":   dto.MetricType_COUNTER,
		"hancock_memory_usage_bytes":          dto.MetricType_GAUGE,
	}
}

func TestEverythingExistsAtZero(t *testing.T) {
	a := newAPI(t, llmtest.Say("ok"), func(s *settings) { s.fallback = llmtest.Say("ok") })
	families, err := a.registry.Gather()
	require.NoError(t, err)
	types := make(map[string]dto.MetricType)
	for _, f := range families {
		types[f.GetName()] = f.GetType()
	}
	for name, kind := range guide() {
		require.Equal(t, kind, types[name], name)
	}
	require.Empty(t, a.moved())
	counters := a.counters()
	for _, want := range []string{
		"hancock_requests_total", "hancock_errors_total", "hancock_llm_fallbacks_total",
		"hancock_requests_by_endpoint{endpoint=/v1/chat}", "hancock_requests_by_endpoint{endpoint=/v1/ask}",
		"hancock_requests_by_endpoint{endpoint=/v1/agents}", "hancock_requests_by_endpoint{endpoint=other}",
		"hancock_requests_by_mode{mode=auto}", "hancock_requests_by_mode{mode=osint}", "hancock_requests_by_mode{mode=invalid}",
		"hancock_rate_limit_exceeded_total{client_id=other,endpoint=/v1/chat}",
		"hancock_request_duration_seconds{endpoint=/v1/chat,method=POST,status_code=200}",
		"hancock_request_duration_seconds{endpoint=/v1/ask,method=POST,status_code=504}",
		"hancock_request_duration_seconds{endpoint=/v1/agents,method=GET,status_code=200}",
		"hancock_model_response_time_seconds{model=test-model,operation=sigma}",
		"hancock_model_response_time_seconds{model=cloud-model,operation=sigma}",
		"hancock_llm_tokens_total{model=test-coder,provider=ollama,type=output}",
		"hancock_llm_calls_without_usage_total{model=cloud-model,provider=openai}",
		"hancock_llm_answers_total{finish_reason=content_filter,model=cloud-coder,provider=openai}",
		"hancock_llm_errors_total{kind=context_length,provider=openai}",
		"hancock_llm_retries_total{kind=rate_limited,provider=ollama}",
		"hancock_llm_streams_aborted_total{by=shutdown}",
		"hancock_llm_time_to_first_token_seconds{model=test-model,provider=ollama}",
		"hancock_llm_time_per_output_token_seconds{model=cloud-model,provider=openai}",
		"hancock_llm_rejected_total",
		"hancock_label_overflow_total{label=client_id}",
	} {
		require.Contains(t, counters, want)
	}
	for key := range counters {
		require.False(t, strings.HasPrefix(key, "hancock_llm_retries_total{") && strings.Contains(key, "openai"),
			"the fallback is never asked again: %s", key)
	}
}

// The names must be those of the guide whichever format a scraper asks for.
func TestNamesInEveryFormat(t *testing.T) {
	a := newAPI(t, llmtest.Say("ok"))
	require.Equal(t, http.StatusOK, a.post("/v1/chat", `{"message":"hi","mode":"soc"}`).status)
	metrics := promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
	for name, accept := range map[string]string{
		"text":          "text/plain;version=0.0.4",
		"text 1.0.0":    "text/plain;version=1.0.0;escaping=allow-utf-8",
		"OpenMetrics":   "application/openmetrics-text;version=1.0.0",
		"OpenMetrics 0": "application/openmetrics-text;version=0.0.1",
		"protobuf":      string(expfmt.NewFormat(expfmt.TypeProtoDelim)),
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
			r.Header.Set("Accept", accept)
			w := httptest.NewRecorder()
			metrics.ServeHTTP(w, r)
			require.Equal(t, http.StatusOK, w.Code)
			got := scraped(t, w)
			for want := range guide() {
				if strings.HasSuffix(want, "_seconds") {
					want += "_count"
					if name == "protobuf" {
						want = strings.TrimSuffix(want, "_count") // one native histogram
					}
				}
				require.Contains(t, got, want)
			}
			require.Contains(t, got["hancock_requests_by_mode"], `mode="soc"`)
			for series := range got {
				require.NotContains(t, series, "by_endpoint_total")
				require.NotContains(t, series, "by_mode_total")
			}
		})
	}
}

// scraped reads an exposition with Prometheus' own parser and returns the
// labels of all series by name, as Prometheus would store them.
func scraped(t *testing.T, w *httptest.ResponseRecorder) map[string]string {
	t.Helper()
	p, err := textparse.New(w.Body.Bytes(), w.Header().Get("Content-Type"), labels.NewSymbolTable(), textparse.ParserOptions{})
	require.NoError(t, err)
	out := make(map[string]string)
	for {
		entry, err := p.Next()
		if err != nil {
			break
		}
		if entry != textparse.EntrySeries && entry != textparse.EntryHistogram {
			continue
		}
		var l labels.Labels
		p.Labels(&l)
		out[l.Get(model.MetricNameLabel)] += l.String()
	}
	return out
}

func TestLint(t *testing.T) {
	a := newAPI(t, llmtest.Say("ok"))
	problems, err := testutil.GatherAndLint(a.registry)
	require.NoError(t, err)
	// The guide fixes these two names.
	for _, p := range problems {
		require.Contains(t, []string{"hancock_requests_by_endpoint", "hancock_requests_by_mode"}, p.Metric, p.Text)
	}
	require.Len(t, problems, 2, "%v", problems)
}

func TestCountersAgreeWithTraffic(t *testing.T) {
	a := newAPI(t, func(c *llmtest.Call) {
		if strings.Contains(c.Request.Messages[len(c.Request.Messages)-1].Content, "fail") {
			llmtest.JSON(http.StatusInternalServerError, `{}`)(c)
			return
		}
		llmtest.Say("ok")(c)
	})
	requests := []struct {
		method, path, body string
		status             int
	}{
		{"POST", "/v1/chat", `{"message":"hi"}`, 200},
		{"POST", "/v1/chat", `{"message":"hi","mode":"soc","stream":true}`, 200},
		{"POST", "/v1/chat", `{"message":"fail","mode":"soc"}`, 502},
		{"POST", "/v1/chat", `{"mode":"yara"}`, 400},
		{"POST", "/v1/chat", `{"message":"hi","mode":"wizard"}`, 400},
		{"POST", "/v1/chat", `rubbish`, 400},
		{"GET", "/v1/chat", ``, 405},
		{"POST", "/v1/ask", `{"question":"hi","mode":"wizard"}`, 200},
		{"POST", "/v1/ask", `{"question":1,"mode":"ciso"}`, 400},
		{"GET", "/v1/agents", ``, 200},
		{"GET", "/v1/unknown", ``, 404},
		{"GET", "/v1/panic", ``, 500},
		{"GET", "/health", ``, 200},
		{"GET", "/nowhere", ``, 404},
	}
	const rounds = 10
	var wg sync.WaitGroup
	for range rounds {
		for _, r := range requests {
			wg.Go(func() {
				if got := a.do(r.method, r.path, r.body); got.status != r.status {
					t.Errorf("%s %s %s: %d %s", r.method, r.path, r.body, got.status, got.body)
				}
			})
		}
	}
	wg.Wait()
	want := map[string]float64{
		"hancock_requests_total":                                               12,
		"hancock_errors_total":                                                 8,
		"hancock_requests_by_endpoint{endpoint=/v1/chat}":                      7,
		"hancock_requests_by_endpoint{endpoint=/v1/ask}":                       2,
		"hancock_requests_by_endpoint{endpoint=/v1/agents}":                    1,
		"hancock_requests_by_endpoint{endpoint=other}":                         2,
		"hancock_requests_by_mode{mode=auto}":                                  2,
		"hancock_requests_by_mode{mode=soc}":                                   2,
		"hancock_requests_by_mode{mode=yara}":                                  1,
		"hancock_requests_by_mode{mode=ciso}":                                  1,
		"hancock_requests_by_mode{mode=invalid}":                               3,
		"hancock_model_response_time_seconds{model=test-model,operation=auto}": 2,
		"hancock_model_response_time_seconds{model=test-model,operation=soc}":  1,

		"hancock_label_overflow_total{label=endpoint}":                                   2,
		"hancock_label_overflow_total{label=mode}":                                       2,
		"hancock_llm_answers_total{finish_reason=stop,model=test-model,provider=ollama}": 3,
		"hancock_llm_errors_total{kind=unavailable,provider=ollama}":                     1,
		"hancock_llm_time_per_output_token_seconds{model=test-model,provider=ollama}":    1,
		"hancock_llm_time_to_first_token_seconds{model=test-model,provider=ollama}":      1,
		"hancock_llm_tokens_total{model=test-model,provider=ollama,type=input}":          21,
		"hancock_llm_tokens_total{model=test-model,provider=ollama,type=output}":         9,
	}
	for _, d := range []struct {
		method, endpoint string
		status, n        int
	}{
		{"POST", "/v1/chat", 200, 2},
		{"POST", "/v1/chat", 400, 3},
		{"POST", "/v1/chat", 502, 1},
		{"GET", "/v1/chat", 405, 1},
		{"POST", "/v1/ask", 200, 1},
		{"POST", "/v1/ask", 400, 1},
		{"GET", "/v1/agents", 200, 1},
		{"GET", "other", 404, 1},
		{"GET", "other", 500, 1},
	} {
		want[fmt.Sprintf("hancock_request_duration_seconds{endpoint=%s,method=%s,status_code=%d}", d.endpoint, d.method, d.status)] = float64(d.n)
	}
	for k := range want {
		want[k] *= rounds
	}
	// The last of them are counted just after their answers have left, in one
	// metric after the other.
	for end := time.Now().Add(waitFor); !maps.Equal(want, a.moved()) && time.Now().Before(end); {
		<-time.After(tick)
	}
	require.Equal(t, want, a.moved())
}

// Only a mode that a request names can be outside of the set of modes.
func TestOverflowOfTheMode(t *testing.T) {
	for _, tc := range []struct {
		name, method, path, body, contentType string
		status                                int
		want                                  float64
	}{
		{"refused", "POST", "/v1/chat", `{"message":"hi","mode":"wizard"}`, "application/json", 400, 1},
		{"no text", "POST", "/v1/chat", `{"message":"hi","mode":7}`, "application/json", 400, 1},
		{"replaced", "POST", "/v1/ask", `{"question":"hi","mode":"wizard"}`, "application/json", 200, 1},
		{"replaced, and refused for another reason", "POST", "/v1/ask", `{"mode":"wizard"}`, "application/json", 400, 1},
		{"none", "POST", "/v1/chat", `{"message":"hi"}`, "application/json", 200, 0},
		{"null", "POST", "/v1/chat", `{"message":"hi","mode":null}`, "application/json", 200, 0},
		{"not asked for", "POST", "/v1/triage", `{"alert":"x","mode":"wizard"}`, "application/json", 200, 0},
		{"malformed", "POST", "/v1/chat", `{"mode":"wizard"`, "application/json", 400, 0},
		{"method", "GET", "/v1/chat", ``, "application/json", 405, 0},
		{"media type", "POST", "/v1/chat", `{"message":"hi","mode":"wizard"}`, "text/plain", 415, 0},
		{"too large", "POST", "/v1/chat", `{"message":"hi","mode":"wizard","x":"` + strings.Repeat("x", 100) + `"}`, "application/json", 413, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAPI(t, llmtest.Say("ok"), func(s *settings) { s.agent.MaxBodyBytes = 100 })
			got := a.do(tc.method, tc.path, tc.body, "Content-Type", tc.contentType, "X-Request-ID", "req-mode")
			require.Equal(t, tc.status, got.status, got.body)
			a.completed("req-mode")
			require.InDelta(t, tc.want, a.counters()["hancock_label_overflow_total{label=mode}"], 0)
		})
	}
	t.Run("too many requests", func(t *testing.T) {
		a := newAPI(t, llmtest.Say("ok"), func(s *settings) { s.agent.RateLimit = 1 })
		a.post("/v1/chat", `{"message":"hi"}`)
		got := a.do(http.MethodPost, "/v1/chat", `{"message":"hi","mode":"wizard"}`, "X-Request-ID", "req-mode")
		require.Equal(t, http.StatusTooManyRequests, got.status)
		a.completed("req-mode")
		require.Zero(t, a.counters()["hancock_label_overflow_total{label=mode}"])
	})
}

// Labels are closed sets, whatever is sent.
func TestLabelsDoNotGrow(t *testing.T) {
	a := newAPI(t, llmtest.Say("ok"))
	send := func(n int) {
		for i := range n {
			a.do(fmt.Sprintf("M%d", i), "/v1/chat", "")
			a.do(http.MethodGet, fmt.Sprintf("/v1/p%d", i), "")
			a.post("/v1/chat", fmt.Sprintf(`{"message":"hi","mode":"m%d"}`, i))
			a.post("/v1/ask", fmt.Sprintf(`{"question":"hi","mode":"m%d"}`, i))
		}
	}
	send(1)
	require.Eventually(t, func() bool { return a.counters()["hancock_requests_total"] == 4 }, waitFor, tick)
	before := len(a.counters())
	send(50)
	require.Len(t, a.counters(), before)
}

func TestExemplarsCarryTheRequestID(t *testing.T) {
	a := newAPI(t, llmtest.Say("ok"))
	a.do(http.MethodPost, "/v1/chat", `{"message":"hi"}`, "X-Request-ID", "req-x")
	a.completed("req-x")
	families, err := a.registry.Gather()
	require.NoError(t, err)
	var found []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, b := range m.GetHistogram().GetBucket() {
				if e := b.GetExemplar(); e != nil {
					found = append(found, f.GetName()+" "+e.GetLabel()[0].GetName()+"="+e.GetLabel()[0].GetValue())
				}
			}
		}
	}
	require.ElementsMatch(t, []string{
		"hancock_request_duration_seconds request_id=req-x",
		"hancock_model_response_time_seconds request_id=req-x",
	}, found)
}

// The gauge is what the system says is resident now.
func TestMemoryGauge(t *testing.T) {
	a := newAPI(t, llmtest.Say("ok"))
	families, err := a.registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() != "hancock_memory_usage_bytes" {
			continue
		}
		status, err := os.ReadFile(filepath.Join("/proc", "self", "status"))
		require.NoError(t, err)
		var resident float64
		match := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(status)
		_, err = fmt.Sscan(string(match[1]), &resident)
		require.NoError(t, err)
		require.InEpsilon(t, resident*1024, f.GetMetric()[0].GetGauge().GetValue(), 0.3)
		return
	}
	t.Fatal("no such metric")
}

func TestRegisteringTwiceIsAnError(t *testing.T) {
	a := newAPI(t, llmtest.Say("ok"))
	require.IsType(t, &prometheus.Registry{}, a.registry)
	_, err := again(a)
	require.ErrorContains(t, err, "registering the agent's metrics")
}
