package tsdb

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// ruleSeries are what rules write about alerts. They carry the labels of what they are about, but they do not end
// with the scraping: pending alerts are restored from them at the next start.
const ruleSeries = "ALERTS|ALERTS_FOR_STATE"

// activeTargets are the labels of what is being scraped for the jobs that are wanted.
func (db *DB) activeTargets(wanted func(job string) bool) []labels.Labels {
	var all []labels.Labels
	b := labels.NewBuilder(labels.EmptyLabels())
	for job, targets := range db.manager.TargetsActive() {
		if !wanted(job) {
			continue
		}
		for _, t := range targets {
			all = append(all, t.Labels(b))
		}
	}
	return all
}

// markStale ends each series of targets that has not ended yet. Prometheus leaves that out when it stops, and the
// last values then stay in its answers for five minutes more.
func (db *DB) markStale(ctx context.Context, targets []labels.Labels, at time.Time) (err error) {
	q, err := db.local.Querier(at.Add(-db.now.Load().opts.QueryLookback).UnixMilli(), at.UnixMilli())
	if err != nil {
		return fmt.Errorf("querying for series to end: %w", err)
	}
	defer func() { err = errors.Join(err, q.Close()) }()

	app := db.fanout.AppenderV2(ctx)
	stale := math.Float64frombits(value.StaleNaN)
	for _, target := range targets {
		set := q.Select(ctx, false, nil, targetMatchers(target)...)
		for set.Next() {
			series := set.At()
			if ended(series) {
				continue
			}
			if _, err := app.Append(0, series.Labels(), 0, at.UnixMilli(), stale, nil, nil, storage.AOptions{}); err != nil &&
				!errors.Is(err, storage.ErrOutOfOrderSample) && !errors.Is(err, storage.ErrDuplicateSampleForTimestamp) {
				return errors.Join(fmt.Errorf("ending %s: %w", series.Labels(), err), app.Rollback())
			}
		}
		if err := errors.Join(set.Err(), ctx.Err()); err != nil {
			return errors.Join(fmt.Errorf("reading series to end: %w", err), app.Rollback())
		}
	}
	return app.Commit()
}

func targetMatchers(target labels.Labels) []*labels.Matcher {
	ms := []*labels.Matcher{labels.MustNewMatcher(labels.MatchNotRegexp, model.MetricNameLabel, ruleSeries)}
	target.Range(func(l labels.Label) {
		ms = append(ms, labels.MustNewMatcher(labels.MatchEqual, l.Name, l.Value))
	})
	return ms
}

// ended reports whether the newest sample of s is a stale marker, or whether there is none.
func ended(s storage.Series) bool {
	stale := true
	it := s.Iterator(nil)
	for {
		switch it.Next() {
		case chunkenc.ValFloat:
			_, v := it.At()
			stale = value.IsStaleNaN(v)
		case chunkenc.ValHistogram, chunkenc.ValFloatHistogram:
			_, h := it.AtFloatHistogram(nil)
			stale = value.IsStaleNaN(h.Sum)
		default:
			return stale
		}
	}
}
