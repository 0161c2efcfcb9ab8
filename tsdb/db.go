package tsdb

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"
)

// Queryable is the local storage alone: what rules restore their state from. Close waits for its queriers to be closed,
// as long as it waits for queries; after Close there are none.
func (db *DB) Queryable() storage.Queryable {
	return storage.QueryableFunc(func(mint, maxt int64) (storage.Querier, error) {
		_, leave, err := db.inflight.enter(context.Background())
		if err != nil {
			return nil, err
		}
		q, err := db.writable.Querier(mint, maxt)
		if err != nil {
			leave()
			return nil, err
		}
		return countedQuerier{q, sync.OnceFunc(leave)}, nil
	})
}

// countedQuerier is in flight until it is closed.
type countedQuerier struct {
	storage.Querier
	leave func()
}

// Close ends the reading.
func (q countedQuerier) Close() error {
	defer q.leave()
	return q.Querier.Close()
}

// Appendable stores samples, and sends them on where remote_write says so. Those that cannot be written to disk are kept in
// memory, without an error. It must not be used after Close.
func (db *DB) Appendable() storage.Appendable { return keepingAppendable{db.fanout, db.unwritten} }

// QueryFunc evaluates an instant query over local and remote storage, within the limits of the options. After Close
// it fails.
func (db *DB) QueryFunc() rules.QueryFunc {
	query := rules.EngineQueryFunc(&db.engine, db.fanout)
	return func(ctx context.Context, q string, t time.Time) (promql.Vector, error) {
		ctx, leave, err := db.inflight.enter(ctx)
		if err != nil {
			return nil, err
		}
		defer leave()
		return query(ctx, q, t)
	}
}

// Engine evaluates queries within the bounds of the options in effect. Queries must have ended before Close.
func (db *DB) Engine() promql.QueryEngine { return &db.engine }

// Oldest is the time of the first sample that is stored; zero when there is none.
func (db *DB) Oldest() (time.Time, error) {
	first, err := db.local.StartTime()
	if err != nil || first == math.MaxInt64 {
		return time.Time{}, err
	}
	return time.UnixMilli(first).UTC(), nil
}

// FirstScrape is closed once the first scrape of this process by itself is over: its samples can be queried, or it
// has failed. Rules wait for it: before, everything seems absent.
func (db *DB) FirstScrape() <-chan struct{} { return db.scraped.first }

// Fresh reports whether a sample of this process by itself was written to disk within the last four scrape intervals, and
// within ten seconds where they are shorter. It is false while the clock is behind that sample.
func (db *DB) Fresh() bool {
	age := time.Since(db.LastScrape())
	return age > -clockTolerance && age <= max(4*db.now.Load().opts.ScrapeInterval, 10*time.Second)
}

// Corrupt is how many corrupt blocks and directories of head chunks Open has moved aside.
func (db *DB) Corrupt() int { return db.corrupt }

// Problem says why samples of this process cannot be written to disk, and what to do; empty while they can. It does not name
// the path of the data directory.
func (db *DB) Problem() string {
	err := db.unwritten.failure()
	if err == nil {
		return ""
	}
	if ahead := db.ahead(); ahead != "" {
		return ahead
	}
	return strings.ReplaceAll(err.Error(), db.now.Load().opts.Path, "the data directory")
}

// ahead says which stored samples are so far ahead of the clock that new ones are refused; empty if there are none.
func (db *DB) ahead() string {
	limit := time.Now().Add(time.Minute).UnixMilli()
	var blocks []string
	newest := int64(math.MinInt64)
	for _, b := range db.local.Blocks() {
		if b.MaxTime() > limit+tsdbBlock {
			blocks = append(blocks, b.Meta().ULID.String())
			newest = max(newest, b.MaxTime())
		}
	}
	what := "blocks " + strings.Join(blocks, ", ")
	if len(blocks) == 0 {
		if newest = db.local.Head().MaxTime(); newest <= limit {
			return ""
		}
		what = "directories wal, wbl and chunks_head"
	}
	return fmt.Sprintf("stored samples are ahead of the clock, the newest by %s, and new ones are refused: correct the clock; "+
		"if it is right, stop Hancock and move the %s out of the data directory", time.Until(time.UnixMilli(newest)).Round(time.Second), what)
}

// tsdbBlock is the length of the shortest block, in milliseconds: its end may lie ahead.
const tsdbBlock = int64(2 * time.Hour / time.Millisecond)

// clockTolerance is by how much a clock may be set back without notice.
const clockTolerance = 5 * time.Second

// LastScrape is the time of the newest sample of this process by itself that was written to disk, taken since Open; zero
// while there is none.
func (db *DB) LastScrape() time.Time {
	ms := db.scraped.newest.Load()
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
