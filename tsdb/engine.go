package tsdb

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/logging"
)

// engine evaluates queries. A reload replaces the current engine; queries in progress finish on the previous one.
type engine struct {
	current atomic.Pointer[promql.Engine]
	// of are the settings that made it, log is where it writes queries, nil for nowhere. Both are changed by reloads alone.
	of      engineSettings
	log     *logging.JSONFileLogger
	metrics swapped
}

// engineSettings are what an engine cannot change while it runs.
type engineSettings struct {
	timeout, lookback, step time.Duration
	samples, concurrency    int
}

var _ promql.QueryEngine = (*engine)(nil)

// NewInstantQuery is the engine's.
//

func (e *engine) NewInstantQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, ts time.Time) (promql.Query, error) {
	return e.current.Load().NewInstantQuery(ctx, q, opts, qs, ts)
}

// NewRangeQuery is the engine's.
//
//nolint:revive // The interface has that many arguments.
func (e *engine) NewRangeQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, start, end time.Time, interval time.Duration) (promql.Query, error) {
	return e.current.Load().NewRangeQuery(ctx, q, opts, qs, start, end, interval)
}

// openQueryLog opens the file for queries, nil without one. Each reload opens it again, as it may have been rotated.
func openQueryLog(cfg *config.Config) (*logging.JSONFileLogger, error) {
	file := cfg.GlobalConfig.QueryLogFile
	if file == "" {
		return nil, nil
	}
	log, err := logging.NewJSONFileLogger(file)
	if err != nil {
		return nil, fmt.Errorf("query log: %w", err)
	}
	return log, nil
}

// sharedLog is a query log that outlives engines.
type sharedLog struct{ *logging.JSONFileLogger }

// Close leaves the file open.
func (sharedLog) Close() error { return nil }

// useEngine applies settings to queries that begin afterwards. It cannot fail.
func (db *DB) useEngine(s *settings, log *logging.JSONFileLogger) {
	e := &db.engine
	of := engineSettings{
		timeout: s.opts.QueryTimeout, lookback: s.opts.QueryLookback, step: evaluationInterval(s.cfg),
		samples: s.opts.maxSamples(), concurrency: s.opts.concurrency(),
	}
	next := e.current.Load()
	if next == nil || of != e.of {
		own := prometheus.NewRegistry()
		next = promql.NewEngine(promql.EngineOpts{
			Logger:                   db.logger,
			Reg:                      own,
			MaxSamples:               of.samples,
			Timeout:                  of.timeout,
			ActiveQueryTracker:       newQuerySlots(of.concurrency),
			LookbackDelta:            of.lookback,
			NoStepSubqueryIntervalFn: func(int64) int64 { return of.step.Milliseconds() },
			EnableAtModifier:         true,
			EnableNegativeOffset:     true,
			FeatureRegistry:          db.features,
			Parser:                   db.parser,
		})
		e.metrics.use(own)
	}
	// A nil logger inside of an interface would be one.
	var queries promql.QueryLogger
	if log != nil {
		queries = sharedLog{log}
	}
	next.SetQueryLogger(queries)
	before := e.log
	e.of, e.log = of, log
	e.current.Store(next)
	db.answers.resize(s.opts)
	if before != nil {
		if err := before.Close(); err != nil {
			db.logger.Warn("closing the query log failed", "err", err)
		}
	}
}

// close closes the query log. No query may be under way.
func (e *engine) close() error {
	if e.log == nil {
		return nil
	}
	e.current.Load().SetQueryLogger(nil)
	return e.log.Close()
}

// swapped collects the metrics of a component that a reload replaces: those of the current one.
type swapped struct {
	current atomic.Pointer[prometheus.Registry]
}

func (s *swapped) use(r *prometheus.Registry) { s.current.Store(r) }

// Describe describes nothing, as what is swapped in may have other metrics.
func (*swapped) Describe(chan<- *prometheus.Desc) {}

// Collect sends the metrics of the current one.
func (s *swapped) Collect(out chan<- prometheus.Metric) {
	if r := s.current.Load(); r != nil {
		r.Collect(out)
	}
}
