package alerting_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting"
)

// What was checked is what is evaluated, whatever has become of the file since.
func TestFilesAreReadOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rules.yml")
	require.NoError(t, os.WriteFile(file, []byte("groups: [{name: g, rules: [{alert: A, expr: up == 0}]}]\n"), 0o600))
	o := alerting.DefaultOptions()
	o.BuiltinRules, o.RuleFiles = false, []string{file}
	read, err := alerting.Read(o)
	require.NoError(t, err)
	o.Loaded = &read
	require.NoError(t, os.Remove(file))
	m, err := alerting.New(o, alerting.Storage{}, nil, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer m.Close()
	require.Len(t, m.AlertingRules(), 1)
	require.Equal(t, read.Files, m.Files())
}
