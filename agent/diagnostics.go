package agent

import (
	_ "embed"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cyberviser/hancock/agent/llm"
)

// The routes that are not agent traffic.
const (
	diagnosticsPath = "/internal/diagnostics"
	openAPIPath     = "/openapi.yaml"
)

// openAPI describes the API to machines.
//
//go:embed openapi.yaml
var openAPI []byte

func (a *Agent) describeAPI(c echo.Context) error {
	return c.Blob(http.StatusOK, "application/yaml", openAPI)
}

// diagnostics answers GET /internal/diagnostics. That the key was sent has
// been checked before; without any key nobody gets an answer.
func (a *Agent) diagnostics(c echo.Context) error {
	opts := a.now.Load()
	if !opts.Diagnostics {
		return echo.ErrNotFound
	}
	if !opts.AuthEnabled {
		return echo.NewHTTPError(http.StatusForbidden, "diagnostics are shown only where an API key is set: set HANCOCK_API_KEY")
	}
	c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
	chosen := a.backend.Targets()[0].Provider
	aliases := llm.Aliases(chosen)
	if aliases == nil {
		aliases = map[string]string{}
	}
	return c.JSON(http.StatusOK, map[string]any{
		"backend_mode":  chosen,
		"current_model": a.backend.Model(),
		"model_aliases": aliases,
		"rate_limit": map[string]any{
			"requests_per_minute": opts.RateLimit, "window_seconds": int(window.Seconds()), "auth_enabled": opts.AuthEnabled,
		},
		"uptime": map[string]any{
			"seconds": time.Since(a.started).Seconds(), "started_at_unix": a.started.Unix(),
		},
	})
}
