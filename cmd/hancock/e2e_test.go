package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent"
)

// TestAccounts sends 200 requests of all kinds and asks the query API what
// happened: the whole road from the agent's socket to PromQL.
func TestAccounts(t *testing.T) {
	t.Parallel()
	dir, model := t.TempDir(), newFakeModel(t)
	configure(t, dir, model.url, "")
	p := startHancock(t, dir)

	type request struct {
		method, path, contentType, body string
		status                          int
		endpoint, mode                  string // as counted; no mode: not counted by mode
		slow                            bool
	}
	var requests []request
	const asJSON = "application/json"
	// A byte more than is read: an end with more to read resets the connection, and the answer may be lost with it.
	tooLarge := `"` + strings.Repeat("a", 1<<20-1) + `"`
	for i, mode := range agent.Modes() {
		for range 6 {
			requests = append(requests, request{"POST", "/v1/chat", asJSON, chat(mode, "question", i%2 == 0), 200, "/v1/chat", mode, false})
		}
		for range 6 {
			requests = append(requests, request{"POST", "/v1/ask", asJSON, `{"mode":"` + mode + `","question":"a slow one"}`, 200, "/v1/ask", mode, true})
		}
		for range 3 {
			requests = append(requests, request{"POST", "/v1/chat", asJSON, chat(mode, "fail", false), 502, "/v1/chat", mode, false})
		}
	}
	for range 5 {
		requests = append(requests,
			request{"POST", "/v1/chat", asJSON, chat("hacking", "question", false), 400, "/v1/chat", "invalid", false},
			request{"POST", "/v1/ask", asJSON, `{"mode":"hacking","question":"question"}`, 200, "/v1/ask", "auto", false},
			request{"POST", "/v1/ask", asJSON, `{}`, 400, "/v1/ask", "auto", false},
			request{"POST", "/v1/chat", asJSON, `{"message":`, 400, "/v1/chat", "invalid", false},
			request{"POST", "/v1/chat", "text/plain", "hello", 415, "/v1/chat", "invalid", false},
			request{"POST", "/v1/chat", asJSON, tooLarge, 413, "/v1/chat", "invalid", false},
			request{"GET", "/v1/chat", "", "", 405, "/v1/chat", "invalid", false},
			request{"GET", "/v1/nowhere/" + strings.Repeat("x", 50), "", "", 404, "other", "", false},
			request{"GET", "/v1/agents", "", "", 200, "/v1/agents", "", false},
		)
	}
	for len(requests) < 200 {
		requests = append(requests, request{"POST", "/v1/chat", asJSON, chat("soc", "question", false), 200, "/v1/chat", "soc", false})
	}
	require.Len(t, requests, 200)

	var errorsSent float64
	endpoints, modes := map[string]float64{}, map[string]float64{}
	for _, r := range requests {
		endpoints[r.endpoint]++
		if r.mode != "" {
			modes[r.mode]++
		}
		if r.status >= 400 {
			errorsSent++
		}
	}

	p.scrapes(1) // so that all counters have been seen at 0
	var wg sync.WaitGroup
	var mu sync.Mutex
	var slowest []float64
	for part := range slices.Chunk(requests, 25) {
		wg.Go(func() {
			for _, r := range part {
				start := time.Now()
				code, body := p.do(r.method, r.path, r.contentType, r.body)
				took := time.Since(start).Seconds()
				if code != r.status {
					t.Errorf("%s %s %.80s: status %d, want %d: %s", r.method, r.path, r.body, code, r.status, body)
				}
				if r.slow {
					mu.Lock()
					slowest = append(slowest, took)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	// What is not agent traffic does not count.
	for _, path := range []string{"/health", "/livez", "/metrics", "/", "/nowhere"} {
		p.get(path)
	}
	p.scrapes(2)

	// The last samples that there are: after a scrape that fails, as on a busy machine, no series has a value.
	total, _ := p.scalar("sum(last_over_time(hancock_requests_total[1h]))")
	require.InDelta(t, 200, total, 0)
	failed, _ := p.scalar("last_over_time(hancock_errors_total[1h])")
	require.InDelta(t, errorsSent, failed, 0)
	require.Equal(t, endpoints, p.vector("last_over_time(hancock_requests_by_endpoint[1h]) > 0", "endpoint"))
	require.Equal(t, modes, p.vector("last_over_time(hancock_requests_by_mode[1h])", "mode"))
	rate, _ := p.scalar("rate(hancock_errors_total[5m]) / rate(hancock_requests_total[5m]) * 100")
	require.InDelta(t, errorsSent/200*100, rate, 1e-9, "both counters have seen the same scrapes")
	counted, _ := p.scalar("sum(histogram_count(last_over_time(hancock_request_duration_seconds[1h])))")
	require.InDelta(t, 200, counted, 0, "native histogram")
	classic, _ := p.scalar("sum(last_over_time(hancock_request_duration_seconds_count[1h]))")
	require.InDelta(t, 200, classic, 0, "classic histogram")

	// Slow answers took at least slowAnswer, and no longer than clients saw; a
	// native histogram's buckets are 10 % wide.
	slices.Sort(slowest)
	for _, q := range []float64{0.5, 0.9} {
		got, ok := p.scalar(`histogram_quantile(` + jsonNumber(q) + `, sum(rate(hancock_request_duration_seconds{endpoint="/v1/ask",status_code="200"}[5m])))`)
		require.True(t, ok)
		seen := slowest[int(math.Ceil(q*float64(len(slowest))))-1]
		require.Greater(t, got, slowAnswer.Seconds()/1.1)
		require.Less(t, got, seen*1.1)
	}
	models := p.vector(`sum by (model) (histogram_count(last_over_time(hancock_model_response_time_seconds[1h])))`, "model")
	require.InDelta(t, float64(model.calls.Load()-model.failed.Load()), models["test-model"]+models["test-coder"], 0)
}

func jsonNumber(v float64) string { b, _ := json.Marshal(v); return string(b) }

// fastRules are the built-in alert with seconds for minutes: enough of them for
// a restart, and for evaluations that come late.
const fastRules = `
groups:
  - name: hancock.requests
    rules:
      - alert: HancockHighErrorRate
        expr: rate(hancock_errors_total[30s]) / rate(hancock_requests_total[30s]) > 0.05
        for: 45s
        labels: {severity: warning}
        annotations: {summary: '{{ $value | humanizePercentage }} of the requests fail'}
`

// alert is the state of the one alert, inactive when it is not listed.
func (p *process) alert() (state string, since time.Time) {
	p.t.Helper()
	code, body := p.get("/api/v1/alerts")
	require.Equal(p.t, http.StatusOK, code, body)
	var answer struct {
		Data struct {
			Alerts []struct {
				State    string            `json:"state"`
				ActiveAt time.Time         `json:"activeAt"`
				Labels   map[string]string `json:"labels"`
			} `json:"alerts"`
		} `json:"data"`
	}
	require.NoError(p.t, json.Unmarshal([]byte(body), &answer))
	for _, a := range answer.Data.Alerts {
		require.Equal(p.t, "HancockHighErrorRate", a.Labels["alertname"])
		return a.State, a.ActiveAt
	}
	return "inactive", time.Time{}
}

// TestAlert takes an alert through its life in a real process, with a restart
// while it is pending.
func TestAlert(t *testing.T) {
	t.Parallel()
	dir, model := t.TempDir(), newFakeModel(t)
	configure(t, dir, model.url, fastRules)
	p := startHancock(t, dir)
	until := func(want string, each func()) {
		t.Helper()
		p.eventually("alert "+want, func() bool {
			each()
			state, _ := p.alert()
			return state == want
		})
	}
	fine := func() { p.post("/v1/chat", chat("soc", "question", false)) }
	broken := func() { p.post("/v1/chat", chat("soc", "fail", false)) }

	p.scrapes(2)
	fine()
	until("inactive", fine)
	until("pending", broken)
	p.eventually("pending for a while", func() bool {
		broken()
		v, ok := p.scalar(`timestamp(ALERTS_FOR_STATE) - ALERTS_FOR_STATE`)
		return ok && v >= 20
	})
	log := p.stop()
	require.NotContains(t, log, "DATA RACE")

	restart := time.Now()
	p = startHancock(t, dir, p.sameAddress())
	// Its state comes back with the second evaluation. The time in which nobody
	// watched, which may be long, does not count; what was before it does: one that began anew would not be older
	// than the first scrape, but for the second to which evaluations are aligned and that of the subquery.
	p.eventually("the alert goes on where it was", func() bool {
		broken()
		state, since := p.alert()
		first, ok := p.scalar(fmt.Sprintf(`min_over_time((timestamp(up) > %.3f)[10m:1s])`, float64(restart.UnixMilli())/1000))
		return ok && state != "inactive" && since.Before(time.Unix(int64(first)-2, 0))
	})
	until("firing", broken)
	p.eventually("ALERTS stored", func() bool {
		v, ok := p.scalar(`max_over_time(ALERTS{alertname="HancockHighErrorRate",alertstate="firing"}[1m])`)
		return ok && v == 1
	})
	until("inactive", fine)
	p.stop()
}

// TestKill ends the process in the middle of traffic as kill -9 does. What had
// been scraped is there after the next start.
func TestKill(t *testing.T) {
	t.Parallel()
	dir, model := t.TempDir(), newFakeModel(t)
	configure(t, dir, model.url, "")
	p := startHancock(t, dir)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					p.post("/v1/chat", chat("soc", "question", false))
				}
			}
		})
	}
	p.scrapes(4)
	before, _ := p.scalar("max_over_time(hancock_requests_total[1h])")
	at, _ := p.scalar("timestamp(hancock_requests_total)")
	p.kill()
	close(stop)
	wg.Wait()
	require.Positive(t, before)

	p = startHancock(t, dir, p.sameAddress())
	require.NotContains(t, p.log.String(), "ERROR") // the half of a record that was being written may be missed
	after, _ := p.scalar("max_over_time(hancock_requests_total[1h])")
	require.GreaterOrEqual(t, after, before)
	code, body := p.get("/api/v1/query?query=hancock_requests_total[1h]")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, jsonNumber(at), "the last sample before the end")
	p.stop()
}

