package demo

import (
	"context"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/require"
)

// fixedNow is neither at a block's border nor at a whole second.
var fixedNow = time.UnixMilli(1770000000123)

func historyOptions(t testing.TB) HistoryOptions {
	o := DefaultHistoryOptions()
	o.Dir, o.Now, o.Instance = filepath.Join(t.TempDir(), "data"), fixedNow, "localhost:5000"
	return o
}

func openStore(t *testing.T, dir string) (*tsdb.DB, *logLines) {
	t.Helper()
	lines := &logLines{}
	opts := tsdb.DefaultOptions()
	opts.RetentionDuration = (15 * 24 * time.Hour).Milliseconds()
	opts.MaxBlockDuration = (24 * time.Hour).Milliseconds()
	opts.StripeSize = 1024
	opts.NoLockfile = true // as ours, which takes the lock itself: the file of an earlier one is no crash
	db, err := tsdb.Open(dir, slog.New(lines), nil, opts, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db, lines
}

type evaluator struct {
	t      *testing.T
	db     *tsdb.DB
	engine *promql.Engine
}

func newEvaluator(t *testing.T, db *tsdb.DB) evaluator {
	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 10_000_000, Timeout: 10 * time.Minute, EnableAtModifier: true, EnableNegativeOffset: true,
		Parser: parser.NewParser(parser.Options{}),
	})
	t.Cleanup(func() { require.NoError(t, engine.Close()) })
	return evaluator{t, db, engine}
}

func (e evaluator) at(query string, at time.Time) promql.Vector {
	e.t.Helper()
	q, err := e.engine.NewInstantQuery(e.t.Context(), e.db, nil, query, at)
	require.NoError(e.t, err, query)
	defer q.Close()
	res := q.Exec(e.t.Context())
	require.NoError(e.t, res.Err, query)
	v, err := res.Vector()
	require.NoError(e.t, err, query)
	return slices.Clone(v)
}

func (e evaluator) over(query string, begin, end time.Time, step time.Duration) promql.Matrix {
	e.t.Helper()
	q, err := e.engine.NewRangeQuery(e.t.Context(), e.db, nil, query, begin, end, step)
	require.NoError(e.t, err, query)
	defer q.Close()
	res := q.Exec(e.t.Context())
	require.NoError(e.t, res.Err, query)
	require.Empty(e.t, res.Warnings, query)
	m, err := res.Matrix()
	require.NoError(e.t, err, query)
	out := make(promql.Matrix, len(m))
	for i, s := range m {
		out[i] = promql.Series{Metric: s.Metric, Floats: slices.Clone(s.Floats), Histograms: slices.Clone(s.Histograms)}
	}
	return out
}

// one is the value of a query that has exactly one series.
func (e evaluator) one(query string, at time.Time) float64 {
	e.t.Helper()
	v := e.at(query, at)
	require.Len(e.t, v, 1, query)
	return v[0].F
}

// outage is the incident of the default history on the clock.
func outage() (begin, end time.Time) {
	begin = fixedNow.Add(-incidentAgo)
	return begin, begin.Add(incidentDuration)
}

// TestGeneratedHours writes one history and looks at it from several sides.
func TestGeneratedHours(t *testing.T) {
	o := historyOptions(t)
	require.NoError(t, WriteHistory(t.Context(), o))
	db, lines := openStore(t, o.Dir)
	for name, look := range map[string]func(*testing.T, evaluator){
		"panels":     panelsAreFull,
		"dashboard":  dashboardIsFull,
		"error rate": errorRatePeaksInTheIncidentOnly,
		"counters":   countersAgree,
		"alert":      alertGoesPendingThenFiring,
		"rules":      rulesAgree,
	} {
		t.Run(name, func(t *testing.T) { look(t, newEvaluator(t, db)) })
	}
	lines.requireEmpty(t)
}

