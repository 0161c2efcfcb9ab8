// Package docs embeds the documentation and serves it as web pages below /docs.
package docs

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/labstack/echo/v4"
)

//go:embed *.md *.yml runbooks/*.md page.html style.css
var files embed.FS

// contentSecurityPolicy lets a page load styles and scripts of its own server, and nothing else.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; base-uri 'none'; " +
	"form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// Options name files of the dashboard's page, so that these pages look like it. The addresses are relative to the root of
// the server; an empty one is left out.
type Options struct {
	Style  string // colours and the basics
	Script string // chooses the theme
}

// Docs serves the documentation. It does not change, so any number of requests may be in progress.
type Docs struct {
	opts     Options
	tmpl     *template.Template
	docs     []*document // by name
	runbooks []*document // by name
}

// document is one file of the documentation.
type document struct {
	name  string // below /docs, without .md
	Title string
	// html renders the file at the first call.
	html func() (template.HTML, error)
}

// Name is the last part of the document's path.
func (d *document) Name() string { return path.Base(d.name) }

// view is what page.html shows.
type view struct {
	Options
	Root    string // from the page to the root of the server: ../ or ../../
	Title   string
	Missing string // path of the document that does not exist
	Content template.HTML
	// Docs and Runbooks are the lists of the overviews.
	Docs, Runbooks []*document
}

// New reads the embedded documents. Each is rendered when it is first asked for.
func New(opts Options) (*Docs, error) {
	tmpl, err := template.ParseFS(files, "page.html")
	if err != nil {
		return nil, fmt.Errorf("parsing the page of the documentation: %w", err)
	}
	d := &Docs{opts: opts, tmpl: tmpl}
	err = fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		src, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		short, isMarkdown := strings.CutSuffix(name, ".md")
		switch {
		case path.Ext(name) == ".yml":
			d.docs = append(d.docs, &document{name: name, Title: name})
		case isMarkdown:
			title, _, _ := strings.Cut(strings.TrimPrefix(string(src), "# "), "\n")
			doc := &document{name: short, Title: title, html: sync.OnceValues(func() (template.HTML, error) { return render(name, src) })}
			if path.Dir(name) == "runbooks" {
				d.runbooks = append(d.runbooks, doc)
			} else {
				d.docs = append(d.docs, doc)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the documentation: %w", err)
	}
	return d, nil
}

// Register mounts the documentation.
func (d *Docs) Register(e *echo.Echo) {
	h := echo.WrapHandler(d)
	for _, route := range []string{"/docs", "/docs/*"} {
		e.GET(route, h)
		e.HEAD(route, h)
	}
}

// ServeHTTP answers the paths from /docs on. Redirects and links are relative, so a proxy may serve them below a prefix.
func (d *Docs) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", contentSecurityPolicy)
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Referrer-Policy", "same-origin")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-cache")

	v := view{Options: d.opts, Root: strings.Repeat("../", strings.Count(r.URL.Path, "/")-1)}
	name, below := strings.CutPrefix(r.URL.Path, "/docs/")
	switch {
	case !below:
		redirect(w, "docs/")
	case name == "":
		v.Title, v.Docs, v.Runbooks = "Documentation", d.docs, d.runbooks
		d.write(w, http.StatusOK, v)
	case name == "runbooks":
		redirect(w, "runbooks/")
	case name == "runbooks/":
		v.Title, v.Runbooks = "Runbooks", d.runbooks
		d.write(w, http.StatusOK, v)
	case name == "style.css" || path.Ext(name) == ".yml":
		d.raw(w, name, v)
	default:
		d.document(w, name, v)
	}
}

// document writes the page of a Markdown file.
func (d *Docs) document(w http.ResponseWriter, name string, v view) {
	short, isFile := strings.CutSuffix(name, ".md")
	doc := d.find(short)
	switch {
	case doc == nil:
		d.missing(w, name, v)
	case isFile:
		redirect(w, doc.Name())
	default:
		content, err := doc.html()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		v.Title, v.Content = doc.Title, content
		d.write(w, http.StatusOK, v)
	}
}

// raw writes a file as it is.
func (d *Docs) raw(w http.ResponseWriter, name string, v view) {
	src, err := files.ReadFile(name)
	if err != nil {
		d.missing(w, name, v)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if path.Ext(name) == ".css" {
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
	}
	_, _ = w.Write(src) // the client may have disconnected
}

// missing names what exists.
func (d *Docs) missing(w http.ResponseWriter, name string, v view) {
	v.Title, v.Missing, v.Runbooks = "Not found", name, d.runbooks
	if path.Dir(name) != "runbooks" {
		v.Docs = d.docs
	}
	d.write(w, http.StatusNotFound, v)
}

func (d *Docs) write(w http.ResponseWriter, status int, v view) {
	var buf bytes.Buffer
	if err := d.tmpl.Execute(&buf, v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(buf.Bytes()) // the client may have disconnected
}

// find returns the document of this name, nil when there is none.
func (d *Docs) find(name string) *document {
	for _, list := range [][]*document{d.docs, d.runbooks} {
		i, ok := slices.BinarySearchFunc(list, name, func(doc *document, name string) int { return cmp.Compare(doc.name, name) })
		if ok && list[i].html != nil {
			return list[i]
		}
	}
	return nil
}

func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusFound)
}
