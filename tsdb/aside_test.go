package tsdb_test

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/prometheus/model/labels"
	promtsdb "github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/tsdb"
)

// TestCorruptFiles damages each file of the storage in each way: it opens with the rest, what was damaged lies aside as it
// was, and the log and a metric say so.
func TestCorruptFiles(t *testing.T) {
	damages := map[string]func(content []byte) []byte{
		"empty":     func([]byte) []byte { return nil },
		"truncated": func(content []byte) []byte { return content[:len(content)/2] },
		"garbage": func(content []byte) []byte {
			out := make([]byte, len(content))
			for i := range out {
				out[i] = byte(i*7 + 13)
			}
			return out
		},
	}
	for _, file := range []string{"block/index", "block/chunks/000001", "block/tombstones", "block/meta.json", "chunks_head/000001"} {
		for damage, do := range damages {
			t.Run(file+" "+damage, func(t *testing.T) {
				o := options(t)
				block := writeBlocks(t, o)
				path := filepath.Join(o.Path, strings.Replace(file, "block", block, 1))
				content, err := os.ReadFile(path)
				require.NoError(t, err)
				if damage == "truncated" && file == "block/chunks/000001" {
					content = content[:10] // Prometheus reads further at queries only.
				}
				content = do(content)
				require.NoError(t, os.Chmod(path, 0o600))
				require.NoError(t, os.WriteFile(path, content, 0o600))

				log, reg := new(lockedBuffer), prometheus.NewRegistry()
				db, err := tsdb.Open(o, promhttp.HandlerFor(reg, promhttp.HandlerOpts{}), reg, slog.New(slog.NewTextHandler(log, nil)))
				require.NoError(t, err)
				s := (&store{DB: db, t: t, reg: reg}).run()
				require.Equal(t, 1, s.count(`up{job="hancock"}`), "it stores and answers")
				require.NotEmpty(t, stored(t, db, "other"), "the other block is there")
				name, _, _ := strings.Cut(strings.Replace(file, "block", block, 1), "/")
				aside, err := filepath.Glob(filepath.Join(o.Path, "corrupt", name+"-*"))
				require.NoError(t, err)
				if len(aside) == 0 {
					require.NotEmpty(t, repaired(file, damage), "nothing was moved, and Prometheus does not mend it")
					s.close()
					return
				}
				require.Len(t, aside, 1)
				kept, err := os.ReadFile(filepath.Join(aside[0], strings.TrimPrefix(path, filepath.Join(o.Path, name))))
				require.NoError(t, err)
				require.Equal(t, string(content), string(kept))
				require.Contains(t, log.String(), "level=ERROR")
				require.Contains(t, log.String(), "moved_to=corrupt/"+filepath.Base(aside[0]))
				require.Equal(t, 1, s.count(`sum(hancock_storage_corrupt_total) == 1`))
				s.close()
				open(t, o).close() // Nothing is left to be moved.
				aside, err = filepath.Glob(filepath.Join(o.Path, "corrupt", "*"))
				require.NoError(t, err)
				require.Len(t, aside, 1)
			})
		}
	}
}

// repaired says how Prometheus mends a damage by itself.
func repaired(file, damage string) string {
	switch file + " " + damage {
	case "chunks_head/000001 empty":
		return "the newest file of head chunks may be empty"
	case "chunks_head/000001 truncated":
		return "what follows the cut is read from the write-ahead log"
	}
	return ""
}

// writeBlocks writes two blocks with old samples and head chunks, and returns the name of the older block.
func writeBlocks(t *testing.T, o tsdb.Options) string {
	t.Helper()
	opts := promtsdb.DefaultOptions()
	opts.NoLockfile = true
	db, err := promtsdb.Open(o.Path, nil, nil, opts, nil)
	require.NoError(t, err)
	begin := time.Now().Add(-12 * time.Hour)
	for at := begin; at.Before(time.Now()); at = at.Add(30 * time.Second) {
		app := db.Appender(t.Context())
		name := "old"
		if at.Sub(begin) > 4*time.Hour {
			name = "other"
		}
		_, err := app.Append(0, labels.FromStrings("__name__", name), at.UnixMilli(), 1)
		require.NoError(t, err)
		require.NoError(t, app.Commit())
	}
	require.NoError(t, db.Compact(t.Context()))
	require.NoError(t, db.Close())
	var blocks []string
	entries, err := os.ReadDir(o.Path)
	require.NoError(t, err)
	for _, e := range entries {
		if e.IsDir() && len(e.Name()) == 26 {
			blocks = append(blocks, e.Name())
		}
	}
	require.Greater(t, len(blocks), 1)
	_, err = os.Stat(filepath.Join(o.Path, "chunks_head", "000001"))
	require.NotErrorIs(t, err, fs.ErrNotExist)
	return blocks[0]
}