func TestStoreGoesOnAfterHistory(t *testing.T) {
	o := historyOptions(t)
	require.NoError(t, WriteHistory(t.Context(), o))
	db, lines := openStore(t, o.Dir)
	db.DisableCompactions() // those that begin by themselves, beside the ones below

	blocks := db.Blocks()
	require.Len(t, blocks, 4, "six hours that begin inside of two")
	for i, b := range blocks {
		require.LessOrEqual(t, b.Meta().MaxTime, fixedNow.UnixMilli())
		if i > 0 {
			require.LessOrEqual(t, blocks[i-1].Meta().MaxTime, b.Meta().MinTime)
		}
		const length = tsdb.DefaultBlockDuration
		require.Equal(t, b.Meta().MinTime/length, (b.Meta().MaxTime-1)/length, "no block crosses a border")
	}
	require.NoError(t, db.Compact(t.Context()))

	// Live: nine hours of one counter from Now on, so that the head is cut and blocks are merged.
	live := labels.FromStrings("__name__", "hancock_requests_total", "job", "hancock", "instance", "localhost:5000")
	n := 0.0
	for at := fixedNow; at.Before(fixedNow.Add(9 * time.Hour)); at = at.Add(15 * time.Second) {
		app := db.Appender(t.Context())
		_, err := app.Append(0, live, at.UnixMilli(), n)
		require.NoError(t, err)
		require.NoError(t, app.Commit())
		n++
	}
	require.NoError(t, db.Compact(t.Context()))
	require.NoError(t, db.Compact(t.Context()))
	level := 0
	for _, b := range db.Blocks() {
		level = max(level, b.Meta().Compaction.Level)
		require.False(t, b.Meta().Compaction.Failed)
	}
	require.Greater(t, level, 1, "blocks of the history are compacted")

	e := newEvaluator(t, db)
	got := e.one(`count_over_time(hancock_requests_total[6h])`, fixedNow.Add(-time.Second))
	require.InDelta(t, 6*3600/15-2, got, 0, "all but the two scrapes that the restart missed")
	require.InDelta(t, 2, e.one(`resets(hancock_requests_total[12h])`, fixedNow.Add(time.Minute)), 0, "the live counter begins anew")
	lines.requireEmpty(t)
}

func TestHistoryIsWrittenOnce(t *testing.T) {
	o := historyOptions(t)
	o.Interval = time.Minute // a quarter of the work
	require.NoError(t, WriteHistory(t.Context(), o))
	first := folder(t, o.Dir)
	require.Contains(t, first, MarkerFile)

	o.Now = o.Now.Add(10 * time.Minute)
	require.NoError(t, WriteHistory(t.Context(), o))
	require.Equal(t, first, folder(t, o.Dir), "nothing is added to a folder that has a history")
}

func TestHistoryIsTheSameAtAnyTime(t *testing.T) {
	for name, now := range map[string]time.Time{
		"at a border":        time.UnixMilli(tsdb.DefaultBlockDuration * 245_000),
		"a moment after":     time.UnixMilli(tsdb.DefaultBlockDuration*245_000 + 1),
		"a moment before":    time.UnixMilli(tsdb.DefaultBlockDuration*245_000 - 1),
		"a scrape after":     time.UnixMilli(tsdb.DefaultBlockDuration*245_000 + 15_000),
		"restart at borders": time.UnixMilli(tsdb.DefaultBlockDuration * 245_000).Add(incidentAgo - incidentDuration),
	} {
		t.Run(name, func(t *testing.T) {
			o := historyOptions(t)
			o.Now, o.Interval = now, 4*time.Minute // a sixteenth of the work
			require.NoError(t, WriteHistory(t.Context(), o))
			db, lines := openStore(t, o.Dir)
			e := newEvaluator(t, db)
			require.InDelta(t, 6*3600/15-2, e.one(`count_over_time(up[6h:15s])`, now.Add(-time.Millisecond-14*time.Second)), 21)
			app := db.Appender(t.Context())
			_, err := app.Append(0, labels.FromStrings("__name__", "up", "job", "hancock", "instance", o.Instance), now.UnixMilli(), 1)
			require.NoError(t, err, "the store takes samples from Now on")
			require.NoError(t, app.Commit())
			lines.requireEmpty(t)
		})
	}
}

func TestFolderOfSomethingElse(t *testing.T) {
	for _, name := range []string{"wal", "chunks_head", "01BKGV7JBM69T2G1BGBGM6KB12"} {
		t.Run(name, func(t *testing.T) {
			o := historyOptions(t)
			require.NoError(t, os.MkdirAll(filepath.Join(o.Dir, name), 0o700))
			err := WriteHistory(t.Context(), o)
			require.ErrorIs(t, err, ErrNotDemo)
			require.ErrorContains(t, err, o.Dir)
			require.Equal(t, []string{name}, folder(t, o.Dir), "nothing is touched")
		})
	}
}

