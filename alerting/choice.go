package alerting

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/timeinterval"
	"github.com/prometheus/prometheus/util/strutil"
	"go.yaml.in/yaml/v3"
)

// TrafficAlert is the built-in alert that Choice.TrafficHours limits.
const TrafficAlert = "HancockNoTraffic"

// heartbeatAlert always fires.
const heartbeatAlert = "Watchdog"

// Choice says which built-in alerts are evaluated, and how.
type Choice struct {
	// Disabled are the alerts that are not evaluated.
	Disabled []string
	// Severity replaces the label severity, by alert.
	Severity map[string]string
	// TrafficHours are the times at which the absence of requests is an alert.
	// Without any, it always is.
	TrafficHours []timeinterval.TimeInterval
}

// Validate reports every name that is not a built-in alert's, and every severity
// that cannot be set.
func (c Choice) Validate() error {
	if len(c.Disabled) == 0 && len(c.Severity) == 0 {
		return nil
	}
	names := builtinNames()
	var errs []error
	for _, name := range c.Disabled {
		errs = append(errs, known("alerting.disabled", name, names))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Severity)) {
		err := known("alerting.severity", name, names)
		switch {
		case err != nil:
		case name == heartbeatAlert:
			err = fmt.Errorf("alerting.severity: %s is the heartbeat, not a problem of any severity: remove it", name)
		case strings.TrimSpace(c.Severity[name]) == "":
			err = fmt.Errorf("alerting.severity: the severity of %s is empty: set one, such as warning", name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// known returns an error with the nearest names if name is none of names.
func known(setting, name string, names []string) error {
	if slices.Contains(names, name) {
		return nil
	}
	short := func(s string) string { return strings.TrimPrefix(strings.ToLower(s), "hancock") }
	matcher := strutil.NewJaroWinklerMatcher(short(name))
	var near []string
	for _, n := range names {
		if matcher.Score(short(n)) > 0.8 {
			near = append(near, n)
		}
	}
	slices.SortStableFunc(near, func(a, b string) int { return cmp.Compare(matcher.Score(short(b)), matcher.Score(short(a))) })
	hint := "see hancock rules"
	if len(near) > 0 {
		hint = "did you mean " + strings.Join(near[:min(len(near), 3)], " or ") + "?"
	}
	return fmt.Errorf("%s: no built-in alert is named %q: %s", setting, name, hint)
}

func builtinNames() (names []string) {
	for _, m := range regexp.MustCompile(`(?m)^ *- alert: (\S+)$`).FindAllStringSubmatch(builtin, -1) {
		names = append(names, m[1])
	}
	return names
}

// Rules is the text of the built-in rules as o has them: a rule file, which may
// be without groups.
func (o Options) Rules() (string, error) {
	if !o.BuiltinRules {
		return "groups: []\n", nil
	}
	if err := o.Choice.Validate(); err != nil {
		return "", err
	}
	return o.Choice.apply(builtin, time.Now())
}

// externalURLRE is the template function that another Prometheus would fill in
// with its own address.
var externalURLRE = regexp.MustCompile(`\{\{-?\s*\$?externalURL\s*-?\}\}`)

// Export is Rules for another Prometheus: links lead to this server.
func (o Options) Export() (string, error) {
	text, err := o.Rules()
	return externalURLRE.ReplaceAllLiteralString(text, strings.TrimRight(o.externalURL().String(), "/")), err
}

// apply edits the lines of a rule file, so that all others, comments among them,
// stay as they are.
func (c Choice) apply(text string, now time.Time) (string, error) {
	if len(c.Disabled)+len(c.Severity)+len(c.TrafficHours) == 0 {
		return text, nil
	}
	var file ruleNodes
	if err := yaml.Unmarshal([]byte(text), &file); err != nil {
		return "", fmt.Errorf("reading the built-in rules: %w", err)
	}
	e := &lineEditor{lines: strings.Split(strings.TrimRight(text, "\n"), "\n")}
	end := len(e.lines) + 1
	// From the last line to the first, so that lines not yet edited keep their numbers.
	for _, g := range slices.Backward(file.Groups) {
		var group groupNodes
		if err := g.Decode(&group); err != nil {
			return "", fmt.Errorf("reading the built-in rules: %w", err)
		}
		rulesEnd, kept := end, 0
		for _, r := range slices.Backward(group.Rules) {
			name := scalarOf(&r, "alert")
			begin := e.begin(r.Line)
			if slices.Contains(c.Disabled, name) {
				e.replace(begin, rulesEnd)
			} else {
				kept++
				c.edit(e, &r, name, now)
			}
			rulesEnd = begin
		}
		begin := e.begin(g.Line)
		if kept == 0 {
			e.replace(begin, rulesEnd)
		}
		end = begin
	}
	edited := strings.TrimRight(strings.Join(e.lines, "\n"), "\n") + "\n"
	if strings.HasSuffix(edited, "\ngroups:\n") {
		edited = strings.TrimSuffix(edited, "\n") + " []\n"
	}
	return edited, nil
}

// edit changes the severity and the hours of a rule.
func (c Choice) edit(e *lineEditor, rule *yaml.Node, name string, now time.Time) {
	if severity, ok := c.Severity[name]; ok {
		if _, labels, _ := field(rule, "labels"); labels != nil {
			if key, _, end := field(labels, "severity"); key != nil {
				// JSON's strings are YAML's.
				e.replace(key.Line, max(end, key.Line+1), e.indent(key.Line)+fmt.Sprintf("severity: %q", severity))
			}
		}
	}
	hours := hoursExpr(c.TrafficHours, now)
	if name != TrafficAlert || hours == "" {
		return
	}
	key, value, end := field(rule, "expr")
	margin := e.indent(key.Line)
	lines := []string{margin + "# Only within alerting.traffic_hours.", margin + "expr: |-", margin + "  ("}
	for line := range strings.SplitSeq(value.Value, "\n") {
		lines = append(lines, margin+"    "+line)
	}
	lines = append(lines, margin+"  )", margin+"  and on () (")
	for line := range strings.SplitSeq(hours, "\n") {
		lines = append(lines, margin+"    "+line)
	}
	e.replace(key.Line, end, append(lines, margin+"  )")...)
}

// field is a field of a mapping: its key and value, and the line of the next
// field, or 0 of the last one.
func field(mapping *yaml.Node, name string) (key, value *yaml.Node, next int) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value != name {
			continue
		}
		if i+2 < len(mapping.Content) {
			next = mapping.Content[i+2].Line
		}
		return mapping.Content[i], mapping.Content[i+1], next
	}
	return nil, nil, 0
}

func scalarOf(mapping *yaml.Node, name string) string {
	if _, value, _ := field(mapping, name); value != nil {
		return value.Value
	}
	return ""
}

// lineEditor edits lines, whose numbers begin at 1.
type lineEditor struct{ lines []string }

// begin is the first line of the comment above a line, or the line itself.
func (e *lineEditor) begin(line int) int {
	for line > 1 && strings.HasPrefix(strings.TrimSpace(e.lines[line-2]), "#") {
		line--
	}
	return line
}

func (e *lineEditor) indent(line int) string {
	text := e.lines[line-1]
	return text[:len(text)-len(strings.TrimLeft(text, " "))]
}

// replace puts lines in the place of those from first up to, but not including, end.
func (e *lineEditor) replace(first, end int, with ...string) {
	e.lines = slices.Replace(e.lines, first-1, end-1, with...)
}
