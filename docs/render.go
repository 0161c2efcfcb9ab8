package docs

import (
	"bytes"
	"fmt"
	"html/template"
	"io/fs"
	"net/url"
	"path"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
)

// repository is where the files are that documents link to and that are not part of the documentation.
const repository = "https://github.com/cyberviser/hancock/blob/main/"

// render turns the Markdown of an embedded file into HTML. Raw HTML in it is left out.
func render(name string, src []byte) (template.HTML, error) {
	md := goldmark.New(goldmark.WithExtensions(extension.Table), goldmark.WithParserOptions(parser.WithAutoHeadingID()))
	doc := md.Parser().Parse(text.NewReader(src))
	err := ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if link, ok := n.(*ast.Link); ok && entering {
			link.Destination = []byte(address(name, string(link.Destination)))
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		return "", fmt.Errorf("reading the links of %s: %w", name, err)
	}
	var buf bytes.Buffer
	if err := md.Renderer().Render(&buf, src, doc); err != nil {
		return "", fmt.Errorf("rendering %s: %w", name, err)
	}
	return template.HTML(buf.String()), nil //nolint:gosec // Made by goldmark, without raw HTML, from an embedded file.
}

// address is where a link of a file leads: to the page of another document, or into the repository.
func address(name, link string) string {
	u, err := url.Parse(link)
	if err != nil || u.IsAbs() || u.Host != "" || u.Path == "" || strings.HasPrefix(u.Path, "/") {
		return link
	}
	target := path.Join("docs", path.Dir(name), u.Path)
	inside, ok := strings.CutPrefix(target, "docs/")
	if info, err := fs.Stat(files, inside); !ok || err != nil {
		return repository + target
	} else if info.IsDir() {
		u.Path = strings.TrimSuffix(u.Path, "/") + "/"
	}
	u.Path = strings.TrimSuffix(u.Path, ".md")
	return u.String()
}
