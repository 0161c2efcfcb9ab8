package agent_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent"
	"github.com/cyberviser/hancock/agent/health"
	"github.com/cyberviser/hancock/agent/llm"
	"github.com/cyberviser/hancock/agent/llm/llmtest"
	"github.com/cyberviser/hancock/agent/requestlog"
)

// TestOpenAPIHealth holds answers of real checks, with a backend and without,
// in both forms, against the document.
func TestOpenAPIHealth(t *testing.T) {
	a := newAPI(t, llmtest.Say("ok"))
	doc := served(t, a)
	for url, want := range map[string]int{a.backend.URL: http.StatusOK, closedPort: http.StatusServiceUnavailable} {
		log := slog.New(slog.DiscardHandler)
		lo := llm.DefaultOptions()
		lo.Ollama = llm.Endpoint{BaseURL: url, Model: "test-model", CoderModel: "test-coder"}
		client, err := llm.New(lo, log)
		require.NoError(t, err)
		opts := health.DefaultOptions()
		opts.Model, opts.Modes, opts.Endpoints, opts.DataDir = client.Model(), agent.Modes(), a.agent.Endpoints(), t.TempDir()
		var backends []health.Backend
		for _, b := range client.Backends() {
			backends = append(backends, b)
		}
		checker, err := health.New(opts, health.Deps{Backends: backends, LastSample: time.Now})
		require.NoError(t, err)
		e := echo.New()
		e.Use(requestlog.Middleware(log))
		checker.Register(e)
		server := httptest.NewServer(e)
		for _, form := range []string{"*/*", "application/health+json"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/health", nil)
			require.NoError(t, err)
			req.Header.Set("Accept", form)
			res, err := server.Client().Do(req)
			require.NoError(t, err)
			body, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			require.Equal(t, want, res.StatusCode, string(body))
			doc.holds(http.MethodGet, "/health", answer{status: res.StatusCode, header: res.Header, body: string(body)})
		}
		server.Close()
		require.NoError(t, checker.Close())
		require.NoError(t, client.Close())
	}
}
