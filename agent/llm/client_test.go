package llm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cyberviser/hancock/agent/llm"
	"github.com/cyberviser/hancock/agent/llm/llmtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is the timeout of backends that answer; those that do not get
// impatience.
const (
	patience   = time.Minute
	impatience = 150 * time.Millisecond
)

const secretPrompt = "the prompt that no log may hold"

func question() llm.Request {
	return llm.Request{
		Messages: []llm.Message{
			{Role: llm.System, Content: "You are a test."},
			{Role: llm.User, Content: "earlier"},
			{Role: llm.Assistant, Content: "reply"},
			{Role: llm.User, Content: secretPrompt},
		},
		Temperature: 0.7, TopP: 0.95, MaxTokens: 1024,
	}
}

// options ask an Ollama at url; OpenAI has no key.
func options(url string, timeout time.Duration) llm.Options {
	o := llm.DefaultOptions()
	o.Ollama = llm.Endpoint{BaseURL: url, Model: "test-model", CoderModel: "test-coder"}
	o.Timeout, o.RetryWait = timeout, time.Millisecond
	return o
}

// withFallback adds an OpenAI at url.
func withFallback(o llm.Options, url string) llm.Options {
	o.OpenAI = llm.Endpoint{BaseURL: url + "/v1", APIKey: "sk-fallback", Model: "cloud-model", CoderModel: "cloud-coder"}
	return o
}

func newClient(t *testing.T, o llm.Options) (*llm.Client, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	c, err := llm.New(o, slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c, &log
}

// ask runs a question both ways and returns the pieces of a stream.
func ask(ctx context.Context, c *llm.Client, stream bool, q llm.Request) (llm.Answer, []string, error) {
	if !stream {
		a, err := c.Chat(ctx, q)
		return a, nil, err
	}
	var pieces []string
	a, err := c.Stream(ctx, q, func(p string) error {
		pieces = append(pieces, p)
		return nil
	})
	return a, pieces, err
}

// bothWays runs a test without and with a stream.
func bothWays(t *testing.T, test func(t *testing.T, stream bool)) {
	t.Helper()
	for _, stream := range []bool{false, true} {
		t.Run(fmt.Sprintf("stream=%t", stream), func(t *testing.T) { test(t, stream) })
	}
}

func TestAnswer(t *testing.T) {
	bothWays(t, func(t *testing.T, stream bool) {
		server := llmtest.New(t, llmtest.Say("Rotate the key, <now> “really”."))
		c, _ := newClient(t, options(server.URL, patience))
		var attempts []llm.Attempt
		q := question()
		q.Observe = func(a llm.Attempt) { attempts = append(attempts, a) }

		a, pieces, err := ask(t.Context(), c, stream, q)
		require.NoError(t, err)
		require.Equal(t, "Rotate the key, <now> “really”.", a.Text)
		require.Equal(t, "ollama", a.Provider)
		require.Equal(t, "test-model", a.Model)
		require.Equal(t, &llm.Usage{Prompt: 7, Completion: 3}, a.Usage)
		if stream {
			require.Equal(t, []string{"Rotate ", "the ", "key, ", "<now> ", "“really”."}, pieces)
			require.Positive(t, attempts[0].FirstPiece)
		}
		require.Len(t, attempts, 1)
		require.Positive(t, attempts[0].Duration)
		require.Nil(t, attempts[0].Err)
		require.False(t, attempts[0].Fallback)

		got := server.Requests()
		require.Len(t, got, 1)
		require.Equal(t, "test-model", got[0].Model)
		require.Len(t, got[0].Messages, 4)
		require.Equal(t, "system", got[0].Messages[0].Role)
		require.Equal(t, "assistant", got[0].Messages[2].Role)
		require.Equal(t, secretPrompt, got[0].Messages[3].Content)
		require.JSONEq(t, "1024", string(got[0].Fields["max_tokens"]))
		require.NotContains(t, got[0].Fields, "max_completion_tokens")
		require.JSONEq(t, "0.7", string(got[0].Fields["temperature"]))
		require.JSONEq(t, "0.95", string(got[0].Fields["top_p"]))
		if stream {
			require.JSONEq(t, `{"include_usage":true}`, string(got[0].Fields["stream_options"]))
		} else {
			require.NotContains(t, got[0].Fields, "stream_options")
		}
	})
}

func TestCoderModelAnswersCodeTasks(t *testing.T) {
	server := llmtest.New(t, llmtest.Say("x = 1"))
	c, _ := newClient(t, options(server.URL, patience))
	q := question()
	q.Coder = true
	a, err := c.Chat(t.Context(), q)
	require.NoError(t, err)
	require.Equal(t, "test-coder", a.Model)
	require.Equal(t, "test-coder", server.Requests()[0].Model)
}

// What the environment holds for OpenAI must not reach another backend.
func TestKeysGoOnlyToTheirEndpoint(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "sk-environment")
	t.Setenv("OPENAI_ORG_ID", "org-environment")
	t.Setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/never")
	t.Setenv("OPENAI_CUSTOM_HEADERS", "X-Leak: yes")

	ollama := llmtest.New(t, llmtest.JSON(http.StatusServiceUnavailable, `{}`))
	cloud := llmtest.New(t, llmtest.Say("hello"))
	o := withFallback(options(ollama.URL, patience), cloud.URL)
	o.OpenAI.Organization = "org-configured"
	c, _ := newClient(t, o)
	_, err := c.Chat(t.Context(), question())
	require.NoError(t, err)

	h := ollama.Requests()[0].Header
	require.Empty(t, h.Get("Authorization"))
	require.Empty(t, h.Get("OpenAI-Organization"))
	require.Empty(t, h.Get("X-Leak"))
	h = cloud.Requests()[0].Header
	require.Equal(t, "Bearer sk-fallback", h.Get("Authorization"))
	require.Equal(t, "org-configured", h.Get("OpenAI-Organization"))
	require.Empty(t, h.Get("X-Leak"))
}

