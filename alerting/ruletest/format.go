package ruletest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"go.yaml.in/yaml/v3"
)

// testFile is a file of tests.
type testFile struct {
	RuleFiles          []string       `yaml:"rule_files"`
	EvaluationInterval model.Duration `yaml:"evaluation_interval"`
	GroupEvalOrder     []string       `yaml:"group_eval_order"`
	Tests              []test         `yaml:"tests"`
	FuzzyCompare       bool           `yaml:"fuzzy_compare"`
}

// test is series and what must come of them.
type test struct {
	Name           string         `yaml:"name"`
	Interval       model.Duration `yaml:"interval"`
	StartTimestamp timestamp      `yaml:"start_timestamp"`
	InputSeries    []series       `yaml:"input_series"`
	AlertRuleTests []alertTest    `yaml:"alert_rule_test"`
	ExprTests      []exprTest     `yaml:"promql_expr_test"`
	ExternalLabels labels.Labels  `yaml:"external_labels"`
	ExternalURL    string         `yaml:"external_url"`
}

type series struct {
	Series string `yaml:"series"`
	Values string `yaml:"values"`
}

// alertTest says which alerts of a name fire at a time.
type alertTest struct {
	EvalTime  model.Duration  `yaml:"eval_time"`
	Alertname string          `yaml:"alertname"`
	ExpAlerts []expectedAlert `yaml:"exp_alerts"`
}

type expectedAlert struct {
	Labels      map[string]string `yaml:"exp_labels"`
	Annotations map[string]string `yaml:"exp_annotations"`
}

// exprTest says what an expression gives at a time.
type exprTest struct {
	Expr       string           `yaml:"expr"`
	EvalTime   model.Duration   `yaml:"eval_time"`
	ExpSamples []expectedSample `yaml:"exp_samples"`
}

type expectedSample struct {
	Labels string  `yaml:"labels"`
	Value  float64 `yaml:"value"`
	// Histogram, when there is one, is what counts instead of Value.
	Histogram string `yaml:"histogram"`
}

// timestamp is a Unix time in seconds or a time as of RFC 3339.
type timestamp struct{ time.Time }

// UnmarshalYAML takes both forms.
func (t *timestamp) UnmarshalYAML(node *yaml.Node) error {
	var s string
	if err := node.Decode(&s); err != nil {
		return err
	}
	if seconds, err := strconv.ParseFloat(s, 64); err == nil {
		// What lies outside of the years that RFC 3339 can write is a mistake.
		if !(math.Abs(seconds) < 253_402_300_800) {
			return fmt.Errorf("line %d: start_timestamp %s is not in the years 1 to 9999", node.Line, s)
		}
		whole, rest := math.Modf(seconds)
		t.Time = time.Unix(int64(whole), int64(rest*float64(time.Second))).UTC()
		return nil
	}
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return fmt.Errorf("line %d: start_timestamp %q is neither a Unix time nor a time like 2021-01-01T00:00:00Z", node.Line, s)
	}
	t.Time = at
	return nil
}

// defaultInterval is between two evaluations where the file names none.
const defaultInterval = model.Duration(time.Minute)

// parseFile parses a file of tests; fields that it does not know are errors, as in promtool.
func parseFile(content []byte) (*testFile, error) {
	var f testFile
	d := yaml.NewDecoder(bytes.NewReader(content))
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if f.EvaluationInterval == 0 {
		f.EvaluationInterval = defaultInterval
	}
	for i := range f.Tests {
		if f.Tests[i].Interval == 0 {
			f.Tests[i].Interval = f.EvaluationInterval
		}
	}
	return &f, nil
}

// ruleFiles are the files that rule_files names, relative to the test file at path. A pattern that matches nothing
// is a warning only; the tests tell what is missing.
func (f *testFile) ruleFiles(path string, builtin map[string]string) (files, warnings []string, err error) {
	for _, pattern := range f.RuleFiles {
		if _, ok := builtin[pattern]; ok {
			files = append(files, pattern)
			continue
		}
		if pattern != "" && !filepath.IsAbs(pattern) {
			pattern = filepath.Join(filepath.Dir(path), pattern)
		}
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, warnings, fmt.Errorf("rule_files: %q: %w", pattern, err)
		}
		if len(found) == 0 {
			warnings = append(warnings, "no file matches rule_files entry "+strconv.Quote(pattern))
		}
		files = append(files, found...)
	}
	return files, warnings, nil
}

// last is the latest time that a test of t asks for; the rules are evaluated until then.
func (t *test) last() time.Duration {
	var last model.Duration
	for _, a := range t.AlertRuleTests {
		last = max(last, a.EvalTime)
	}
	for _, e := range t.ExprTests {
		last = max(last, e.EvalTime)
	}
	return time.Duration(last)
}

// readFile reads a file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, limit)
	}
	return content, nil
}
