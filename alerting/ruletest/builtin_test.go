package ruletest_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/ruletest"
)

// TestBuiltinRules runs the tests of the monitoring guide's rules, and has promtool say the same of them: whoever
// takes rules.yml into a Prometheus gets what Hancock does.
func TestBuiltinRules(t *testing.T) {
	path := promtool(t)
	files, err := filepath.Glob("../testdata/builtin_*.test.yml")
	require.NoError(t, err)
	require.Len(t, files, 3)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			out, err := run(t, ruletest.DefaultOptions(), file)
			require.NoError(t, err, out)
			theirs, err := exec.CommandContext(t.Context(), path, "test", "rules", file).CombinedOutput()
			require.NoError(t, err, string(theirs))
			require.Equal(t, byFile(string(theirs)), byFile(out))
		})
	}
}
