package alerting

import (
	_ "embed"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/cyberviser/hancock/internal/promqlbound"
)

// BuiltinFile is the name under which the embedded rules appear where rules are listed. No such file is read.
const BuiltinFile = "builtin:rules.yml"

//go:embed rules.yml
var builtin string

// Builtin is the text of the embedded rules, without a choice; Options.Rules is
// what is evaluated.
func Builtin() string { return builtin }

// RuleFiles are the rule files that options name.
type RuleFiles struct {
	Files []File
	// LongestInterval is the longest time between two evaluations of a group.
	LongestInterval time.Duration
	set             ruleSet
}

// Read returns the rule files that o names, all of which parse. The error has a line for each thing that is wrong,
// which names the file, the line, the group and the rule.
func Read(o Options) (RuleFiles, error) {
	in, err := load(o, slog.New(slog.DiscardHandler))
	if err != nil {
		return RuleFiles{}, err
	}
	read := RuleFiles{Files: in.texts, LongestInterval: o.EvaluationInterval, set: in}
	for _, file := range in.groups {
		for _, g := range file.Groups {
			read.LongestInterval = max(read.LongestInterval, time.Duration(g.Interval))
		}
	}
	return read, nil
}

// Alerts are the rules that raise an alert of this name.
func (r *RuleFiles) Alerts(name string) (rules []rulefmt.Rule) {
	for _, file := range r.set.files {
		for _, g := range r.set.groups[file].Groups {
			for _, rule := range g.Rules {
				if rule.Alert == name {
					rules = append(rules, rule)
				}
			}
		}
	}
	return rules
}

// Check tells the error of Read.
func Check(o Options) error {
	_, err := Read(o)
	return err
}

// files are the rule files that exist now, each once.
func (o Options) files() ([]string, error) {
	var files []string
	if o.BuiltinRules {
		files = append(files, BuiltinFile)
	}
	for _, pattern := range o.RuleFiles {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("rule files %q: %w", pattern, err)
		}
		if len(found) == 0 && !strings.ContainsAny(pattern, `*?[\`) {
			return nil, fmt.Errorf("rule file %s: %w", pattern, fs.ErrNotExist)
		}
		for _, f := range found {
			if !slices.Contains(files, f) {
				files = append(files, f)
			}
		}
	}
	return files, nil
}

// File is a rule file as it was read.
type File struct {
	// Name is its path, or BuiltinFile.
	Name string
	Text string
}

// loader knows the embedded rules besides files.
type loader struct {
	parser parser.Parser
	logger *slog.Logger
}

func newLoader(logger *slog.Logger) loader {
	return loader{parser: promqlbound.NewParser(parser.Options{ExperimentalDurationExpr: true}), logger: logger}
}

// read parses one file, or the embedded rules as o has them.
func (l loader) read(file string, o Options) (text string, _ *rulefmt.RuleGroups, _ []error) {
	var content []byte
	var err error
	if file == BuiltinFile {
		text, err = o.Rules()
		content = []byte(text)
	} else {
		content, err = os.ReadFile(file)
	}
	if err != nil {
		return "", nil, []error{fmt.Errorf("rule file: %w", err)}
	}
	if text == builtin {
		// Tests check these. Checking them takes a tenth of a start.
		groups := new(rulefmt.RuleGroups)
		if err := yaml.Unmarshal(content, groups); err != nil {
			return "", nil, []error{fmt.Errorf("reading the built-in rules: %w", err)}
		}
		return text, groups, nil
	}
	groups, errs := rulefmt.Parse(content, false, model.UTF8Validation, l.parser, l.logger)
	if len(errs) == 0 {
		return string(content), groups, nil
	}
	return "", nil, located(file, content, errs)
}

// Parse parses one expression.
func (l loader) Parse(query string) (parser.Expr, error) { return l.parser.ParseExpr(query) }
