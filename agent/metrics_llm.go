package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cyberviser/hancock/agent/llm"
)

// Price is what a model costs for a million tokens, in any currency as long as
// it is the same for all.
type Price struct{ Input, Output float64 }

func (p Price) validate() error {
	for _, v := range []float64{p.Input, p.Output} {
		if v < 0 || math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("must be 0 or more, is %v", v)
		}
	}
	return nil
}

// validatePrices refuses prices that are none, and two of one model: nobody
// could tell which one counts.
func validatePrices(table map[string]Price) error {
	for _, model := range slices.Sorted(maps.Keys(table)) {
		if err := table[model].validate(); err != nil {
			return fmt.Errorf("%s: %w", model, err)
		}
		for _, backend := range []string{llm.Ollama, llm.NVIDIA, llm.OpenAI} {
			id, ok := llm.Aliases(backend)[model]
			if _, twice := table[id]; ok && twice {
				return fmt.Errorf("%s and %s are the same model of %s: remove one of the two", model, id, backend)
			}
		}
	}
	return nil
}

// pricesOf are the prices of the models that may answer, of a valid table whose
// keys are their ids or short names. The keys of no such model are unused.
func pricesOf(targets []llm.Target, table map[string]Price) (prices map[llm.Target]Price, unused []string) {
	prices = make(map[llm.Target]Price)
	for _, key := range slices.Sorted(maps.Keys(table)) {
		used := false
		for _, t := range targets {
			if key == t.Model || llm.Aliases(t.Provider)[key] == t.Model {
				prices[t], used = table[key], true
			}
		}
		if !used {
			unused = append(unused, key)
		}
	}
	return prices, unused
}

// The values of hancock_llm_tokens_total's type.
const (
	inputTokens  = "input"
	outputTokens = "output"
)

// The values of hancock_llm_streams_aborted_total's by.
const (
	abortedByClient   = "client"
	abortedByBackend  = "backend"
	abortedByShutdown = "shutdown"
)

// llmMetrics are those of the calls to the backends.
type llmMetrics struct {
	tokens       *prometheus.CounterVec
	withoutUsage *prometheus.CounterVec
	finished     *prometheus.CounterVec
	errors       *prometheus.CounterVec
	retries      *prometheus.CounterVec
	fallbacks    prometheus.Counter
	rejected     prometheus.Counter
	inFlight     prometheus.Gauge
	aborted      *prometheus.CounterVec
	firstToken   *prometheus.HistogramVec
	perToken     *prometheus.HistogramVec
	cost         *prometheus.CounterVec // without series while there are no prices
	known        atomic.Pointer[models]
}

// models are those with label sets of their own. The maps are immutable.
type models struct {
	prices    map[llm.Target]Price
	targets   map[llm.Target]bool
	providers map[string]bool
}

