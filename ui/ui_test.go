package ui

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func newUI(t *testing.T, opts Options) *UI {
	t.Helper()
	u, err := New(opts)
	require.NoError(t, err)
	return u
}

func ask(t *testing.T, h http.Handler, method, target string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// mainAsset is an address that exists, of a file that compresses well.
func mainAsset(u *UI) string {
	return "/" + u.assets.byName["page/store.js"].url
}

func TestServeHTTP(t *testing.T) {
	u := newUI(t, Options{Version: "v1.2.3"})
	tests := []struct {
		name, method, target string
		status               int
		cache, contentType   string
	}{
		{"page", "GET", "/", 200, "no-store", "text/html; charset=utf-8"},
		{"page by head", "HEAD", "/", 200, "no-store", "text/html; charset=utf-8"},
		{"page with a query", "GET", "/?theme=dark", 200, "no-store", "text/html; charset=utf-8"},
		{"module", "GET", mainAsset(u), 200, "public, max-age=31536000, immutable", "text/javascript; charset=utf-8"},
		{"style", "GET", "/" + u.assets.byName["page/style.css"].url, 200, "public, max-age=31536000, immutable", "text/css; charset=utf-8"},
		{"icon", "GET", "/" + u.assets.byName["page/icon.svg"].url, 200, "public, max-age=31536000, immutable", "image/svg+xml"},
		{"dashboard", "GET", "/" + u.assets.byName["dashboard.json"].url, 200, "public, max-age=31536000, immutable", "application/json"},
		{"post", "POST", "/", 405, "no-store", "text/plain; charset=utf-8"},
		{"delete of a module", "DELETE", mainAsset(u), 405, "no-store", "text/plain; charset=utf-8"},
		{"unknown", "GET", "/nothing", 404, "no-store", "text/plain; charset=utf-8"},
		{"folder", "GET", "/assets/", 404, "no-store", "text/plain; charset=utf-8"},
		{"without its hash", "GET", "/assets/store.js", 404, "no-store", "text/plain; charset=utf-8"},
		{"with another hash", "GET", "/assets/0000000000000000-store.js", 404, "no-store", "text/plain; charset=utf-8"},
		{"upwards", "GET", "/assets/../ui.go", 404, "no-store", "text/plain; charset=utf-8"},
		{"source", "GET", "/page/store.js", 404, "no-store", "text/plain; charset=utf-8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp := ask(t, u, tt.method, tt.target)
			require.Equal(t, tt.status, resp.Code)
			require.Equal(t, tt.cache, resp.Header().Get("Cache-Control"))
			require.Equal(t, tt.contentType, resp.Header().Get("Content-Type"))
			require.Equal(t, "nosniff", resp.Header().Get("X-Content-Type-Options"))
			require.Equal(t, "same-origin", resp.Header().Get("Referrer-Policy"))
			require.Equal(t, contentSecurityPolicy, resp.Header().Get("Content-Security-Policy"))
			body := resp.Body.String()
			if tt.method == http.MethodHead {
				require.Empty(t, body)
				require.NotEqual(t, "0", resp.Header().Get("Content-Length"))
			} else {
				require.NotEmpty(t, body)
			}
			if tt.status == http.StatusMethodNotAllowed {
				require.Equal(t, "GET, HEAD", resp.Header().Get("Allow"))
			}
		})
	}
}

func TestPolicyIsStrict(t *testing.T) {
	for _, word := range []string{"unsafe", "*", "http:", "https:", "data:", "blob:"} {
		require.NotContains(t, contentSecurityPolicy, word)
	}
	u := newUI(t, Options{})
	page := ask(t, u, "GET", "/").Body.String()
	require.NotRegexp(t, `<script[^>]*>[^<]`, page)
	require.NotRegexp(t, `<style|\sstyle=|\son[a-z]+=`, page)
}

func TestCompression(t *testing.T) {
	u := newUI(t, Options{})
	for _, target := range []string{"/", mainAsset(u)} {
		plain := ask(t, u, "GET", target)
		require.Empty(t, plain.Header().Get("Content-Encoding"))
		require.Equal(t, "Accept-Encoding", plain.Header().Get("Vary"))
		want := plain.Body.String()

		zipped := ask(t, u, "GET", target, "Accept-Encoding", "br, gzip")
		require.Equal(t, "gzip", zipped.Header().Get("Content-Encoding"))
		require.Equal(t, "Accept-Encoding", zipped.Header().Get("Vary"))
		require.Less(t, zipped.Body.Len(), len(want))
		reader, err := gzip.NewReader(zipped.Body)
		require.NoError(t, err)
		got, err := io.ReadAll(reader)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
}

func TestConditionalRequests(t *testing.T) {
	u := newUI(t, Options{})
	target := mainAsset(u)
	plain := ask(t, u, "GET", target).Header().Get("ETag")
	zipped := ask(t, u, "GET", target, "Accept-Encoding", "gzip").Header().Get("ETag")
	require.NotEmpty(t, plain)
	require.NotEqual(t, plain, zipped)

	tests := []struct {
		name, match string
		status      int
	}{
		{"the same", plain, http.StatusNotModified},
		{"weak", "W/" + plain, http.StatusNotModified},
		{"in a list", `"other", ` + plain, http.StatusNotModified},
		{"any", "*", http.StatusNotModified},
		{"of the other form", zipped, http.StatusOK},
		{"another", `"other"`, http.StatusOK},
		{"none", "", http.StatusOK},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp := ask(t, u, "GET", target, "If-None-Match", tt.match)
			require.Equal(t, tt.status, resp.Code)
			require.Equal(t, plain, resp.Header().Get("ETag"))
			if tt.status == http.StatusNotModified {
				require.Empty(t, resp.Body.String())
			}
		})
	}
	require.Empty(t, ask(t, u, "GET", "/").Header().Get("ETag"), "the page itself is not stored")
}

