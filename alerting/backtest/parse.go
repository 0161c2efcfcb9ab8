package backtest

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"go.yaml.in/yaml/v3"

	"github.com/cyberviser/hancock/internal/promqlbound"
)

// group is a group of a rule file.
type group struct {
	file, name string
	interval   time.Duration
	offset     time.Duration
	limit      int
	rules      []*rule
}

// newParser takes what the rules manager takes.
func newParser() parser.Parser {
	return promqlbound.NewParser(parser.Options{ExperimentalDurationExpr: true})
}

// parse reads the rules as the rules manager would. Everything that is wrong is in the error, with file and line.
func parse(r Request) ([]*group, error) {
	p := newParser()
	var (
		groups []*group
		wrong  []string
		names  []string
	)
	for _, f := range r.Files {
		if slices.Contains(names, f.Name) {
			return nil, badRequest("two rule files are named %q", f.Name)
		}
		names = append(names, f.Name)
		parsed, errs := rulefmt.Parse([]byte(f.Text), false, model.UTF8Validation, p, slog.New(slog.DiscardHandler))
		for _, err := range errs {
			for _, line := range located(f, err) {
				if !slices.Contains(wrong, line) {
					wrong = append(wrong, line)
				}
			}
		}
		if len(errs) > 0 {
			continue
		}
		for i := range parsed.Groups {
			g, err := newGroup(f.Name, &parsed.Groups[i], r, p)
			if err != nil {
				return nil, &RequestError{Reason: err.Error(), Syntax: true}
			}
			groups = append(groups, g)
		}
	}
	if len(wrong) > 0 {
		return nil, &RequestError{Reason: strings.Join(wrong, "\n"), Syntax: true}
	}
	// The manager's order: by file and name.
	slices.SortFunc(groups, func(a, b *group) int {
		return strings.Compare(rules.GroupKey(a.file, a.name), rules.GroupKey(b.file, b.name))
	})
	if len(groups) == 0 {
		return nil, badRequest("there are no rules to replay")
	}
	return groups, nil
}

func newGroup(file string, parsed *rulefmt.RuleGroup, r Request, p parser.Parser) (*group, error) {
	g := &group{file: file, name: parsed.Name, interval: time.Duration(parsed.Interval), offset: r.QueryOffset, limit: parsed.Limit}
	if g.interval == 0 {
		g.interval = r.Interval
	}
	if parsed.QueryOffset != nil {
		g.offset = time.Duration(*parsed.QueryOffset)
	}
	if g.interval < 0 || g.offset < 0 {
		return nil, fmt.Errorf("%s: group %q: interval and query_offset must not be negative", file, g.name)
	}
	logger := slog.New(slog.DiscardHandler)
	for i, pr := range parsed.Rules {
		expr, err := p.ParseExpr(pr.Expr)
		if err != nil {
			return nil, fmt.Errorf("%s: group %q, rule %d: %w", file, g.name, i+1, err)
		}
		out := &rule{
			group: g, index: i, expr: expr, text: expr.String(), labels: rules.FromMaps(parsed.Labels, pr.Labels),
			annotations: labels.FromMap(pr.Annotations), quiet: true, mostSteps: max(int(window/g.interval), minSteps),
		}
		out.maxSteps = min(out.mostSteps, firstSteps)
		if pr.Alert == "" {
			out.impl = rules.NewRecordingRule(pr.Record, expr, out.labels)
			g.rules = append(g.rules, out)
			continue
		}
		// Nearly all the time of an evaluation goes into templates. What becomes of an alert does not depend on its
		// annotations, so they are expanded only for alerts that are listed; and labels are put on what the query finds.
		out.alert = rules.NewAlertingRule(pr.Alert, expr, time.Duration(pr.For), time.Duration(pr.KeepFiringFor), labels.EmptyLabels(),
			labels.EmptyLabels(), r.ExternalLabels, r.ExternalURL.String(), true, logger)
		out.labels.Range(func(l labels.Label) { out.templated = out.templated || isTemplate(l.Value) })
		out.impl = out.alert
		g.rules = append(g.rules, out)
	}
	return g, nil
}

// placeRE takes the place off the front of what the parsers say: "yaml: line 3: ", "line 3: ", "3:5: ", "3:5: 4:1: ".
var placeRE = regexp.MustCompile(`^(?:yaml: )?(?:unmarshal errors: )?(?:line (\d+): |(\d+:\d+): (?:\d+:\d+: )?)?`)

// located are the errors in err, each on a line with file and line before it.
func located(f File, err error) []string {
	texts := []string{err.Error()}
	if te, ok := errors.AsType[*yaml.TypeError](err); ok {
		texts = te.Errors
	}
	var out []string
	for _, text := range texts {
		text = strings.Join(strings.Fields(text), " ")
		found := placeRE.FindStringSubmatch(text)
		place, what := found[1]+found[2], text[len(found[0]):]
		if place == "" || place == "0:0" {
			place = lookUp(f.Text, err, what)
		}
		if place != "" {
			place = ":" + place
		}
		out = append(out, f.Name+place+": "+what)
	}
	return out
}

// lookUp finds the line of an error that came without one: that of the rule it names, or of a duration that does not
// parse. It is empty when there is none.
func lookUp(text string, err error, what string) string {
	var doc yaml.Node
	if yaml.Unmarshal([]byte(text), &doc) != nil {
		return ""
	}
	if re, ok := errors.AsType[*rulefmt.Error](err); ok {
		var file struct {
			Groups []struct {
				Name  string      `yaml:"name"`
				Rules []yaml.Node `yaml:"rules"`
			} `yaml:"groups"`
		}
		if doc.Decode(&file) == nil {
			for _, g := range file.Groups {
				if g.Name == re.Group && re.Rule >= 1 && re.Rule <= len(g.Rules) {
					return strconv.Itoa(g.Rules[re.Rule-1].Line)
				}
			}
		}
		return ""
	}
	return durationLine(&doc, what)
}

func durationLine(node *yaml.Node, what string) string {
	for i, child := range node.Content {
		if node.Kind == yaml.MappingNode && i%2 == 1 && child.Kind == yaml.ScalarNode {
			switch node.Content[i-1].Value {
			case "for", "keep_firing_for", "interval", "query_offset":
				if _, err := model.ParseDuration(child.Value); err != nil && err.Error() == what {
					return strconv.Itoa(child.Line)
				}
			}
		}
		if line := durationLine(child, what); line != "" {
			return line
		}
	}
	return ""
}
