package docs

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
)

var (
	hrefRE = regexp.MustCompile(`(?:href|src)="([^"]*)"`)
	idRE   = regexp.MustCompile(`\sid="([^"]*)"`)
)

// serve mounts the documentation below a prefix, as a proxy does.
func serve(t *testing.T, prefix string) http.Handler {
	t.Helper()
	d, err := New(Options{Style: "assets/0-style.css", Script: "assets/0-early.js"})
	require.NoError(t, err)
	e := echo.New()
	d.Register(e)
	return http.StripPrefix(prefix, e)
}

func get(t *testing.T, h http.Handler, method, target string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, target, http.NoBody))
	return w
}

// TestLinks follows every link of every page: to another document and its heading, to the dashboard, or to a file of the
// repository.
func TestLinks(t *testing.T) {
	for _, prefix := range []string{"", "/some/prefix"} {
		h := serve(t, prefix)
		pages := map[string]string{}
		var follow func(from *url.URL, link string)
		follow = func(from *url.URL, link string) {
			if target, ok := strings.CutPrefix(link, repository); ok {
				matches, err := filepath.Glob(filepath.Join("..", target))
				require.NoError(t, err)
				require.NotEmpty(t, matches, "%s in %s", link, from)
				return
			}
			to, err := from.Parse(link)
			require.NoError(t, err)
			rest, ok := strings.CutPrefix(to.Path, prefix)
			if to.Host != from.Host || !strings.HasPrefix(rest, "/docs") {
				require.Contains(t, []string{"/", "/assets/0-style.css", "/assets/0-early.js"}, rest, "%s in %s", link, from)
				return
			}
			require.True(t, ok, "%s in %s", link, from)
			body, seen := pages[to.Path]
			if !seen {
				resp := get(t, h, "GET", to.Path)
				require.Equal(t, http.StatusOK, resp.Code, "%s in %s", link, from)
				body = resp.Body.String()
				pages[to.Path] = body
				for _, m := range hrefRE.FindAllStringSubmatch(body, -1) {
					if !strings.HasPrefix(m[1], "http") || strings.HasPrefix(m[1], repository) {
						follow(to, strings.ReplaceAll(m[1], "&amp;", "&"))
					}
				}
			}
			if to.Fragment != "" {
				ids := []string{}
				for _, m := range idRE.FindAllStringSubmatch(body, -1) {
					ids = append(ids, m[1])
				}
				require.Contains(t, ids, to.Fragment, "%s in %s", link, from)
			}
		}
		start := &url.URL{Scheme: "http", Host: "127.0.0.1", Path: prefix + "/docs/"}
		follow(start, "")

		// Every file is reached, each runbook by its alert's name.
		files, err := filepath.Glob("*.md")
		require.NoError(t, err)
		runbooks, err := filepath.Glob("runbooks/*.md")
		require.NoError(t, err)
		require.NotEmpty(t, runbooks)
		for _, file := range append(files, runbooks...) {
			require.Contains(t, pages, prefix+"/docs/"+strings.TrimSuffix(filepath.ToSlash(file), ".md"))
		}
	}
}

func TestServeHTTP(t *testing.T) {
	h := serve(t, "")
	tests := []struct {
		name, method, path string
		status             int
		want               string
		location           string
	}{
		{"index", "GET", "/docs/", 200, `<a href="../docs/alerting">Alerting</a>`, ""},
		{"index without a slash", "GET", "/docs", 302, "", "docs/"},
		{"runbooks", "GET", "/docs/runbooks/", 200, `<a href="../../docs/runbooks/HancockNoTraffic">HancockNoTraffic</a>`, ""},
		{"runbooks without a slash", "GET", "/docs/runbooks", 302, "", "runbooks/"},
		{"runbook", "GET", "/docs/runbooks/HancockNoTraffic", 200, `<h1 id="hancocknotraffic">HancockNoTraffic</h1>`, ""},
		{"runbook as a file", "GET", "/docs/runbooks/HancockNoTraffic.md", 302, "", "HancockNoTraffic"},
		{"runbook by HEAD", "HEAD", "/docs/runbooks/HancockNoTraffic", 200, "", ""},
		{"table", "GET", "/docs/metrics", 200, "<table>", ""},
		{"example", "GET", "/docs/hancock.example.yml", 200, "web:", ""},
		{"unknown runbook", "GET", "/docs/runbooks/Nothing", 404, `<a href="../../docs/runbooks/Watchdog">Watchdog</a>`, ""},
		{"unknown runbook that is HTML", "GET", "/docs/runbooks/%3Cimg%20src=x%3E", 404, "<code>runbooks/&lt;img src=x&gt;</code>", ""},
		{"unknown document", "GET", "/docs/nothing/at/all", 404, `href="../../../docs/alerting"`, ""},
		{"outside", "GET", "/docs/..%2f..%2fetc%2fpasswd.yml", 404, "There is no document", ""},
		{"another file", "GET", "/docs/docs.go", 404, "There is no document", ""},
		{"example as a document", "GET", "/docs/hancock.example.yml.md", 404, "There is no document", ""},
		{"change", "POST", "/docs/", 405, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp := get(t, h, tt.method, tt.path)
			require.Equal(t, tt.status, resp.Code, resp.Body.String())
			require.Contains(t, resp.Body.String(), tt.want)
			require.Equal(t, tt.location, resp.Header().Get("Location"))
			if tt.status != http.StatusMethodNotAllowed {
				require.Equal(t, contentSecurityPolicy, resp.Header().Get("Content-Security-Policy"))
			}
			require.NotRegexp(t, `<style|\sstyle=|\son[a-z]+=|<script>`, resp.Body.String())
		})
	}
}

// TestRender takes nothing of a document as HTML, and leads no link astray.
func TestRender(t *testing.T) {
	tests := []struct{ name, source, want, not string }{
		{"raw HTML", "a <img src=x onerror=alert(1)> b\n\n<script>alert(1)</script>\n", "<p>a", "alert(1)"},
		{"script as an address", "[x](javascript:alert(1))", "<a", "javascript"},
		{"document", "[x](alerting.md#a)", `href="alerting#a"`, ""},
		{"runbook", "[x](runbooks/Watchdog.md)", `href="runbooks/Watchdog"`, ""},
		{"directory", "[x](runbooks)", `href="runbooks/"`, ""},
		{"example", "[x](hancock.example.yml)", `href="hancock.example.yml"`, ""},
		{"repository", "[x](../README.md)", `href="` + repository + `README.md"`, ""},
		{"elsewhere", "[x](https://example.org/a.md)", `href="https://example.org/a.md"`, ""},
		{"on this page", "[x](#a)", `href="#a"`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := render("alerting.md", []byte(tt.source))
			require.NoError(t, err)
			require.Contains(t, string(got), tt.want)
			if tt.not != "" {
				require.NotContains(t, string(got), tt.not)
			}
		})
	}
}