// TestEverythingIsLinked follows every address from the page on, below a prefix, and finds each file.
func TestEverythingIsLinked(t *testing.T) {
	u := newUI(t, Options{})
	mux := http.NewServeMux()
	mux.Handle("/some/prefix/", http.StripPrefix("/some/prefix", u))

	page := ask(t, mux, "GET", "/some/prefix/").Body.String()
	seen := map[string]bool{}
	var follow func(base, ref string)
	follow = func(base, ref string) {
		require.NotRegexp(t, `^/|:`, ref, "addresses are relative")
		target := path.Join(path.Dir(base), ref)
		if seen[target] {
			return
		}
		seen[target] = true
		resp := ask(t, mux, "GET", target)
		require.Equal(t, http.StatusOK, resp.Code, "%s in %s", ref, base)
		if body := resp.Body.String(); strings.HasSuffix(target, ".js") {
			body = regexp.MustCompile(`(?s)/\*.*?\*/`).ReplaceAllString(body, "")
			for _, m := range regexp.MustCompile(`\b(?:from|import)\b\s*\(?\s*["'](\.[^"'\n]+)["']`).FindAllStringSubmatch(body, -1) {
				follow(target, m[1])
			}
		}
	}
	for _, m := range regexp.MustCompile(`(?:src|href|content)="(assets/[^"]+)"`).FindAllStringSubmatch(page, -1) {
		follow("/some/prefix/", m[1])
	}
	require.Len(t, seen, len(u.assets.byURL), "each file is asked for by something")
}

// TestModulesAreNamedInThePage: all that the dashboard needs, and nothing of the views that are loaded when opened.
func TestModulesAreNamedInThePage(t *testing.T) {
	u := newUI(t, Options{})
	page := ask(t, u, "GET", "/").Body.String()
	for name, a := range u.assets.byName {
		if path.Ext(name) == ".js" {
			want := 1
			if strings.HasPrefix(name, "page/views/") {
				want = 0
			}
			require.Equal(t, want, strings.Count(page, `"`+a.url+`"`), name)
		}
	}
}

func TestHashesFollowTheContent(t *testing.T) {
	build := func(leaf string) *assets {
		fsys := fstest.MapFS{
			"a/main.js": {Data: []byte("import { x } from \"../b/mid.js\";\nx();\n")},
			"b/mid.js":  {Data: []byte("export { x } from \"./leaf.js\";\n")},
			"b/leaf.js": {Data: []byte(leaf)},
			"b/lone.js": {Data: []byte("export const y = 1;\n")},
		}
		built, err := buildAssets(fsys, []string{"a/main.js", "b/leaf.js", "b/lone.js", "b/mid.js"})
		require.NoError(t, err)
		return built
	}
	one, same, other := build("export const x = () => 1;"), build("export const x = () => 1;"), build("export const x = () => 2;")
	for _, name := range []string{"a/main.js", "b/mid.js", "b/leaf.js"} {
		require.Equal(t, one.byName[name].url, same.byName[name].url)
		require.NotEqual(t, one.byName[name].url, other.byName[name].url, "%s has a new leaf below it", name)
	}
	require.Equal(t, one.byName["b/lone.js"].url, other.byName["b/lone.js"].url)
	require.Contains(t, string(one.byName["a/main.js"].plain), `"./`+path.Base(one.byName["b/mid.js"].url)+`"`)
}