func TestHistoryIsAllOrNothing(t *testing.T) {
	o := historyOptions(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, WriteHistory(ctx, o), context.Canceled)
	require.Equal(t, []string{MarkerFile, "lock"}, folder(t, o.Dir))
	o.Interval = time.Minute // a quarter of the work

	// Half of a history that a killed process left is thrown away.
	require.NoError(t, os.MkdirAll(filepath.Join(o.Dir, newBlocksFolder, "01BKGV7JBM69T2G1BGBGM6KB12"), 0o700))
	require.NoError(t, WriteHistory(t.Context(), o))
	db, lines := openStore(t, o.Dir)
	require.Len(t, db.Blocks(), 4)
	lines.requireEmpty(t)
}

func TestHistoryOptions(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*HistoryOptions)
		want   string
	}{
		"no folder":      {func(o *HistoryOptions) { o.Dir = "" }, "data folder is empty"},
		"too short":      {func(o *HistoryOptions) { o.Duration = time.Minute }, "duration 1m0s"},
		"too long":       {func(o *HistoryOptions) { o.Duration = 1000 * time.Hour }, "duration 1000h"},
		"no interval":    {func(o *HistoryOptions) { o.Interval = 0 }, "interval 0s"},
		"zero time":      {func(o *HistoryOptions) { o.Now = time.Time{} }, "too early"},
		"no instance":    {func(o *HistoryOptions) { o.Instance = "" }, "instance is empty"},
		"no model":       {func(o *HistoryOptions) { o.Model = "" }, "model is empty"},
		"file as folder": {func(o *HistoryOptions) { o.Dir = "history_test.go" }, "reading data folder"},
	} {
		t.Run(name, func(t *testing.T) {
			o := historyOptions(t)
			c.change(&o)
			require.ErrorContains(t, WriteHistory(t.Context(), o), c.want)
		})
	}
}

func TestShortAndLongHistories(t *testing.T) {
	for name, c := range map[string]struct{ duration, interval time.Duration }{
		"an hour at 5 s":  {time.Hour, 5 * time.Second},
		"a night at 1 m":  {9 * time.Hour, time.Minute},
		"too often":       {time.Hour, time.Millisecond},
		"too seldom":      {3 * time.Hour, time.Hour},
		"uneven interval": {2 * time.Hour, 7 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			o := historyOptions(t)
			o.Duration, o.Interval = c.duration, c.interval
			require.NoError(t, WriteHistory(t.Context(), o))
			db, lines := openStore(t, o.Dir)
			e := newEvaluator(t, db)
			require.Positive(t, e.one(`hancock_requests_total`, fixedNow.Add(-time.Second)))
			require.NotEmpty(t, e.at(`last_over_time(ALERTS{alertstate="firing"}[1d])`, fixedNow))
			lines.requireEmpty(t)
		})
	}
}

func TestLoadStaysInItsRange(t *testing.T) {
	sum, n := 0.0, 0
	for at := -24 * time.Hour; at < 24*time.Hour; at += time.Second {
		l := load(3, at)
		require.True(t, l > 1 && l < 5.0001, "load at %s: %v", at, l)
		sum, n = sum+l, n+1
	}
	require.InDelta(t, 3, sum/float64(n), 0.05)
	require.False(t, math.IsNaN(sum))
}

// folder is what is in dir, in the order of names.
func folder(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.SortFunc(names, strings.Compare)
	return names
}

func BenchmarkWriteHistory(b *testing.B) {
	for b.Loop() {
		require.NoError(b, WriteHistory(b.Context(), historyOptions(b)))
	}
}

// TestLockFileStays: two processes that lock the folder one after the other lock the same file, so
// that one that still had it open has not locked another one.
func TestLockFileStays(t *testing.T) {
	dir := t.TempDir()
	stat := func() os.FileInfo {
		info, err := os.Stat(filepath.Join(dir, "lock"))
		require.NoError(t, err)
		return info
	}
	unlock, err := lockFolder(dir)
	require.NoError(t, err)
	first := stat()
	_, err = lockFolder(dir)
	require.ErrorContains(t, err, "is in use by another process")
	require.NoError(t, unlock())
	require.True(t, os.SameFile(first, stat()), "the lock's file is another one")
	unlock, err = lockFolder(dir)
	require.NoError(t, err)
	require.True(t, os.SameFile(first, stat()))
	require.NoError(t, unlock())
}
