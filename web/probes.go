package web

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// isProbe reports whether a route tells the state of the process.
func isProbe(path string) bool {
	switch path {
	case "/livez", "/readyz", "/-/healthy", "/-/ready", "/health":
		return true
	}
	return false
}

// registerProbes mounts the probes under the names that Kubernetes and that
// Prometheus use. The live ones say that the process answers and nothing more.
func (s *Server) registerProbes(e *echo.Echo) {
	live := func(c echo.Context) error { return c.String(http.StatusOK, "Hancock is live.\n") }
	ready := func(c echo.Context) error {
		switch s.state.Load() {
		case stateReady:
			return c.String(http.StatusOK, "Hancock is ready.\n")
		case stateStopping:
			return c.String(http.StatusServiceUnavailable, "Hancock is stopping.\n")
		default:
			return c.String(http.StatusServiceUnavailable, "Hancock is starting.\n")
		}
	}
	for path, h := range map[string]echo.HandlerFunc{
		"/livez": live, "/-/healthy": live, "/readyz": ready, "/-/ready": ready,
	} {
		e.GET(path, h)
		e.HEAD(path, h)
	}
}
