package web

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
)

// siteServer returns a server whose handlers, and what counts requests around them, note that they were reached.
func siteServer(t *testing.T, opts Options) (s *Server, reached *int) {
	t.Helper()
	reached = new(int)
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { *reached++ })
	every := routes(func(e *echo.Echo) {
		for _, path := range []string{"/v1/ask", "/docs", "/docs/*", "/health", "/api/v2/alerts", "/-/reload"} {
			e.Any(path, echo.WrapHandler(handler))
		}
	})
	require.NoError(t, opts.Validate())
	counts := func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error { *reached++; return next(c) }
	}
	s, _ = newServerOf(t, opts, Handlers{
		Outer: []echo.MiddlewareFunc{counts}, Routes: []Routes{every}, Metrics: handler, API: handler, Page: handler,
		PagePaths: []string{"/graph", "/alerts", "/classic/*"},
	})
	return s, reached
}

// siteRequest is one request as a browser or a program sends it.
func siteRequest(t *testing.T, s *Server, method, path string, header http.Header) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://127.0.0.1:5000"+path, http.NoBody)
	maps.Copy(r.Header, header)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// metadata are the headers of Fetch Metadata, and further ones.
func metadata(site, mode, dest string, more ...string) http.Header {
	h := http.Header{"Sec-Fetch-Site": {site}, "Sec-Fetch-Mode": {mode}, "Sec-Fetch-Dest": {dest}}
	for i := 0; i < len(more); i += 2 {
		h[more[i]] = append(h[more[i]], more[i+1])
	}
	return h
}

// TestOtherSites sends what pages of other sites make browsers send, to every path by every method.
func TestOtherSites(t *testing.T) {
	const evil, ours = "https://evil.example", "http://127.0.0.1:5000"
	methods := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get"}
	closed := []string{
		"/api/v1/query_range?query=up", "/api/v1/query", "/api/v1/notifications/live", "/api/v2/alerts", "/v1/ask", "/metrics", "/health",
		"/livez", "/readyz", "/-/reload", "/assets/page.js", "/favicon.ico", "/nowhere", "//api/v1/query", "/docs/../api/v1/query",
	}
	documents := []string{"/", "/?x=1", "/graph?g0.expr=up", "/alerts", "/classic/graph", "/docs", "/docs/", "/docs/runbooks/Watchdog"}
	link := metadata("cross-site", "navigate", "document")
	foreign := map[string]http.Header{
		"image":                   metadata("cross-site", "no-cors", "image", "Referer", evil+"/"),
		"script":                  metadata("cross-site", "no-cors", "script"),
		"fetch":                   metadata("cross-site", "cors", "empty", "Origin", evil),
		"fetch of another port":   metadata("same-site", "cors", "empty", "Origin", "http://127.0.0.1:8080"),
		"fetch in a sandbox":      metadata("cross-site", "cors", "empty", "Origin", "null"),
		"frame":                   metadata("cross-site", "navigate", "iframe"),
		"object":                  metadata("cross-site", "navigate", "object"),
		"event source":            metadata("cross-site", "cors", "empty", "Accept", "text/event-stream", "Origin", evil),
		"web socket":              metadata("cross-site", "websocket", "websocket", "Origin", evil),
		"worker":                  metadata("same-site", "same-origin", "worker"),
		"two sites":               metadata("same-origin", "cors", "empty", "Sec-Fetch-Site", "cross-site"),
		"two good sites":          metadata("none", "cors", "empty", "Sec-Fetch-Site", "same-origin"),
		"a list":                  metadata("same-origin, cross-site", "cors", "empty"),
		"another case":            metadata("Cross-Site", "no-cors", "image"),
		"our own in another case": metadata("SAME-ORIGIN", "no-cors", "image"),
		"a space":                 metadata(" none", "no-cors", "image"),
		"a value of tomorrow":     metadata("same-party", "no-cors", "image"),
		"an empty value":          metadata("", "no-cors", "image"),
		"no value":                {"Sec-Fetch-Site": {}},
		"two modes":               metadata("cross-site", "navigate", "document", "Sec-Fetch-Mode", "no-cors"),
		"two destinations":        metadata("cross-site", "navigate", "document", "Sec-Fetch-Dest", "image"),
		"a list of destinations":  metadata("cross-site", "navigate", "document, image"),
		"site alone":              {"Sec-Fetch-Site": {"cross-site"}},
		"old, fetch":              {"Origin": {evil}},
		"old, sandbox":            {"Origin": {"null"}},
		"old, two origins":        {"Origin": {ours, evil}},
		"old, origin with a name": {"Origin": {"http://127.0.0.1:5000@evil.example"}},
		"old, longer host":        {"Origin": {"http://127.0.0.1:5000.evil.example"}},
		"old, other port":         {"Origin": {"http://127.0.0.1:8080"}},
		"old, empty origin":       {"Origin": {""}},
		"old, no origin":          {"Origin": {}},
	}
	s, reached := siteServer(t, DefaultOptions())
	refused := func(t *testing.T, method, path string, header http.Header) {
		t.Helper()
		w := siteRequest(t, s, method, path, header)
		require.Equal(t, http.StatusForbidden, w.Code, "%s %s: %s", method, path, w.Body)
		if method != http.MethodHead {
			require.Contains(t, w.Body.String(), "web.allowed_origins")
		}
		require.Empty(t, w.Header().Get("Access-Control-Allow-Origin"))
		require.Zero(t, *reached, "%s %s reached a handler", method, path)
	}
	for name, header := range foreign {
		t.Run(name, func(t *testing.T) {
			for _, method := range methods {
				for _, path := range append(closed, documents...) {
					refused(t, method, path, header)
				}
			}
		})
	}
	for name, header := range map[string]http.Header{
		"link": link, "link of the same site": metadata("same-site", "navigate", "document"),
		"old, link": {"Referer": {evil + "/x"}}, "old, link of an app": {"Referer": {"android-app://com.Slack/"}},
		"old, two referers": {"Referer": {ours + "/", evil + "/"}}, "old, referer that is none": {"Referer": {"://"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, method := range methods {
				for _, path := range closed {
					if path != "/docs/../api/v1/query" { // the documentation, which has no such page
						refused(t, method, path, header)
					}
				}
				for _, path := range documents {
					if method == http.MethodGet || method == http.MethodHead {
						require.Equal(t, http.StatusOK, siteRequest(t, s, method, path, header).Code)
						require.Equal(t, 2, *reached, "%s %s", method, path)
						*reached = 0
					} else {
						refused(t, method, path, header)
					}
				}
			}
		})
	}
	for name, header := range map[string]http.Header{
		"a program": {}, "our page": metadata("same-origin", "cors", "empty", "Origin", ours), "typed": metadata("none", "navigate", "document"),
		"old, our page": {"Origin": {ours}}, "old, our page reads": {"Referer": {ours + "/graph"}}, "no referrer": {"Referer": {""}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, method := range []string{"GET", "POST"} {
				*reached = 0
				require.Equal(t, http.StatusOK, siteRequest(t, s, method, "/api/v1/query", header).Code)
				require.Equal(t, 2, *reached)
			}
		})
	}
}

