package requestlog_test

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent/requestlog"
)

// TestResize bounds files that are there already, and those to come.
func TestResize(t *testing.T) {
	l := requestlog.NewLog(io.Discard, slog.LevelInfo)
	o := requestlog.DefaultOptions()
	o.Dir = t.TempDir()
	require.NoError(t, l.Open(o, prometheus.NewRegistry()))
	defer func() { require.NoError(t, l.Close()) }()
	log := l.Logger(slog.LevelInfo)
	fill := func() (size int64) {
		for range 40 { // 4 MiB
			log.Info("line", "text", strings.Repeat("x", 100<<10))
		}
		names, err := filepath.Glob(filepath.Join(o.Dir, "*.log"))
		require.NoError(t, err)
		for _, name := range names {
			info, err := os.Stat(name)
			require.NoError(t, err)
			size += info.Size()
		}
		return size
	}
	require.Greater(t, fill(), int64(4_000_000))
	bad := o
	bad.MaxSizeBytes = 1
	require.ErrorContains(t, l.Resize(bad), "agent.log.max_file_size")
	o.MaxSizeBytes, o.MaxTotalBytes = 512<<10, 1<<20
	require.NoError(t, l.Resize(o))
	require.LessOrEqual(t, fill(), int64(1<<20))
}
