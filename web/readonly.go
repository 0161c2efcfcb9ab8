package web

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

// readable reports whether the read-only key answers a request: the page, its
// documentation, metrics, queries and alerts. What is not named here needs the
// API key.
func (s *Server) readable(c echo.Context) bool {
	r := c.Request()
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		if s.documents[c.Path()] {
			return true
		}
		switch c.Path() {
		case "/assets/*", "/favicon.ico", "/favicon.svg", "/metrics", "/rules.yml", "/openapi.yaml", "/v1/agents",
			"/api/v1/notifications/live", "/api/v2/*", "/api/hancock/requests", "/api/hancock/logs", "/api/hancock/events", "/api/hancock/notifications",
			"/api/hancock/alerts/history", "/api/hancock/alerts/outgoing":
			return true
		case "/api/v1/*":
			return !strings.HasPrefix(r.URL.Path, "/api/v1/admin/")
		}
	case http.MethodPost:
		return isQuery(r) || r.URL.Path == "/api/v1/read"
	}
	return false
}

// isQuery reports whether a POST is one of those calls of Prometheus' API that
// only read, whose parameters may be too long for an address.
func isQuery(r *http.Request) bool {
	switch r.URL.Path {
	case "/api/v1/query", "/api/v1/query_range", "/api/v1/query_exemplars", "/api/v1/series", "/api/v1/labels",
		"/api/v1/format_query", "/api/v1/parse_query":
		return true
	}
	return false
}
