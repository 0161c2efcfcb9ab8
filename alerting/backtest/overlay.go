package backtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/annotations"
)

// overlay is the history as the rules see it: what is stored, but for the results of these same rules, which are those
// of the replay. They are in a head of their own without a log, whose folder close removes.
type overlay struct {
	base     storage.Queryable
	recorded map[string]bool // Names that recording rules write.
	alerts   map[string]bool // Names of alerts.

	head     *tsdb.Head // nil if nobody reads results.
	parent   string
	folder   string // In the parent.
	appended int64  // Samples, or as much.
}

func newOverlay(s Storage, all []*rule) *overlay {
	o := &overlay{base: s.Queryable, parent: s.Folder, recorded: map[string]bool{}, alerts: map[string]bool{}}
	for _, r := range all {
		if r.alert != nil {
			o.alerts[r.impl.Name()] = true
		} else {
			o.recorded[r.impl.Name()] = true
		}
	}
	return o
}

const (
	folderPrefix = "hancock-backtest-"
	// leftoverAge is longer than any backtest takes.
	leftoverAge = 24 * time.Hour
)

// removeLeftovers removes the folders of processes that were killed. Those of
// others that are at work are younger.
func removeLeftovers(parent string) {
	if parent == "" {
		parent = os.TempDir()
	}
	entries, err := os.ReadDir(parent)
	if err != nil {
		return // Making a folder there will tell.
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), folderPrefix) {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > leftoverAge {
			_ = os.RemoveAll(filepath.Join(parent, e.Name())) // It may be somebody else's.
		}
	}
}

// open makes the head. close must be called even if it fails.
func (o *overlay) open() (err error) {
	removeLeftovers(o.parent)
	if o.folder, err = os.MkdirTemp(o.parent, folderPrefix); err != nil {
		return fmt.Errorf("folder for the results of recording rules: %w", err)
	}
	opts := tsdb.DefaultHeadOptions()
	opts.ChunkDirRoot = o.folder
	opts.StripeSize = 256
	// Rules are replayed one after the other, so samples come in any order of time between series.
	opts.ChunkRange = (1000 * 24 * time.Hour).Milliseconds()
	head, err := tsdb.NewHead(nil, slog.New(slog.DiscardHandler), nil, nil, opts, tsdb.NewHeadStats())
	if err != nil {
		return fmt.Errorf("head for the results of recording rules: %w", err)
	}
	if err := head.Init(math.MinInt64); err != nil {
		return errors.Join(fmt.Errorf("head for the results of recording rules: %w", err), head.Close())
	}
	o.head = head
	return nil
}

func (o *overlay) close() error {
	var err error
	if o.head != nil {
		err = o.head.Close()
	}
	if o.folder != "" {
		err = errors.Join(err, os.RemoveAll(o.folder))
	}
	if err != nil {
		return fmt.Errorf("removing the results of recording rules: %w", err)
	}
	return nil
}

// hides tells whether stored series with these labels are results of the rules that are replayed.
func (o *overlay) hides(l labels.Labels) bool {
	switch name := l.Get(model.MetricNameLabel); name {
	case alertsMetric, forStateMetric:
		return o.alerts[l.Get(model.AlertNameLabel)]
	default:
		return o.recorded[name]
	}
}

// Querier implements storage.Queryable.
func (o *overlay) Querier(mint, maxt int64) (storage.Querier, error) {
	base, err := o.base.Querier(mint, maxt)
	if err != nil || o.head == nil {
		return &overlayQuerier{Querier: base, overlay: o}, err
	}
	own, err := tsdb.NewBlockQuerier(tsdb.NewRangeHead(o.head, mint, maxt), mint, maxt)
	if err != nil {
		return nil, errors.Join(err, base.Close())
	}
	return &overlayQuerier{Querier: base, own: own, overlay: o}, nil
}

// Appender implements storage.Appendable.
func (o *overlay) Appender(ctx context.Context) storage.Appender { return o.head.Appender(ctx) }

// overlayQuerier takes label names and values from the base alone: rules ask for series only.
type overlayQuerier struct {
	storage.Querier
	own     storage.Querier // May be nil.
	overlay *overlay
}