// TestStopAnswersWhatIsInFlight asks a model that is slow to answer and stops
// the process meanwhile.
func TestStopAnswersWhatIsInFlight(t *testing.T) {
	t.Parallel()
	dir, model := t.TempDir(), newFakeModel(t)
	configure(t, dir, model.url, "")
	p := startHancock(t, dir)
	answers := make(chan string, 1)
	go func() {
		_, body := p.post("/v1/ask", `{"question":"hold this"}`)
		answers <- body
	}()
	<-model.held
	stopped := make(chan string, 1)
	go func() { stopped <- p.stop() }()
	p.eventually("stopping", func() bool { return strings.Contains(p.log.String(), `"event":"stopping"`) || refused(p) })
	close(model.release)
	require.Contains(t, <-answers, "to: hold this")
	require.Contains(t, <-stopped, `"request_completed"`)
}

// refused tells whether the process takes no more connections.
func refused(p *process) bool {
	code, _ := p.get("/livez")
	return code == 0
}

// TestRequestsAreFound asks the log's search for a request that was made, also
// after a restart and by a live tail.
func TestRequestsAreFound(t *testing.T) {
	t.Parallel()
	dir, model := t.TempDir(), newFakeModel(t)
	configure(t, dir, model.url, "")
	p := startHancock(t, dir)
	code, body := p.post("/v1/ask", `{"question":"a question about s3cret things","mode":"soc"}`)
	require.Equal(t, http.StatusOK, code, body)
	code, body = p.post("/v1/chat", chat("ciso", "fail", false))
	require.Equal(t, http.StatusBadGateway, code, body)
	var failure struct {
		RequestID string `json:"request_id"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &failure))

	find := func(query string) string {
		code, body := p.get("/api/hancock/requests?" + query)
		require.Equal(t, http.StatusOK, code, body)
		return body
	}
	found := find("id=" + failure.RequestID)
	require.Contains(t, found, `"status":502`)
	require.Contains(t, found, `"mode":"ciso"`)
	require.NotContains(t, find("mode=soc"), failure.RequestID)
	code, body = p.get("/api/hancock/logs?limit=nonsense")
	require.Equal(t, http.StatusBadRequest, code, body)
	log := p.stop()
	require.NotContains(t, log, "s3cret", "prompts are in no log")

	p = startHancock(t, dir, p.sameAddress())
	require.Contains(t, find("id="+failure.RequestID), `"status":502`, "after a restart")
	_, lines := p.get("/api/hancock/logs?limit=100")
	require.NotContains(t, lines, "s3cret")
	p.stop()
}

// TestKey starts a process with an API key and asks without it, with it, and
// for the diagnostics, which never show it.
func TestKey(t *testing.T) {
	dir, model := t.TempDir(), newFakeModel(t)
	configure(t, dir, model.url, "")
	t.Setenv("HANCOCK_API_KEY", "sesame-open")
	t.Setenv("OPENAI_API_KEY", "sk-never-shown")
	t.Setenv("HANCOCK_ENABLE_INTERNAL_DIAGNOSTICS", "yes")
	p := startHancock(t, dir)
	ask := func(path, key string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.base+path, http.NoBody)
		require.NoError(t, err)
		if key != "" {
			r.Header.Set("Authorization", "Bearer "+key)
		}
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NotEmpty(t, resp.Header.Get("X-RateLimit-Limit"), path)
		require.NotEmpty(t, resp.Header.Get("X-RateLimit-Remaining"), path)
		return resp.StatusCode, string(body)
	}
	for _, path := range []string{"/v1/agents", "/internal/diagnostics", "/api/v1/status/flags", "/api/v1/status/config", "/api/hancock/logs", "/api/hancock/requests", "/", "/openapi.yaml"} {
		code, body := ask(path, "")
		require.Equal(t, http.StatusUnauthorized, code, path)
		require.NotContains(t, body, "sesame", path)
		code, body = ask(path, "sesame-open")
		require.Equal(t, http.StatusOK, code, "%s: %s", path, body)
		require.NotContains(t, body, "sesame-open", path)
		require.NotContains(t, body, "sk-never", path)
	}
	_, body := ask("/internal/diagnostics", "sesame-open")
	require.Contains(t, body, `"auth_enabled":true`)
	require.Contains(t, body, `"backend_mode":"ollama"`)
	log := p.stop()
	require.NotContains(t, log, "sesame-open")
	require.NotContains(t, log, "sk-never")
}
