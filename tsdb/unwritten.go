package tsdb

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

const (
	// unwrittenWindow is how long samples that could not be written are kept.
	unwrittenWindow = time.Hour
	// maxUnwritten is how many there may be; the older half of all is dropped beyond it.
	maxUnwritten = 1_000_000
	// recent is how far from now a sample may be that the storage takes for too old. A target may expose older ones.
	recent = 2 * time.Minute
)

// unwritten keeps in memory the samples of scrapes and rules that could not be written to disk, so that rules and queries
// go on with them. A restart loses them. It may be used concurrently.
type unwritten struct {
	total  prometheus.Counter
	logger *slog.Logger

	mu     sync.RWMutex
	series map[uint64][]*unwrittenSeries // by the hash of their labels
	count  int
	newest int64 // milliseconds
	// since is when writing began to fail; zero while it works. failed is how many samples were not written since.
	since  time.Time
	failed int
	reason error
	// some is false as long as there is nothing.
	some atomic.Bool
}

// unwrittenSeries is a series with its samples in the order of time.
type unwrittenSeries struct {
	labels  labels.Labels
	samples []chunks.Sample
}

// rawSample is a sample of one of the three types.
type rawSample struct {
	labels labels.Labels
	t      int64
	v      float64
	h      *histogram.Histogram
	fh     *histogram.FloatHistogram
}

func newUnwritten(reg prometheus.Registerer, logger *slog.Logger) *unwritten {
	u := &unwritten{logger: logger, series: map[uint64][]*unwrittenSeries{}, total: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "hancock_storage_unwritten_samples_total",
		Help: "Samples that could not be written to disk and are kept in memory only.",
	})}
	reg.MustRegister(u.total)
	return u
}

// batch has the samples of a transaction.
type batch struct {
	taken []rawSample
	// refused are those that the storage takes for too old, as when blocks or the clock are wrong, and why.
	refused []rawSample
	reason  error
}

// add takes a sample and the error of its append. It returns the error of one that is not kept.
func (b *batch) add(s rawSample, err error) error {
	old := errors.Is(err, storage.ErrOutOfBounds) || errors.Is(err, storage.ErrTooOldSample)
	switch {
	case err == nil:
		b.taken = append(b.taken, s)
	case old && time.Since(time.UnixMilli(s.t)).Abs() < recent:
		b.refused, b.reason = append(b.refused, s), err
		return nil
	}
	return err
}

// ended takes a batch and the outcome of its transaction. Only a closed storage is an error: what it refuses is kept.
func (u *unwritten) ended(err error, b batch) error {
	switch {
	case errors.Is(err, errClosed):
		return err
	case err != nil:
		u.keep(append(b.taken, b.refused...), err)
	case len(b.refused) > 0:
		u.keep(b.refused, b.reason)
	case len(b.taken) > 0:
		u.succeeded()
	}
	return nil
}

// keep keeps samples that cannot be written.
func (u *unwritten) keep(samples []rawSample, err error) {
	if len(samples) == 0 {
		return // Nothing is lost.
	}
	u.total.Add(float64(len(samples)))
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.failed += len(samples); u.since.IsZero() {
		u.since = time.Now()
		u.logger.Error("samples cannot be written to disk and are kept in memory only", "event", "storage_unwritable", "error", err)
	}
	u.reason = err
	for _, s := range samples {
		u.add(s)
	}
	u.some.Store(true)
	u.trim(u.newest - unwrittenWindow.Milliseconds())
	if u.count > maxUnwritten {
		u.trim(u.median())
	}
}

// failure is why samples are not written now; nil while they are.
func (u *unwritten) failure() error {
	u.mu.RLock()
	defer u.mu.RUnlock()
	if u.since.IsZero() {
		return nil
	}
	return u.reason
}

// succeeded notes that samples were written.
func (u *unwritten) succeeded() {
	if !u.some.Load() {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.since.IsZero() {
		u.logger.Warn("samples are written to disk again", "event", "storage_writable",
			"duration_ms", time.Since(u.since).Milliseconds(), "unwritten_samples", u.failed)
		u.since, u.failed = time.Time{}, 0
	}
	u.trim(time.Now().Add(-unwrittenWindow).UnixMilli())
}

// add keeps a sample. One that is not newer than the last of its series is dropped. The caller holds mu.
func (u *unwritten) add(s rawSample) {
	hash := s.labels.Hash()
	i := slices.IndexFunc(u.series[hash], func(other *unwrittenSeries) bool { return labels.Equal(other.labels, s.labels) })
	if i < 0 {
		i = len(u.series[hash])
		u.series[hash] = append(u.series[hash], &unwrittenSeries{labels: s.labels.Copy()})
	}
	to := u.series[hash][i]
	if n := len(to.samples); n > 0 && to.samples[n-1].T() >= s.t {
		return
	}
	to.samples = append(to.samples, newMemorySample(s))
	u.count++
	u.newest = max(u.newest, s.t)
}

// trim drops samples before a time. The caller holds mu.
func (u *unwritten) trim(before int64) {
	for hash, all := range u.series {
		for _, s := range all {
			n := 0
			for n < len(s.samples) && s.samples[n].T() < before {
				n++
			}
			if n > 0 {
				s.samples = slices.Clone(s.samples[n:]) // the old array can be freed
				u.count -= n
			}
		}
		all = slices.DeleteFunc(all, func(s *unwrittenSeries) bool { return len(s.samples) == 0 })
		if u.series[hash] = all; len(all) == 0 {
			delete(u.series, hash)
		}
	}
	if u.count == 0 {
		u.some.Store(false)
	}
}

// median is a time before which about half of the samples are. The caller holds mu.
func (u *unwritten) median() int64 {
	oldest := u.newest
	for _, all := range u.series {
		for _, s := range all {
			oldest = min(oldest, s.samples[0].T())
		}
	}
	return oldest + (u.newest-oldest)/2 + 1
}

// querier adds what is kept to what q reads.
func (u *unwritten) querier(q storage.Querier, mint, maxt int64) storage.Querier {
	if !u.some.Load() {
		return q
	}
	return storage.NewMergeQuerier([]storage.Querier{q, unwrittenQuerier{u, mint, maxt}}, nil, storage.ChainedSeriesMerge)
}

// unwrittenQuerier reads what is kept.
type unwrittenQuerier struct {
	of         *unwritten
	mint, maxt int64
}

// matching calls do with each series that has samples in the time of the querier.
func (q unwrittenQuerier) matching(matchers []*labels.Matcher, do func(labels.Labels, []chunks.Sample)) {
	q.of.mu.RLock()
	defer q.of.mu.RUnlock()
	for _, all := range q.of.series {
		for _, s := range all {
			if slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(s.labels.Get(m.Name)) }) {
				continue
			}
			from := sort.Search(len(s.samples), func(i int) bool { return s.samples[i].T() >= q.mint })
			to := sort.Search(len(s.samples), func(i int) bool { return s.samples[i].T() > q.maxt })
			if from < to {
				do(s.labels, slices.Clone(s.samples[from:to]))
			}
		}
	}
}

