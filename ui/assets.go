package ui

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// asset is one file of the page, ready to be sent. It is never changed.
type asset struct {
	url         string // relative to the page: assets/<hash>-<name>
	contentType string
	etag        string // of the plain form; the compressed one has its own, as they differ in their bytes
	plain       []byte
	imports     []*asset      // what a module cannot run without; what it imports later is not among them
	zipped      func() []byte // made when it is first wanted; nil when compression does not pay
}

// assets are all files of the page. Every URL carries the hash of what is sent, imports included, so
// that a browser may keep each for ever and still never mixes two versions.
type assets struct {
	byName map[string]*asset // by path in the tree
	byURL  map[string]*asset
}

// staticRE and dynamicRE match what stands before the relative specifier of an import. What JSDoc imports is left
// alone: it follows an @ or a brace there.
var (
	staticRE   = regexp.MustCompile(`[;}\n]\s*(?:import|export)\s*(?:[\w$*{},\s]+?\bfrom\s*)?$`)
	dynamicRE  = regexp.MustCompile(`[\s(=>]import\(\s*$`)
	relativeRE = regexp.MustCompile(`^\.{1,2}/[^"\n]+$`)
	closingRE  = regexp.MustCompile(`^\s*\)`)
)

// buildAssets reads, links, hashes and compresses the named files of fsys.
func buildAssets(fsys fs.FS, names []string) (*assets, error) {
	b := &builder{
		fsys:   fsys,
		names:  names,
		open:   make(map[string]bool),
		assets: &assets{byName: make(map[string]*asset), byURL: make(map[string]*asset)},
	}
	for _, name := range names {
		if _, err := b.add(name); err != nil {
			return nil, fmt.Errorf("preparing %s: %w", name, err)
		}
	}
	return b.assets, nil
}

type builder struct {
	fsys   fs.FS
	names  []string
	open   map[string]bool // modules whose imports are being followed
	assets *assets
}

// add prepares a file after all that it imports: its hash covers the hashes of those.
func (b *builder) add(name string) (*asset, error) {
	if a, ok := b.assets.byName[name]; ok {
		return a, nil
	}
	if !slices.Contains(b.names, name) {
		return nil, errors.New("there is no such file")
	}
	if b.open[name] {
		return nil, errors.New("modules import each other in a circle")
	}
	b.open[name] = true
	defer delete(b.open, name)

	body, err := fs.ReadFile(b.fsys, name)
	if err != nil {
		return nil, err
	}
	var imports []*asset
	if path.Ext(name) == ".js" {
		if body, imports, err = b.link(name, body); err != nil {
			return nil, err
		}
	}
	a, err := newAsset(name, body)
	if err != nil {
		return nil, err
	}
	a.imports = imports
	if _, taken := b.assets.byURL[a.url]; taken {
		return nil, fmt.Errorf("another file has the address %s", a.url)
	}
	b.assets.byName[name] = a
	b.assets.byURL[a.url] = a
	return a, nil
}

// link replaces each relative specifier by the address of what it names. All assets lie in one
// folder, so such an address is ./<hash>-<name>. It returns the static imports too.
func (b *builder) link(name string, body []byte) ([]byte, []*asset, error) {
	var out bytes.Buffer
	var imports []*asset
	end := 0
	for _, at := range specifiers(body) {
		from, to, static := at.from, at.to, at.static
		target := path.Join(path.Dir(name), string(body[from:to]))
		a, err := b.add(target)
		if err != nil {
			return nil, nil, fmt.Errorf("import of %s: %w", target, err)
		}
		if static {
			imports = append(imports, a)
		}
		out.Write(body[end:from])
		out.WriteString("./" + path.Base(a.url))
		end = to
	}
	out.Write(body[end:])
	return out.Bytes(), imports, nil
}

// specifier is where the relative specifier of an import stands, without its quotes.
type specifier struct {
	from, to int
	static   bool
}

// specifiers finds the relative specifiers of a module's imports. It looks at what is around each string that may be
// one, since an expression that searches all modules would take half of a start.
func specifiers(module []byte) (found []specifier) {
	body := append([]byte("\n"), module...) // a statement may be the first
	for i := 0; ; {
		n := bytes.Index(body[i:], []byte(`".`))
		if n < 0 {
			return found
		}
		quote := i + n
		i = quote + 1
		length := bytes.IndexAny(body[i:], "\"\n")
		if length < 0 || body[i+length] != '"' || !relativeRE.Match(body[i:i+length]) {
			continue
		}
		// What can stand between the begin of such a statement and the string, and one character more.
		before := bytes.TrimRightFunc(body[:quote], func(r rune) bool {
			return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsSpace(r) || strings.ContainsRune("_$*{},", r)
		})
		static := staticRE.Match(body[max(0, len(before)-1):quote])
		dynamic := dynamicRE.Match(body[max(0, quote-64):quote]) && closingRE.Match(body[i+length+1:])
		if static || dynamic {
			found = append(found, specifier{i - 1, i + length - 1, static})
		}
	}
}

// needs adds to seen all modules that one cannot run without, itself among them.
func (a *asset) needs(seen map[*asset]bool) {
	if seen[a] {
		return
	}
	seen[a] = true
	for _, i := range a.imports {
		i.needs(seen)
	}
}

func newAsset(name string, body []byte) (*asset, error) {
	contentType := map[string]string{
		".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".json": "application/json",
		".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8",
	}[path.Ext(name)]
	if _, _, err := mime.ParseMediaType(contentType); err != nil {
		return nil, fmt.Errorf("no content type for a file of this kind: %w", err)
	}
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:8])
	return &asset{
		url:         "assets/" + hash + "-" + path.Base(name),
		contentType: contentType,
		etag:        hash,
		plain:       body,
		zipped:      compressed(body),
	}, nil
}

// compressed compresses at its first call: all files together take longer than the rest of a start.
func compressed(body []byte) func() []byte {
	return sync.OnceValue(func() []byte { return compress(body) })
}

// compress returns nil when the compressed form would not save a packet's worth or a tenth.
func compress(body []byte) []byte {
	var buf bytes.Buffer
	w, _ := gzip.NewWriterLevel(&buf, gzip.BestCompression) // the level exists, and a buffer takes all
	_, _ = w.Write(body)
	_ = w.Close()
	if buf.Len() > len(body)*9/10 {
		return nil
	}
	return bytes.Clone(buf.Bytes())
}

// acceptsGzip reads an Accept-Encoding header (RFC 9110, 12.5.3). Identity is always a fair answer, so
// nothing but a clear yes to gzip counts.
func acceptsGzip(header string) bool {
	star := false
	for part := range strings.SplitSeq(header, ",") {
		coding, params, _ := strings.Cut(part, ";")
		yes := weight(params)
		switch strings.ToLower(strings.TrimSpace(coding)) {
		case "gzip", "x-gzip":
			return yes
		case "*":
			star = yes
		}
	}
	return star
}

// weight tells whether a q parameter is more than zero; none means one.
func weight(params string) bool {
	name, value, found := strings.Cut(strings.TrimSpace(params), "=")
	if !found || !strings.EqualFold(strings.TrimSpace(name), "q") {
		return true
	}
	return strings.Trim(strings.TrimSpace(value), "0.") != ""
}

// matches reads an If-None-Match header (RFC 9110, 13.1.2): a weak comparison with a list or a star.
func matches(header, etag string) bool {
	for part := range strings.SplitSeq(header, ",") {
		tag := strings.TrimPrefix(strings.TrimSpace(part), "W/")
		if tag == "*" || tag == etag {
			return true
		}
	}
	return false
}
