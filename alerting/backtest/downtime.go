package backtest

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

const (
	// processJob is the job of the samples that the process takes from itself.
	processJob = "hancock"
	// shortestGap is how many minutes without such a sample mean that it did not run.
	shortestGap = 5
)

// gap is a time in which the process did not run.
type gap struct{ from, to time.Time }

// noteDowntime notes when the process did not run, as the manager evaluated nothing then. A store without samples of
// the process, such as one that was copied from elsewhere, tells nothing of it.
func (x *run) noteDowntime(ctx context.Context) error {
	gaps, err := downtime(ctx, x.store.base, x.report.From, x.request.To)
	if err != nil {
		return fmt.Errorf("looking when the process ran: %w", err)
	}
	if len(gaps) == 0 {
		return nil
	}
	var sum, longest time.Duration
	first := gaps[0]
	for _, g := range gaps {
		d := g.to.Sub(g.from)
		sum += d
		if d > longest {
			longest, first = d, g
		}
	}
	x.report.note("For %s in %s, the longest from %s to %s, the process did not run or took no samples. The manager"+
		" evaluated nothing then; the replay does, and finds rules on what is absent firing there.",
		humanDuration(sum), plural(len(gaps), "gap"), first.from.UTC().Format(stamp), first.to.UTC().Format(stamp))
	return nil
}

// downtime finds the stretches without a sample of the process itself, to the minute.
func downtime(ctx context.Context, base storage.Queryable, from, to time.Time) (gaps []gap, err error) {
	low, high := milliseconds(from), milliseconds(to)
	const minute = int64(time.Minute / time.Millisecond)
	q, err := base.Querier(low, high)
	if err != nil {
		return nil, err
	}
	defer func() {
		if e := q.Close(); err == nil {
			err = e
		}
	}()
	alive := make([]bool, (high-low)/minute)
	samples, first := 0, len(alive)
	set := q.Select(ctx, false, &storage.SelectHints{Start: low, End: high},
		labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "up"),
		labels.MustNewMatcher(labels.MatchEqual, model.JobLabel, processJob))
	var it chunkenc.Iterator
	for set.Next() {
		it = set.At().Iterator(it)
		for it.Next() == chunkenc.ValFloat {
			t, v := it.At()
			if i := int((t - low) / minute); t >= low && i < len(alive) && !value.IsStaleNaN(v) {
				alive[i] = true
				samples++
				first = min(first, i)
			}
		}
		if err := it.Err(); err != nil {
			return nil, err
		}
	}
	if err := set.Err(); err != nil {
		return nil, err
	}
	since := first
	for i := first; i <= len(alive); i++ {
		if i < len(alive) && !alive[i] {
			continue
		}
		if i-since >= shortestGap {
			gaps = append(gaps, gap{from.Add(time.Duration(since) * time.Minute), from.Add(time.Duration(i) * time.Minute)})
		}
		since = i + 1
	}
	// One that takes samples of itself so seldom leaves such stretches always.
	if 2*len(gaps) > samples {
		return nil, nil
	}
	return gaps, nil
}
