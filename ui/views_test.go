package ui

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPaths asks for each path of the page and follows it, at the root and below a prefix.
func TestPaths(t *testing.T) {
	tests := []struct{ path, want string }{
		{"/graph", "/graph"},
		{"/graph?g0.expr=up&g0.tab=1", "/graph?g0.expr=up&g0.tab=1"},
		{"/query?g0.expr=up", "/query?g0.expr=up"},
		{"/targets", "/targets"},
		{"/config", "/config"},
		{"/status", "/status"},
		{"/alerts", "/#/alerts"},
		{"/alerts?state=firing", "/#/alerts"},
		{"/rules", "/#/alerts"},
		{"/silences", "/#/silences"},
		{"/service-discovery", "/targets"},
		{"/alertmanager-discovery", "/status#alertmanagers"},
		{"/flags", "/status#flags"},
		{"/tsdb-status", "/status#tsdb"},
		{"/classic/graph?g0.expr=a%2Bb%0A%22&g0.tab=1", "/graph?g0.expr=a%2Bb%0A%22&g0.tab=1"},
		{"/new/query?g0.expr=up", "/query?g0.expr=up"},
		{"/classic/alerts", "/#/alerts"},
		{"/classic/flags", "/status#flags"},
		{"/classic", ""},
		{"/classic/", ""},
		{"/classic/classic/graph", ""},
		{"/classic//example.org", ""},
		{"/new/nothing", ""},
		{"/graph/", ""},
		{"/nothing", ""},
	}
	u := newUI(t, Options{})
	for _, prefix := range []string{"", "/some/prefix"} {
		h := http.StripPrefix(prefix, u)
		for _, tt := range tests {
			t.Run(prefix+tt.path, func(t *testing.T) {
				resp := ask(t, h, "GET", prefix+tt.path)
				at, err := url.Parse("http://127.0.0.1" + prefix + tt.path)
				require.NoError(t, err)
				for resp.Code == http.StatusFound {
					require.Equal(t, "no-store", resp.Header().Get("Cache-Control"))
					at, err = at.Parse(resp.Header().Get("Location"))
					require.NoError(t, err)
					resp = ask(t, h, "GET", at.RequestURI())
				}
				if tt.want == "" {
					require.Equal(t, http.StatusNotFound, resp.Code)
					return
				}
				require.Equal(t, http.StatusOK, resp.Code)
				require.Equal(t, "http://127.0.0.1"+prefix+tt.want, at.String())
				require.Equal(t, "no-store", resp.Header().Get("Cache-Control"))
				require.Equal(t, contentSecurityPolicy, resp.Header().Get("Content-Security-Policy"))
				require.Contains(t, resp.Body.String(), `<div id="app">`)
			})
		}
	}
}
