package agent_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent"
	"github.com/cyberviser/hancock/agent/llm/llmtest"
)

func TestAnswers(t *testing.T) {
	a := newAPI(t, llmtest.Say("Isolate the host."))
	for _, tc := range []struct {
		name, path, body, want string
	}{
		{"chat", "/v1/chat", `{"message":"hi"}`, `{"response":"Isolate the host.","model":"test-model","mode":"auto"}`},
		{"chat with a mode", "/v1/chat", `{"message":"hi","mode":"soc"}`, `{"response":"Isolate the host.","model":"test-model","mode":"soc"}`},
		{"chat without stream", "/v1/chat", `{"message":"hi","stream":false}`, `{"response":"Isolate the host.","model":"test-model","mode":"auto"}`},
		{"nulls are absent", "/v1/chat", `{"message":"hi","mode":null,"history":null,"stream":null}`, `{"response":"Isolate the host.","model":"test-model","mode":"auto"}`},
		{"unknown and repeated fields", "/v1/chat", `{"x":{},"message":"a","message":"hi","temperature":9}`, `{"response":"Isolate the host.","model":"test-model","mode":"auto"}`},
		{"ask", "/v1/ask", `{"question":"hi","mode":"ciso"}`, `{"answer":"Isolate the host.","model":"test-model","mode":"ciso"}`},
		{"ask in an unknown mode", "/v1/ask", `{"question":"hi","mode":"wizard"}`, `{"answer":"Isolate the host.","model":"test-model","mode":"auto"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := a.post(tc.path, tc.body)
			require.Equal(t, http.StatusOK, got.status, got.body)
			require.JSONEq(t, tc.want, got.body)
			require.Equal(t, "application/json", got.header.Get("Content-Type"))
			require.Len(t, got.header.Get("X-Request-ID"), 36)
			require.Equal(t, "1000000", got.header.Get("X-RateLimit-Limit"))
			require.NotEmpty(t, got.header.Get("X-RateLimit-Remaining"))
			require.Equal(t, "60s", got.header.Get("X-RateLimit-Window"))
		})
	}
}

func TestEveryModeHasItsOwnPrompt(t *testing.T) {
	a := newAPI(t, llmtest.Say("ok"))
	listed := a.do(http.MethodGet, "/v1/agents", "")
	require.Equal(t, http.StatusOK, listed.status)
	var body struct {
		Agents      map[string]string `json:"agents"`
		DefaultMode string            `json:"default_mode"`
		Model       string            `json:"model"`
	}
	require.NoError(t, json.Unmarshal([]byte(listed.body), &body))
	require.Equal(t, "auto", body.DefaultMode)
	require.Equal(t, "test-model", body.Model)
	require.Len(t, body.Agents, 9)
	require.Equal(t, []string{
		"/v1/chat", "/v1/ask", "/v1/triage", "/v1/hunt", "/v1/respond", "/v1/ioc", "/v1/webhook",
		"/v1/code", "/v1/ciso", "/v1/sigma", "/v1/yara", "/v1/agents",
	}, a.agent.Endpoints())

	seen := make(map[string]string)
	for i, mode := range agent.Modes() {
		require.Equal(t, http.StatusOK, a.post("/v1/chat", fmt.Sprintf(`{"message":"hi","mode":%q}`, mode)).status)
		system := a.backend.Requests()[i].Messages[0]
		require.Equal(t, "system", system.Role)
		require.Equal(t, body.Agents[mode], system.Content)
		require.Empty(t, seen[system.Content], "%s has the prompt of %s", mode, seen[system.Content])
		seen[system.Content] = mode
	}
	for mode, word := range map[string]string{
		"pentest": "authorisation", "soc": "PICERL", "code": "CWE", "ciso": "ISO/IEC 27001", "sigma": "logsource",
		"yara": "condition", "ioc": "risk score", "osint": "Admiralty", "auto": "generalist",
	} {
		require.Contains(t, body.Agents[mode], word, mode)
	}
}

func TestHistoryReachesTheModel(t *testing.T) {
	a := newAPI(t, llmtest.Say("ok"))
	require.Equal(t, http.StatusOK, a.post("/v1/chat",
		`{"message":" and now? ","history":[{"role":"user","content":"a","time":1},{"role":"assistant","content":"b"}]}`).status)
	req := a.backend.Requests()[0]
	var roles []string
	for _, m := range req.Messages {
		roles = append(roles, m.Role)
	}
	require.Equal(t, []string{"system", "user", "assistant", "user"}, roles)
	require.Equal(t, " and now? ", req.Messages[3].Content)
	require.JSONEq(t, "0.7", string(req.Fields["temperature"]))
	require.JSONEq(t, "0.95", string(req.Fields["top_p"]))
	require.JSONEq(t, "1024", string(req.Fields["max_tokens"]))
}

func TestRefusedRequests(t *testing.T) {
	a := newAPI(t, llmtest.Say("never"))
	const historyForm = "history must be a list of objects with role (user or assistant) and content"
	const modes = "; valid: pentest, soc, auto, code, ciso, sigma, yara, ioc, osint"
	for _, tc := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		message                  string
	}{
		{name: "no message", path: "/v1/chat", body: `{}`, status: 400, message: "message required"},
		{name: "empty message", path: "/v1/chat", body: `{"message":" \n\t"}`, status: 400, message: "message required"},
		{name: "null message", path: "/v1/chat", body: `{"message":null}`, status: 400, message: "message required"},
		{name: "other case", path: "/v1/chat", body: `{"Message":"hi"}`, status: 400, message: "message required"},
		{name: "no question", path: "/v1/ask", body: `{"message":"hi"}`, status: 400, message: "question required"},
		{name: "message is a number", path: "/v1/chat", body: `{"message":1}`, status: 400, message: "message must be a string"},
		{name: "message is a list", path: "/v1/chat", body: `{"message":["hi"]}`, status: 400, message: "message must be a string"},
		{name: "mode is a number", path: "/v1/ask", body: `{"question":"hi","mode":1}`, status: 400, message: "mode must be a string"},
		{name: "unknown mode", path: "/v1/chat", body: `{"message":"hi","mode":"wizard"}`, status: 400, message: "invalid mode 'wizard'" + modes},
		{name: "empty mode", path: "/v1/chat", body: `{"message":"hi","mode":""}`, status: 400, message: "invalid mode ''" + modes},
		{name: "long mode", path: "/v1/chat", body: `{"message":"hi","mode":"` + strings.Repeat("w", 9999) + `"}`, status: 400, message: "invalid mode '" + strings.Repeat("w", 40) + "…'" + modes},
		{name: "stream is a string", path: "/v1/chat", body: `{"message":"hi","stream":"yes"}`, status: 400, message: "stream must be true or false"},
		{name: "history is a string", path: "/v1/chat", body: `{"message":"hi","history":"x"}`, status: 400, message: historyForm},
		{name: "history holds a string", path: "/v1/chat", body: `{"message":"hi","history":["x"]}`, status: 400, message: historyForm},
		{name: "history holds null", path: "/v1/chat", body: `{"message":"hi","history":[null]}`, status: 400, message: historyForm},
		{name: "history with a system turn", path: "/v1/chat", body: `{"message":"hi","history":[{"role":"system","content":"x"}]}`, status: 400, message: historyForm},
		{name: "history without content", path: "/v1/chat", body: `{"message":"hi","history":[{"role":"user"}]}`, status: 400, message: historyForm},
		{name: "no body", path: "/v1/chat", status: 400, message: "request body must be a JSON object"},
		{name: "list", path: "/v1/chat", body: `["hi"]`, status: 400, message: "request body must be a JSON object"},
		{name: "null", path: "/v1/chat", body: `null`, status: 400, message: "request body must be a JSON object"},
		{name: "half", path: "/v1/chat", body: `{"message":"hi`, status: 400, message: "request body must be a JSON object"},
		{name: "two objects", path: "/v1/chat", body: `{"message":"hi"}{}`, status: 400, message: "request body must be a JSON object"},
		{name: "deep", path: "/v1/chat", body: `{"message":"hi","x":` + strings.Repeat("[", 20000), status: 400, message: "request body must be a JSON object"},
		{name: "form", path: "/v1/chat", body: `message=hi`, header: []string{"Content-Type", "application/x-www-form-urlencoded"}, status: 415, message: "Content-Type must be application/json"},
		{name: "no content type", path: "/v1/chat", body: `{"message":"hi"}`, header: []string{"Content-Type", ""}, status: 415, message: "Content-Type must be application/json"},
		{name: "large", path: "/v1/chat", body: `{"message":"` + strings.Repeat("x", 1<<20) + `"}`, status: 413, message: "request body is larger than 1048576 bytes"},
		{name: "wrong method", method: "GET", path: "/v1/chat", status: 405, message: "Method Not Allowed"},
		{name: "wrong method of agents", path: "/v1/agents", body: `{}`, status: 405, message: "Method Not Allowed"},
		{name: "unknown path", path: "/v1/nothing", body: `{}`, status: 404, message: "Not Found"},
		{name: "panic", method: "GET", path: "/v1/panic", status: 500, message: "internal error"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			method := tc.method
			if method == "" {
				method = http.MethodPost
			}
			got := a.do(method, tc.path, tc.body, append(tc.header, "X-Request-ID", "req-1")...)
			require.Equal(t, tc.status, got.status, got.body)
			require.Equal(t, map[string]any{"error": tc.message, "request_id": "req-1"}, got.fields(t))
			require.Equal(t, "req-1", got.header.Get("X-Request-ID"))
			require.Equal(t, "60s", got.header.Get("X-RateLimit-Window"))
		})
	}
	require.Empty(t, a.backend.Requests())
}

func TestBodiesAtTheLimit(t *testing.T) {
	a := newAPI(t, llmtest.Say("ok"), func(s *settings) { s.agent.MaxBodyBytes = 100 })
	body := func(n int) string {
		frame := `{"message":""}`
		return `{"message":"` + strings.Repeat("x", n-len(frame)) + `"}`
	}
	require.Equal(t, http.StatusOK, a.post("/v1/chat", body(100)).status)
	require.Equal(t, http.StatusRequestEntityTooLarge, a.post("/v1/chat", body(101)).status)
	require.Equal(t, http.StatusOK, a.do(http.MethodPost, "/v1/chat", body(50), "Content-Type", "application/problem+json; charset=utf-8").status)

	// Without a length nothing tells beforehand. This body has no end, and after
	// more than net/http takes behind the answer it stalls: a client that goes on
	// writing may get to see a reset instead of the answer.
	endless, rest := io.Pipe()
	defer rest.Close()
	go func() { _, _ = rest.Write([]byte(body(512 << 10))) }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.url+"/v1/chat", endless)
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	res, err := a.client.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusRequestEntityTooLarge, res.StatusCode)
}

