package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// BackendOptions describe the simulated LLM backend. Take [DefaultBackendOptions] and change it.
type BackendOptions struct {
	// Seed decides latencies and failures: the n-th call is the same in each run.
	Seed uint64
	// LatencyFactor scales all waiting: 1 is lifelike (0.2 to 4 s, now and then 8 s), 0 is at once.
	LatencyFactor float64
	// ErrorRate is the share of calls that fail, 0 to 1: with a 500, a 503 or, when streamed, midway.
	ErrorRate float64
	// SlowRate is the share of calls that take three times as long, 0 to 1.
	SlowRate float64
}

// DefaultBackendOptions is a backend at a normal pace that fails 8 calls in a thousand.
func DefaultBackendOptions() BackendOptions {
	return BackendOptions{Seed: DefaultSeed, LatencyFactor: 1, ErrorRate: 0.008, SlowRate: 0.02}
}

// Validate reports the first option that is out of range.
func (o BackendOptions) Validate() error {
	switch {
	case !(o.LatencyFactor >= 0 && o.LatencyFactor <= 100):
		return fmt.Errorf("latency factor %v: not from 0 to 100", o.LatencyFactor)
	case !(o.ErrorRate >= 0 && o.ErrorRate <= 1):
		return fmt.Errorf("error rate %v: not from 0 to 1", o.ErrorRate)
	case !(o.SlowRate >= 0 && o.SlowRate <= 1):
		return fmt.Errorf("slow rate %v: not from 0 to 1", o.SlowRate)
	}
	return nil
}

// Backend is a running OpenAI-compatible server on a free port of 127.0.0.1. It answers
// POST /v1/chat/completions (whole and streamed, with token usage) and GET /v1/models from written
// texts, keeps nothing of what it is asked and logs no request.
type Backend struct {
	opts    BackendOptions
	catalog *catalog
	calls   atomic.Uint64
	url     string
	server  *http.Server
	cancel  context.CancelFunc // ends the waiting of answers under way
	served  chan error         // receives what Serve returned, once
}

// NewBackend binds a free loopback port and serves until Close. The caller owns the Backend.
func NewBackend(opts BackendOptions, log *slog.Logger) (*Backend, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("simulated backend: %w", err)
	}
	cat, err := loadCatalog()
	if err != nil {
		return nil, fmt.Errorf("simulated backend: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		cancel()
		return nil, fmt.Errorf("listening for simulated backend: %w", err)
	}
	b := &Backend{
		opts:    opts,
		catalog: cat,
		url:     "http://" + ln.Addr().String(),
		cancel:  cancel,
		served:  make(chan error, 1),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", b.completions)
	mux.HandleFunc("GET /v1/models", b.models)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeAPIError(w, http.StatusNotFound, "not_found_error", "no such path: "+r.URL.Path)
	})
	b.server = &http.Server{
		Handler:           marked(mux),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	go func() { b.served <- b.server.Serve(ln) }()
	return b, nil
}

// URL is the server's address without a path, such as http://127.0.0.1:40123. OpenAI clients that do
// not add it themselves need "/v1" after it.
func (b *Backend) URL() string { return b.url }

// Calls is the number of completions asked for so far. It may be called at any time.
func (b *Backend) Calls() uint64 { return b.calls.Load() }

// closeTimeout is for handlers that have been told to end, on a machine that is busy.
const closeTimeout = 10 * time.Second

// Close ends answers under way, waits up to ten seconds for their handlers, and frees the port.
// It must be called once.
func (b *Backend) Close() error {
	b.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := b.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, b.server.Close())
	}
	if serveErr := <-b.served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	if err != nil {
		return fmt.Errorf("closing simulated backend: %w", err)
	}
	return nil
}

// marked adds a header to each answer that says where it comes from.
func marked(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Hancock-Demo", "simulated")
		next.ServeHTTP(w, r)
	})
}

// failure is what goes wrong with one call.
type failure int

const (
	failNot failure = iota
	failInternal
	failOverloaded
	failMidway // breaks the connection in the middle of a stream; a whole answer fails with a 500
)

// fate is everything about one call that is left to chance.
type fate struct {
	latency time.Duration // until the last piece
	failure failure
	pick    int // which answer, where the question does not decide
}

// fateOf draws the fate of the n-th call. It depends on nothing but the options and n.
func (o BackendOptions) fateOf(n uint64) fate {
	rng := rand.New(rand.NewPCG(o.Seed, n))
	seconds := latencyOf(rng.NormFloat64())
	failed, slow, kind, pick := rng.Float64() < o.ErrorRate, rng.Float64() < o.SlowRate, rng.IntN(10), rng.IntN(1<<16)
	if slow {
		seconds = min(3*seconds, 8)
	}
	f := fate{pick: pick}
	if failed {
		switch {
		case kind < 4:
			f.failure = failInternal
		case kind < 8:
			f.failure = failOverloaded
			seconds = 0.05 // a full queue is told at once
		default:
			f.failure = failMidway
		}
	}
	f.latency = time.Duration(seconds * o.LatencyFactor * float64(time.Second))
	return f
}

// wait returns after d, or with the context's error before it.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
