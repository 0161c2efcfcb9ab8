package agent_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent/llm/llmtest"
)

// taskCase is one request to a task and all that it brings about.
type taskCase struct {
	name, path, body, want string
	mode, model            string
	temperature, topP, max string
	asked                  []string // what the model's user message holds
}

// taskCases are the rows of the API's contract, with each alias and default.
func taskCases() []taskCase {
	return []taskCase{
		{"triage", "/v1/triage", `{"alert":"beacon to x"}`, `{"triage":"ok","model":"test-model"}`, "soc", "test-model", "0.4", "0.95", "1200", []string{"~~~\nbeacon to x\n~~~", "Verdict"}},
		{"hunt", "/v1/hunt", `{"target":"psexec"}`, `{"query":"ok","siem":"splunk","model":"test-model"}`, "soc", "test-model", "0.4", "0.95", "1200", []string{"psexec", "~~~\nsplunk\n~~~"}},
		{"hunt in another SIEM", "/v1/hunt", `{"target":"psexec","siem":" elastic "}`, `{"query":"ok","siem":"elastic","model":"test-model"}`, "soc", "test-model", "0.4", "0.95", "1200", []string{"~~~\nelastic\n~~~"}},
		{"hunt in a blank SIEM", "/v1/hunt", `{"target":"psexec","siem":" "}`, `{"query":"ok","siem":"splunk","model":"test-model"}`, "soc", "test-model", "0.4", "0.95", "1200", nil},
		{"respond", "/v1/respond", `{"incident":"ransom note "}`, `{"playbook":"ok","incident":"ransom note ","model":"test-model"}`, "soc", "test-model", "0.4", "0.95", "1500", []string{"ransom note", "PICERL"}},
		{"code", "/v1/code", `{"task":"parse sshd logs"}`, `{"code":"ok","model":"test-coder","language":"auto","task":"parse sshd logs"}`, "code", "test-coder", "0.2", "0.7", "2048", []string{"parse sshd logs", "choose the one that fits"}},
		{"code in a language", "/v1/code", `{"task":"parse","language":"go"}`, `{"code":"ok","model":"test-coder","language":"go","task":"parse"}`, "code", "test-coder", "0.2", "0.7", "2048", []string{"~~~\ngo\n~~~"}},
		{"code in an empty language", "/v1/code", `{"task":"parse","language":""}`, `{"code":"ok","model":"test-coder","language":"auto","task":"parse"}`, "code", "test-coder", "0.2", "0.7", "2048", nil},
		{"ciso", "/v1/ciso", `{"question":"insure?"}`, `{"advice":"ok","output":"advice","model":"test-model"}`, "ciso", "test-model", "0.3", "0.95", "2048", []string{"insure?", "Deliver advice"}},
		{"ciso by query", "/v1/ciso", `{"query":"insure?","output":"report"}`, `{"advice":"ok","output":"report","model":"test-model"}`, "ciso", "test-model", "0.3", "0.95", "2048", []string{"insure?", "Deliver a report"}},
		{"ciso by message", "/v1/ciso", `{"question":" ","message":"insure?","output":"gap-analysis","context":"two sites"}`, `{"advice":"ok","output":"gap-analysis","model":"test-model"}`, "ciso", "test-model", "0.3", "0.95", "2048", []string{"insure?", "two sites", "gap analysis"}},
		{"ciso for the board", "/v1/ciso", `{"question":"insure?","output":"board-summary"}`, `{"advice":"ok","output":"board-summary","model":"test-model"}`, "ciso", "test-model", "0.3", "0.95", "2048", []string{"board on one page"}},
		{"ciso in an unknown form", "/v1/ciso", `{"question":"insure?","output":"poem"}`, `{"advice":"ok","output":"advice","model":"test-model"}`, "ciso", "test-model", "0.3", "0.95", "2048", []string{"Deliver advice"}},
		{"sigma", "/v1/sigma", `{"description":"encoded powershell"}`, `{"rule":"ok","logsource":"","technique":"auto","model":"test-model"}`, "sigma", "test-model", "0.2", "0.7", "2048", []string{"encoded powershell", "choose the one in which"}},
		{"sigma by ttp", "/v1/sigma", `{"ttp":"kerberoasting","logsource":"windows/security","technique":"T1558.003"}`, `{"rule":"ok","logsource":"windows/security","technique":"T1558.003","model":"test-model"}`, "sigma", "test-model", "0.2", "0.7", "2048", []string{"kerberoasting", "windows/security", "T1558.003"}},
		{"sigma by query", "/v1/sigma", `{"query":"dcsync"}`, `{"rule":"ok","logsource":"","technique":"auto","model":"test-model"}`, "sigma", "test-model", "0.2", "0.7", "2048", []string{"dcsync"}},
		{"yara", "/v1/yara", `{"description":"xor loader"}`, `{"rule":"ok","file_type":"auto","model":"test-model"}`, "yara", "test-model", "0.2", "0.7", "2048", []string{"xor loader"}},
		{"yara by malware", "/v1/yara", `{"malware":"loader","file_type":"PE","hash":"d41d8cd9"}`, `{"rule":"ok","file_type":"PE","model":"test-model"}`, "yara", "test-model", "0.2", "0.7", "2048", []string{"loader", "PE", "d41d8cd9"}},
		{"yara by query", "/v1/yara", `{"query":"loader"}`, `{"rule":"ok","file_type":"auto","model":"test-model"}`, "yara", "test-model", "0.2", "0.7", "2048", nil},
		{"ioc", "/v1/ioc", `{"indicator":" fe80::1%eth0\n"}`, `{"indicator":"fe80::1%eth0","type":"ipv6","report":"ok","model":"test-model"}`, "ioc", "test-model", "0.3", "0.9", "1000", []string{"fe80::1%eth0", "~~~\nipv6\n~~~"}},
		{"ioc by ioc", "/v1/ioc", `{"ioc":"203.0.113.7","type":"auto","context":"proxy logs"}`, `{"indicator":"203.0.113.7","type":"ipv4","report":"ok","model":"test-model"}`, "ioc", "test-model", "0.3", "0.9", "1000", []string{"proxy logs"}},
		{"ioc by query", "/v1/ioc", `{"query":"example.com","type":"domain name"}`, `{"indicator":"example.com","type":"domain name","report":"ok","model":"test-model"}`, "ioc", "test-model", "0.3", "0.9", "1000", nil},
		{"webhook", "/v1/webhook", `{"alert":"brute force"}`, `{"status":"triaged","source":"unknown","severity":"unknown","triage":"ok","model":"test-model"}`, "soc", "test-model", "0.4", "0.95", "1200", []string{"brute force", `"unknown"`}},
		{"webhook of a source", "/v1/webhook", `{"alert":"brute force","source":"splunk","severity":"HIGH"}`, `{"status":"triaged","source":"splunk","severity":"HIGH","triage":"ok","model":"test-model"}`, "soc", "test-model", "0.4", "0.95", "1200", []string{`"splunk"`, `"HIGH"`}},
	}
}

