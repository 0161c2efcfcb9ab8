package ruletest_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/ruletest"
)

// TestBuiltinRules has promtool say of the tests of our rules what we say: whoever takes rules.yml into a Prometheus
// gets what Hancock does. Those of the monitoring guide's rules are run here, the others where the rules are.
func TestBuiltinRules(t *testing.T) {
	path := promtool(t)
	all, err := filepath.Glob("../testdata/*.test.yml")
	require.NoError(t, err)
	guide, err := filepath.Glob("../testdata/builtin_*.test.yml")
	require.NoError(t, err)
	require.Len(t, guide, 3)

	out, err := run(t, ruletest.DefaultOptions(), guide...)
	require.NoError(t, err, out)
	theirs, err := exec.CommandContext(t.Context(), path, append([]string{"test", "rules"}, all...)...).CombinedOutput()
	require.NoError(t, err, string(theirs))
	for file, verdict := range byFile(out) {
		require.Equal(t, verdict, byFile(string(theirs))[file], file)
	}
}
