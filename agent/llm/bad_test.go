package llm_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent/llm"
	"github.com/cyberviser/hancock/agent/llm/llmtest"
)

// closedPort is the URL of a port on which nobody listens, and which nobody is
// given who asks for a free one.
func closedPort(*testing.T) string { return "http://127.0.0.1:1" }

// talksRubbish is the URL of a server that does not speak HTTP.
func talksRubbish(t *testing.T) string {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			// All of the request, or closing would reset the connection.
			if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_, _ = io.Copy(io.Discard, r.Body)
			}
			_, _ = conn.Write([]byte("SSH-2.0-OpenSSH " + secretPrompt + "\r\n"))
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		require.NoError(t, ln.Close())
		<-done
	})
	return "http://" + ln.Addr().String()
}

func TestBadBackends(t *testing.T) {
	apiError := func(code string) string {
		return fmt.Sprintf(`{"error":{"message":"about %s and sk-secret","type":"invalid_request_error","code":%q}}`, secretPrompt, code)
	}
	huge := strings.Repeat("0123456789abcdef", 10<<20/16)
	for _, tc := range []struct {
		name    string
		reply   llmtest.Reply
		url     func(*testing.T) string
		timeout time.Duration
		kind    llm.Kind
		empty   bool
		// partial is the text that a stream has given out by then.
		partial string
	}{
		{name: "down", url: closedPort, kind: llm.Unavailable},
		{name: "not HTTP", url: talksRubbish, kind: llm.BadResponse},
		{name: "hangs before headers", reply: llmtest.Hang, timeout: impatience, kind: llm.Timeout},
		{name: "hangs midway", reply: llmtest.Midway(llmtest.Hang), timeout: 3 * time.Second, kind: llm.Timeout, partial: "The beginning "},
		{name: "closes before headers", reply: llmtest.Abort, kind: llm.Unavailable},
		{name: "closes midway", reply: llmtest.Midway(llmtest.Abort), kind: llm.BadResponse, partial: "The beginning "},
		{name: "ends midway", reply: llmtest.Midway(func(*llmtest.Call) {}), kind: llm.BadResponse, partial: "The beginning "},
		{name: "rubbish midway", reply: llmtest.Midway(func(c *llmtest.Call) { c.Event(`{"choices":`) }), kind: llm.BadResponse, partial: "The beginning "},
		{name: "error midway", reply: llmtest.Midway(func(c *llmtest.Call) { c.Event(apiError("boom")) }), kind: llm.BadResponse, partial: "The beginning "},
		{name: "web page", reply: llmtest.Body(200, "text/html", "<html>"+secretPrompt+"</html>"), kind: llm.BadResponse},
		{name: "half a JSON", reply: llmtest.JSON(200, `{"choices":[{"message":{"content":"he`), kind: llm.BadResponse},
		{name: "JSON of another kind", reply: llmtest.JSON(200, `["`+secretPrompt+`"]`), kind: llm.BadResponse},
		{name: "200 with an error body", reply: llmtest.JSON(200, apiError("overloaded")), kind: llm.BadResponse},
		{name: "no choices", reply: choices(`[]`), kind: llm.BadResponse, empty: true},
		{name: "null content", reply: choices(`[{"index":0,"message":{"role":"assistant","content":null},"delta":{"content":null},"finish_reason":"stop"}]`), kind: llm.BadResponse, empty: true},
		{name: "white space", reply: llmtest.Say(" \n\t "), kind: llm.BadResponse, empty: true},
		{name: "10 MB of answer", reply: llmtest.Say(huge), kind: llm.BadResponse},
		{name: "10 MB of error", reply: llmtest.Body(500, "text/plain", huge), kind: llm.Unavailable},
		{name: "missing model", reply: llmtest.JSON(404, apiError("model_not_found")), kind: llm.Other},
		{name: "too long", reply: llmtest.JSON(400, apiError("context_length_exceeded")), kind: llm.ContextLength},
		{name: "too long for vLLM", reply: llmtest.JSON(400, `{"error":{"message":"This model's maximum context length is 4096 tokens, not `+secretPrompt+`","type":"BadRequestError","param":null,"code":400}}`), kind: llm.ContextLength},
		{name: "too long for an older vLLM", reply: llmtest.JSON(400, `{"object":"error","message":"the model's context length is only 4096 tokens","type":"BadRequestError","param":null,"code":400}`), kind: llm.ContextLength},
		{name: "too long for llama.cpp", reply: llmtest.JSON(400, `{"error":{"code":400,"message":"the request exceeds it","type":"exceed_context_size_error"}}`), kind: llm.ContextLength},
		{name: "refused in prose", reply: llmtest.JSON(400, `{"error":"about `+secretPrompt+`"}`), kind: llm.Other},
		{name: "wrong key", reply: llmtest.JSON(401, apiError("invalid_api_key")), kind: llm.Auth},
		{name: "rate limit", reply: llmtest.JSON(429, apiError("rate_limit_exceeded")), kind: llm.RateLimited},
		{name: "full queue", reply: llmtest.JSON(503, `{"error":{"message":"server busy"}}`), kind: llm.Unavailable},
		{name: "error page", reply: llmtest.Body(502, "text/html", "<h1>"+secretPrompt+"</h1>"), kind: llm.Unavailable},
		{name: "gateway timeout", reply: llmtest.Body(504, "text/plain", ""), kind: llm.Timeout},
		{name: "redirect", reply: func(c *llmtest.Call) {
			http.Redirect(c, c.Context, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
		}, kind: llm.BadResponse},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, stream bool) {
				var url string
				if tc.url != nil {
					url = tc.url(t)
				} else {
					url = llmtest.New(t, tc.reply).URL
				}
				timeout := patience
				if tc.timeout != 0 {
					timeout = tc.timeout
				}
				c, log := newClient(t, options(url, timeout))
				a, pieces, err := ask(t.Context(), c, stream, question())
				require.Error(t, err)
				require.Equal(t, tc.kind, llm.KindOf(err), "%v", err)
				require.Equal(t, tc.empty, errors.Is(err, llm.ErrEmpty), "%v", err)
				if stream {
					require.Equal(t, tc.partial, strings.Join(pieces, ""))
					require.Equal(t, tc.partial, strings.TrimLeft(a.Text, " \n\t"))
				}
				for _, text := range []string{err.Error(), log.String()} {
					require.NotContains(t, text, secretPrompt)
					require.NotContains(t, text, "sk-secret")
					require.NotContains(t, text, "http://")
					require.Less(t, len(text), 400)
				}
				succeeded, failed, _ := c.Backends()[0].Traffic()
				require.True(t, succeeded.IsZero())
				require.Equal(t, tc.kind == llm.ContextLength, failed.IsZero())
			})
		})
	}
}

// choices answers with given choices, in whichever form was asked for.
func choices(list string) llmtest.Reply {
	return func(c *llmtest.Call) {
		body := `{"id":"1","choices":` + list + `}`
		if c.Request.Stream {
			c.Event(body)
			c.Event("[DONE]")
			return
		}
		llmtest.JSON(http.StatusOK, body)(c)
	}
}
