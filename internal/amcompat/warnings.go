package amcompat

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/prometheus/alertmanager/matcher/compat"
	"go.yaml.in/yaml/v3"
)

// Warning is a matcher of a configuration that has its meaning only in the classic syntax.
type Warning struct {
	// Path leads to the matcher: keys of mappings (string) and indexes of lists (int).
	Path []any
	// Problem says what is wrong, Remedy what to write instead.
	Problem, Remedy string
}

// Warnings returns the matchers of an Alertmanager configuration that are parsed in the classic syntax because the UTF-8
// syntax refuses them or gives them another meaning. The text must be a valid configuration; of any other it returns
// what it finds.
func Warnings(text string) []Warning {
	var doc yaml.Node
	if yaml.Unmarshal([]byte(text), &doc) != nil || len(doc.Content) == 0 {
		return nil
	}
	var found []Warning
	walk(doc.Content[0], nil, func(path []any, matcher string) {
		if problem, remedy := classic(matcher); problem != "" {
			found = append(found, Warning{path, problem, remedy})
		}
	})
	return found
}

// walk calls visit for each matcher of the routes and the inhibition rules below n.
func walk(n *yaml.Node, path []any, visit func(path []any, matcher string)) {
	at := func(step any) []any { return append(slices.Clone(path), step) }
	switch n.Kind {
	case yaml.SequenceNode:
		for i, child := range n.Content {
			walk(child, at(i), visit)
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			switch key, value := n.Content[i].Value, n.Content[i+1]; key {
			case "route", "routes", "inhibit_rules":
				walk(value, at(key), visit)
			case "matchers", "source_matchers", "target_matchers":
				for j, m := range resolve(value).Content {
					visit(append(at(key), j), resolve(m).Value)
				}
			}
		}
	}
}

func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// classic says what is wrong with a matcher that is parsed in the classic syntax. It returns nothing for any other.
func classic(input string) (problem, remedy string) {
	noted := &noted{}
	parsed, err := compat.FallbackMatchersParser(slog.New(noted))(input, "config")
	if err != nil || !noted.fallback {
		return "", ""
	}
	var better []string
	for _, m := range parsed {
		better = append(better, m.String())
	}
	problem = "is only valid in the classic syntax of matchers"
	if noted.differs {
		problem = "has one meaning in the classic syntax of matchers, which applies, and another in the UTF-8 syntax"
	}
	return fmt.Sprintf("%s %s", input, problem), "write " + strings.Join(better, ", ")
}

// noted is a handler that keeps whether the parser fell back to the classic syntax, and whether it did so because the
// two syntaxes disagree.
type noted struct{ fallback, differs bool }

// Enabled implements slog.Handler.
func (*noted) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// Handle implements slog.Handler.
func (n *noted) Handle(_ context.Context, r slog.Record) error {
	n.fallback, n.differs = true, true
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "err" { // What the UTF-8 syntax refuses it with.
			n.differs = false
		}
		return true
	})
	return nil
}

// WithAttrs implements slog.Handler. The parser adds none.
func (n *noted) WithAttrs([]slog.Attr) slog.Handler { return n }

// WithGroup implements slog.Handler. The parser has none.
func (n *noted) WithGroup(string) slog.Handler { return n }
