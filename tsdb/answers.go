package tsdb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"golang.org/x/sync/semaphore"
)

const (
	// defaultConcurrency is how many queries run at once unless that is configured.
	defaultConcurrency = 4
	// The memory for the samples of all running queries, and again for the answers that are being written, is this part
	// of the memory limit, within bounds. It doubles until it is collected.
	queryMemoryShare               = 512
	minQueryMemory, maxQueryMemory = 32 << 20, 512 << 20
	// sampleBytes is a sample in memory, encodedBytes one in an answer, and seriesBytes the labels of a series in both.
	sampleBytes, encodedBytes, seriesBytes = 16, 40, 1 << 10
	// smallAnswer is the size in bytes up to which an answer never waits.
	smallAnswer = 256 << 10
	// answerWait is how long a large answer waits for the memory of others.
	answerWait = 2 * time.Second
	// lightSteps is the number of steps up to which a query is not queued with those that have more.
	lightSteps = 1500
)

// queryMemory returns the bytes that the samples of all queries may take together: a part of GOMEMLIMIT or the
// container's limit, which GOMEMLIMIT is set to, or of the machine's memory.
func queryMemory() int64 {
	limit := debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 {
		limit = 0
		if total, err := memlimit.FromSystem(); err == nil && total < math.MaxInt64 {
			limit = int64(total) // #nosec G115 -- compared
		}
	}
	return min(max(limit/queryMemoryShare, minQueryMemory), maxQueryMemory)
}

// concurrency returns how many queries run at once.
func (o Options) concurrency() int { return cmp.Or(o.QueryConcurrency, defaultConcurrency) }

// maxSamples returns how many samples one query may hold.
func (o Options) maxSamples() int {
	return cmp.Or(o.QueryMaxSamples, int(queryMemory()/int64(sampleBytes*o.concurrency())))
}

// answers are the queries of the HTTP API. Their results take memory until they are written, which is up to the
// client, so the memory of all of them is bounded. Rules do not compete for it.
type answers struct {
	*engine
	memory atomic.Pointer[answerMemory]
}

// answerMemory is replaced when its size changes. Answers give back what they took from it.
type answerMemory struct {
	*semaphore.Weighted
	size        int64
	timeout     time.Duration
	concurrency int
	// light and heavy bound the queries that run, apart from each other, so that few steps do not wait for many. They
	// leave one place in the engine for rules. waiting bounds those that wait for memory.
	light, heavy, waiting *semaphore.Weighted
}

// resize applies the options to queries that begin afterwards.
func (a *answers) resize(o Options) {
	size := max(queryMemory(), int64(o.maxSamples())*(sampleBytes+encodedBytes))
	n := o.concurrency()
	if now := a.memory.Load(); now != nil && now.size == size && now.timeout == o.QueryTimeout && now.concurrency == n {
		return
	}
	light := max(n/2, 1)
	a.memory.Store(&answerMemory{
		Weighted: semaphore.NewWeighted(size), size: size, timeout: o.QueryTimeout, concurrency: n,
		light: semaphore.NewWeighted(int64(light)), heavy: semaphore.NewWeighted(int64(max(n-1-light, 1))),
		waiting: semaphore.NewWeighted(int64(n)),
	})
}

// NewInstantQuery is the engine's.
func (a *answers) NewInstantQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, ts time.Time) (promql.Query, error) {
	query, err := a.engine.NewInstantQuery(ctx, q, opts, qs, ts)
	return a.bound(query, 1, err)
}

// NewRangeQuery is the engine's.
//
//nolint:revive // The interface has that many arguments.
func (a *answers) NewRangeQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, start, end time.Time, interval time.Duration) (promql.Query, error) {
	query, err := a.engine.NewRangeQuery(ctx, q, opts, qs, start, end, interval)
	return a.bound(query, int64(end.Sub(start)/max(interval, 1))+1, err)
}

func (a *answers) bound(q promql.Query, steps int64, err error) (promql.Query, error) {
	if err != nil {
		return nil, err
	}
	memory := a.memory.Load()
	queue := memory.light
	if steps > lightSteps {
		queue = memory.heavy
	}
	return &answer{Query: q, memory: memory, queue: queue}, nil
}

// answer is a query that takes memory for its result until it is closed.
type answer struct {
	promql.Query
	memory *answerMemory
	queue  *semaphore.Weighted
	taken  int64
}

var errAnswersWait = promql.ErrQueryTimeout("waiting for memory that large answers to other clients take: try again, " +
	"or ask for fewer series or a larger step")

// Exec runs the query. Its timeout bounds the time in the queue, and then that of the evaluation.
func (a *answer) Exec(ctx context.Context) *promql.Result {
	res := a.evaluate(ctx)
	size := min(answerBytes(res.Value), a.memory.size)
	if size <= smallAnswer || a.memory.TryAcquire(size) {
		a.taken = size
		return res
	}
	// Only few results may exist without memory.
	if !a.memory.waiting.TryAcquire(1) {
		return &promql.Result{Err: errAnswersWait}
	}
	defer a.memory.waiting.Release(1)
	wait, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	if a.memory.Acquire(wait, size) != nil {
		return &promql.Result{Err: errAnswersWait}
	}
	a.taken = size
	return res
}

func (a *answer) evaluate(ctx context.Context) *promql.Result {
	queue, leave := context.WithTimeout(ctx, a.memory.timeout)
	defer leave()
	if a.queue.Acquire(queue, 1) != nil {
		if ctx.Err() == nil {
			return &promql.Result{Err: promql.ErrQueryTimeout("query queue")}
		}
		return &promql.Result{Err: promql.ErrQueryCanceled("query queue")}
	}
	defer a.queue.Release(1)
	res := a.Query.Exec(ctx)
	if many := promql.ErrTooManySamples(""); errors.As(res.Err, &many) {
		res.Err = fmt.Errorf("%w: use a larger step, fewer series or a shorter range, or raise storage.query.max_samples", res.Err)
	}
	return res
}

// Close frees the result.
func (a *answer) Close() {
	a.Query.Close()
	if a.taken > smallAnswer {
		a.memory.Release(a.taken)
		a.taken = 0
	}
}

// answerBytes estimates what a result takes in memory, encoded once.
func answerBytes(v parser.Value) int64 {
	var n int64
	switch v := v.(type) {
	case promql.Matrix:
		for _, s := range v {
			n += seriesBytes + int64(len(s.Floats))*(sampleBytes+encodedBytes)
			for _, h := range s.Histograms {
				n += 3 * int64(h.H.Size())
			}
		}
	case promql.Vector:
		for _, s := range v {
			n += seriesBytes + sampleBytes + encodedBytes
			if s.H != nil {
				n += 3 * int64(s.H.Size())
			}
		}
	}
	return n
}
