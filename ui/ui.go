// Package ui is the page at the right end of the picture: plain ES modules and styles that ask the
// query API, the rules API and /health from the browser and draw what they say. It also gives Grafana
// the same panels.
//
// Everything is embedded as it lies in the tree; no build step stands between the two. page holds our
// own modules, third_party those of others (made by third_party/build.mjs), and dashboard.json the
// panels, the one source of both the page and the Grafana dashboard.
package ui

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
)

//go:embed index.html dashboard.json page/*.js page/views/*.js page/*.css page/*.svg third_party/*.js third_party/*.css third_party/LICENSES.txt
var files embed.FS

// contentSecurityPolicy lets the page load its own files and ask its own server, and nothing else.
// Trusted types make the browser refuse text as HTML wherever it might come from.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types 'none'"

// Options is what the page tells about the process that serves it.
type Options struct {
	Version string // shown beside the name; may be empty
	Demo    bool   // the page says that its data are made up
}

// UI serves the page. It holds no state that changes; any number of requests may be under way.
type UI struct {
	assets *assets
	index  *asset
}

// New prepares the page: it reads the dashboard, links and hashes all modules and compresses them,
// which takes some ten milliseconds. An error means that the binary was built from a broken tree.
func New(opts Options) (*UI, error) {
	board, err := Dashboard()
	if err != nil {
		return nil, err
	}
	var names []string
	err = fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && name != "index.html" {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing the page's files: %w", err)
	}
	built, err := buildAssets(files, names)
	if err != nil {
		return nil, err
	}
	index, err := renderIndex(opts, board, built, names)
	if err != nil {
		return nil, fmt.Errorf("preparing index.html: %w", err)
	}
	return &UI{assets: built, index: index}, nil
}

// renderIndex fills index.html in. It names every module of the dashboard, so that the browser asks for all of them at
// once and not one import after the other. The other views are loaded when they are opened.
func renderIndex(opts Options, board Board, built *assets, names []string) (*asset, error) {
	page := struct {
		Options
		Title   string
		Modules []string
	}{Options: opts, Title: board.Title}
	first := make(map[*asset]bool)
	built.byName["page/main.js"].needs(first)
	for _, name := range names {
		if a := built.byName[name]; first[a] && name != "page/main.js" {
			page.Modules = append(page.Modules, a.url)
		}
	}
	address := func(name string) (string, error) {
		if a, ok := built.byName[name]; ok {
			return a.url, nil
		}
		return "", fmt.Errorf("there is no file %s", name)
	}
	tmpl, err := template.New("index.html").Funcs(template.FuncMap{"asset": address}).ParseFS(files, "index.html")
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	if err := tmpl.Execute(&buf, page); err != nil {
		return nil, err
	}
	return &asset{contentType: "text/html; charset=utf-8", plain: buf.Bytes(), zipped: compressed(buf.Bytes())}, nil
}

// Asset returns the address of a file of the page, relative to the page: of page/style.css, for example. It is empty
// when there is no such file.
func (u *UI) Asset(name string) string {
	if a, ok := u.assets.byName[name]; ok {
		return a.url
	}
	return ""
}

// ServeHTTP answers GET and HEAD of / and the views (the page), of /assets/… (its files) and of the paths that lead
// to a view; all else is 404. Below a prefix it wants the prefix stripped, and the page's address to end with a
// slash: all its addresses are relative.
func (u *UI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", contentSecurityPolicy)
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Referrer-Policy", "same-origin") // by which the view of expressions knows links of our own
	header.Set("X-Content-Type-Options", "nosniff")

	if to := redirect(r.URL); to != "" {
		// Relative, since only the client knows below which prefix we are.
		header.Set("Location", to)
		header.Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusFound)
		return
	}
	a, cache := u.index, "no-store"
	if r.URL.Path != "/" && !isView(r.URL.Path) {
		a, cache = u.assets.byURL[strings.TrimPrefix(r.URL.Path, "/")], "public, max-age=31536000, immutable"
	}
	switch {
	case a == nil:
		// An old page may ask for what a new version no longer has; that answer must not stay.
		header.Set("Cache-Control", "no-store")
		http.Error(w, "not found", http.StatusNotFound)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		header.Set("Allow", "GET, HEAD")
		header.Set("Cache-Control", "no-store")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	default:
		header.Set("Cache-Control", cache)
		a.serve(w, r)
	}
}

func (a *asset) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	body, etag := a.plain, a.etag
	if zipped := a.zipped(); zipped != nil {
		header.Set("Vary", "Accept-Encoding")
		if acceptsGzip(strings.Join(r.Header.Values("Accept-Encoding"), ",")) {
			body, etag = zipped, a.etag+"-gzip"
			header.Set("Content-Encoding", "gzip")
		}
	}
	if a.etag != "" {
		etag = strconv.Quote(etag)
		header.Set("ETag", etag)
		if matches(r.Header.Get("If-None-Match"), etag) {
			header.Del("Content-Encoding")
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	header.Set("Content-Type", a.contentType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodHead {
		return
	}
	// A client that goes away in the middle is no fault of anybody, and there is nobody to tell.
	_, _ = w.Write(body)
}
