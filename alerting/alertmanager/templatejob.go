package alertmanager

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"sync"

	"github.com/prometheus/alertmanager/template"

	"github.com/cyberviser/hancock/internal/amcompat"
	"github.com/cyberviser/hancock/internal/render"
)

// templateJob is a template of a receiver with its data, as a child process
// renders it.
type templateJob struct {
	Files       []string // absolute patterns
	ExternalURL string
	Text        string
	HTML        bool
	Data        template.Data
}

// TemplateKind is the kind of receivers' templates in a child process.
func TemplateKind() render.Kind {
	r := &templateRenderer{}
	return render.Kind{Name: "notification", Types: []any{templateJob{}}, Render: r.render}
}

func newTemplateJob(files []string, base *url.URL, f field, data *template.Data) (render.Job, error) {
	j := templateJob{Text: f.text, HTML: f.html, Data: *data}
	if base != nil {
		j.ExternalURL = base.String()
	}
	for _, pattern := range files { // The child is in another directory.
		path, err := filepath.Abs(pattern)
		if err != nil {
			return render.Job{}, err
		}
		j.Files = append(j.Files, path)
	}
	return render.Job{Kind: "notification", Input: j, Size: len(f.text) + 4096}, nil
}

// templateRenderer renders in the child. It keeps the templates of the last job
// for the next.
type templateRenderer struct {
	mu    sync.Mutex
	files []string
	base  string
	tmpl  *template.Template
}

func (r *templateRenderer) render(_ context.Context, input any, _ render.Ask) (string, error) {
	j, ok := input.(templateJob)
	if !ok {
		return "", errors.New("unexpected message between this process and its template process")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tmpl == nil || r.base != j.ExternalURL || !slices.Equal(r.files, j.Files) {
		amcompat.Init()
		base, err := url.Parse(j.ExternalURL)
		if err != nil {
			return "", fmt.Errorf("external URL: %w", err)
		}
		tmpl, _, err := newTemplate(j.Files, base)
		if err != nil {
			return "", err
		}
		r.files, r.base, r.tmpl = j.Files, j.ExternalURL, tmpl
	}
	f := rendering{field: field{html: j.HTML}, tmpl: r.tmpl, source: j.Text}
	return f.render(&j.Data)
}
