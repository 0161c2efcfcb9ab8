package agent

import (
	"math"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/shirou/gopsutil/v4/process"

	"github.com/cyberviser/hancock/agent/llm"
	"github.com/cyberviser/hancock/agent/requestlog"
)

// The values of labels for what is not in a label's closed set.
const (
	otherValue  = "other"
	invalidMode = "invalid"
)

// The first topClients addresses that were refused refusedOften times have a
// value of their own in client_id from then on.
const (
	topClients   = 20
	refusedOften = 50
)

// metrics are the agent's. The names without _total are the guide's.
type metrics struct {
	requests    prometheus.Counter
	errors      prometheus.Counter
	byEndpoint  *prometheus.CounterVec
	byMode      *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	model       *prometheus.HistogramVec
	rateLimited *prometheus.CounterVec
	overflow    *prometheus.CounterVec
	requestIDs  exemplars
	callIDs     exemplars
	llm         *llmMetrics
	routes      map[string]route
	backend     Backend
	mu          sync.Mutex // guards clients
	clients     *topList
	learning    sync.Mutex // guards prices and the change of what llm knows
	prices      map[string]Price
}

// newMetrics registers the metrics and makes every label set that is known
// beforehand, so that rate() sees the first request.
func newMetrics(reg prometheus.Registerer, routes []route, backend Backend, prices map[string]Price) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "hancock_requests_total",
			Help: "Requests to the agent's API, whatever their outcome.",
		}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "hancock_errors_total",
			Help: "Requests to the agent's API that were answered with a 4xx or 5xx status.",
		}),
		byEndpoint: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hancock_requests_by_endpoint",
			Help: "Requests to the agent's API by endpoint.",
		}, []string{"endpoint"}),
		byMode: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hancock_requests_by_mode",
			Help: "Requests to the agent's endpoints that have a mode, by specialist mode.",
		}, []string{"mode"}),
		duration: prometheus.NewHistogramVec(histogram("hancock_request_duration_seconds",
			"Time from a request's arrival to the end of its answer.",
			[]float64{.001, .005, .025, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300}),
			[]string{"method", "endpoint", "status_code"}),
		model: prometheus.NewHistogramVec(histogram("hancock_model_response_time_seconds",
			"Time that a model took for a whole answer, by model and by the mode of the request.",
			[]float64{.1, .25, .5, 1, 2.5, 5, 10, 20, 30, 60, 90, 120, 180, 300}),
			[]string{"model", "operation"}),
		rateLimited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hancock_rate_limit_exceeded_total",
			Help: "Requests refused by the rate limit, by endpoint and by client address (the first 20 that were refused 50 times, the rest is other).",
		}, []string{"endpoint", "client_id"}),
		overflow: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hancock_label_overflow_total",
			Help: "Label values outside of their set, which were counted as other or invalid, by label.",
		}, []string{"label"}),
		routes:  make(map[string]route),
		backend: backend,
		clients: newTopList(topClients, refusedOften),
	}
	memory, err := newMemoryGauge()
	if err != nil {
		return nil, err
	}
	for _, c := range []prometheus.Collector{
		m.requests, m.errors, m.byEndpoint, m.byMode, m.duration, m.model, m.rateLimited, m.overflow, memory,
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	if m.llm, err = newLLMMetrics(reg); err != nil {
		return nil, err
	}
	m.initialise(routes)
	m.learn(prices)
	return m, nil
}

func histogram(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	}
}

// initialise makes the known label sets. Of the statuses they are those that
// ordinary traffic brings about.
func (m *metrics) initialise(routes []route) {
	m.byEndpoint.WithLabelValues(otherValue)
	m.rateLimited.WithLabelValues(otherValue, otherValue)
	for _, label := range []string{"endpoint", "method", "mode", "model", "client_id"} {
		m.overflow.WithLabelValues(label)
	}
	for _, r := range routes {
		m.routes[r.path] = r
		m.byEndpoint.WithLabelValues(r.path)
		m.rateLimited.WithLabelValues(r.path, otherValue)
		statuses := []int{http.StatusOK, http.StatusTooManyRequests}
		if len(r.modes) > 0 {
			statuses = append(statuses, http.StatusBadRequest, http.StatusBadGateway, http.StatusGatewayTimeout)
		}
		for _, s := range statuses {
			m.duration.WithLabelValues(r.method, r.path, strconv.Itoa(s))
		}
		for _, mode := range r.modes {
			m.byMode.WithLabelValues(mode)
		}
	}
}