// Select implements storage.Querier.
func (q *overlayQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.SeriesSet {
	base, hidden := true, true
	own := q.own != nil
	for _, m := range ms {
		if m.Name != model.MetricNameLabel || m.Type != labels.MatchEqual {
			continue
		}
		switch {
		case m.Value == alertsMetric || m.Value == forStateMetric:
		case q.overlay.recorded[m.Value]:
			base = false
		default:
			own, hidden = false, false
		}
	}
	var sets []storage.SeriesSet
	if base {
		set := q.Querier.Select(ctx, sorted, hints, ms...)
		if hidden {
			set = &hidingSet{SeriesSet: set, overlay: q.overlay}
		}
		sets = append(sets, set)
	}
	if own {
		sets = append(sets, q.own.Select(ctx, sorted, hints, ms...))
	}
	switch {
	case len(sets) == 0:
		return storage.EmptySeriesSet()
	case len(sets) == 1:
		return sets[0]
	case sorted:
		return storage.NewMergeSeriesSet(sets, 0, storage.ChainedSeriesMerge)
	}
	return &chainedSet{sets: sets}
}

// Close implements storage.Querier.
func (q *overlayQuerier) Close() error {
	err := q.Querier.Close()
	if q.own != nil {
		err = errors.Join(err, q.own.Close())
	}
	return err
}

// hidingSet leaves out what the overlay hides.
type hidingSet struct {
	storage.SeriesSet
	overlay *overlay
}

func (s *hidingSet) Next() bool {
	for s.SeriesSet.Next() {
		if !s.overlay.hides(s.At().Labels()) {
			return true
		}
	}
	return false
}

// chainedSet is one set after the other.
type chainedSet struct {
	sets []storage.SeriesSet
	at   int
}

func (s *chainedSet) Next() bool {
	for {
		if s.sets[s.at].Next() {
			return true
		}
		if s.sets[s.at].Err() != nil || s.at == len(s.sets)-1 {
			return false
		}
		s.at++
	}
}

func (s *chainedSet) At() storage.Series { return s.sets[s.at].At() }
func (s *chainedSet) Err() error         { return s.sets[s.at].Err() }

func (s *chainedSet) Warnings() annotations.Annotations {
	var all annotations.Annotations
	for _, set := range s.sets[:s.at+1] {
		all.Merge(set.Warnings())
	}
	return all
}

// until is a queryable that ends at a time: there were no samples yet that are newer.
type until struct {
	storage.Queryable
	end int64
}

func (u until) Querier(mint, maxt int64) (storage.Querier, error) {
	q, err := u.Queryable.Querier(mint, min(maxt, u.end))
	return untilQuerier{q, u.end}, err
}

type untilQuerier struct {
	storage.Querier
	end int64
}

// Select implements storage.Querier. Storages go by the hints if there are some.
func (u untilQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.SeriesSet {
	if hints != nil && hints.End > u.end {
		if hints.Start > u.end {
			return storage.EmptySeriesSet()
		}
		cut := *hints
		cut.End = u.end
		hints = &cut
	}
	return u.Querier.Select(ctx, sorted, hints, ms...)
}

// appendable takes the results of one rule, counts them, and hands them on if somebody reads them.
type appendable struct {
	rule *rule
	run  *run
}

// Appender implements storage.Appendable.
func (a appendable) Appender(ctx context.Context) storage.Appender {
	if !a.rule.read {
		return &appender{discard{}, a}
	}
	return &appender{a.run.store.Appender(ctx), a}
}

type appender struct {
	storage.Appender
	of appendable
}

func (a *appender) count(v float64, size int64) {
	if a.of.rule.read {
		a.of.run.store.appended += size
	}
	if !value.IsStaleNaN(v) && !a.of.rule.now.Before(a.of.run.report.From) {
		a.of.rule.report.Samples++
	}
}

// Append implements storage.Appender.
func (a *appender) Append(ref storage.SeriesRef, l labels.Labels, t int64, v float64) (storage.SeriesRef, error) {
	a.count(v, 1)
	return a.Appender.Append(ref, l, t, v)
}

// AppendHistogram implements storage.Appender. A bucket takes about as much as a sample.
func (a *appender) AppendHistogram(ref storage.SeriesRef, l labels.Labels, t int64, h *histogram.Histogram,
	fh *histogram.FloatHistogram,
) (storage.SeriesRef, error) {
	size := int64(1)
	if fh != nil {
		size += int64(len(fh.PositiveBuckets) + len(fh.NegativeBuckets))
	}
	a.count(0, size)
	return a.Appender.AppendHistogram(ref, l, t, h, fh)
}

// discard takes samples and forgets them.
type discard struct{}

var _ storage.Appender = discard{}

func (discard) SetOptions(*storage.AppendOptions) {}
func (discard) Commit() error                     { return nil }
func (discard) Rollback() error                   { return nil }

func (discard) Append(storage.SeriesRef, labels.Labels, int64, float64) (storage.SeriesRef, error) {
	return 1, nil
}

func (discard) AppendExemplar(storage.SeriesRef, labels.Labels, exemplar.Exemplar) (storage.SeriesRef, error) {
	return 1, nil
}

func (discard) AppendHistogram(storage.SeriesRef, labels.Labels, int64, *histogram.Histogram, *histogram.FloatHistogram) (storage.SeriesRef, error) {
	return 1, nil
}

func (discard) AppendHistogramSTZeroSample(storage.SeriesRef, labels.Labels, int64, int64, *histogram.Histogram, *histogram.FloatHistogram) (storage.SeriesRef, error) {
	return 1, nil
}

func (discard) UpdateMetadata(storage.SeriesRef, labels.Labels, metadata.Metadata) (storage.SeriesRef, error) {
	return 1, nil
}

func (discard) AppendSTZeroSample(storage.SeriesRef, labels.Labels, int64, int64) (storage.SeriesRef, error) {
	return 1, nil
}
