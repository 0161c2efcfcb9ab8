package agent_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

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

// told is a backend that takes no time and tells of its call.
type told struct{ instant }

func (b told) Chat(ctx context.Context, r llm.Request) (llm.Answer, error) {
	r.Observe(llm.Attempt{
		Provider: llm.Ollama, Model: "m", Finish: llm.Stop, Duration: time.Millisecond, Usage: &llm.Usage{Prompt: 470, Completion: 27},
	})
	return b.instant.Chat(ctx, r)
}

// nowhere takes an answer and keeps nothing of it.
type nowhere struct {
	header http.Header
	status int
}

func (w *nowhere) Header() http.Header         { return w.header }
func (w *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (w *nowhere) WriteHeader(status int)      { w.status = status }

// What net/http's writer can do as well.
func (w *nowhere) SetReadDeadline(time.Time) error  { return nil }
func (w *nowhere) SetWriteDeadline(time.Time) error { return nil }

// benchmarkRequest is one request without a network, with the logs thrown away
// after they are written.
func benchmarkRequest(b *testing.B, register func(*echo.Echo, *agent.Agent)) {
	b.Helper()
	opts := agent.DefaultOptions()
	opts.RateLimit = 1 << 40
	log := requestlog.New(io.Discard, slog.LevelInfo)
	a, err := agent.New(opts, told{}, prometheus.NewRegistry(), log)
	require.NoError(b, err)
	defer func() { require.NoError(b, a.Close()) }()
	e := echo.New()
	e.Use(requestlog.Middleware(log), a.Middleware())
	register(e, a)

	body := strings.NewReader(`{"message":"hi","mode":"soc"}`)
	r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/v1/chat", body)
	r.Header.Set("Content-Type", "application/json")
	w := &nowhere{header: make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		_, _ = body.Seek(0, io.SeekStart)
		if e.ServeHTTP(w, r); w.status != http.StatusOK {
			b.Fatal(w.status)
		}
	}
}

// BenchmarkRequest is all that happens to one request but the network and the
// model: id, both log lines, rate limit, decoding, accounting, encoding.
func BenchmarkRequest(b *testing.B) {
	benchmarkRequest(b, func(e *echo.Echo, a *agent.Agent) { a.Register(e) })
}

// BenchmarkMiddleware is the same without decoding, encoding and the accounting
// of the model's call.
func BenchmarkMiddleware(b *testing.B) {
	benchmarkRequest(b, func(e *echo.Echo, _ *agent.Agent) {
		e.POST("/v1/chat", func(c echo.Context) error { return c.NoContent(http.StatusOK) })
	})
}
