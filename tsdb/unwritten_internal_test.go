package tsdb

import (
	"errors"
	"log/slog"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/stretchr/testify/require"
)

var errDisk = errors.New("no space left on device")

// times returns the times of the samples of each series.
func times(t *testing.T, u *unwritten, mint, maxt int64, matchers ...*labels.Matcher) map[string][]int64 {
	t.Helper()
	set := u.querier(storage.NoopQuerier(), mint, maxt).Select(t.Context(), true, nil, matchers...)
	found := map[string][]int64{}
	for set.Next() {
		it := set.At().Iterator(nil)
		for it.Next() != chunkenc.ValNone {
			found[set.At().Labels().String()] = append(found[set.At().Labels().String()], it.AtT())
		}
		require.NoError(t, it.Err())
	}
	require.NoError(t, set.Err())
	return found
}

func TestUnwrittenSamples(t *testing.T) {
	u := newUnwritten(prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	a, b := labels.FromStrings("__name__", "a"), labels.FromStrings("__name__", "b", "x", "y")
	require.NoError(t, u.ended(nil, batch{taken: []rawSample{{labels: a, t: 1}}}))
	require.Empty(t, times(t, u, math.MinInt64, math.MaxInt64), "it was written")
	require.NoError(t, u.failure())

	require.NoError(t, u.ended(errDisk, batch{taken: []rawSample{{labels: a, t: 2}, {labels: b, t: 2, h: &histogram.Histogram{}}, {labels: a, t: 2}}}))
	require.NoError(t, u.ended(errDisk, batch{taken: []rawSample{{labels: a, t: 5}, {labels: a, t: 4}}}))
	require.ErrorIs(t, u.failure(), errDisk)
	require.NoError(t, u.ended(errDisk, batch{}), "nothing is lost")
	require.ErrorIs(t, u.ended(errClosed, batch{taken: []rawSample{{labels: a, t: 6}}}), errClosed)
	require.Equal(t, map[string][]int64{a.String(): {2, 5}, b.String(): {2}}, times(t, u, math.MinInt64, math.MaxInt64))
	require.Equal(t, map[string][]int64{a.String(): {5}}, times(t, u, 3, 5))
	require.Equal(t, map[string][]int64{b.String(): {2}}, times(t, u, 0, 4, labels.MustNewMatcher(labels.MatchEqual, "x", "y")))
	q := u.querier(storage.NoopQuerier(), math.MinInt64, math.MaxInt64)
	names, _, err := q.LabelNames(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, []string{"__name__", "x"}, names)
	values, _, err := q.LabelValues(t.Context(), "__name__", nil)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, values)
	require.InDelta(t, 5, testutil.ToFloat64(u.total), 0)

	require.NoError(t, u.ended(nil, batch{taken: []rawSample{{labels: a, t: 7}}}))
	require.NoError(t, u.failure(), "writing works again")
	require.Empty(t, times(t, u, math.MinInt64, math.MaxInt64), "what is older than an hour is dropped")
}

// Of samples that the storage takes for too old, those of now are kept.
func TestRefusedSamples(t *testing.T) {
	u := newUnwritten(prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	now, ls := time.Now().UnixMilli(), labels.FromStrings("__name__", "a")
	var b batch
	require.NoError(t, b.add(rawSample{labels: ls, t: now}, storage.ErrOutOfBounds))
	require.NoError(t, b.add(rawSample{labels: ls, t: now + 1}, storage.ErrTooOldSample))
	require.ErrorIs(t, b.add(rawSample{labels: ls, t: now - time.Hour.Milliseconds()}, storage.ErrTooOldSample), storage.ErrTooOldSample)
	require.ErrorIs(t, b.add(rawSample{labels: ls, t: now}, storage.ErrOutOfOrderSample), storage.ErrOutOfOrderSample)
	require.NoError(t, b.add(rawSample{labels: ls, t: now + 2}, nil))
	require.NoError(t, u.ended(nil, b))
	require.ErrorIs(t, u.failure(), storage.ErrTooOldSample)
	require.Equal(t, map[string][]int64{ls.String(): {now, now + 1}}, times(t, u, math.MinInt64, math.MaxInt64))
}

func TestUnwrittenIsBounded(t *testing.T) {
	u := newUnwritten(prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	now := time.Now().UnixMilli()
	for i := range 30 {
		samples := make([]rawSample, 50_000)
		for j := range samples {
			samples[j] = rawSample{labels: labels.FromStrings("n", strconv.Itoa(j)), t: now + int64(i)*15_000}
		}
		require.NoError(t, u.ended(errDisk, batch{taken: samples}))
		require.LessOrEqual(t, u.count, maxUnwritten)
	}
	one := times(t, u, math.MinInt64, math.MaxInt64, labels.MustNewMatcher(labels.MatchEqual, "n", "7"))
	require.GreaterOrEqual(t, len(one[labels.FromStrings("n", "7").String()]), 10, "the newer half is there")
	require.NoError(t, u.ended(errDisk, batch{taken: []rawSample{{labels: labels.FromStrings("n", "later"), t: now + 3*unwrittenWindow.Milliseconds()}}}))
	require.Equal(t, 1, u.count)
	require.Len(t, u.series, 1)
}
