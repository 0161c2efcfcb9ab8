package llm_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent/llm"
	"github.com/cyberviser/hancock/agent/llm/llmtest"
)

// Reasoning is a sign of life and the first that a model generates, and no part
// of the answer.
func TestReasoning(t *testing.T) {
	for name, field := range map[string]string{"Ollama": "reasoning", "NIM": "reasoning_content"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // It waits most of the time.
			const beat = 400 * time.Millisecond
			server := llmtest.New(t, func(c *llmtest.Call) {
				ticker := time.NewTicker(beat)
				defer ticker.Stop()
				for range 8 {
					c.Event(`{"choices":[{"delta":{"role":"assistant","content":"","` + field + `":"hm"}}]}`)
					<-ticker.C
				}
				c.Event(`{"choices":[{"delta":{"content":"42","` + field + `":null}}]}`)
				c.Event(`{"choices":[{"delta":{"content":""},"finish_reason":"stop"}]}`)
				c.Event(`{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":9}}`)
				c.Event("[DONE]")
			})
			c, _ := newClient(t, options(server.URL, 6*beat))
			a, attempts, err := observed(t.Context(), c, true)
			require.NoError(t, err, "it thought for longer than the timeout")
			require.Equal(t, "42", a.Text)
			require.Equal(t, llm.Stop, a.Finish)
			require.EqualValues(t, 9, a.Usage.Completion)
			require.Positive(t, attempts[0].FirstToken)
			require.Less(t, attempts[0].FirstToken, attempts[0].FirstPiece)
			require.GreaterOrEqual(t, attempts[0].FirstPiece, 8*beat)
		})
	}
	t.Run("whole", func(t *testing.T) {
		c, _ := newClient(t, options(llmtest.New(t, choices(`[{"message":{"content":"42","reasoning":"hm","reasoning_content":{"steps":[1]}},"finish_reason":"stop"}]`)).URL, patience))
		a, _, err := observed(t.Context(), c, false)
		require.NoError(t, err)
		require.Equal(t, "42", a.Text)
	})
	t.Run("nothing else", func(t *testing.T) {
		bothWays(t, func(t *testing.T, stream bool) {
			part := `{"content":null,"reasoning":"hm"}`
			c, _ := newClient(t, options(llmtest.New(t, choices(`[{"message":`+part+`,"delta":`+part+`,"finish_reason":"length"}]`)).URL, patience))
			_, attempts, err := observed(t.Context(), c, stream)
			require.ErrorIs(t, err, llm.ErrEmpty)
			require.Equal(t, stream, attempts[0].FirstToken > 0)
			require.Zero(t, attempts[0].FirstPiece)
		})
	})
}

func TestFinishReasons(t *testing.T) {
	for reason, want := range map[string]llm.Finish{
		"stop": llm.Stop, "length": llm.Length, "content_filter": llm.ContentFilter, "tool_calls": llm.OtherFinish, "": llm.OtherFinish,
	} {
		t.Run(reason, func(t *testing.T) {
			bothWays(t, func(t *testing.T, stream bool) {
				part := `{"content":"x"}`
				c, _ := newClient(t, options(llmtest.New(t, choices(`[{"message":`+part+`,"delta":`+part+`,"finish_reason":"`+reason+`"}]`)).URL, patience))
				a, attempts, err := observed(t.Context(), c, stream)
				require.NoError(t, err)
				require.Equal(t, want, a.Finish)
				require.Equal(t, want, attempts[0].Finish)
			})
		})
	}
}

// Usage is told or not told, never made up.
func TestUsage(t *testing.T) {
	for name, tc := range map[string]struct {
		usage string
		want  *llm.Usage
	}{
		"told":         {`{"prompt_tokens":7,"completion_tokens":3}`, &llm.Usage{Prompt: 7, Completion: 3}},
		"null":         {`null`, nil},
		"empty":        {`{}`, nil},
		"zeros":        {`{"prompt_tokens":0,"completion_tokens":0}`, nil},
		"below zero":   {`{"prompt_tokens":7,"completion_tokens":-3}`, nil},
		"cached input": {`{"prompt_tokens":0,"completion_tokens":3}`, &llm.Usage{Completion: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, stream bool) {
				c, _ := newClient(t, options(llmtest.New(t, func(c *llmtest.Call) {
					const said = `"choices":[{"message":{"content":"x"},"delta":{"content":"x"},"finish_reason":"stop"}]`
					if !stream {
						llmtest.JSON(http.StatusOK, `{`+said+`,"usage":`+tc.usage+`}`)(c)
						return
					}
					c.Event(`{` + said + `,"usage":null}`)
					c.Event(`{"choices":[],"usage":` + tc.usage + `}`)
					c.Event("[DONE]")
				}).URL, patience))
				a, attempts, err := observed(t.Context(), c, stream)
				require.NoError(t, err)
				require.Equal(t, tc.want, a.Usage)
				require.Equal(t, tc.want, attempts[0].Usage)
			})
		})
	}
}

func TestTargets(t *testing.T) {
	o := withFallback(options("http://127.0.0.1:1", patience), "http://127.0.0.1:1")
	o.OpenAI.CoderModel = o.OpenAI.Model
	c, _ := newClient(t, o)
	require.Equal(t, []llm.Target{
		{Provider: "ollama", Model: "test-model"}, {Provider: "ollama", Model: "test-coder"}, {Provider: "openai", Model: "cloud-model"},
	}, c.Targets())
}
