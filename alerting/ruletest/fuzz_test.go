package ruletest_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/ruletest"
)

// FuzzFile runs test files as nobody would write them, with small bounds: each gets a verdict, in bounded time.
func FuzzFile(f *testing.F) {
	for _, name := range []string{"values.good.yml", "down.good.yml", "newer/histogram.good.yml", "newer/start.good.yml", "series-lines.bad.yml"} {
		content, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(f, err)
		f.Add(content)
	}
	f.Add([]byte("tests: [{input_series: [{series: 'a{b=\"\\\"}', values: '1+1x999999'}], promql_expr_test: [{expr: a, eval_time: 1y}]}]"))
	f.Fuzz(func(t *testing.T, content []byte) {
		o := ruletest.DefaultOptions()
		o.MaxFileBytes, o.MaxSamples, o.MaxEvaluations = 4<<10, 1000, 50
		// The only rules are these: what is fuzzed must not read files.
		o.Builtin = map[string]string{"rules/rules.yml": "groups: [{name: g, rules: [{alert: Down, expr: up == 0}]}]"}
		if bytes.Contains(content, []byte("rule_files")) && !bytes.Contains(content, []byte("[rules/rules.yml]")) {
			return
		}
		path := filepath.Join(t.TempDir(), "test.yml")
		require.NoError(t, os.WriteFile(path, content, 0o600))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var out bytes.Buffer
		err := ruletest.Run(ctx, &out, []string{path}, o)
		require.NoError(t, ctx.Err())
		if err != nil {
			require.EqualError(t, err, "1 of 1 test files failed")
			require.Equal(t, []string{"  FAILED:"}, verdicts(out.String())[:1])
		}
	})
}