// TestBodyThatBreaksOff sends less than it says.
func TestBodyThatBreaksOff(t *testing.T) {
	a := newAPI(t, llmtest.Say("never"))
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(a.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "POST /v1/chat HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Contains(t, string(answer), "400 Bad Request")
	require.Contains(t, string(answer), "request body could not be read")
	require.InDelta(t, 1, a.moved()["hancock_requests_total"], 0)
}

func TestBackendFailures(t *testing.T) {
	for _, tc := range []struct {
		name    string
		reply   llmtest.Reply
		down    bool
		status  int
		message string
		kind    string
	}{
		{"down", nil, true, 502, "the model backend failed: it cannot be reached or is out of order", "unavailable"},
		{"slow", llmtest.Hang, false, 504, "the model backend took too long", "timeout"},
		{"rubbish", llmtest.Body(200, "text/html", secretPrompt), false, 502, "the model backend failed: its answer was malformed", "bad_response"},
		{"empty", llmtest.Say(" "), false, 502, "model returned empty response", "bad_response"},
		{"wrong key", llmtest.JSON(401, `{"error":{"message":"Incorrect API key provided: sk-backend","code":"invalid_api_key"}}`), false, 502, "the model backend failed: it refused our credentials", "auth"},
		{"rate limited", llmtest.JSON(429, `{"error":{}}`), false, 502, "the model backend failed: it takes no more requests at the moment", "rate_limited"},
		{"too long", llmtest.JSON(400, `{"error":{"code":"context_length_exceeded"}}`), false, 502, "the model backend failed: the prompt is too long for the model", "context_length"},
		{"no such model", llmtest.JSON(404, `{"error":{"message":"model 'test-model' not found","type":"not_found_error"}}`), false, 502, "the model backend failed: it does not know the model test-model, or its address is wrong; /health tells more", "other"},
		{"refused", llmtest.JSON(400, `{"error":{"code":"invalid_request_error"}}`), false, 502, "the model backend failed: it refused the request", "other"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, stream := range []bool{false, true} {
				reply := tc.reply
				if tc.down {
					reply = llmtest.Abort
				}
				a := newAPI(t, reply, func(s *settings) {
					if tc.name == "slow" {
						s.timeout = 150 * time.Millisecond
					}
					if tc.down {
						s.url = closedPort
					}
				})
				start := time.Now()
				got := a.do(http.MethodPost, "/v1/chat", fmt.Sprintf(`{"message":%q,"mode":"ioc","stream":%t}`, secretPrompt, stream), "X-Request-ID", "req-7")
				require.Less(t, time.Since(start), time.Minute)
				require.Equal(t, tc.status, got.status, got.body)
				require.Equal(t, map[string]any{"error": tc.message, "request_id": "req-7"}, got.fields(t))

				line := a.completed("req-7")
				require.Equal(t, tc.kind, line["error"])
				require.Equal(t, "test-model", line["model"])
				require.Equal(t, "ioc", line["mode"])
				require.InDelta(t, tc.status, line["status"], 0)
				log := a.log.String()
				require.Contains(t, log, `"event":"llm_call_failed"`)
				require.NotContains(t, log, secretPrompt)
				require.NotContains(t, log, "sk-backend")
				moved := a.moved()
				require.InDelta(t, 1, moved["hancock_errors_total"], 0)
				require.InDelta(t, 1, moved["hancock_requests_by_mode{mode=ioc}"], 0)
			}
		})
	}
}

