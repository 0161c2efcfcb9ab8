package tsdb

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alecthomas/units"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"
	promtsdb "github.com/prometheus/prometheus/tsdb"
	"github.com/shirou/gopsutil/v4/disk"
)

// roomy is the local storage, which takes samples only while there is room for them. A write-ahead log that a full
// disk has cut off in the middle can be written on as soon as there is room again, but at the next start all that
// comes after the cut is lost.
type roomy struct {
	*promtsdb.DB
	dir     string
	reserve uint64
	// enough is when there was last known to be room, in nanoseconds since 1970.
	enough *atomic.Int64
	// configuring is held for reading by transactions: Prometheus changes the options of the head without a lock.
	configuring *sync.RWMutex
	// kept is what could not be written. It is read as if it had been.
	kept *unwritten
}

// roomFor is how long room that was there is taken to be there: each rule that is evaluated begins a transaction.
const roomFor = 100 * time.Millisecond

func newRoomy(db *promtsdb.DB, o Options, kept *unwritten) roomy {
	return roomy{DB: db, dir: o.Path, reserve: o.ReserveBytes, enough: new(atomic.Int64), configuring: new(sync.RWMutex), kept: kept}
}

// Querier reads what was written, and what could not be.
func (s roomy) Querier(mint, maxt int64) (storage.Querier, error) {
	q, err := s.DB.Querier(mint, maxt)
	if err != nil {
		return nil, err
	}
	return s.kept.querier(q, mint, maxt), nil
}

// Appender begins a transaction.
func (s roomy) Appender(ctx context.Context) storage.Appender {
	if err := s.room(ctx); err != nil {
		return full{err}
	}
	s.configuring.RLock()
	return transaction{s.DB.Appender(ctx), sync.OnceFunc(s.configuring.RUnlock)}
}

// AppenderV2 begins a transaction.
func (s roomy) AppenderV2(ctx context.Context) storage.AppenderV2 {
	if err := s.room(ctx); err != nil {
		return fullV2{full{err}}
	}
	s.configuring.RLock()
	return transactionV2{s.DB.AppenderV2(ctx), sync.OnceFunc(s.configuring.RUnlock)}
}

// ApplyConfig applies the options of the storage when no transaction is open.
func (s roomy) ApplyConfig(cfg *config.Config) error {
	s.configuring.Lock()
	defer s.configuring.Unlock()
	return s.DB.ApplyConfig(cfg)
}

// settle waits until no transaction is open.
func (s roomy) settle() {
	s.configuring.Lock()
	defer s.configuring.Unlock()
}

// transaction and transactionV2 call ended when they have ended.
type transaction struct {
	storage.Appender
	ended func()
}

// Commit implements storage.Appender.
func (t transaction) Commit() error {
	defer t.ended()
	return t.Appender.Commit()
}

// Rollback implements storage.Appender.
func (t transaction) Rollback() error {
	defer t.ended()
	return t.Appender.Rollback()
}

type transactionV2 struct {
	storage.AppenderV2
	ended func()
}

// Commit implements storage.AppenderV2.
func (t transactionV2) Commit() error {
	defer t.ended()
	return t.AppenderV2.Commit()
}

// Rollback implements storage.AppenderV2.
func (t transactionV2) Rollback() error {
	defer t.ended()
	return t.AppenderV2.Rollback()
}

func (s roomy) room(ctx context.Context) error {
	now, last := time.Now().UnixNano(), s.enough.Load()
	if now >= last && now < last+int64(roomFor) { // not when the clock was set back
		return nil
	}
	u, err := disk.UsageWithContext(ctx, s.dir)
	if err != nil || u.Free >= s.reserve {
		s.enough.Store(now)
		return nil //nolint:nilerr // Where nobody knows, writing tells.
	}
	return fmt.Errorf("the disk of %s is full: %s are left, and nothing is stored below %s",
		s.dir, units.Base2Bytes(u.Free).Floor(), units.Base2Bytes(s.reserve)) // #nosec G115 -- a disk is smaller
}

// full takes everything in and says at the end, once, that it is not stored.
type full struct{ err error }

// Append stores nothing.
func (full) Append(storage.SeriesRef, labels.Labels, int64, float64) (storage.SeriesRef, error) {
	return 0, nil
}

// AppendExemplar stores nothing.
func (full) AppendExemplar(storage.SeriesRef, labels.Labels, exemplar.Exemplar) (storage.SeriesRef, error) {
	return 0, nil
}

// AppendHistogram stores nothing.
func (full) AppendHistogram(storage.SeriesRef, labels.Labels, int64, *histogram.Histogram, *histogram.FloatHistogram) (storage.SeriesRef, error) {
	return 0, nil
}

// AppendHistogramSTZeroSample stores nothing.
func (full) AppendHistogramSTZeroSample(storage.SeriesRef, labels.Labels, int64, int64, *histogram.Histogram, *histogram.FloatHistogram) (storage.SeriesRef, error) {
	return 0, nil
}

// AppendSTZeroSample stores nothing.
func (full) AppendSTZeroSample(storage.SeriesRef, labels.Labels, int64, int64) (storage.SeriesRef, error) {
	return 0, nil
}

// UpdateMetadata stores nothing.
func (full) UpdateMetadata(storage.SeriesRef, labels.Labels, metadata.Metadata) (storage.SeriesRef, error) {
	return 0, nil
}

// SetOptions does nothing.
func (full) SetOptions(*storage.AppendOptions) {}

// Commit says that nothing is stored, and why.
func (f full) Commit() error { return f.err }

// Rollback has nothing to do.
func (full) Rollback() error { return nil }

// fullV2 is full by the newer interface.
type fullV2 struct{ full }

// Append stores nothing.
func (fullV2) Append(storage.SeriesRef, labels.Labels, int64, int64, float64, *histogram.Histogram, *histogram.FloatHistogram, storage.AOptions) (storage.SeriesRef, error) {
	return 0, nil
}