func TestLink(t *testing.T) {
	tests := []struct{ name, body, want string }{
		{"named", "import { a, b } from \"./leaf.js\";", "import { a, b } from \"./HASH\";"},
		{"over lines", "import {\n  a,\n  b,\n} from \"./leaf.js\";", "import {\n  a,\n  b,\n} from \"./HASH\";"},
		{"for its effects", "import \"./leaf.js\";", "import \"./HASH\";"},
		{"default", "import a from \"./leaf.js\";", "import a from \"./HASH\";"},
		{"minified", `/* x */` + "\n" + `import{a as b}from"./leaf.js";import*as c from"./leaf.js";b()`, `/* x */` + "\n" + `import{a as b}from"./HASH";import*as c from"./HASH";b()`},
		{"passed on", "export * from \"./leaf.js\";", "export * from \"./HASH\";"},
		{"when needed", "const e = await import(\"./leaf.js\");", "const e = await import(\"./HASH\");"},
		{"types in a comment", "/** @import {A} from \"./types.js\" */\n/** @type {import(\"./types.js\").A} */", ""},
		{"a string", "const s = 'from \"./leaf.js\"';", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fsys := fstest.MapFS{"x.js": {Data: []byte(tt.body)}, "leaf.js": {Data: []byte("export const a = 1;")}}
			built, err := buildAssets(fsys, []string{"leaf.js", "x.js"})
			require.NoError(t, err)
			want := strings.ReplaceAll(tt.want, "HASH", path.Base(built.byName["leaf.js"].url))
			if tt.want == "" {
				want = tt.body
			}
			require.Equal(t, want, string(built.byName["x.js"].plain))
		})
	}
}

func TestBrokenTrees(t *testing.T) {
	tests := []struct {
		name string
		fsys fstest.MapFS
		want string
	}{
		{"circle", fstest.MapFS{"a.js": {Data: []byte(`import "./b.js";`)}, "b.js": {Data: []byte(`import "./a.js";`)}}, "circle"},
		{"missing", fstest.MapFS{"a.js": {Data: []byte(`import "./gone.js";`)}}, "import of gone.js: there is no such file"},
		{"outside", fstest.MapFS{"a.js": {Data: []byte(`import "../../etc.js";`)}}, "there is no such file"},
		{"unknown kind", fstest.MapFS{"a.exe": {Data: []byte("x")}}, "no content type"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var names []string
			for name := range tt.fsys {
				names = append(names, name)
			}
			_, err := buildAssets(tt.fsys, names)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestOptionsReachThePageAsText(t *testing.T) {
	u := newUI(t, Options{Version: `"><script>alert(1)</script>`, Demo: true})
	page := ask(t, u, "GET", "/").Body.String()
	require.NotContains(t, page, "<script>alert")
	require.Contains(t, page, `<meta name="hancock-demo" content="true">`)
	require.Contains(t, ask(t, newUI(t, Options{}), "GET", "/").Body.String(), `<meta name="hancock-demo" content="false">`)
}

// TestWeight: the dashboard over the wire, all files compressed as they are sent, without headers. The views that are
// loaded when opened do not count.
func TestWeight(t *testing.T) {
	u := newUI(t, Options{})
	size := func(a *asset) int {
		if zipped := a.zipped(); zipped != nil {
			return len(zipped)
		}
		return len(a.plain)
	}
	total, later := size(u.index), 0
	for name, a := range u.assets.byName {
		if strings.HasPrefix(name, "page/views/") {
			later += size(a)
		} else {
			total += size(a)
		}
	}
	t.Logf("%d bytes at first, %d later, %d files", total, later, len(u.assets.byURL)+1)
	require.Less(t, total, 120<<10)
}

func TestAcceptsGzip(t *testing.T) {
	tests := []struct {
		header string
		want   bool
	}{
		{"", false},
		{"gzip", true},
		{"GZIP", true},
		{"gzip, deflate, br, zstd", true},
		{"deflate;q=1, gzip;q=0.5", true},
		{"gzip;q=0", false},
		{"gzip; q=0.000", false},
		{"*", true},
		{"*;q=0", false},
		{"gzip;q=0, *", false},
		{"identity", false},
		{"gzipped", false},
	}
	for _, tt := range tests {
		t.Run(tt.header, func(t *testing.T) {
			require.Equal(t, tt.want, acceptsGzip(tt.header))
		})
	}
}

func FuzzAcceptsGzip(f *testing.F) {
	f.Add("gzip;q=0.5, *;q=0")
	f.Fuzz(func(t *testing.T, header string) {
		if acceptsGzip(header) {
			require.Regexp(t, `(?i)gzip|\*`, header)
		}
	})
}

func FuzzLink(f *testing.F) {
	f.Add([]byte("import { a } from \"./leaf.js\";\nexport * from \"./leaf.js\";"))
	f.Add([]byte("}import\"./leaf.js\"/* import(\"./leaf.js\") */"))
	f.Fuzz(func(t *testing.T, body []byte) {
		built, err := buildAssets(fstest.MapFS{"x.js": {Data: body}, "leaf.js": {Data: []byte("1")}}, []string{"leaf.js", "x.js"})
		if err != nil {
			return
		}
		// Nothing but specifiers changes: put back, they give the body again.
		if bytes.Count(body, []byte("/leaf.js")) == bytes.Count(body, []byte(`"./leaf.js`)) {
			address := []byte("./" + path.Base(built.byName["leaf.js"].url))
			require.Equal(t, string(body), string(bytes.ReplaceAll(built.byName["x.js"].plain, address, []byte("./leaf.js"))))
		}
	})
}
