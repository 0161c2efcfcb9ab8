package rulecheck

import (
	"bytes"
	"strings"

	"go.yaml.in/yaml/v3"
)

// places knows the lines of a rule file's expressions.
type places struct {
	lines []string
	rules [][]span // By group and rule.
}

// span are the lines that an expression takes, from the first one to before the last one, counted from 0.
type span struct{ from, to int }

// newPlaces finds the expressions in content. Where it does not parse, or is empty, no line is known.
func newPlaces(content []byte) places {
	var file struct {
		Groups []struct {
			Rules []yaml.Node `yaml:"rules"`
		} `yaml:"groups"`
	}
	if len(content) == 0 || yaml.Unmarshal(content, &file) != nil {
		return places{}
	}
	p := places{lines: strings.Split(string(bytes.TrimRight(content, "\n")), "\n")}
	for _, g := range file.Groups {
		var of []span
		for i := range g.Rules {
			of = append(of, exprSpan(&g.Rules[i], len(p.lines)))
		}
		p.rules = append(p.rules, of)
	}
	return p
}

// exprSpan is where the expression of a rule stands: from its own line to the key after it, or to the end.
func exprSpan(rule *yaml.Node, end int) span {
	if rule.Kind == yaml.AliasNode {
		rule = rule.Alias
	}
	s := span{from: rule.Line - 1, to: rule.Line}
	for i := 0; i+1 < len(rule.Content); i += 2 {
		if rule.Content[i].Value == "expr" {
			s = span{from: rule.Content[i].Line - 1, to: end}
			if i+2 < len(rule.Content) {
				s.to = max(s.from+1, rule.Content[i+2].Line-1)
			}
		}
	}
	return s
}

// line is where word stands in the expression of a rule, or where the expression begins; counted from 1, and 0 when
// it is not known.
func (p places) line(group, rule int, word string) int {
	if group >= len(p.rules) || rule >= len(p.rules[group]) {
		return 0
	}
	s := p.rules[group][rule]
	for i := s.from; i < min(s.to, len(p.lines)); i++ {
		if word != "" && strings.Contains(p.lines[i], word) {
			return i + 1
		}
	}
	return s.from + 1
}
