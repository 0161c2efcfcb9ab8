package backtest_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/backtest"
)

// What a backtest that was killed left behind is removed by a later one, but
// not what another is using, nor what only looks alike.
func TestLeftoversAreRemoved(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for name, age := range map[string]time.Duration{
		"hancock-backtest-old": 25 * time.Hour, "hancock-backtest-young": time.Hour, "other-old": 100 * time.Hour,
	} {
		path := filepath.Join(folder, name)
		require.NoError(t, os.MkdirAll(filepath.Join(path, "chunks_head"), 0o700))
		then := time.Now().Add(-age)
		require.NoError(t, os.Chtimes(path, then, then))
	}
	db := openDB(t)
	put(t, db, machines().samples(t, 10*time.Minute))
	_, err := backtest.Run(t.Context(), backtest.Storage{Queryable: db, Engine: newEngine(), Folder: folder}, backtest.Request{
		Files: files("groups: [{name: a, rules: [{record: r, expr: up}, {alert: A, expr: 'r == 0'}]}]"), From: t0(), To: t0().Add(10 * time.Minute),
	}, nil)
	require.NoError(t, err)
	left, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Len(t, left, 2)
	require.Equal(t, "hancock-backtest-young", left[0].Name())
	require.Equal(t, "other-old", left[1].Name())
}
