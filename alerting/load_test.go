package alerting_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting"
)

func TestCheckFiles(t *testing.T) {
	good, err := filepath.Glob("testdata/*.good.yml")
	require.NoError(t, err)
	require.NotEmpty(t, good)
	for _, file := range good {
		require.NoError(t, alerting.Check(alerting.Options{RuleFiles: []string{file}, EvaluationInterval: time.Second}))
	}
	// What is wrong stands in the file behind "# want:", a line each.
	bad, err := filepath.Glob("testdata/*.bad.yml")
	require.NoError(t, err)
	require.NotEmpty(t, bad)
	for _, file := range bad {
		t.Run(filepath.Base(file), func(t *testing.T) {
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			var want []string
			for line := range strings.Lines(string(content)) {
				if w, ok := strings.CutPrefix(line, "# want: "); ok {
					want = append(want, file+":"+strings.TrimSpace(w))
				}
			}
			require.NotEmpty(t, want)
			o := alerting.Options{RuleFiles: []string{file}, EvaluationInterval: time.Second}
			err = alerting.Check(o)
			require.EqualError(t, err, strings.Join(want, "\n"))
			_, err = alerting.New(o, alerting.Storage{}, nil, prometheus.NewRegistry(), logger(t))
			require.EqualError(t, err, strings.Join(want, "\n"))
		})
	}
}

func TestRuleFiles(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files []string
		want  string // Part of the error.
		count int    // Groups besides the built-in ones.
	}{
		{"none", nil, "", 0},
		{"a file", []string{"testdata/extra.good.yml"}, "", 2},
		{"a pattern and the same file", []string{"testdata/*.good.yml", "testdata/extra.good.yml"}, "", 2},
		{"a pattern that finds nothing", []string{"testdata/*.nothing"}, "", 0},
		{"a file that is not there", []string{"testdata/nothing.yml"}, "rule file testdata/nothing.yml: file does not exist", 0},
		{"a folder", []string{"testdata"}, "rule file: read testdata: is a directory", 0},
		{"a wrong pattern", []string{"testdata/[*.yml"}, "syntax error in pattern", 0},
		{"no path", []string{""}, "empty path", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := alerting.DefaultOptions()
			o.RuleFiles = tt.files
			m, err := alerting.New(o, alerting.Storage{}, nil, prometheus.NewRegistry(), logger(t))
			if tt.want != "" {
				require.ErrorContains(t, err, tt.want)
				require.ErrorContains(t, alerting.Check(o), tt.want)
				return
			}
			require.NoError(t, err)
			defer m.Close()
			builtin := 0
			for _, g := range m.RuleGroups() {
				if g.File() == alerting.BuiltinFile {
					builtin++
				}
			}
			require.Positive(t, builtin)
			require.Len(t, m.RuleGroups(), builtin+tt.count)
		})
	}
	err := alerting.Check(alerting.Options{RuleFiles: []string{"nothing"}, EvaluationInterval: 1e9})
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestOptionsValidate(t *testing.T) {
	require.NoError(t, alerting.DefaultOptions().Validate())
	for want, spoil := range map[string]func(*alerting.Options){
		"evaluation interval must be at least":  func(o *alerting.Options) { o.EvaluationInterval = 0 },
		"outage tolerance must not be negative": func(o *alerting.Options) { o.OutageTolerance = -1 },
		"for grace period must not be negative": func(o *alerting.Options) { o.ForGracePeriod = -1 },
		"resend delay must not be negative":     func(o *alerting.Options) { o.ResendDelay = -1 },
	} {
		o := alerting.DefaultOptions()
		spoil(&o)
		require.ErrorContains(t, o.Validate(), want)
		require.ErrorContains(t, alerting.Check(o), want)
		_, err := alerting.New(o, alerting.Storage{}, nil, prometheus.NewRegistry(), logger(t))
		require.ErrorContains(t, err, want)
	}
}

// FuzzCheck throws files at the parser: an error has a place, and nothing panics.
func FuzzCheck(f *testing.F) {
	for _, pattern := range []string{"testdata/*.yml", "rules.yml"} {
		files, err := filepath.Glob(pattern)
		require.NoError(f, err)
		for _, file := range files {
			content, err := os.ReadFile(file)
			require.NoError(f, err)
			f.Add(content)
		}
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		file := filepath.Join(t.TempDir(), "rules.yml")
		require.NoError(t, os.WriteFile(file, content, 0o600))
		err := alerting.Check(alerting.Options{RuleFiles: []string{file}, EvaluationInterval: time.Second})
		if err == nil {
			return
		}
		for line := range strings.Lines(err.Error()) {
			require.True(t, strings.HasPrefix(line, file+":"), line)
		}
	})
}

func TestLongestInterval(t *testing.T) {
	o := alerting.DefaultOptions()
	read, err := alerting.Read(o)
	require.NoError(t, err)
	require.Equal(t, o.EvaluationInterval, read.LongestInterval, "no built-in group has an interval of its own")
	file := filepath.Join(t.TempDir(), "slow.yml")
	require.NoError(t, os.WriteFile(file, []byte("groups: [{name: slow, interval: 10m, rules: [{record: a, expr: '1'}]}, {name: fast, interval: 1s}]"), 0o600))
	o.RuleFiles = []string{file}
	read, err = alerting.Read(o)
	require.NoError(t, err)
	require.Equal(t, 10*time.Minute, read.LongestInterval)
	o.RuleFiles = []string{filepath.Join(t.TempDir(), "nowhere.yml")}
	_, err = alerting.Read(o)
	require.ErrorIs(t, err, os.ErrNotExist)
}
