package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity says what follows from a finding.
type Severity string

const (
	// Error is the severity of settings that cannot work: check fails.
	Error Severity = "error"
	// Warning is the severity of settings that are valid but hardly intended: check --strict fails.
	Warning Severity = "warning"
	// Hint is the severity of settings that may be intended: check prints them and passes.
	Hint Severity = "hint"
)

// Finding is one problem of a valid configuration.
type Finding struct {
	Severity Severity
	// Place is the file and the line, or the file alone; empty if neither is known.
	Place string
	// Setting is the full name: alertmanager.route.repeat_interval. It may be empty.
	Setting string
	Problem string
	// Remedy is what to do; it may be empty.
	Remedy string
}

// String returns the finding as one line. Errors do not name their severity.
func (f Finding) String() string {
	parts := []string{f.Place, string(f.Severity), f.Setting, f.Problem, f.Remedy}
	if f.Severity == Error {
		parts[1] = ""
	}
	parts = slices.DeleteFunc(parts, func(s string) bool { return s == "" })
	return strings.Join(strings.Fields(strings.Join(parts, ": ")), " ")
}

// Path leads to a setting: the keys of mappings (string) and the indexes of lists (int), from the top of hancock.yml or
// of the Document that is its first element.
type Path []any

// At returns the path of a setting below p. It shares nothing with p.
func (p Path) At(below ...any) Path { return append(slices.Clone(p), below...) }

// String returns the setting's name: prometheus.scrape_configs[1].job_name.
func (p Path) String() string {
	var b strings.Builder
	for _, step := range p {
		switch step := step.(type) {
		case int:
			fmt.Fprintf(&b, "[%d]", step)
		case string:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(step)
		}
	}
	return b.String()
}

// Finding returns a finding on the setting at path, with the line of the setting or of the nearest section around it.
func (c Config) Finding(severity Severity, path Path, problem, remedy string) Finding {
	place, _ := c.Sources.Place(path)
	return Finding{severity, place, path.String(), problem, remedy}
}

// SortFindings puts errors before warnings and those before hints.
func SortFindings(findings []Finding) {
	order := []Severity{Error, Warning, Hint}
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Compare(slices.Index(order, a.Severity), slices.Index(order, b.Severity))
	})
}
