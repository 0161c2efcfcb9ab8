package alerting

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"go.yaml.in/yaml/v3"
)

// located puts the file and the line before each error, one line of text each. Prometheus knows the place of most
// of what is wrong, and begins with it; the rest is looked up here.
func located(file string, content []byte, errs []error) []error {
	var lines []string
	for _, err := range errs {
		texts := []string{err.Error()}
		if te, ok := errors.AsType[*yaml.TypeError](err); ok {
			texts = te.Errors
		}
		for _, text := range texts {
			place, what := splitPlace(text)
			if place == "" {
				place = findPlace(content, err, what)
			}
			if place != "" {
				place = ":" + place
			}
			// The parser reads each file twice and says some things twice.
			if line := file + place + ": " + what; !slices.Contains(lines, line) {
				lines = append(lines, line)
			}
		}
	}
	out := make([]error, len(lines))
	for i, line := range lines {
		out[i] = errors.New(line)
	}
	return out
}

// splitPlace takes the place from the front of what the parsers say, in any of its forms: "yaml: line 3: ",
// "line 3: ", "3:5: ", "3:5: 3:5: "; 0:0 is none.
func splitPlace(text string) (place, what string) {
	text = strings.Join(strings.Fields(text), " ")
	found := regexp.MustCompile(`^(?:yaml: )?(?:unmarshal errors: )?(?:line (\d+): |(\d+:\d+): (?:\d+:\d+: )?)?`).
		FindStringSubmatch(text)
	what = text[len(found[0]):]
	place = found[1] + found[2]
	if place == "0:0" {
		place = ""
	}
	return place, what
}

// ruleNodes is a rule file, as far as its places matter.
type ruleNodes struct {
	Groups []yaml.Node `yaml:"groups"`
}

type groupNodes struct {
	Name  string      `yaml:"name"`
	Rules []yaml.Node `yaml:"rules"`
}

// findPlace looks for the line of an error that came without one: of a rule, of a group with a wrong name, or of a
// duration. It is empty when none fits.
func findPlace(content []byte, err error, what string) string {
	var file ruleNodes
	if yaml.Unmarshal(content, &file) != nil {
		return ""
	}
	wrongRule, _ := errors.AsType[*rulefmt.Error](err)
	names := map[string]bool{}
	for i := range file.Groups {
		node := &file.Groups[i]
		if wrongRule == nil {
			if line := wrongDuration(node, what); line > 0 {
				return strconv.Itoa(line)
			}
		}
		var group groupNodes
		if node.Decode(&group) != nil {
			continue
		}
		switch {
		case wrongRule != nil:
			if n := wrongRule.Rule; group.Name == wrongRule.Group && n >= 1 && n <= len(group.Rules) {
				return strconv.Itoa(group.Rules[n-1].Line)
			}
		case group.Name == "" && strings.Contains(what, "must not be empty"),
			names[group.Name] && strings.Contains(what, fmt.Sprintf("groupname: %q is repeated", group.Name)):
			return strconv.Itoa(node.Line)
		}
		names[group.Name] = true
	}
	return ""
}

// wrongDuration is the line of the first duration below node whose error is what, or 0.
func wrongDuration(node *yaml.Node, what string) int {
	for i, child := range node.Content {
		if node.Kind == yaml.MappingNode && i%2 == 1 && child.Kind == yaml.ScalarNode {
			switch node.Content[i-1].Value {
			case "for", "keep_firing_for", "interval", "query_offset":
				if _, err := model.ParseDuration(child.Value); err != nil && err.Error() == what {
					return child.Line
				}
			}
		}
		if line := wrongDuration(child, what); line > 0 {
			return line
		}
	}
	return 0
}
