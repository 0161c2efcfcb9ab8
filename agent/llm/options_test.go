package llm_test

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent/llm"
)

func TestValidate(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*llm.Options)
		want   string // empty: valid
	}{
		{"defaults", func(*llm.Options) {}, ""},
		{"NIM of one's own without a key", func(o *llm.Options) { o.Backend, o.NVIDIA.BaseURL = llm.NVIDIA, "http://nim:8000/v1" }, ""},
		{"unused endpoint is not looked at", func(o *llm.Options) { o.NVIDIA = llm.Endpoint{} }, ""},
		{"unknown backend", func(o *llm.Options) { o.Backend = "bedrock" }, `agent.backend: unknown backend "bedrock"; valid: ollama, nvidia, openai`},
		{"no timeout", func(o *llm.Options) { o.Timeout = 0 }, "agent.timeout"},
		{"no connect timeout", func(o *llm.Options) { o.ConnectTimeout = -1 }, "agent.connect_timeout"},
		{"retries below zero", func(o *llm.Options) { o.MaxRetries = -1 }, "agent.max_retries"},
		{"retries without end", func(o *llm.Options) { o.MaxRetries = 11 }, "agent.max_retries"},
		{"retries without a wait", func(o *llm.Options) { o.RetryWait = 0 }, "agent.retry_wait"},
		{"nothing in flight", func(o *llm.Options) { o.MaxInFlight = 0 }, "agent.max_in_flight"},
		{"no scheme", func(o *llm.Options) { o.Ollama.BaseURL = "localhost:11434" }, "agent.ollama.base_url"},
		{"no host", func(o *llm.Options) { o.Ollama.BaseURL = "http://" }, "agent.ollama.base_url"},
		{"password in the URL", func(o *llm.Options) { o.Ollama.BaseURL = "http://u:hunter2@host" }, "agent.ollama.base_url"},
		{"unreadable URL with a password", func(o *llm.Options) { o.Ollama.BaseURL = "http://u:hunter2@ho st" }, "agent.ollama.base_url"},
		{"query", func(o *llm.Options) { o.Ollama.BaseURL = "http://host/?key=hunter2" }, "agent.ollama.base_url"},
		{"no model", func(o *llm.Options) { o.Ollama.Model = "" }, "agent.ollama.model"},
		{"no coder model", func(o *llm.Options) { o.Ollama.CoderModel = "" }, "agent.ollama.coder_model"},
		{"fallback is checked too", func(o *llm.Options) { o.OpenAI.APIKey, o.OpenAI.BaseURL = "sk-hunter2", "ftp://x" }, "agent.openai.base_url"},
		{"line break in a key", func(o *llm.Options) { o.OpenAI.APIKey = "sk-hunter2\n" }, "agent.openai.api_key"},
		{"line break in the organisation", func(o *llm.Options) { o.OpenAI.APIKey, o.OpenAI.Organization = "sk-x", "org-hunter2\n" }, "agent.openai.organization"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := llm.DefaultOptions()
			tc.change(&o)
			err := o.Validate()
			if tc.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tc.want)
			require.NotContains(t, err.Error(), "hunter2")
			_, err = llm.New(o, slog.New(slog.DiscardHandler))
			require.Error(t, err)
		})
	}
}

func TestAliases(t *testing.T) {
	for _, tc := range []struct{ backend, alias, id string }{
		{llm.Ollama, "llama3.1", "llama3.1:8b"},
		{llm.Ollama, "llama3.2", "llama3.2:3b"},
		{llm.Ollama, "mistral", "mistral:7b"},
		{llm.Ollama, "qwen-coder", "qwen2.5-coder:7b"},
		{llm.Ollama, "gemma3", "gemma3:12b"},
		{llm.Ollama, "nim-llama", "nim-llama"},
		{llm.NVIDIA, "nim-mistral", "mistralai/mistral-7b-instruct-v0.3"},
		{llm.NVIDIA, "nim-qwen", "qwen/qwen2.5-coder-32b-instruct"},
		{llm.NVIDIA, "nim-llama", "meta/llama-3.1-8b-instruct"},
		{llm.OpenAI, "gpt-4o", "gpt-4o"},
	} {
		t.Run(tc.backend+"/"+tc.alias, func(t *testing.T) {
			o := llm.DefaultOptions()
			o.Backend = tc.backend
			o.Ollama.Model, o.NVIDIA.Model, o.OpenAI.Model = tc.alias, tc.alias, tc.alias
			c, err := llm.New(o, slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			require.Equal(t, tc.id, c.Model())
			require.Equal(t, tc.backend, c.Provider())
		})
	}
}
