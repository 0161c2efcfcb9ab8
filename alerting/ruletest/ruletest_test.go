package ruletest_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cyberviser/hancock/alerting/ruletest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run gives what is written for files, and the verdict.
func run(t *testing.T, o ruletest.Options, files ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := ruletest.Run(t.Context(), &out, files, o)
	return out.String(), err
}

// fixtures are the test files of a folder: *.good.yml succeeds, *.bad.yml fails and begins with "# want: " and an
// expression for what the user is told.
func fixtures(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.yml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

// verdicts are the lines of an output that say how it went.
func verdicts(out string) []string {
	return regexp.MustCompile(`(?m)^  (SUCCESS|FAILED:?)$`).FindAllString(out, -1)
}

func wanted(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	first, _, _ := strings.Cut(string(content), "\n")
	want, ok := strings.CutPrefix(first, "# want: ")
	require.True(t, ok, file)
	return want
}

// TestFixtures has what a user sees of each fixture.
func TestFixtures(t *testing.T) {
	for _, file := range append(fixtures(t, ""), fixtures(t, "newer")...) {
		t.Run(strings.TrimPrefix(file, "testdata/"), func(t *testing.T) {
			out, err := run(t, ruletest.DefaultOptions(), file)
			require.True(t, strings.HasPrefix(out, "Unit Testing:  "+file+"\n"), out)
			if strings.HasSuffix(file, ".good.yml") {
				require.NoError(t, err, out)
				require.Equal(t, []string{"  SUCCESS"}, verdicts(out))
				return
			}
			require.EqualError(t, err, "1 of 1 test files failed", out)
			require.Equal(t, []string{"  FAILED:"}, verdicts(out))
			require.Regexp(t, wanted(t, file), out)
		})
	}
}

// promtool is the path of a promtool.
func promtool(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("PROMTOOL"); path != "" {
		return path
	}
	path, err := exec.LookPath("promtool")
	require.NoError(t, err, "the verdicts are compared with promtool's: please run `export PROMTOOL=$(.ci/promtool)`, which gets one")
	return path
}

// byFile are the verdicts of an output on several files.
func byFile(out string) map[string][]string {
	of := map[string][]string{}
	for _, part := range strings.Split(out, "Unit Testing:  ")[1:] {
		file, _, _ := strings.Cut(part, "\n")
		of[file] = verdicts(part)
	}
	return of
}

// TestSameVerdictAsPromtool asks both for each fixture that promtool 2.42 and later know: first those that promtool
// must find good, so that its exit status is for each of them, then the others.
func TestSameVerdictAsPromtool(t *testing.T) {
	path := promtool(t)
	files := map[string][]string{}
	for _, file := range fixtures(t, "") {
		kind := strings.Split(filepath.Base(file), ".")[1]
		files[kind] = append(files[kind], file)
	}
	for kind, status := range map[string]int{"good": 0, "bad": 1} {
		t.Run(kind, func(t *testing.T) {
			require.NotEmpty(t, files[kind])
			cmd := exec.CommandContext(t.Context(), path, append([]string{"test", "rules"}, files[kind]...)...)
			theirs, err := cmd.CombinedOutput()
			require.NotNil(t, cmd.ProcessState, "promtool did not run: %v", err)
			require.Equal(t, status, cmd.ProcessState.ExitCode(), string(theirs))
			ours, err := run(t, ruletest.DefaultOptions(), files[kind]...)
			require.Equal(t, status == 0, err == nil, ours)
			require.Len(t, byFile(ours), len(files[kind]))
			require.Equal(t, byFile(string(theirs)), byFile(ours), "promtool:\n%s\nhancock:\n%s", theirs, ours)
		})
	}
}

const upTest = `
rule_files: [%s]
tests:
  - name: one
    input_series: [{series: up, values: 0x9}]
    alert_rule_test: [{eval_time: 1m, alertname: Down, exp_alerts: [{}]}]
  - name: two
    input_series: [{series: up, values: 1x9}]
    alert_rule_test: [{eval_time: 1m, alertname: Down, exp_alerts: [{}]}]
`

const upRules = "groups: [{name: g, rules: [{alert: Down, expr: up == 0}]}]\n"

// write puts content into a file of its own.
func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.yml")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func TestOptions(t *testing.T) {
	absolute := write(t, strings.Replace(upRules, "groups", "extra: 1\ngroups", 1))
	for name, tc := range map[string]struct {
		set     func(*ruletest.Options)
		content string
		want    string // In the output.
		err     string // None means success.
	}{
		"built-in rules are known by their name": {
			set: func(o *ruletest.Options) {
				o.Builtin = map[string]string{"builtin:rules.yml": upRules}
				o.Run = []string{"one"}
			},
			content: strings.Replace(upTest, "%s", "'builtin:rules.yml'", 1),
		},
		"without them the name is a file, and there is none": {
			content: strings.Replace(upTest, "%s", "'builtin:rules.yml'", 1),
			want:    "WARNING: no file matches", err: "1 of 1",
		},
		"all tests are run": {
			set:     func(o *ruletest.Options) { o.Builtin = map[string]string{"b": upRules} },
			content: strings.Replace(upTest, "%s", "b", 1),
			want:    "name: two", err: "1 of 1",
		},
		"several expressions": {
			set: func(o *ruletest.Options) {
				o.Builtin = map[string]string{"b": upRules}
				o.Run = []string{"^o", "^t"}
			},
			content: strings.Replace(upTest, "%s", "b", 1),
			want:    "name: two", err: "1 of 1",
		},
		"unknown fields of rule files are errors": {
			content: strings.Replace(upTest, "%s", absolute, 1),
			want:    "extra not found", err: "1 of 1",
		},
		"unless they are to be ignored": {
			set:     func(o *ruletest.Options) { o.IgnoreUnknownFields = true; o.Run = []string{"one"} },
			content: strings.Replace(upTest, "%s", absolute, 1),
		},
		"wrong expression":     {set: func(o *ruletest.Options) { o.Run = []string{"("} }, err: "run: error parsing regexp"},
		"no samples":           {set: func(o *ruletest.Options) { o.MaxSamples = 0 }, err: "max samples"},
		"no evaluations":       {set: func(o *ruletest.Options) { o.MaxEvaluations = 0 }, err: "max evaluations"},
		"no bytes":             {set: func(o *ruletest.Options) { o.MaxFileBytes = 0 }, err: "max file bytes"},
		"test file too long":   {set: func(o *ruletest.Options) { o.MaxFileBytes = 10 }, content: upTest, want: "longer than 10 bytes", err: "1 of 1"},
		"too many evaluations": {set: func(o *ruletest.Options) { o.MaxEvaluations = 1 }, content: strings.Replace(upTest, "%s", "", 1), want: "evaluated 2 times", err: "1 of 1"},
		"too many samples":     {set: func(o *ruletest.Options) { o.MaxSamples = 8 }, content: strings.Replace(upTest, "%s", "", 1), want: "may have 8 samples", err: "1 of 1"},
	} {
		t.Run(name, func(t *testing.T) {
			o := ruletest.DefaultOptions()
			if tc.set != nil {
				tc.set(&o)
			}
			out, err := run(t, o, write(t, tc.content))
			require.Contains(t, out, tc.want)
			if tc.err == "" {
				require.NoError(t, err, out)
				require.NotContains(t, out, "WARNING")
				return
			}
			require.ErrorContains(t, err, tc.err, out)
		})
	}
}