func TestTasks(t *testing.T) {
	a := newAPI(t, llmtest.Say("ok"))
	prompts := make(map[string]string)
	var listed struct {
		Agents map[string]string `json:"agents"`
	}
	require.NoError(t, json.Unmarshal([]byte(a.do(http.MethodGet, "/v1/agents", "").body), &listed))
	for i, tc := range taskCases() {
		t.Run(tc.name, func(t *testing.T) {
			before := a.counters()
			got := a.post(tc.path, tc.body)
			require.Equal(t, http.StatusOK, got.status, got.body)
			require.JSONEq(t, tc.want, got.body)

			asked := a.backend.Requests()[i]
			require.Equal(t, tc.model, asked.Model)
			require.JSONEq(t, tc.temperature, string(asked.Fields["temperature"]))
			require.JSONEq(t, tc.topP, string(asked.Fields["top_p"]))
			require.JSONEq(t, tc.max, string(asked.Fields["max_tokens"]))
			require.Len(t, asked.Messages, 2)
			require.Equal(t, listed.Agents[tc.mode], asked.Messages[0].Content)
			for _, part := range tc.asked {
				require.Contains(t, asked.Messages[1].Content, part)
			}
			prompts[tc.path] = asked.Messages[1].Content

			last := "hancock_request_duration_seconds{endpoint=" + tc.path + ",method=POST,status_code=200}"
			require.Eventually(t, func() bool { return a.counters()[last] == before[last]+1 }, waitFor, tick)
			for _, series := range []string{
				last,
				"hancock_requests_by_mode{mode=" + tc.mode + "}",
				"hancock_requests_by_endpoint{endpoint=" + tc.path + "}",
				"hancock_model_response_time_seconds{model=" + tc.model + ",operation=" + tc.mode + "}",
			} {
				require.Contains(t, before, series)
				require.InDelta(t, before[series]+1, a.counters()[series], 0, series)
			}
		})
	}
	require.Len(t, prompts, 9)
}

