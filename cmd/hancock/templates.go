package main

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/cyberviser/hancock/alerting/alertmanager"
)

// checkTemplates prints the templates of receivers that fail. The error is one
// of usage: of those that fail for every alert and, if the check is strict, of all.
func checkTemplates(inv invocation, externalURL *url.URL, stdout io.Writer) error {
	findings := alertmanager.CheckTemplates(inv.config.Alertmanager, externalURL)
	places := newTemplatePlaces(inv.configFile)
	counted := 0
	for _, f := range findings {
		severity := "warning"
		if f.Wrong {
			severity = "error"
		}
		fmt.Fprintf(stdout, "%s: %s: %s\n", places.of(f), severity, f)
		if f.Wrong || inv.strict {
			counted++
		}
	}
	if counted > 0 {
		return usageError{fmt.Errorf("failing receiver templates: %d, see above", counted)}
	}
	return nil
}

// templatePlaces finds the lines of settings of the Alertmanager.
type templatePlaces struct {
	file string
	root *yaml.Node // the section; nil if it cannot be read
}

func newTemplatePlaces(file string) templatePlaces {
	p := templatePlaces{file: file}
	root := readNode(file)
	if root = child(root, "alertmanager"); root == nil {
		return p
	}
	if root.Kind == yaml.ScalarNode { // the path of a file of its own
		if p.file = root.Value; !filepath.IsAbs(p.file) {
			p.file = filepath.Join(filepath.Dir(file), p.file)
		}
		root = readNode(p.file)
	}
	p.root = root
	return p
}

func readNode(file string) *yaml.Node {
	src, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	var doc yaml.Node
	if yaml.Unmarshal(src, &doc) != nil || len(doc.Content) == 0 {
		return nil
	}
	return doc.Content[0]
}

// pathRE matches one step of a setting's path.
var pathRE = regexp.MustCompile(`\[(\d+)\]|[^.\[]+`)

// of is the file and, as far as it can be found, the line of a finding.
func (p templatePlaces) of(f alertmanager.TemplateFinding) string {
	n, path := p.root, f.Field
	if f.Receiver != "" {
		n, path = nil, f.Integration+"."+strings.TrimSuffix(f.Field, " (name)")
		if receivers := child(p.root, "receivers"); receivers != nil {
			for _, r := range receivers.Content {
				if name := child(r, "name"); name != nil && name.Value == f.Receiver {
					n = r
				}
			}
		}
	}
	line := 0
	for path != "" && n != nil {
		line = n.Line
		step := pathRE.FindStringSubmatchIndex(path)
		if step == nil {
			break
		}
		if step[2] >= 0 {
			i, err := strconv.Atoi(path[step[2]:step[3]])
			if n = resolve(n); err != nil || n.Kind != yaml.SequenceNode || i >= len(n.Content) {
				break
			}
			n, path = n.Content[i], path[step[1]:]
			continue
		}
		var rest string
		n, rest = descend(n, strings.TrimPrefix(path, "."))
		path = rest
	}
	if n != nil {
		line = n.Line
	}
	if line == 0 {
		return p.file
	}
	return fmt.Sprintf("%s:%d", p.file, line)
}

// descend goes from a mapping to the value whose name the path begins with;
// names may contain dots.
func descend(n *yaml.Node, path string) (*yaml.Node, string) {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		return nil, ""
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		rest, ok := strings.CutPrefix(path, n.Content[i].Value)
		if ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return n.Content[i+1], strings.TrimPrefix(rest, ".")
		}
	}
	return nil, ""
}

func child(n *yaml.Node, name string) *yaml.Node {
	if n == nil {
		return nil
	}
	value, rest := descend(n, name)
	if rest != "" {
		return nil
	}
	return value
}

// resolve follows an alias.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}
