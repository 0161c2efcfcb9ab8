package demo

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
)

// series is one time series and where the present block keeps it.
type series struct {
	labels labels.Labels
	ref    storage.SeriesRef
	block  int // the block that ref belongs to
}

// scalar is a counter or a gauge.
type scalar struct {
	series
	value float64
}

// nativeSchema gives buckets that grow by a factor of 2^(1/8), the widest that is not above 1.1.
const nativeSchema = 3

// zeroThreshold is client_golang's default width of the zero bucket.
const zeroThreshold = 2.938735877055719e-39

// histogramSeries is a histogram in both of the forms that a scrape stores: native as one series and
// classic as one series for each bucket, one for the sum and one for the count.
type histogramSeries struct {
	native     series
	buckets    []series // one for each bound and one for +Inf
	sum, count series

	bounds  []float64
	classic []uint64 // observations up to and including bounds[i], above the one before
	total   uint64
	amount  float64

	first  int     // index of fine[0]
	fine   []int64 // observations in the native buckets from first on
	cached *histogram.Histogram
}

// newHistogramSeries takes pairs, the label names and values beside the metric's name.
func newHistogramSeries(name string, bounds []float64, pairs ...string) *histogramSeries {
	h := &histogramSeries{
		native:  newSeries(name, pairs...),
		sum:     newSeries(name+"_sum", pairs...),
		count:   newSeries(name+"_count", pairs...),
		bounds:  bounds,
		classic: make([]uint64, len(bounds)+1),
	}
	for _, le := range append(slices.Clone(bounds), math.Inf(1)) {
		h.buckets = append(h.buckets, newSeries(name+"_bucket", append(slices.Clone(pairs), labels.BucketLabel, labels.FormatOpenMetricsFloat(le))...))
	}
	return h
}

func newSeries(name string, pairs ...string) series {
	return series{labels: labels.FromStrings(append([]string{model.MetricNameLabel, name}, pairs...)...)}
}

// observe counts one value above zero.
func (h *histogramSeries) observe(v float64) {
	at, _ := slices.BinarySearch(h.bounds, v)
	h.classic[at]++
	h.total++
	h.amount += v
	h.cached = nil

	index := int(math.Ceil(math.Log2(v) * (1 << nativeSchema)))
	switch {
	case len(h.fine) == 0:
		h.first, h.fine = index, []int64{0}
	case index < h.first:
		h.fine = append(make([]int64, h.first-index), h.fine...)
		h.first = index
	}
	if grow := index - h.first + 1 - len(h.fine); grow > 0 {
		h.fine = append(h.fine, make([]int64, grow)...)
	}
	h.fine[index-h.first]++
}

// snapshot is the native histogram as it stands. The storage may change what it is given, so each
// call returns a copy of its own.
func (h *histogramSeries) snapshot() *histogram.Histogram {
	if h.cached != nil {
		return h.cached.Copy()
	}
	out := &histogram.Histogram{Schema: nativeSchema, ZeroThreshold: zeroThreshold, Count: h.total, Sum: h.amount}
	last, previous := 0, int64(0)
	for i, n := range h.fine {
		if n == 0 {
			continue
		}
		index := h.first + i
		spans := out.PositiveSpans
		if len(spans) > 0 && index == last+1 {
			spans[len(spans)-1].Length++
		} else {
			offset := index
			if len(spans) > 0 {
				offset = index - last - 1
			}
			out.PositiveSpans = append(spans, histogram.Span{Offset: int32(offset), Length: 1})
		}
		out.PositiveBuckets = append(out.PositiveBuckets, n-previous)
		last, previous = index, n
	}
	h.cached = out
	return out.Copy()
}

// write appends one sample to each of the histogram's series.
func (h *histogramSeries) write(to *blocks, t int64) error {
	if err := to.histogram(&h.native, t, h.snapshot()); err != nil {
		return err
	}
	below := uint64(0)
	for i := range h.buckets {
		below += h.classic[i]
		if err := to.float(&h.buckets[i], t, float64(below)); err != nil {
			return err
		}
	}
	if err := to.float(&h.sum, t, h.amount); err != nil {
		return err
	}
	return to.float(&h.count, t, float64(h.total))
}

// end appends a stale marker to each of the histogram's series.
func (h *histogramSeries) end(to *blocks, t int64) error {
	stale := math.Float64frombits(value.StaleNaN)
	if err := to.histogram(&h.native, t, &histogram.Histogram{Sum: stale}); err != nil {
		return err
	}
	for i := range h.buckets {
		if err := to.float(&h.buckets[i], t, stale); err != nil {
			return err
		}
	}
	if err := to.float(&h.sum, t, stale); err != nil {
		return err
	}
	return to.float(&h.count, t, stale)
}

// exposition is what one life of the process exposes, as the scrape of it is stored.
type exposition struct {
	target []string // the labels of a scrape: job and instance
	model  string

	scalars    []*scalar // all counters and gauges, in the order of their making
	histograms []*histogramSeries
	byEndpoint map[string]*scalar
	byMode     map[string]*scalar
	durations  map[string]*histogramSeries // by method, endpoint and status
	answers    map[string]*histogramSeries // by mode
	coded      *histogramSeries            // of the coder model
	webhooks   map[string]*scalar          // by outcome

	up, requests, errors, memory, connections *scalar
}

