package ruletest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// store holds the samples of one test: Prometheus' own store of recent samples, without a log or blocks.
type store struct {
	head *tsdb.Head
	dir  string // Empty but for what the head wants to have there; Close removes it.
}

// openStore opens an empty store. It must be closed.
func openStore() (*store, error) {
	dir, err := os.MkdirTemp("", "hancock-rule-test-")
	if err != nil {
		return nil, fmt.Errorf("a folder for the samples of the test: %w", err)
	}
	o := tsdb.DefaultHeadOptions()
	o.ChunkDirRoot = dir
	o.ChunkRange = math.MaxInt64 / 4 // All of the test is recent.
	o.StripeSize = 64                // Of many series a test has few.
	head, err := tsdb.NewHead(nil, nil, nil, nil, o, nil)
	if err == nil {
		err = head.Init(math.MinInt64)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the store of the test: %w", err), os.RemoveAll(dir))
	}
	return &store{head: head, dir: dir}, nil
}

// Querier implements storage.Queryable.
func (s *store) Querier(mint, maxt int64) (storage.Querier, error) {
	if maxt < s.head.MinTime() {
		return storage.NoopQuerier(), nil // The head refuses what lies before it.
	}
	return tsdb.NewBlockQuerier(tsdb.NewRangeHead(s.head, mint, maxt), mint, maxt)
}

// Appender implements storage.Appendable.
func (s *store) Appender(ctx context.Context) storage.Appender { return s.head.Appender(ctx) }

// appendValue appends one value of an input series.
func appendValue(app storage.Appender, s *inputSeries, t int64, v parser.SequenceValue) error {
	var err error
	if v.Histogram != nil {
		_, err = app.AppendHistogram(0, s.labels, t, nil, v.Histogram)
	} else {
		_, err = app.Append(0, s.labels, t, v.Value)
	}
	if err != nil {
		return fmt.Errorf("input_series: %s: %w", s.labels, err)
	}
	return nil
}

// Close gives back what the store holds.
func (s *store) Close() error {
	// A head writes what it holds when it is closed, for which it takes 128 MiB of disk at once; so it is emptied.
	err := s.head.Truncate(s.head.MaxTime() + 1)
	return errors.Join(err, s.head.Close(), os.RemoveAll(s.dir))
}
