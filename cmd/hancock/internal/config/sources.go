package config

import (
	"fmt"
	"os"

	"go.yaml.in/yaml/v3"
)

// Sources are the documents that a configuration was read from. They know the lines of its settings. Nil knows none.
type Sources struct {
	main     *Document
	sections map[string]*Document // prometheus and alertmanager, where they have files of their own
}

// Place returns file:line of the setting at path, and whether it is written there. If it is not, the place is that of
// the nearest section around it.
func (s *Sources) Place(path Path) (place string, written bool) {
	if len(path) > 0 {
		if d, ok := path[0].(*Document); ok {
			return d.Place(path[1:])
		}
	}
	if s == nil {
		return "", false
	}
	if len(path) > 0 {
		if name, ok := path[0].(string); ok && s.sections[name] != nil {
			return s.sections[name].Place(path[1:])
		}
	}
	return s.main.Place(path)
}

// add keeps a section that has a file of its own.
func (s *Sources) add(name string, of *section) {
	if !of.inline {
		s.sections[name] = ParseDocument(of.path, []byte(of.text))
	}
}

// Document is one YAML file with the lines of what is written in it.
type Document struct {
	name string
	root *yaml.Node
}

// ParseDocument reads text. Of a text that is not YAML it knows the name only.
func ParseDocument(name string, text []byte) *Document {
	d := &Document{name: name, root: &yaml.Node{}}
	if yaml.Unmarshal(text, d.root) != nil {
		d.root = nil
	}
	return d
}

// ReadDocument is ParseDocument of a file, which may be missing.
func ReadDocument(file string) *Document {
	text, err := os.ReadFile(file)
	if err != nil {
		return &Document{name: file}
	}
	return ParseDocument(file, text)
}

// Place is Sources.Place in this document.
func (d *Document) Place(path Path) (place string, written bool) {
	line, _, written := d.find(path)
	if line == 0 {
		return d.name, written
	}
	return fmt.Sprintf("%s:%d", d.name, line), written
}

// Len returns the number of entries of the list at path; 0 if there is none.
func (d *Document) Len(path Path) int {
	if _, node, ok := d.find(path); ok && node != nil && node.Kind == yaml.SequenceNode {
		return len(node.Content)
	}
	return 0
}

// find returns the node at path and its line, or the last one on the way that exists.
func (d *Document) find(path Path) (line int, node *yaml.Node, found bool) {
	node = resolve(d.root)
	for _, to := range path {
		keyLine, child := step(node, to)
		if child == nil {
			return line, node, false
		}
		line, node = keyLine, resolve(child)
	}
	return line, node, true
}

// resolve returns the node that an alias or a document stands for.
func resolve(node *yaml.Node) *yaml.Node {
	if node != nil && node.Kind == yaml.DocumentNode && len(node.Content) > 0 {
		node = node.Content[0]
	}
	if node != nil && node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	return node
}

// step returns one child of a mapping or a list, and its line, which in a mapping is that of the key.
func step(node *yaml.Node, to any) (line int, child *yaml.Node) {
	if node == nil {
		return 0, nil
	}
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
				return merged(resolve(node.Content[i+1]), to)
			}
		}
	}
	return 0, nil
}

// merged returns the child that a mapping has from another one, or from the first of several.
func merged(from *yaml.Node, key string) (line int, child *yaml.Node) {
	if from.Kind != yaml.SequenceNode {
		return step(from, key)
	}
	for _, one := range from.Content {
		if line, child = step(resolve(one), key); child != nil {
			return line, child
		}
	}
	return 0, nil
}
