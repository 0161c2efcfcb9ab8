package agent_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent/llm/llmtest"
)

// open asks for a stream and returns the answer with its body open.
func (a *api) open(ctx context.Context, body string) *http.Response {
	a.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url+"/v1/chat", strings.NewReader(body))
	require.NoError(a.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Request-ID", "req-s")
	res, err := a.client.Do(req)
	require.NoError(a.t, err)
	a.t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

func TestStream(t *testing.T) {
	a := newAPI(t, llmtest.Say("Block <it> “now”."))
	got := a.post("/v1/chat", `{"message":"hi","mode":"soc","stream":true}`)
	require.Equal(t, http.StatusOK, got.status)
	require.Equal(t, "text/event-stream", got.header.Get("Content-Type"))
	require.Equal(t, "no-store", got.header.Get("Cache-Control"))
	require.Equal(t, "60s", got.header.Get("X-RateLimit-Window"))
	require.Equal(t, strings.Join([]string{
		`data: {"delta":"Block "}`,
		`data: {"delta":"\u003cit\u003e "}`,
		`data: {"delta":"“now”."}`,
		`data: {"done":true,"response":"Block \u003cit\u003e “now”."}`,
	}, "\n\n")+"\n\n", got.body)
	moved := a.moved()
	require.InDelta(t, 1, moved["hancock_requests_by_mode{mode=soc}"], 0)
	require.InDelta(t, 1, moved["hancock_model_response_time_seconds{model=test-model,operation=soc}"], 0)
}

func TestStreamIsFlushedPiecewise(t *testing.T) {
	goOn := make(chan struct{})
	a := newAPI(t, func(c *llmtest.Call) {
		for _, piece := range []string{"one", "two", "three"} {
			c.Piece(piece)
			<-goOn
		}
		c.Event("[DONE]")
	})
	res := a.open(t.Context(), `{"message":"hi","stream":true}`)
	lines := bufio.NewReader(res.Body)
	for _, want := range []string{"one", "two", "three"} {
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, `data: {"delta":"`+want+`"}`+"\n", line)
		_, err = lines.ReadString('\n')
		require.NoError(t, err)
		goOn <- struct{}{}
	}
	rest, err := io.ReadAll(lines)
	require.NoError(t, err)
	require.Equal(t, `data: {"done":true,"response":"onetwothree"}`+"\n\n", string(rest))
}

func TestStreamFailsMidway(t *testing.T) {
	for _, tc := range []struct {
		name    string
		then    llmtest.Reply
		message string
	}{
		{"closed", llmtest.Abort, "the model backend failed: its answer was malformed"},
		{"silent", llmtest.Hang, "the model backend took too long"},
		{"error event", func(c *llmtest.Call) { c.Event(`{"error":{"message":"` + secretPrompt + `"}}`) }, "the model backend failed: its answer was malformed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAPI(t, llmtest.Midway(tc.then), func(s *settings) {
				s.timeout = 3 * time.Second // The beginning has to be there by then, on a busy machine, too.
				s.fallback = llmtest.Say("too late for me")
			})
			got := a.do(http.MethodPost, "/v1/chat", `{"message":"hi","stream":true}`, "X-Request-ID", "req-m")
			require.Equal(t, http.StatusOK, got.status)
			require.Equal(t, strings.Join([]string{
				`data: {"delta":"The "}`,
				`data: {"delta":"beginning "}`,
				`data: {"error":"` + tc.message + `","request_id":"req-m"}`,
			}, "\n\n")+"\n\n", got.body)
			line := a.completed("req-m")
			require.NotEmpty(t, line["error"])
			require.NotContains(t, a.log.String(), secretPrompt)
			require.NotContains(t, a.moved(), "hancock_llm_fallbacks_total")
		})
	}
}

func TestClientGoesAway(t *testing.T) {
	t.Run("in the middle of a stream", func(t *testing.T) {
		a := newAPI(t, llmtest.Midway(llmtest.Hang))
		ctx, cancel := canceled(t)
		res := a.open(ctx, `{"message":"hi","stream":true}`)
		_, err := bufio.NewReader(res.Body).ReadString('\n')
		require.NoError(t, err)
		cancel()
		<-a.backend.Gone
		require.Equal(t, "canceled", a.completed("req-s")["error"])
	})
	t.Run("before the answer", func(t *testing.T) {
		asked := make(chan struct{})
		a := newAPI(t, func(c *llmtest.Call) {
			close(asked)
			c.Hang()
		}, func(s *settings) { s.fallback = llmtest.Say("for nobody") })
		ctx, cancel := canceled(t)
		go func() {
			<-asked
			cancel()
		}()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url+"/v1/chat", strings.NewReader(`{"message":"hi"}`))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Request-ID", "req-gone")
		_, err = a.client.Do(req) //nolint:bodyclose // there is none
		require.ErrorIs(t, err, context.Canceled)
		<-a.backend.Gone
		line := a.completed("req-gone")
		require.InDelta(t, 499, line["status"], 0)
		require.NotContains(t, a.moved(), "hancock_llm_fallbacks_total")
	})
}

