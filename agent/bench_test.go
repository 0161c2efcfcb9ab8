package agent_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent"
	"github.com/cyberviser/hancock/agent/llm"
	"github.com/cyberviser/hancock/agent/requestlog"
)

// instant is a backend that takes no time.
type instant struct{}

func (instant) Chat(context.Context, llm.Request) (llm.Answer, error) {
	return llm.Answer{Text: "ok", Provider: llm.Ollama, Model: "m"}, nil
}

func (instant) Stream(_ context.Context, _ llm.Request, emit func(string) error) (llm.Answer, error) {
	return llm.Answer{Text: "ok", Provider: llm.Ollama, Model: "m"}, emit("ok")
}

func (instant) Model() string        { return "m" }
func (instant) Models(bool) []string { return []string{"m"} }

func (instant) Targets() []llm.Target {
	return []llm.Target{{Provider: llm.Ollama, Model: "m"}}
}

// BenchmarkRequest is what the agent adds to one request without a network:
// id, both log lines, rate limit, counting, decoding and encoding.
func BenchmarkRequest(b *testing.B) {
	opts := agent.DefaultOptions()
	opts.RateLimit = 1 << 40
	log := requestlog.New(io.Discard, slog.LevelInfo)
	a, err := agent.New(opts, instant{}, prometheus.NewRegistry(), log)
	require.NoError(b, err)
	defer func() { require.NoError(b, a.Close()) }()
	e := echo.New()
	e.Use(requestlog.Middleware(log), a.Middleware())
	a.Register(e)
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/v1/chat", strings.NewReader(`{"message":"hi","mode":"soc"}`))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
	}
}