// learn creates the label sets of the configured models and sets the prices.
// Label sets of models that a reload removed remain: requests that began before
// it are counted there.
func (m *metrics) learn(prices map[string]Price) {
	m.learning.Lock()
	defer m.learning.Unlock()
	m.prices = prices
	for _, r := range m.routes {
		for _, mode := range r.modes {
			if mode == invalidMode {
				continue
			}
			for _, model := range m.backend.Models(r.coder) {
				m.model.WithLabelValues(model, mode)
			}
		}
	}
	m.llm.learn(m.backend.Targets(), prices)
}

// isKnown reports whether a model has label sets. Between the reload of the
// backend and that of the agent, the first request to a new model creates them.
func (m *metrics) isKnown(t llm.Target) bool {
	if m.llm.known.Load().targets[t] {
		return true
	}
	if !slices.Contains(m.backend.Targets(), t) {
		return false
	}
	m.learning.Lock()
	prices := m.prices
	m.learning.Unlock()
	m.learn(prices)
	return true
}

// observe counts one request, which is over.
func (m *metrics) observe(c echo.Context, o *outcome) {
	took, failed := time.Since(o.start), o.status >= http.StatusBadRequest
	id := m.requestIDs.of(requestlog.ID(c.Request().Context()), took, failed)
	m.requests.Inc()
	if failed {
		addWithID(m.errors, 1, id)
	}
	endpoint := otherValue
	if r, ok := m.routes[c.Path()]; ok {
		endpoint = r.path
		if len(r.modes) > 0 {
			m.byMode.WithLabelValues(modeOf(r, o)).Inc()
		}
		if o.foreignMode {
			m.overflowed("mode")
		}
	} else {
		m.overflowed("endpoint")
	}
	method := methodLabel(c.Request().Method)
	if method == otherValue {
		m.overflowed("method")
	}
	m.byEndpoint.WithLabelValues(endpoint).Inc()
	observeWithID(m.duration.WithLabelValues(method, endpoint, strconv.Itoa(o.status)), took.Seconds(), id)
}

// overflowed counts a value that has no place in its label's set.
func (m *metrics) overflowed(label string) { m.overflow.WithLabelValues(label).Inc() }

// modeOf is the mode that a request counts as.
func modeOf(r route, o *outcome) string {
	switch {
	case len(r.modes) == 1:
		return r.modes[0]
	case o.mode == "":
		return invalidMode
	default:
		return o.mode
	}
}

// asked counts one call to a backend. Only answers are timed: failures, which
// take no time at all or all of it, would hide what a model does.
func (m *metrics) asked(mode string, at llm.Attempt, requestID string) {
	if !m.isKnown(llm.Target{Provider: at.Provider, Model: at.Model}) {
		m.overflowed("model")
		at.Model = otherValue
		if !m.llm.known.Load().providers[at.Provider] {
			at.Provider = otherValue
		}
	}
	id := m.callIDs.of(requestID, at.Duration, at.Err != nil || at.RetryOf != "" || at.Fallback)
	m.llm.asked(at, id)
	if at.Err == nil {
		observeWithID(m.model.WithLabelValues(at.Model, mode), at.Duration.Seconds(), id)
	}
}

// limited counts a request that the rate limit refused.
func (m *metrics) limited(path, client string) {
	endpoint := otherValue
	if r, ok := m.routes[path]; ok {
		endpoint = r.path
	}
	m.mu.Lock()
	known := m.clients.add(client)
	m.mu.Unlock()
	if !known {
		m.overflowed("client_id")
		client = otherValue
	}
	m.rateLimited.WithLabelValues(endpoint, client).Inc()
}

// methodLabel keeps the label's values a closed set: clients may send any
// token as a method.
func methodLabel(method string) string {
	known := []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut,
		http.MethodPatch, http.MethodDelete, http.MethodOptions,
	}
	if slices.Contains(known, method) {
		return method
	}
	return otherValue
}

// newMemoryGauge tells the memory that is resident now. The peak, which
// getrusage gives, never falls.
func newMemoryGauge() (prometheus.Collector, error) {
	self, err := process.NewProcess(int32(os.Getpid())) // #nosec G115 -- process ids are 32 bits wide
	if err != nil {
		return nil, err
	}
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "hancock_memory_usage_bytes",
		Help: "Resident memory of the process now.",
	}, func() float64 {
		info, err := self.MemoryInfo()
		if err != nil {
			return math.NaN()
		}
		return float64(info.RSS)
	}), nil
}