// required are the paths of all tasks, each with its required field.
func required() map[string]string {
	return map[string]string{
		"/v1/chat": "message", "/v1/ask": "question", "/v1/triage": "alert", "/v1/hunt": "target",
		"/v1/respond": "incident", "/v1/code": "task", "/v1/ciso": "question", "/v1/sigma": "description",
		"/v1/yara": "description", "/v1/ioc": "indicator", "/v1/webhook": "alert",
	}
}

func TestEveryTaskRefuses(t *testing.T) {
	a := newAPI(t, llmtest.Say("never"))
	json := []string{"Content-Type", "application/json"}
	for path, field := range required() {
		for _, tc := range []struct {
			name, method, body string
			header             []string
			status             int
			message            string
		}{
			{"missing", "POST", `{}`, json, 400, field + " required"},
			{"blank", "POST", `{"` + field + `":" \t\n"}`, json, 400, field + " required"},
			{"null", "POST", `{"` + field + `":null}`, json, 400, field + " required"},
			{"number", "POST", `{"` + field + `":1}`, json, 400, field + " must be a string"},
			{"object", "POST", `{"` + field + `":{"a":1}}`, json, 400, field + " must be a string"},
			{"list", "POST", `[]`, json, 400, "request body must be a JSON object"},
			{"nothing", "POST", ``, json, 400, "request body must be a JSON object"},
			{"method", "GET", ``, json, 405, "Method Not Allowed"},
			{"form", "POST", field + `=x`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "Content-Type must be application/json"},
			{"large", "POST", `{"` + field + `":"` + strings.Repeat("x", 1<<20) + `"}`, json, 413, "request body is larger than 1048576 bytes"},
		} {
			t.Run(path+" "+tc.name, func(t *testing.T) {
				got := a.do(tc.method, path, tc.body, append(tc.header, "X-Request-ID", "req-2")...)
				require.Equal(t, tc.status, got.status, got.body)
				require.Equal(t, map[string]any{"error": tc.message, "request_id": "req-2"}, got.fields(t))
			})
		}
	}
	for body, message := range map[string]string{
		`{"target":"x","siem":1}`: "siem must be a string",
	} {
		require.Equal(t, message, a.post("/v1/hunt", body).fields(t)["error"])
	}
	require.Empty(t, a.backend.Requests())
}

func TestOpenAPIIsServed(t *testing.T) {
	a := newAPI(t, llmtest.Say("never"))
	got := a.do(http.MethodGet, "/openapi.yaml", "")
	require.Equal(t, http.StatusOK, got.status)
	require.Equal(t, "application/yaml", got.header.Get("Content-Type"))
	require.True(t, strings.HasPrefix(got.body, "openapi: 3.1.0\n"))
	require.NotContains(t, a.moved(), "hancock_requests_total")
}

func TestDiagnostics(t *testing.T) {
	for _, tc := range []struct {
		name         string
		enabled, key bool
		status       int
	}{
		{"off", false, false, 404},
		{"off with a key", false, true, 404},
		{"without a key", true, false, 403},
		{"on", true, true, 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAPI(t, llmtest.Say("never"), func(s *settings) {
				s.agent.Diagnostics, s.agent.AuthEnabled = tc.enabled, tc.key
				s.agent.RateLimit = 7
				s.agent.WebhookSecret = "hush"
				s.agent.Notify.SlackURL = "https://hooks.slack.example/hush"
			})
			got := a.do(http.MethodGet, "/internal/diagnostics", "", "X-Request-ID", "req-3")
			require.Equal(t, tc.status, got.status, got.body)
			require.NotContains(t, got.body, "hush")
			require.NotContains(t, got.body, "sk-")
			require.NotContains(t, a.moved(), "hancock_requests_total")
			body := got.fields(t)
			switch tc.status {
			case http.StatusForbidden:
				require.Contains(t, body["error"], "HANCOCK_API_KEY")
				require.Equal(t, "req-3", body["request_id"])
			case http.StatusOK:
				uptime := body["uptime"].(map[string]any)
				require.GreaterOrEqual(t, uptime["seconds"], 0.0)
				require.Greater(t, uptime["started_at_unix"], 1.7e9)
				delete(body, "uptime")
				require.Equal(t, "mistral:7b", body["model_aliases"].(map[string]any)["mistral"])
				delete(body, "model_aliases")
				require.Equal(t, map[string]any{
					"backend_mode": "ollama", "current_model": "test-model",
					"rate_limit": map[string]any{"requests_per_minute": 7.0, "window_seconds": 60.0, "auth_enabled": true},
				}, body)
			}
		})
	}
}
