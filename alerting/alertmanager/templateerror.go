package alertmanager

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var (
	templatePlaceRE = regexp.MustCompile(`^(?:html/)?template: ?([^:]*):(\d+)(?::\d+)?: `)
	executingRE     = regexp.MustCompile(`(?s)executing "([^"]*)" at <(.*?)>: (.*)$`)
	noFieldRE       = regexp.MustCompile(`can't evaluate field (\w+) in type (\S+)`)
	noFunctionRE    = regexp.MustCompile(`^function ("[^"]*") not defined$`)
)

// explainSyntax says what is wrong with a template that cannot be parsed.
func explainSyntax(text string) string {
	line := ""
	if m := templatePlaceRE.FindStringSubmatch(text); m != nil {
		text = text[len(m[0]):]
		if m[2] != "1" {
			line = "line " + m[2] + " of the template: "
		}
	}
	if m := noFunctionRE.FindStringSubmatch(text); m != nil {
		return line + "function " + m[1] + " is not defined: use one that Alertmanager has"
	}
	if strings.HasPrefix(text, "bad character U+002D") || strings.HasPrefix(text, "bad number syntax") {
		return line + text + `: write names that are not letters, digits and _ as {{ index .Annotations "a-name" }}`
	}
	return line + text + ": correct the template"
}

// explainFailure says why a template fails when it is rendered.
func explainFailure(text string) string {
	m := executingRE.FindStringSubmatch(text)
	if m == nil {
		return strings.TrimPrefix(text, "template: ") + ": correct the template"
	}
	where := "{{ " + m[2] + " }}"
	if m[1] != "" {
		where += fmt.Sprintf(" in template %q", m[1])
	}
	if f := noFieldRE.FindStringSubmatch(m[3]); f != nil {
		owner, advice := strings.TrimPrefix(f[2], "*"), "use a field of Alertmanager's notification data"
		switch owner {
		case "template.Data":
			owner = "the notification"
			if f[1] == "Labels" || f[1] == "Annotations" {
				advice = "use .Common" + f[1] + ", or range over .Alerts"
			} else if slices.Contains([]string{"StartsAt", "EndsAt", "GeneratorURL", "Fingerprint"}, f[1]) {
				advice = "range over .Alerts"
			}
		case "template.Alert":
			owner = "an alert"
		case "template.Alerts", "[]template.Alert":
			owner, advice = "the list of alerts", "range over it"
		}
		return fmt.Sprintf("%s: %s has no field %s: %s", where, owner, f[1], advice)
	}
	return where + ": " + m[3] + ": correct the template"
}
