package requestlog

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// A search has few files open at a time, however many it looks at, so that
// those which are removed meanwhile give their space back.
func TestSearchClosesWhatItHasRead(t *testing.T) {
	const files, workers = 50, 4
	dir := t.TempDir()
	for n := 1; n <= files; n++ {
		line := fmt.Sprintf(`{"timestamp":"2026-01-02T03:04:05.000Z","level":"INFO","message":"number %d"}`+"\n", n)
		require.NoError(t, os.WriteFile(filepath.Join(dir, fileName(uint64(n))), []byte(line), 0o600)) // #nosec G115 -- positive
	}
	l := NewLog(io.Discard, slog.LevelInfo)
	o := DefaultOptions()
	o.Dir = dir
	require.NoError(t, l.Open(o, prometheus.NewRegistry()))
	defer func() { require.NoError(t, l.Close()) }()

	opened := func() int {
		n := 0
		entries, _ := os.ReadDir("/proc/self/fd")
		for _, e := range entries {
			if name, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(name, dir+"/") {
				n++
			}
		}
		return n
	}
	writing := opened()
	require.Equal(t, 1, writing)
	var most atomic.Int64
	page, err := search(t.Context(), l, newMatcher(Query{Limit: files}, false), func(line []byte) (string, error) {
		for n := int64(opened()); ; {
			if old := most.Load(); n <= old || most.CompareAndSwap(old, n) {
				return string(line), nil
			}
		}
	})
	require.NoError(t, err)
	require.Len(t, page.Items, files)
	require.Contains(t, page.Items[0], fmt.Sprintf("number %d\"", files))
	require.Contains(t, page.Items[files-1], `number 1"`)
	require.LessOrEqual(t, most.Load(), int64(writing+workers))
	require.Equal(t, writing, opened())
}