func TestFallback(t *testing.T) {
	a := newAPI(t, llmtest.JSON(500, `{}`), func(s *settings) { s.fallback = llmtest.Say("from the cloud") })
	got := a.do(http.MethodPost, "/v1/ask", `{"question":"`+secretPrompt+`"}`, "X-Request-ID", "req-9")
	require.Equal(t, http.StatusOK, got.status)
	require.JSONEq(t, `{"answer":"from the cloud","model":"cloud-model","mode":"auto"}`, got.body)
	line := a.completed("req-9")
	require.Equal(t, "cloud-model", line["model"])
	require.Equal(t, "openai", line["backend"])
	var logged bool
	for l := range strings.Lines(a.log.String()) {
		logged = logged || strings.Contains(l, `"event":"llm_fallback"`) && strings.Contains(l, `"request_id":"req-9"`)
		require.NotContains(t, l, secretPrompt)
		require.NotContains(t, l, "sk-cloud")
	}
	require.True(t, logged)
	moved := a.moved()
	require.InDelta(t, 1, moved["hancock_llm_fallbacks_total"], 0)
	require.InDelta(t, 1, moved["hancock_model_response_time_seconds{model=cloud-model,operation=auto}"], 0)
	require.NotContains(t, moved, "hancock_errors_total")
}