// TestOtherSitesBehindAProxy has a proxy that sends requests on under the name of the machine behind it.
func TestOtherSitesBehindAProxy(t *testing.T) {
	opts := DefaultOptions()
	opts.ExternalURL = &url.URL{Scheme: "https", Host: "SOC.example.org:443", Path: "/hancock"}
	s, _ := siteServer(t, opts)
	for _, tc := range []struct {
		name   string
		header http.Header
		status int
	}{
		{"our page", metadata("same-origin", "cors", "empty", "Origin", "https://soc.example.org"), 200},
		{"our page by another way", metadata("same-site", "cors", "empty", "Origin", "https://soc.example.org"), 200},
		{"our page, old", http.Header{"Origin": {"https://soc.example.org"}}, 200},
		{"our page reads, old", http.Header{"Referer": {"https://soc.example.org/hancock/graph"}}, 200},
		{"not its origin", metadata("same-site", "cors", "empty", "Origin", "http://soc.example.org"), 403},
		{"another port", http.Header{"Origin": {"https://soc.example.org:8443"}}, 403},
		{"another site with our name", http.Header{"Referer": {"https://soc.example.org.evil.example/"}}, 403},
		{"our origin and another one", metadata("cross-site", "cors", "empty", "Origin", "https://soc.example.org", "Origin", "https://evil.example"), 403},
		{"image on a page of another site", metadata("cross-site", "no-cors", "image"), 403},
	} {
		t.Run(tc.name, func(t *testing.T) {
			require.Equal(t, tc.status, siteRequest(t, s, "GET", "/api/v1/query", tc.header).Code)
			require.Equal(t, tc.status, siteRequest(t, s, "POST", "/v1/ask", tc.header).Code)
		})
	}
}