// clientTimeout is a short one, and still longer than a busy machine takes from
// setting a deadline to writing.
const clientTimeout = 2 * time.Second

// A client that does not read must not hold the backend for ever.
func TestClientDoesNotRead(t *testing.T) {
	// Each of these takes six bytes in JSON, so that the stream is more than
	// sockets buffer and still less than a backend may say.
	piece := strings.Repeat("<", 64<<10)
	a := newAPI(t, func(c *llmtest.Call) {
		for range 60 {
			c.Event(`{"choices":[{"delta":{"content":"` + piece + `"}}]}`)
		}
		c.Hang()
	}, func(s *settings) { s.agent.ClientTimeout = clientTimeout })
	a.open(t.Context(), `{"message":"hi","stream":true}`)
	<-a.backend.Gone
	require.Equal(t, "canceled", a.completed("req-s")["error"])
}

// A connection goes on after a stream, also when the stream's deadline passes.
func TestConnectionIsUsedAgain(t *testing.T) {
	a := newAPI(t, llmtest.Say("ok"), func(s *settings) { s.agent.ClientTimeout = clientTimeout })
	require.Equal(t, http.StatusOK, a.post("/v1/chat", `{"message":"hi","stream":true}`).status)
	deadline := time.NewTimer(clientTimeout + clientTimeout/4)
	<-deadline.C
	require.Equal(t, http.StatusOK, a.post("/v1/chat", `{"message":"hi"}`).status)
}

// The deadline is that of a write and not that of the pause before the next one.
func TestPauseLongerThanTheClientsTimeout(t *testing.T) {
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			goOn := make(chan struct{})
			a := newAPI(t, func(c *llmtest.Call) {
				c.Piece("one")
				<-goOn
				llmtest.Say("two")(c)
			}, func(s *settings) { s.agent.ClientTimeout, s.http2 = clientTimeout, http2 })
			res := a.open(t.Context(), `{"message":"hi","stream":true}`)
			require.Equal(t, http2, res.ProtoMajor == 2)
			lines := bufio.NewReader(res.Body)
			_, err := lines.ReadString('\n')
			require.NoError(t, err)
			<-time.After(clientTimeout + clientTimeout/4)
			close(goOn)
			rest, err := io.ReadAll(lines)
			require.NoError(t, err)
			require.Contains(t, string(rest), `{"done":true,"response":"onetwo"}`)
		})
	}
}

// Who is cut off because the process stops is told so.
func TestCutOffByTheShutdown(t *testing.T) {
	for name, body := range map[string]string{"whole": ask, "before the first piece": askStream} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan struct{})
			a := newAPI(t, func(c *llmtest.Call) {
				close(asked)
				c.Hang()
			})
			go func() {
				<-asked
				a.agent.Stopping()
				a.cutOff()
			}()
			got := a.do(http.MethodPost, "/v1/chat", body, "X-Request-ID", "req-stop")
			require.Equal(t, http.StatusServiceUnavailable, got.status)
			require.Equal(t, map[string]any{"error": "shutting down", "request_id": "req-stop"}, got.fields(t))
			require.Equal(t, "1", got.header.Get("Retry-After"))
			require.InDelta(t, http.StatusServiceUnavailable, a.completed("req-stop")["status"], 0)
		})
	}
	t.Run("midway", func(t *testing.T) {
		a := newAPI(t, llmtest.Midway(llmtest.Hang))
		lines := bufio.NewReader(a.open(t.Context(), askStream).Body)
		_, err := lines.ReadString('\n')
		require.NoError(t, err)
		a.agent.Stopping()
		a.cutOff()
		rest, err := io.ReadAll(lines)
		require.NoError(t, err)
		require.Contains(t, string(rest), `data: {"error":"shutting down","request_id":"req-s"}`)
	})
}
