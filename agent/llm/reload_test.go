package llm_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent/llm"
	"github.com/cyberviser/hancock/agent/llm/llmtest"
)

// TestReload asks another server from one request to the next. The one that is in progress ends where it began, and
// counts against the limit; leaked connections would fail the package.
func TestReload(t *testing.T) {
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	old := llmtest.New(t, func(c *llmtest.Call) {
		if c.Request.Model == "test-coder" {
			arrived <- struct{}{}
			<-release
		}
		llmtest.Say("old")(c)
	})
	next := llmtest.New(t, llmtest.Say("next"))
	o := options(old.URL, patience)
	client, _ := newClient(t, o)
	before := client.Backends()[0]

	type result struct {
		answer llm.Answer
		err    error
	}
	held := make(chan result, 1)
	go func() {
		coder := question()
		coder.Coder = true
		answer, err := client.Chat(context.Background(), coder)
		held <- result{answer, err}
	}()
	<-arrived

	bad := o
	bad.Ollama.BaseURL = "ftp://nowhere"
	require.ErrorContains(t, client.Reload(bad), "base_url")
	require.Equal(t, "test-model", client.Model())

	o.Ollama.BaseURL, o.Ollama.Model, o.MaxInFlight = next.URL, "next-model", 1
	require.NoError(t, client.Reload(o))
	require.Equal(t, []llm.Target{{Provider: llm.Ollama, Model: "next-model"}, {Provider: llm.Ollama, Model: "test-coder"}}, client.Targets())
	_, err := client.Chat(t.Context(), question())
	require.ErrorIs(t, err, llm.ErrBusy, "what began before the reload counts")
	close(release)
	first := <-held
	require.NoError(t, first.err)
	require.Equal(t, "old", first.answer.Text)

	answer, err := client.Chat(t.Context(), question())
	require.NoError(t, err)
	require.Equal(t, "next", answer.Text)
	require.Equal(t, "next-model", answer.Model)

	// What stays as it is keeps its connections and what is known of it.
	current := client.Backends()[0]
	require.NotSame(t, before, current)
	o.MaxRetries, o.MaxInFlight = 0, 10
	require.NoError(t, client.Reload(o))
	require.Same(t, current, client.Backends()[0])
	// A look at a backend that has been left leaves no connection either.
	_, err = before.ListModels(t.Context())
	require.NoError(t, err)
}
