package tsdb

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote"
	promtsdb "github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/fileutil"
	"github.com/prometheus/prometheus/util/compression"
	"github.com/prometheus/prometheus/util/features"

	"github.com/cyberviser/hancock/internal/promqlbound"
)

// DB is the store, the scraping and the query engine. Its methods are safe for concurrent use.
type DB struct {
	// now is what a reload replaces, reloading serialises that.
	now       atomic.Pointer[settings]
	reloading sync.Mutex
	logger    *slog.Logger
	registry  *prometheus.Registry
	features  features.Collector
	parser    parser.Parser
	opened    time.Time
	// unwatched is what Gap returns.
	unwatched time.Duration
	// corrupt is what Corrupt returns.
	corrupt int

	lock     fileutil.Releaser
	stats    *promtsdb.DBStats
	local    *promtsdb.DB
	writable roomy // local, for writing
	// unwritten are the samples that could not be written.
	unwritten *unwritten
	remote    *remote.Storage
	fanout    storage.Storage
	engine    engine
	answers   answers
	scraped   *observedAppendable
	manager   *scrape.Manager
	scraping  scraping
	discover  discoverer
	self      *selfServer

	inflight inflight
	close    sync.Once
	closeErr error
}

// Open locks the data folder, replays its write-ahead log and makes everything ready that answers queries. self is
// the handler of the process' own metrics; it is asked for /metrics over a connection in memory. What this package
// measures is registered with reg, and a DB can be opened only once with the same registry. Scraping begins with
// Run. What libraries log has whole addresses in it, with whatever secret stands in them: logger has to take those out.
//
// A folder that cannot be written or that another process has open is an error of one line. A write-ahead log
// whose end was torn off by a crash is repaired and loses what was torn off.
func Open(o Options, self http.Handler, reg *prometheus.Registry, logger *slog.Logger) (_ *DB, err error) {
	now, err := newSettings(o)
	if err != nil {
		return nil, err
	}
	db := &DB{
		logger:   logger,
		registry: reg,
		features: features.NewRegistry(),
		parser:   promqlbound.NewParser(parser.Options{ExperimentalDurationExpr: true}),
		opened:   time.Now(),
		stats:    promtsdb.NewDBStats(),
		discover: newDiscoverer(),
	}
	db.now.Store(now)
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	if db.lock, err = db.lockFolder(o.Path); err != nil {
		return nil, err
	}
	if err := db.openStorage(); err != nil {
		return nil, err
	}
	db.parser.RegisterFeatures(db.features)
	db.answers.engine = &db.engine
	db.registry.MustRegister(&db.engine.metrics)
	log, err := openQueryLog(now.cfg)
	if err != nil {
		return nil, err
	}
	db.useEngine(now, log)
	if err := db.openScraping(self); err != nil {
		return nil, err
	}
	// This starts the sending, which asks the scrape manager for metadata: not before there is one.
	if err := db.remote.ApplyConfig(now.cfg); err != nil {
		return nil, fmt.Errorf("remote storage: %w", err)
	}
	db.logOpened()
	return db, nil
}

// logOpened tells what was found, and when it does not fit the clock.
func (db *DB) logOpened() {
	db.unwatched = db.measureGap()
	gap := db.unwatched
	db.logger.Info("storage opened", "path", db.now.Load().opts.Path, "duration_ms", time.Since(db.opened).Milliseconds(),
		"blocks", len(db.local.Blocks()), "series", db.local.Head().NumSeries(), "gap_seconds", max(0, gap.Seconds()))
	if ahead := db.ahead(); gap < -time.Minute && ahead != "" {
		db.logger.Warn("stored samples are ahead of the clock", "event", "storage_ahead", "detail", ahead)
	}
}

// lockFolder makes the folder and takes the lock that Prometheus takes too, before anything is read or written.
// The lock goes with the process, however it ends; its file stays.
func (db *DB) lockFolder(path string) (fileutil.Releaser, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("data folder %s cannot be made: %w", path, err)
	}
	db.protect(path)
	lock, _, err := fileutil.Flock(filepath.Join(path, "lock"))
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, fmt.Errorf("data folder %s is in use by another process", path)
	case err != nil:
		return nil, fmt.Errorf("data folder %s is not writable: %w", path, err)
	}
	return lock, nil
}

// protect closes the data directory to other users. One that has contents was made by somebody who may count on its
// mode, so it stays as it is.
func (db *DB) protect(path string) {
	info, err := os.Stat(path)
	if err != nil || info.Mode()&0o077 == 0 {
		return
	}
	if entries, err := os.ReadDir(path); err == nil && len(entries) == 0 && os.Chmod(path, 0o700) == nil { // #nosec G302 -- a directory
		return
	}
	db.logger.Warn("other users can read the data directory", "path", path, "mode", info.Mode().Perm().String(), "remedy", "chmod 700 "+path)
}