// TestBadInput is what costs too much or never ends where it is believed.
func TestBadInput(t *testing.T) {
	for name, tc := range map[string]struct{ content, want string }{
		"repeated for ever":         {"tests: [{input_series: [{series: a, values: 1+1x99999999999}]}]", "x99999999999 repeats a value too often"},
		"repeated past all numbers": {"tests: [{input_series: [{series: a, values: 1x99999999999999999999999}]}]", "repeats a value too often"},
		"repeated without a value":  {"tests: [{input_series: [{series: a, values: _x9999999}]}]", "repeats a value too often"},
		"repeated often, often":     {"tests: [{input_series: [{series: a, values: 1x1200000}, {series: b, values: 1x1200000}]}]", "repeats a value too often"},
		"repeated in the name":      {"tests: [{input_series: [{series: 'a 1x99999999999', values: 1}]}]", "repeats a value too often"},
		"repeated histogram":        {"tests: [{input_series: [{series: a, values: '{{buckets:[1 2 3 4 5 6 7 8 9 10 11 12 13 14 15]}}x1900000'}]}]", "more than"},
		"repeated in what is expected": {
			"tests: [{promql_expr_test: [{expr: '1', exp_samples: [{labels: a, histogram: '{{}}x99999999999'}]}]}]", "repeats a value too often",
		},
		"evaluated for ever": {"evaluation_interval: 1ms\ntests: [{alert_rule_test: [{alertname: A, eval_time: 290y}]}]", "more than 1000000"},
		"aliases of aliases": {
			"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n" +
				"d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\nrule_files: *f",
			"excessive aliasing|cannot unmarshal|not found",
		},
		"start in no year":   {"tests: [{start_timestamp: 1e300}]", "line 1: start_timestamp 1e300 is not in the years"},
		"start at no number": {"tests: [{start_timestamp: .nan}]", "line 1: start_timestamp"},
		"start at no time":   {"tests: [{start_timestamp: noon}]", `line 1: start_timestamp "noon" is neither`},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := run(t, ruletest.DefaultOptions(), write(t, tc.content))
			require.Error(t, err)
			require.Regexp(t, tc.want, out)
		})
	}
}