// The manners of servers that are all valid.
func TestStreamDialects(t *testing.T) {
	for _, tc := range []struct {
		name  string
		reply func(*llmtest.Call)
		want  []string
	}{
		{"end mark without finish reason", func(c *llmtest.Call) { c.Piece("a"); c.Event("[DONE]") }, []string{"a"}},
		{"finish reason without end mark", func(c *llmtest.Call) {
			c.Piece("a")
			c.Event(`{"choices":[{"delta":{},"finish_reason":"stop"}]}`)
		}, []string{"a"}},
		{"leading white space waits", func(c *llmtest.Call) { c.Piece("\n"); c.Piece(" "); c.Piece("a "); c.Piece("b"); c.Event("[DONE]") }, []string{"\n a ", "b"}},
		{"reasoning is not the answer", func(c *llmtest.Call) {
			c.Event(`{"choices":[{"delta":{"content":"","reasoning":"hm"}}]}`)
			c.Event(`{"choices":[{"delta":{"reasoning_content":"hm"}}]}`)
			c.Piece("a")
			c.Event("[DONE]")
		}, []string{"a"}},
		{"refusal", func(c *llmtest.Call) {
			c.Event(`{"choices":[{"delta":{"refusal":"I cannot."}}]}`)
			c.Event("[DONE]")
		}, []string{"I cannot."}},
		{"comments and blank lines", func(c *llmtest.Call) {
			_, _ = c.Write([]byte(": keep-alive\n\n\n"))
			c.Piece("a")
			c.Event("[DONE]")
		}, []string{"a"}},
		{"invalid UTF-8", func(c *llmtest.Call) {
			c.Event("{\"choices\":[{\"delta\":{\"content\":\"a\xff\"}}]}")
			c.Event("[DONE]")
		}, []string{"a\uFFFD"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, _ := newClient(t, options(llmtest.New(t, tc.reply).URL, patience))
			a, pieces, err := ask(t.Context(), c, true, question())
			require.NoError(t, err)
			require.Equal(t, tc.want, pieces)
			require.Equal(t, strings.Join(tc.want, ""), a.Text)
			require.Nil(t, a.Usage, "no usage may be made up")
		})
	}
}

func TestFallback(t *testing.T) {
	broken := llmtest.JSON(http.StatusInternalServerError, `{}`)
	bothWays(t, func(t *testing.T, stream bool) {
		ollama, cloud := llmtest.New(t, broken), llmtest.New(t, llmtest.Say("from the cloud"))
		c, log := newClient(t, withFallback(options(ollama.URL, patience), cloud.URL))
		var attempts []llm.Attempt
		q := question()
		q.Observe = func(a llm.Attempt) { attempts = append(attempts, a) }
		a, _, err := ask(t.Context(), c, stream, q)
		require.NoError(t, err)
		require.Equal(t, "from the cloud", a.Text)
		require.Equal(t, "openai", a.Provider)
		require.Equal(t, "cloud-model", a.Model)
		require.Len(t, attempts, 2, "a 500 is not worth a retry")
		require.Equal(t, llm.Unavailable, attempts[0].Err.Kind)
		require.True(t, attempts[1].Fallback)
		require.Equal(t, 1, strings.Count(log.String(), `"event":"llm_fallback"`))
		require.NotContains(t, log.String(), secretPrompt)
		require.Equal(t, []string{"test-model", "cloud-model"}, c.Models(false))
	})

	t.Run("a slow backend leaves the fallback its time", func(t *testing.T) {
		ollama, cloud := llmtest.New(t, llmtest.Hang), llmtest.New(t, llmtest.Say("ok"))
		c, _ := newClient(t, withFallback(options(ollama.URL, 3*time.Second), cloud.URL))
		_, err := c.Chat(t.Context(), question())
		require.NoError(t, err)
	})
	t.Run("both fail", func(t *testing.T) {
		ollama, cloud := llmtest.New(t, broken), llmtest.New(t, llmtest.JSON(401, `{}`))
		c, _ := newClient(t, withFallback(options(ollama.URL, patience), cloud.URL))
		_, err := c.Chat(t.Context(), question())
		require.Equal(t, llm.Auth, llm.KindOf(err))
		require.Len(t, cloud.Requests(), 1)
	})
	t.Run("not after the first piece", func(t *testing.T) {
		ollama, cloud := llmtest.New(t, llmtest.Midway(llmtest.Abort)), llmtest.New(t, llmtest.Say("no"))
		c, _ := newClient(t, withFallback(options(ollama.URL, patience), cloud.URL))
		_, _, err := ask(t.Context(), c, true, question())
		require.Equal(t, llm.BadResponse, llm.KindOf(err))
		require.Empty(t, cloud.Requests())
	})
	t.Run("not without a key", func(t *testing.T) {
		ollama, cloud := llmtest.New(t, broken), llmtest.New(t, llmtest.Say("no"))
		o := withFallback(options(ollama.URL, patience), cloud.URL)
		o.OpenAI.APIKey = ""
		c, _ := newClient(t, o)
		_, err := c.Chat(t.Context(), question())
		require.Equal(t, llm.Unavailable, llm.KindOf(err))
		require.Empty(t, cloud.Requests())
	})
	t.Run("not for a caller who left", func(t *testing.T) {
		cloud := llmtest.New(t, llmtest.Say("no"))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ollama := llmtest.New(t, func(c *llmtest.Call) { cancel(); c.Hang() })
		c, _ := newClient(t, withFallback(options(ollama.URL, patience), cloud.URL))
		_, err := c.Chat(ctx, question())
		require.Equal(t, llm.Canceled, llm.KindOf(err))
		require.Empty(t, cloud.Requests())
		<-ollama.Gone
	})
}