func (db *DB) openStorage() error {
	opts, cfg := db.now.Load().opts, db.now.Load().cfg
	ts := cfg.StorageConfig.TSDBConfig
	o := promtsdb.DefaultOptions()
	o.NoLockfile = true // Ours is held already, with a message that says what is wrong.
	o.RetentionDuration = time.Duration(ts.Retention.Time).Milliseconds()
	o.MaxBytes = int64(ts.Retention.Size)
	o.MaxPercentage = ts.Retention.Percentage
	o.MaxBlockDuration = maxBlock(time.Duration(ts.Retention.Time)).Milliseconds()
	o.OutOfOrderTimeWindow = ts.OutOfOrderTimeWindow
	o.StaleSeriesCompactionThreshold = ts.StaleSeriesCompactionThreshold
	if ts.ChunkEncoding.Floats == config.FloatChunkEncodingXOR2 {
		o.FloatChunkEncoding = chunkenc.EncXOR2
	}
	o.WALCompression = compression.Snappy
	o.EnableExemplarStorage = true
	o.MaxExemplars = cfg.StorageConfig.ExemplarsConfig.MaxExemplars
	// A process that watches itself has some thousand series: small stripes and buffers save megabytes.
	o.StripeSize = 1024
	o.HeadChunksWriteBufferSize = chunks.MinWriteBufferSize
	o.HeadChunksWriteQueueSize = 0
	o.FeatureRegistry = db.features

	corrupt := newAsides(opts.Path, db.registry, db.logger)
	err := corrupt.check()
	if db.corrupt = corrupt.n; err != nil {
		return fmt.Errorf("checking storage in %s: %w", opts.Path, err)
	}
	db.local, err = promtsdb.Open(opts.Path, db.logger, db.registry, o, db.stats)
	if err != nil {
		return fmt.Errorf("opening storage in %s: %w", opts.Path, err)
	}
	db.registerMetrics()
	// Queues are flushed one after the other.
	flush := opts.FlushTimeout / time.Duration(max(1, len(cfg.RemoteWriteConfigs)))
	db.remote = remote.NewStorage(db.logger, db.registry, db.startTime,
		opts.Path, flush, readyManager{db}, false)
	db.unwritten = newUnwritten(db.registry, db.logger)
	db.writable = newRoomy(db.local, opts, db.unwritten)
	db.fanout = storage.NewFanout(db.logger, db.writable, db.remote)
	db.local.SetWriteNotified(db.remote)
	return nil
}

// Gap is how long nobody was watching before Open: the time since the newest sample that was stored then, 0 when there
// was none. It is negative when that sample is from the future.
func (db *DB) Gap() time.Duration { return db.unwatched }

func (db *DB) measureGap() time.Duration {
	newest := db.local.Head().MaxTime()
	if blocks := db.local.Blocks(); len(blocks) > 0 {
		newest = max(newest, blocks[len(blocks)-1].MaxTime())
	}
	if newest == math.MinInt64 {
		return 0
	}
	return db.opened.Sub(time.UnixMilli(newest))
}

// startTime tells remote_read from when on the local storage is complete, in milliseconds.
func (db *DB) startTime() (int64, error) {
	if len(db.local.Blocks()) > 0 {
		return db.local.Blocks()[0].MinTime(), nil
	}
	return db.opened.UnixMilli(), nil
}

// Close stops a Run that is still going, waits until queries have ended (they are cancelled), sends what
// remote_write has queued and closes the storage. Everything that was committed is on disk already, so a Close
// that never comes loses nothing but stale markers. Later calls return what the first returned.
//
// Files must not be unmapped under a query: where one does not end in time, Close returns an error, and the storage
// stays open and locked until it has ended or the process has.
func (db *DB) Close() error {
	db.close.Do(func() { db.closeErr = db.closeAll() })
	return db.closeErr
}

func (db *DB) closeAll() error {
	db.scraping.stop()
	opts := db.now.Load().opts
	left, empty := db.inflight.close(opts.DrainTimeout)
	if left == 0 {
		return db.closeStorage()
	}
	go func() {
		<-empty
		if err := db.closeStorage(); err != nil {
			db.logger.Error("closing storage after the last query", "error", err)
		}
	}()
	return fmt.Errorf("closing storage: queries that do not end within %s of being cancelled: %d; "+
		"what is stored is safe, and %s stays locked until they end or the process does",
		opts.DrainTimeout, left, opts.Path)
}

// closeStorage closes what Open has opened, when nobody uses it any more.
func (db *DB) closeStorage() error {
	var errs []error
	if db.self != nil {
		errs = append(errs, db.self.Close())
	}
	if db.remote != nil {
		db.settleRemote()
		errs = append(errs, db.closeRemote())
	}
	errs = append(errs, db.engine.close())
	if db.local != nil {
		errs = append(errs, db.local.Close())
	}
	if db.lock != nil {
		errs = append(errs, db.lock.Release())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing storage: %w", err)
	}
	return nil
}

// readyManager is what remote storage asks for the metadata of targets.
type readyManager struct{ db *DB }

// Get never fails: nothing is sent before scraping is set up.
func (r readyManager) Get() (*scrape.Manager, error) { return r.db.manager, nil }