// newExposition has all that a process exposes before its first request.
func newExposition(instance, model string) *exposition {
	x := &exposition{
		target:     []string{"job", Job, "instance", instance},
		model:      model,
		byEndpoint: make(map[string]*scalar),
		byMode:     make(map[string]*scalar),
		durations:  make(map[string]*histogramSeries),
		answers:    make(map[string]*histogramSeries),
		webhooks:   make(map[string]*scalar),
	}
	x.up = x.scalar("up")
	x.up.value = 1
	x.requests = x.scalar("hancock_requests_total")
	x.errors = x.scalar("hancock_errors_total")
	x.memory = x.scalar("hancock_memory_usage_bytes")
	x.connections = x.scalar("hancock_active_connections")
	x.scalar("hancock_llm_fallbacks_total")
	asking := []string{chatEndpoint, askEndpoint}
	for _, a := range assignments {
		asking = append(asking, a.path)
	}
	for _, endpoint := range append(slices.Clone(asking), agentsEndpoint, otherEndpoint) {
		x.byEndpoint[endpoint] = x.scalar("hancock_requests_by_endpoint", "endpoint", endpoint)
		x.scalar("hancock_rate_limit_exceeded_total", "endpoint", endpoint, "client_id", otherEndpoint)
	}
	for _, endpoint := range asking {
		for _, status := range []int{200, 400, 429, 502, 504} {
			x.duration("POST", endpoint, status)
		}
	}
	x.duration("GET", agentsEndpoint, 200)
	x.duration("GET", agentsEndpoint, 429)
	for _, mode := range append(modes[:], invalidMode) {
		x.byMode[mode] = x.scalar("hancock_requests_by_mode", "mode", mode)
	}
	for _, mode := range modes {
		x.answers[mode] = x.histogram("hancock_model_response_time_seconds", modelBounds(), "model", model, "operation", mode)
	}
	x.coded = x.histogram("hancock_model_response_time_seconds", modelBounds(), "model", CoderModel, "operation", "code")
	x.webhookSeries()
	return x
}

// webhookSeries makes what the webhook counts.
func (x *exposition) webhookSeries() {
	for _, outcome := range []string{"triaged", "refused", "empty_response", "failed", "canceled"} {
		x.webhooks[outcome] = x.scalar("hancock_webhook_events_total", "outcome", outcome)
	}
	x.scalar("hancock_webhook_signature_failures_total")
	for _, integration := range []string{"slack", "teams"} {
		for _, outcome := range []string{"sent", "failed", "dropped"} {
			x.scalar("hancock_notifications_total", "integration", integration, "outcome", outcome)
		}
	}
}

func (x *exposition) scalar(name string, pairs ...string) *scalar {
	s := &scalar{series: newSeries(name, append(slices.Clone(x.target), pairs...)...)}
	x.scalars = append(x.scalars, s)
	return s
}

func (x *exposition) histogram(name string, bounds []float64, pairs ...string) *histogramSeries {
	h := newHistogramSeries(name, bounds, append(slices.Clone(x.target), pairs...)...)
	x.histograms = append(x.histograms, h)
	return h
}

// duration is the histogram of these labels, made where there is none.
func (x *exposition) duration(method, endpoint string, status int) *histogramSeries {
	code := strconv.Itoa(status)
	key := method + " " + endpoint + " " + code
	h, ok := x.durations[key]
	if !ok {
		h = x.histogram("hancock_request_duration_seconds", requestBounds(), "method", method, "endpoint", endpoint, "status_code", code)
		x.durations[key] = h
	}
	return h
}

// count counts one request that is over.
func (x *exposition) count(e event) {
	o := e.outcome
	x.requests.value++
	if o.status >= 400 {
		x.errors.value++
	}
	x.byEndpoint[o.endpoint].value++
	if !o.modeless {
		x.byMode[o.mode].value++
	}
	x.duration(o.method, o.endpoint, o.status).observe(e.end - e.start)
	switch {
	case e.model > 0 && o.coder:
		x.coded.observe(e.model)
	case e.model > 0:
		x.answers[o.mode].observe(e.model)
	}
	if o.endpoint == webhookEndpoint {
		if o.status == 200 {
			x.webhooks["triaged"].value++
		} else {
			x.webhooks["failed"].value++
		}
	}
}

// write stores one scrape at t.
func (x *exposition) write(to *blocks, t int64) error {
	for _, s := range x.scalars {
		if err := to.float(&s.series, t, s.value); err != nil {
			return fmt.Errorf("writing %s: %w", s.labels, err)
		}
	}
	for _, h := range x.histograms {
		if err := h.write(to, t); err != nil {
			return fmt.Errorf("writing %s: %w", h.native.labels, err)
		}
	}
	return nil
}

// end stores the stale markers of a process that stopped at t.
func (x *exposition) end(to *blocks, t int64) error {
	for _, s := range x.scalars {
		if err := to.float(&s.series, t, math.Float64frombits(value.StaleNaN)); err != nil {
			return fmt.Errorf("ending %s: %w", s.labels, err)
		}
	}
	for _, h := range x.histograms {
		if err := h.end(to, t); err != nil {
			return fmt.Errorf("ending %s: %w", h.native.labels, err)
		}
	}
	return nil
}

// requestBounds are the upper bounds of the classic buckets of hancock_request_duration_seconds.
func requestBounds() []float64 {
	return []float64{.001, .005, .025, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300}
}

// modelBounds are those of hancock_model_response_time_seconds.
func modelBounds() []float64 {
	return []float64{.1, .25, .5, 1, 2.5, 5, 10, 20, 30, 60, 90, 120, 180, 300}
}
