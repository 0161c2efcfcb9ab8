package config

import (
	"fmt"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"
)

// Sources are the documents that a configuration was read from. They know the lines of its settings. Nil knows none.
type Sources struct {
	main     document
	sections map[string]document // prometheus and alertmanager, where they have files of their own
}

// add keeps a section that has a file of its own.
func (s *Sources) add(name string, of *section) {
	if !of.inline {
		s.sections[name] = newDocument(of.path, []byte(of.text))
	}
}

// document is one YAML file.
type document struct {
	path string
	root *yaml.Node
}

func newDocument(path string, text []byte) document {
	d := document{path: path, root: &yaml.Node{}}
	if yaml.Unmarshal(text, d.root) != nil {
		d.root = nil // An error of another package's parser is that package's to report.
	}
	return d
}

// place returns the line of the node at steps below node, or of the last one on the way that exists.
func (d document) place(node *yaml.Node, steps []any) (place string, found bool) {
	line := 0
	for {
		for node != nil && (node.Kind == yaml.AliasNode || node.Kind == yaml.DocumentNode) {
			if node.Kind == yaml.AliasNode {
				node = node.Alias
			} else if len(node.Content) > 0 {
				node = node.Content[0]
			}
		}
		if node == nil || len(steps) == 0 {
			break
		}
		keyLine, child := step(node, steps[0])
		if child == nil {
			break
		}
		line, node, steps = keyLine, child, steps[1:]
	}
	if line == 0 {
		return d.path, len(steps) == 0
	}
	return fmt.Sprintf("%s:%d", d.path, line), len(steps) == 0
}

// step returns one child of a mapping or a list, and its line, which in a mapping is that of the key.
func step(node *yaml.Node, to any) (line int, child *yaml.Node) {
	switch to := to.(type) {
	case int:
		if node.Kind == yaml.SequenceNode && to >= 0 && to < len(node.Content) {
			return node.Content[to].Line, node.Content[to]
		}
	case string:
		if node.Kind != yaml.MappingNode {
			return 0, nil
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == to {
				return node.Content[i].Line, node.Content[i+1]
			}
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Tag == "!!merge" {
				return merged(node.Content[i+1], to)
			}
		}
	}
	return 0, nil
}

// merged returns the child that a mapping has from another one, or from the first of several.
func merged(from *yaml.Node, key string) (line int, child *yaml.Node) {
	if from.Kind == yaml.AliasNode {
		from = from.Alias
	}
	if from.Kind != yaml.SequenceNode {
		return step(from, key)
	}
	for _, one := range from.Content {
		if line, child = merged(one, key); child != nil {
			return line, child
		}
	}
	return 0, nil
}

// Place returns file:line of the setting at path, and whether it is written there. If it is not, the place is that of
// the nearest section around it.
func (s *Sources) Place(path Path) (place string, written bool) {
	if s == nil {
		return "", false
	}
	if len(path) > 0 {
		if name, ok := path[0].(string); ok {
			if d, ok := s.sections[name]; ok {
				return d.place(d.root, path[1:])
			}
		}
	}
	return s.main.place(s.main.root, path)
}

// FilePlace is Place in another file, such as one of prometheus.scrape_config_files.
func FilePlace(file string, path Path) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return filepath.Clean(file)
	}
	d := newDocument(file, text)
	place, _ := d.place(d.root, path)
	return place
}