// Select implements storage.Querier.
func (q unwrittenQuerier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	var found []storage.Series
	q.matching(matchers, func(ls labels.Labels, samples []chunks.Sample) {
		found = append(found, storage.NewListSeries(ls, samples))
	})
	slices.SortFunc(found, func(a, b storage.Series) int { return labels.Compare(a.Labels(), b.Labels()) })
	return &listSet{series: found, at: -1}
}

// LabelValues implements storage.LabelQuerier.
func (q unwrittenQuerier) LabelValues(_ context.Context, name string, _ *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	var values []string
	q.matching(matchers, func(ls labels.Labels, _ []chunks.Sample) {
		if v := ls.Get(name); v != "" {
			values = append(values, v)
		}
	})
	slices.Sort(values)
	return slices.Compact(values), nil, nil
}

// LabelNames implements storage.LabelQuerier.
func (q unwrittenQuerier) LabelNames(_ context.Context, _ *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	var names []string
	q.matching(matchers, func(ls labels.Labels, _ []chunks.Sample) {
		ls.Range(func(l labels.Label) { names = append(names, l.Name) })
	})
	slices.Sort(names)
	return slices.Compact(names), nil, nil
}

// Close implements storage.LabelQuerier.
func (unwrittenQuerier) Close() error { return nil }

// listSet is a set of series in their order.
type listSet struct {
	series []storage.Series
	at     int
}

func (s *listSet) Next() bool                      { s.at++; return s.at < len(s.series) }
func (s *listSet) At() storage.Series              { return s.series[s.at] }
func (*listSet) Err() error                        { return nil }
func (*listSet) Warnings() annotations.Annotations { return nil }

// memorySample is a chunks.Sample.
type memorySample rawSample

func newMemorySample(s rawSample) chunks.Sample {
	s.labels = labels.EmptyLabels()
	return memorySample(s)
}

func (s memorySample) T() int64                      { return s.t }
func (memorySample) ST() int64                       { return 0 }
func (s memorySample) F() float64                    { return s.v }
func (s memorySample) H() *histogram.Histogram       { return s.h }
func (s memorySample) FH() *histogram.FloatHistogram { return s.fh }

// Type implements chunks.Sample.
func (s memorySample) Type() chunkenc.ValueType {
	switch {
	case s.h != nil:
		return chunkenc.ValHistogram
	case s.fh != nil:
		return chunkenc.ValFloatHistogram
	default:
		return chunkenc.ValFloat
	}
}

// Copy implements chunks.Sample.
func (s memorySample) Copy() chunks.Sample {
	if s.h != nil {
		s.h = s.h.Copy()
	}
	if s.fh != nil {
		s.fh = s.fh.Copy()
	}
	return s
}

// keepingAppendable is for rules: what cannot be written is kept, and is no error.
type keepingAppendable struct {
	storage.Appendable
	to *unwritten
}

// Appender begins a transaction.
func (a keepingAppendable) Appender(ctx context.Context) storage.Appender {
	return &keepingAppender{Appender: a.Appendable.Appender(ctx), to: a.to}
}

type keepingAppender struct {
	storage.Appender
	to    *unwritten
	batch batch
}

// Append implements storage.Appender.
func (a *keepingAppender) Append(ref storage.SeriesRef, ls labels.Labels, t int64, v float64) (storage.SeriesRef, error) {
	ref, err := a.Appender.Append(ref, ls, t, v)
	return ref, a.batch.add(rawSample{labels: ls, t: t, v: v}, err)
}

// AppendHistogram implements storage.Appender.
func (a *keepingAppender) AppendHistogram(ref storage.SeriesRef, ls labels.Labels, t int64, h *histogram.Histogram, fh *histogram.FloatHistogram) (storage.SeriesRef, error) {
	ref, err := a.Appender.AppendHistogram(ref, ls, t, h, fh)
	return ref, a.batch.add(rawSample{labels: ls, t: t, h: h, fh: fh}, err)
}

// Commit writes the samples, or keeps them.
func (a *keepingAppender) Commit() error {
	err := a.to.ended(a.Appender.Commit(), a.batch)
	a.batch = batch{}
	return err
}

// Rollback implements storage.Appender.
func (a *keepingAppender) Rollback() error {
	a.batch = batch{}
	return a.Appender.Rollback()
}