func TestFiles(t *testing.T) {
	t.Run("none", func(t *testing.T) {
		_, err := run(t, ruletest.DefaultOptions())
		require.EqualError(t, err, "no test file is named")
	})
	t.Run("one of two is missing", func(t *testing.T) {
		out, err := run(t, ruletest.DefaultOptions(), "testdata/down.good.yml", "testdata/nothing.yml")
		require.EqualError(t, err, "1 of 2 test files failed")
		require.Equal(t, []string{"  SUCCESS", "  FAILED:"}, verdicts(out))
		require.Contains(t, out, "testdata/nothing.yml: no such file")
	})
	t.Run("one that never ends", func(t *testing.T) {
		o := ruletest.DefaultOptions()
		o.MaxFileBytes = 1 << 10
		out, err := run(t, o, "/dev/zero")
		require.Error(t, err)
		require.Contains(t, out, "/dev/zero is longer than 1024 bytes")
	})
	t.Run("nowhere to write to", func(t *testing.T) {
		err := ruletest.Run(t.Context(), full{}, []string{"testdata/down.good.yml"}, ruletest.DefaultOptions())
		require.EqualError(t, err, "writing the verdict on testdata/down.good.yml: no space left")
	})
	t.Run("nothing is left behind", func(t *testing.T) {
		dir := t.TempDir()
		t.Setenv("TMPDIR", dir)
		_, err := run(t, ruletest.DefaultOptions(), "testdata/down.good.yml", "testdata/labels.bad.yml", "testdata/days.good.yml")
		require.Error(t, err)
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, left)
	})
	t.Run("no folder for samples", func(t *testing.T) {
		t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "gone"))
		out, err := run(t, ruletest.DefaultOptions(), "testdata/down.good.yml")
		require.Error(t, err)
		require.Contains(t, out, "a folder for the samples of the test")
	})
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

// TestCancelled ends in the middle of a test that would take minutes.
func TestCancelled(t *testing.T) {
	file := write(t, `
evaluation_interval: 1s
rule_files: [r]
tests: [{input_series: [{series: up, values: 1x9}], promql_expr_test: [{expr: up, eval_time: 10d}]}]`)
	o := ruletest.DefaultOptions()
	o.Builtin = map[string]string{"r": upRules}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("the user has seen enough"))
	defer cancel()
	var out bytes.Buffer
	err := ruletest.Run(ctx, &out, []string{file}, o)
	require.EqualError(t, err, "testing "+file+": the user has seen enough")
	require.Empty(t, out.String())
}