func newLLMMetrics(reg prometheus.Registerer) (*llmMetrics, error) {
	model := []string{"provider", "model"}
	m := &llmMetrics{
		tokens: counters("hancock_llm_tokens_total",
			"Tokens that backends say they have read (input) and written (output).", append(model, "type")...),
		withoutUsage: counters("hancock_llm_calls_without_usage_total",
			"Calls that brought text but no usage, so that their tokens are in no other metric.", model...),
		finished: counters("hancock_llm_answers_total",
			"Whole answers, by why the model stopped.", append(model, "finish_reason")...),
		errors: counters("hancock_llm_errors_total",
			"Calls to a backend that failed, each try by itself, by kind of failure.", "provider", "kind"),
		retries: counters("hancock_llm_retries_total",
			"Calls that repeat one which has failed, by the kind of that failure.", "provider", "kind"),
		fallbacks: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "hancock_llm_fallbacks_total",
			Help: "Requests that went to OpenAI because the chosen backend had failed.",
		}),
		rejected: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "hancock_llm_rejected_total",
			Help: "Requests that asked no backend because too many were in flight.",
		}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "hancock_llm_in_flight",
			Help: "Requests that wait for a backend or for the next try now.",
		}),
		aborted: counters("hancock_llm_streams_aborted_total",
			"Streams that ended after their first piece and before their end, by who ended them.", "by"),
		firstToken: prometheus.NewHistogramVec(histogram("hancock_llm_time_to_first_token_seconds",
			"Time from a call to the first text of a stream, reasoning included.",
			[]float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300}), model),
		perToken: prometheus.NewHistogramVec(histogram("hancock_llm_time_per_output_token_seconds",
			"Time for each token of a stream after the first one, as a mean of the stream.",
			[]float64{.0025, .005, .01, .025, .05, .075, .1, .15, .25, .5, 1, 5}), model),
		cost: counters("hancock_llm_cost_total", "What the tokens cost by the price table, in its currency.", model...),
	}
	for _, c := range []prometheus.Collector{
		m.tokens, m.withoutUsage, m.finished, m.errors, m.retries, m.fallbacks, m.rejected, m.inFlight, m.aborted, m.firstToken, m.perToken, m.cost,
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	for _, by := range []string{abortedByClient, abortedByBackend, abortedByShutdown} {
		m.aborted.WithLabelValues(by)
	}
	m.known.Store(&models{})
	return m, nil
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

// learn creates all label sets of the targets but those of `other`, which no
// backend of ours brings about, and sets the prices of all targets since the
// start. It must not be called concurrently.
func (m *llmMetrics) learn(targets []llm.Target, prices map[string]Price) {
	known := &models{targets: make(map[llm.Target]bool), providers: make(map[string]bool)}
	maps.Copy(known.targets, m.known.Load().targets)
	for _, t := range targets {
		known.targets[t] = true
	}
	known.prices, _ = pricesOf(slices.Collect(maps.Keys(known.targets)), prices)
	for t := range known.targets {
		known.providers[t.Provider] = true
	}
	for _, t := range targets {
		m.tokens.WithLabelValues(t.Provider, t.Model, inputTokens)
		m.tokens.WithLabelValues(t.Provider, t.Model, outputTokens)
		m.withoutUsage.WithLabelValues(t.Provider, t.Model)
		m.firstToken.WithLabelValues(t.Provider, t.Model)
		m.perToken.WithLabelValues(t.Provider, t.Model)
		for _, reason := range llm.Finishes() {
			m.finished.WithLabelValues(t.Provider, t.Model, string(reason))
		}
		if _, ok := known.prices[t]; ok {
			m.cost.WithLabelValues(t.Provider, t.Model)
		}
	}
	for provider := range known.providers {
		for _, kind := range llm.Kinds() {
			m.errors.WithLabelValues(provider, string(kind))
		}
	}
	for _, chosen := range targets[:min(len(targets), 1)] { // the fallback is never asked again
		for _, kind := range []llm.Kind{llm.RateLimited, llm.Unavailable} {
			m.retries.WithLabelValues(chosen.Provider, string(kind))
		}
	}
	m.known.Store(known)
}

// asked counts one call to a backend that is one of the targets.
func (m *llmMetrics) asked(at llm.Attempt, id prometheus.Labels) {
	if at.RetryOf != "" {
		addWithID(m.retries.WithLabelValues(at.Provider, string(at.RetryOf)), 1, id)
	} else if at.Fallback {
		addWithID(m.fallbacks, 1, id)
	}
	if at.Err == nil {
		m.finished.WithLabelValues(at.Provider, at.Model, string(at.Finish)).Inc()
	} else {
		addWithID(m.errors.WithLabelValues(at.Provider, string(at.Err.Kind)), 1, id)
	}
	if at.FirstToken > 0 {
		observeWithID(m.firstToken.WithLabelValues(at.Provider, at.Model), at.FirstToken.Seconds(), id)
	}
	m.used(at, id)
}

// used counts the tokens of a call. A call that failed before it said anything
// owes no usage.
func (m *llmMetrics) used(at llm.Attempt, id prometheus.Labels) {
	if at.Usage == nil {
		if at.Err == nil || at.FirstToken > 0 {
			m.withoutUsage.WithLabelValues(at.Provider, at.Model).Inc()
		}
		return
	}
	in, out := float64(at.Usage.Prompt), float64(at.Usage.Completion)
	m.tokens.WithLabelValues(at.Provider, at.Model, inputTokens).Add(in)
	addWithID(m.tokens.WithLabelValues(at.Provider, at.Model, outputTokens), out, id)
	if at.Err == nil && at.FirstToken > 0 && out > 1 {
		observeWithID(m.perToken.WithLabelValues(at.Provider, at.Model), (at.Duration-at.FirstToken).Seconds()/(out-1), id)
	}
	if p, ok := m.known.Load().prices[llm.Target{Provider: at.Provider, Model: at.Model}]; ok {
		addWithID(m.cost.WithLabelValues(at.Provider, at.Model), (in*p.Input+out*p.Output)/1e6, id)
	}
}

// measured is a backend whose requests are counted while they run.
type measured struct {
	Backend
	metrics  *llmMetrics
	stopping *atomic.Bool
}

// Chat is the backend's.
func (b measured) Chat(ctx context.Context, r llm.Request) (llm.Answer, error) {
	b.metrics.inFlight.Inc()
	defer b.metrics.inFlight.Dec()
	answer, err := b.Backend.Chat(ctx, r)
	b.refused(err)
	return answer, err
}

// Stream is the backend's.
func (b measured) Stream(ctx context.Context, r llm.Request, emit func(string) error) (llm.Answer, error) {
	b.metrics.inFlight.Inc()
	defer b.metrics.inFlight.Dec()
	started := false
	answer, err := b.Backend.Stream(ctx, r, func(piece string) error {
		started = true
		return emit(piece)
	})
	b.refused(err)
	if err == nil || !started {
		return answer, err
	}
	by := abortedByBackend
	switch {
	case llm.KindOf(err) != llm.Canceled:
	case b.stopping.Load():
		by = abortedByShutdown
	default:
		by = abortedByClient
	}
	b.metrics.aborted.WithLabelValues(by).Inc()
	return answer, err
}

func (b measured) refused(err error) {
	if errors.Is(err, llm.ErrBusy) {
		b.metrics.rejected.Inc()
	}
}

// exemplars say which request moved a metric. Leaving one takes far longer than
// counting, and of those between two scrapes hardly any is read: so in a time
// of spacing only the first request of its order of magnitude leaves its id. One
// that takes longer than the others, or fails, always does.
type exemplars struct {
	left [65]atomic.Int64 // when in nanoseconds, by the magnitude of what the request took
}

const spacing = 10 * time.Millisecond

// of is nil for a request that leaves none.
func (e *exemplars) of(requestID string, took time.Duration, always bool) prometheus.Labels {
	now, left := time.Now().UnixNano(), &e.left[bits.Len64(uint64(took))] // #nosec G115 -- any number has a length
	before := left.Load()
	recent := now >= before && now < before+int64(spacing) // not when the clock was set back
	if requestID == "" || !always && (recent || !left.CompareAndSwap(before, now)) {
		return nil
	}
	return prometheus.Labels{"request_id": requestID}
}

// addWithID leaves the request's id as the exemplar of the counter.
func addWithID(c prometheus.Counter, v float64, id prometheus.Labels) {
	if e, ok := c.(prometheus.ExemplarAdder); ok && id != nil {
		e.AddWithExemplar(v, id)
		return
	}
	c.Add(v)
}

// observeWithID leaves the request's id as the exemplar of its bucket.
func observeWithID(o prometheus.Observer, v float64, id prometheus.Labels) {
	if e, ok := o.(prometheus.ExemplarObserver); ok && id != nil {
		e.ObserveWithExemplar(v, id)
		return
	}
	o.Observe(v)
}