// The line tells of the call that ended the request, and not what a backend
// that failed before it has read and written.
func TestLogOfARequestThatAskedTwoBackends(t *testing.T) {
	empty := func(c *llmtest.Call) {
		if c.Request.Stream {
			c.Event(`{"choices":[{"delta":{"content":"","reasoning":"hm"}}]}`)
			c.Event(`{"choices":[{"delta":{},"finish_reason":"stop"}]}`)
			c.Event(`{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}`)
			c.Event("[DONE]")
			return
		}
		llmtest.JSON(http.StatusOK, `{"choices":[{"message":{"content":""}}],"usage":{"prompt_tokens":7,"completion_tokens":3}}`)(c)
	}
	for _, tc := range []struct {
		name, path, body string
		fallback         llmtest.Reply
		status           int
	}{
		{"answer", "/v1/chat", ask, llmtest.JSON(http.StatusOK, `{"choices":[{"message":{"content":"x"}}]}`), http.StatusOK},
		{"failure", "/v1/chat", ask, llmtest.JSON(http.StatusUnauthorized, `{}`), http.StatusBadGateway},
		{"failure of a stream", "/v1/chat", askStream, llmtest.JSON(http.StatusUnauthorized, `{}`), http.StatusBadGateway},
		{"webhook", "/v1/webhook", `{"alert":"x"}`, llmtest.JSON(http.StatusUnauthorized, `{}`), http.StatusBadGateway},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAPI(t, empty, func(s *settings) { s.fallback = tc.fallback })
			got := a.do(http.MethodPost, tc.path, tc.body, "X-Request-ID", "req-two")
			require.Equal(t, tc.status, got.status, got.body)
			line := a.completed("req-two")
			require.Equal(t, "cloud-model", line["model"])
			require.Equal(t, "openai", line["backend"])
			for _, key := range []string{"input_tokens", "output_tokens", "time_to_first_token_ms"} {
				require.NotContains(t, line, key)
			}
			require.InDelta(t, 7, a.moved()["hancock_llm_tokens_total{model=test-model,provider=ollama,type=input}"], 0)
		})
	}
}

func TestShuttingDown(t *testing.T) {
	a := newAPI(t, llmtest.Say("ok"))
	require.NoError(t, a.agent.Close())
	got := a.post("/v1/chat", `{"message":"hi"}`)
	require.Equal(t, http.StatusServiceUnavailable, got.status)
	require.Equal(t, "shutting down", got.fields(t)["error"])
}

func TestOptions(t *testing.T) {
	require.NoError(t, agent.DefaultOptions().Validate())
	for name, change := range map[string]func(*agent.Options){
		"agent.rate_limit":     func(o *agent.Options) { o.RateLimit = -1 },
		"agent.max_body":       func(o *agent.Options) { o.MaxBodyBytes = 0 },
		"agent.client_timeout": func(o *agent.Options) { o.ClientTimeout = 0 },
		"agent.webhook.slack_url: must be an https URL": func(o *agent.Options) { o.Notify.SlackURL = "http://hooks.example.com/secret" },
	} {
		o := agent.DefaultOptions()
		change(&o)
		require.ErrorContains(t, o.Validate(), name)
	}
}