// TestTestsOfPrometheus runs the test files that the linked version of Prometheus tests its own promtool with; the
// verdicts are what it wants there.
func TestTestsOfPrometheus(t *testing.T) {
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/prometheus/prometheus").Output()
	require.NoError(t, err)
	dir = append(bytes.TrimSpace(dir), "/cmd/promtool/testdata/"...)
	for _, tc := range []struct {
		file   string
		run    []string
		ignore bool
		good   bool
	}{
		{file: "unittest.yml", good: true},
		{file: "long-period.yml", good: true},
		{file: "at-modifier-test.yml", good: true},
		{file: "negative-offset-test.yml", good: true},
		{file: "no-test-group-interval.yml", good: true},
		{file: "start-time-test.yml", good: true},
		{file: "rules_run_fuzzy.yml", run: []string{"correct"}, good: true},
		{file: "rules_run_fuzzy.yml", run: []string{"wrong"}},
		{file: "rules_run.yml", run: []string{"correct"}, good: true},
		{file: "rules_run_extrafields.yml", ignore: true, good: true},
		{file: "bad-input-series.yml"},
		{file: "bad-promql.yml"},
		{file: "bad-rules-syntax-test.yml"},
		{file: "bad-rules-error-test.yml"},
		{file: "failing.yml"},
		{file: "rules_run.yml"},
		{file: "rules_run.yml", run: []string{"correct", "wrong"}},
		{file: "rules_run.yml", run: []string{"wrong"}},
		{file: "rules_run_no_fuzzy.yml"},
		{file: "rules_run_extrafields.yml"},
	} {
		t.Run(strings.Join(append([]string{tc.file}, tc.run...), " "), func(t *testing.T) {
			o := ruletest.DefaultOptions()
			o.Run, o.IgnoreUnknownFields = tc.run, tc.ignore
			out, err := run(t, o, string(dir)+tc.file)
			require.Equal(t, tc.good, err == nil, out)
			require.NotContains(t, out, "no such file")
		})
	}
}

// TestExternalURL has templates that use the external URL, as the server lets them.
func TestExternalURL(t *testing.T) {
	rules := write(t, `groups: [{name: g, rules: [{alert: Down, expr: up == 0, annotations: {a: '{{ externalURL }}', b: '{{ $externalURL }}', c: '{{ pathPrefix }}'}}]}]`)
	for name, tc := range map[string]struct {
		external, a, b, c, err string
	}{
		"without a path":    {external: "http://e", a: "http://e", b: "http://e"},
		"with a path":       {external: "https://e:1/base", a: "https://e:1/base", b: "https://e:1/base", c: "/base"},
		"none":              {},
		"not an address":    {external: "http://e:x", err: "external_url"},
		"wrong expectation": {external: "http://e/base", a: "http://e/base", b: "http://e/base", c: "/", err: "1 of 1"},
	} {
		t.Run(name, func(t *testing.T) {
			file := write(t, `
rule_files: ['`+rules+`']
tests:
  - external_url: '`+tc.external+`'
    input_series: [{series: 'up{job="j"}', values: 0x9}]
    alert_rule_test: [{eval_time: 1m, alertname: Down, exp_alerts: [{exp_labels: {job: j}, exp_annotations: {a: '`+tc.a+`', b: '`+tc.b+`', c: '`+tc.c+`'}}]}]
`)
			out, err := run(t, ruletest.DefaultOptions(), file)
			require.NotContains(t, out, "error expanding template")
			if tc.err == "" {
				require.NoError(t, err, out)
				return
			}
			require.Error(t, err)
			require.Contains(t, out+err.Error(), tc.err)
		})
	}
}