// TestAllowedOrigins lets pages of other sites read, without a key of the browser's and nothing that changes.
func TestAllowedOrigins(t *testing.T) {
	opts := withKey("sesame")
	opts.AllowedOrigins = []string{"https://Wiki.example", "http://localhost:3000"}
	s, reached := siteServer(t, opts)
	fetch := func(origin string, more ...string) http.Header {
		return metadata("cross-site", "cors", "empty", append([]string{"Origin", origin}, more...)...)
	}
	const wiki = "https://wiki.example"
	key := []string{"Authorization", "Bearer sesame"}
	for _, tc := range []struct {
		name, method, path string
		header             http.Header
		status             int
	}{
		{"query", "GET", "/api/v1/query?query=up", fetch(wiki, key...), 200},
		{"another allowed one", "GET", "/metrics", fetch("http://localhost:3000", key...), 200},
		{"query by POST", "POST", "/api/v1/query_range", fetch(wiki, key...), 200},
		{"old browser", "GET", "/api/v1/query", http.Header{"Origin": {wiki}, "Authorization": {"Bearer sesame"}}, 200},
		{"without the key", "GET", "/api/v1/query", fetch(wiki), 401},
		{"question", "POST", "/v1/ask", fetch(wiki, key...), 403},
		{"alert", "POST", "/api/v2/alerts", fetch(wiki, key...), 403},
		{"delete", "DELETE", "/api/v1/series", fetch(wiki, key...), 403},
		{"not listed", "GET", "/api/v1/query", fetch("https://wiki.example.evil.example", key...), 403},
		{"other port", "GET", "/api/v1/query", fetch("https://wiki.example:8443", key...), 403},
		{"two origins", "GET", "/api/v1/query", fetch(wiki, "Origin", wiki), 403},
		{"image", "GET", "/api/v1/query", metadata("cross-site", "no-cors", "image", "Referer", wiki+"/"), 403},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := siteRequest(t, s, tc.method, tc.path, tc.header)
			require.Equal(t, tc.status, w.Code, w.Body.String())
			require.Contains(t, w.Header().Values("Vary"), "Origin")
			require.Empty(t, w.Header().Get("Access-Control-Allow-Credentials"))
			if tc.status == http.StatusForbidden {
				require.Empty(t, w.Header().Get("Access-Control-Allow-Origin"))
			} else {
				require.Equal(t, tc.header.Get("Origin"), w.Header().Get("Access-Control-Allow-Origin"), "the page may read the answer")
			}
		})
	}

	*reached = 0
	preflight := siteRequest(t, s, "OPTIONS", "/api/v1/query", fetch(wiki, "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization"))
	require.Equal(t, http.StatusNoContent, preflight.Code, "needs no key")
	require.Equal(t, wiki, preflight.Header().Get("Access-Control-Allow-Origin"))
	require.Equal(t, "GET,HEAD,POST", preflight.Header().Get("Access-Control-Allow-Methods"))
	require.Contains(t, preflight.Header().Get("Access-Control-Allow-Headers"), "Authorization")
	require.Equal(t, http.StatusForbidden, siteRequest(t, s, "OPTIONS", "/api/v1/query", fetch("https://evil.example", "Access-Control-Request-Method", "GET")).Code)
	require.Zero(t, *reached)
}

// TestOtherSitesAndKeys refuses a request from another site before its key is looked at.
func TestOtherSitesAndKeys(t *testing.T) {
	s, reached := siteServer(t, withKey("sesame"))
	header := metadata("cross-site", "no-cors", "image", "Authorization", "Bearer wrong")
	w := siteRequest(t, s, "GET", "/api/v1/query", header)
	require.Equal(t, http.StatusForbidden, w.Code)
	require.Empty(t, w.Header().Get("WWW-Authenticate"))
	require.Zero(t, *reached)
	require.Equal(t, http.StatusUnauthorized, siteRequest(t, s, "GET", "/", metadata("cross-site", "navigate", "document")).Code, "a link needs the key")
}

func TestValidateAllowedOrigins(t *testing.T) {
	for origin, want := range map[string]string{
		"https://wiki.example": "", "http://localhost:3000": "", "http://[::1]:3000": "", "https://WIKI.example": "",
		"*": "of the form", "null": "of the form", "": "of the form", "wiki.example": "of the form", "wiki.example:443": "of the form",
		"https://*.example": "without wildcards", "https://": "of the form", "ftp://wiki.example": "with http or https",
		"https://wiki.example/": "more than", "https://wiki.example/a": "more than", "https://wiki.example?": "more than",
		"https://wiki.example#": "more than", "https://u:p@wiki.example": "more than", "https://wiki.example:443": `browsers send "https://wiki.example"`,
		"https://wiki.example:": "of the form", "http://a b": "of the form", "http://[::1": "of the form",
	} {
		t.Run(origin, func(t *testing.T) {
			o := DefaultOptions()
			o.AllowedOrigins = []string{origin}
			if err := o.Validate(); want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, "web.allowed_origins: ")
				require.ErrorContains(t, err, want)
				require.NotContains(t, err.Error(), ":p@")
			}
		})
	}
}

// TestReloadOfSites applies origins to the requests that follow.
func TestReloadOfSites(t *testing.T) {
	s, _ := siteServer(t, DefaultOptions())
	header := metadata("cross-site", "cors", "empty", "Origin", "https://wiki.example")
	require.Equal(t, http.StatusForbidden, siteRequest(t, s, "GET", "/api/v1/query", header).Code)
	opts := DefaultOptions()
	opts.AllowedOrigins = []string{"https://wiki.example"}
	s.Reload(opts)
	require.Equal(t, http.StatusOK, siteRequest(t, s, "GET", "/api/v1/query", header).Code)
}