func TestReaderOfAStreamEndsTheCall(t *testing.T) {
	server := llmtest.New(t, llmtest.Midway(llmtest.Hang))
	c, _ := newClient(t, options(server.URL, patience))
	_, err := c.Stream(t.Context(), question(), func(string) error { return errors.New("full") })
	require.Equal(t, llm.Canceled, llm.KindOf(err))
	<-server.Gone
}

// The time that a reader takes for a piece is not the backend's.
func TestReaderThatIsSlow(t *testing.T) {
	const timeout = 3 * time.Second
	goOn := make(chan struct{})
	c, _ := newClient(t, options(llmtest.New(t, func(c *llmtest.Call) {
		c.Piece("one ")
		<-goOn
		llmtest.Say("two")(c)
	}).URL, timeout))
	a, err := c.Stream(t.Context(), question(), func(piece string) error {
		if piece == "one " {
			<-time.After(timeout + timeout/10)
			close(goOn)
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, "one two", a.Text)
	_, failed, _ := c.Backends()[0].Traffic()
	require.True(t, failed.IsZero())
}

// A piece now and then keeps a stream alive beyond the timeout, but not for ever.
func TestStreamTimeouts(t *testing.T) {
	drip := func(pieces int, tick time.Duration) llmtest.Reply {
		return func(c *llmtest.Call) {
			ticker := time.NewTicker(tick)
			defer ticker.Stop()
			for range pieces {
				c.Piece("x")
				select {
				case <-ticker.C:
				case <-c.Context.Context().Done():
					return
				}
			}
			c.Event("[DONE]")
		}
	}
	t.Run("longer than the timeout", func(t *testing.T) {
		const tick = 400 * time.Millisecond // A piece may be two seconds late.
		c, _ := newClient(t, options(llmtest.New(t, drip(9, tick)).URL, 7*tick))
		a, _, err := ask(t.Context(), c, true, question())
		require.NoError(t, err)
		require.Len(t, a.Text, 9)
	})
	t.Run("longer than ten timeouts", func(t *testing.T) {
		const tick = 100 * time.Millisecond
		c, _ := newClient(t, options(llmtest.New(t, drip(1000, tick)).URL, 2*tick))
		_, _, err := ask(t.Context(), c, true, question())
		require.Equal(t, llm.Timeout, llm.KindOf(err))
	})
}

func TestListModels(t *testing.T) {
	server := llmtest.New(t, llmtest.Hang)
	c, _ := newClient(t, options(server.URL+"/", patience))
	ids, err := c.Backends()[0].ListModels(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"test-model", "test-coder"}, ids)
	require.Empty(t, server.Requests())

	c, _ = newClient(t, options(closedPort(t), patience))
	_, err = c.Backends()[0].ListModels(t.Context())
	require.ErrorContains(t, err, "connection refused")
}

func TestListsOfModels(t *testing.T) {
	for _, tc := range []struct {
		name, body string
		ids        []string
		err        string
	}{
		{"one", `{"object":"list","data":[{"id":"a"}]}`, []string{"a"}, ""},
		{"none", `{"object":"list","data":[]}`, []string{}, ""},
		{"an Ollama without any", `{"object":"list","data":null}`, []string{}, ""},
		{"another document", `{"status":"ok"}`, nil, "ollama: bad_response: answer is not a list of models"},
		{"web page", `<html>`, nil, "ollama: bad_response"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(tc.body))
			}))
			defer server.Close()
			c, _ := newClient(t, options(server.URL, patience))
			ids, err := c.Backends()[0].ListModels(t.Context())
			require.Equal(t, tc.ids, ids)
			if tc.err == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tc.err)
			}
		})
	}
}
