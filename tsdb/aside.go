package tsdb

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	promtsdb "github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/fileutil"
)

// asideFolder is where corrupt blocks and head chunks are moved, within the data directory.
const asideFolder = "corrupt"

// maxMeta is the size of the largest meta.json that is read, in bytes.
const maxMeta = 1 << 20

// asides moves what is corrupt aside, so that the storage opens with the rest.
type asides struct {
	path   string
	logger *slog.Logger
	moved  *prometheus.CounterVec
	n      int
	now    func() time.Time
}

func newAsides(path string, reg prometheus.Registerer, logger *slog.Logger) *asides {
	a := &asides{path: path, logger: logger, now: time.Now, moved: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "hancock_storage_corrupt_total",
		Help: "Corrupt blocks and directories of head chunks that were moved aside, by what it was.",
	}, []string{"what"})}
	for _, what := range []string{"block", "chunks_head"} {
		a.moved.WithLabelValues(what)
	}
	reg.MustRegister(a.moved)
	return a
}

// check opens each block and the head chunks, and moves aside what cannot be opened. Samples of head chunks are in the
// write-ahead log, too. The storage is not open yet.
func (a *asides) check() error {
	entries, err := os.ReadDir(a.path)
	if err != nil {
		return err
	}
	corrupt := map[string]error{}
	replaced := map[string]bool{} // blocks that are part of another one, which Prometheus deletes
	for _, e := range entries {
		if _, err := ulid.ParseStrict(e.Name()); err != nil || !e.IsDir() {
			continue
		}
		meta, err := a.openBlock(filepath.Join(a.path, e.Name()))
		if err != nil {
			corrupt[e.Name()] = err
			continue
		}
		for _, parent := range meta.Compaction.Parents {
			replaced[parent.ULID.String()] = true
		}
	}
	for name, err := range corrupt {
		if replaced[name] {
			continue
		}
		if err := a.move("block", name, err, "its samples are missing until it is repaired"); err != nil {
			return err
		}
	}
	if err := a.openHeadChunks(); err != nil {
		return a.move("chunks_head", "chunks_head", err, "its samples are read from the write-ahead log")
	}
	return nil
}

// openBlock opens a block and closes it again.
func (a *asides) openBlock(dir string) (meta promtsdb.BlockMeta, err error) {
	f, err := os.Open(filepath.Join(dir, "meta.json"))
	if err != nil {
		return meta, err
	}
	defer f.Close()
	if err := json.NewDecoder(io.LimitReader(f, maxMeta)).Decode(&meta); err != nil {
		return meta, fmt.Errorf("meta.json: %w", err)
	}
	b, err := promtsdb.OpenBlock(a.logger, dir, chunkenc.NewPool(), nil)
	if err != nil {
		return meta, err
	}
	return meta, b.Close()
}

func (a *asides) openHeadChunks() error {
	dir := filepath.Join(a.path, "chunks_head")
	if _, err := os.Stat(dir); err != nil {
		return nil //nolint:nilerr // There are none yet, or Open says why not.
	}
	m, err := chunks.NewChunkDiskMapper(nil, dir, chunkenc.NewPool(), chunks.MinWriteBufferSize, 0)
	if err != nil {
		return err
	}
	return m.Close()
}

// move moves a directory aside as it is.
func (a *asides) move(what, name string, cause error, effect string) error {
	to := filepath.Join(asideFolder, name+"-"+a.now().UTC().Format("20060102T150405.000Z"))
	err := errors.Join(os.MkdirAll(filepath.Join(a.path, asideFolder), 0o700), fileutil.Rename(filepath.Join(a.path, name), filepath.Join(a.path, to)))
	if err != nil {
		return fmt.Errorf("%s is corrupt (%w) and cannot be moved to %s: %w", filepath.Join(a.path, name), cause, to, err)
	}
	a.moved.WithLabelValues(what).Inc()
	a.n++
	a.logger.Error("moved corrupt data aside", "event", "storage_corrupt", "what", what, "name", name, "moved_to", to, "effect", effect, "error", cause)
	return nil
}
