package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent"
	"github.com/cyberviser/hancock/agent/llm"
)

// process is a real agent that asks a simulated backend, behind a real listener.
type process struct {
	url     string
	backend *Backend
	reg     *prometheus.Registry
}

// webhookSecret is that of the process.
const webhookSecret = "a secret"

func startProcess(t *testing.T, o BackendOptions) process {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	p := process{backend: startBackend(t, o), reg: prometheus.NewPedanticRegistry()}
	opts := llm.DefaultOptions()
	opts.Ollama = llm.Endpoint{BaseURL: p.backend.URL(), Model: Model, CoderModel: CoderModel}
	opts.Timeout = 20 * time.Second
	client, err := llm.New(opts, log)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	ao := agent.DefaultOptions()
	ao.RateLimit, ao.WebhookSecret = 1_000_000, webhookSecret
	a, err := agent.New(ao, client, p.reg, log)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	e := echo.New()
	e.Use(a.Middleware())
	a.Register(e)
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

// gather is what the process counted: values of counters and counts of histograms by their series.
func (p process) gather(t *testing.T) (values map[string]float64, bounds map[string][]float64) {
	t.Helper()
	families, err := p.reg.Gather()
	require.NoError(t, err)
	values, bounds = make(map[string]float64), make(map[string][]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			b := labels.NewBuilder(labels.FromStrings("__name__", f.GetName()))
			for _, l := range m.GetLabel() {
				b.Set(l.GetName(), l.GetValue())
			}
			key := b.Labels().String()
			switch f.GetType() {
			case dto.MetricType_COUNTER:
				values[key] = m.GetCounter().GetValue()
			case dto.MetricType_HISTOGRAM:
				h := m.GetHistogram()
				values[key] = float64(h.GetSampleCount())
				require.EqualValues(t, nativeSchema, h.GetSchema(), key)
				require.InDelta(t, zeroThreshold, h.GetZeroThreshold(), 0, key)
				for _, bucket := range h.GetBucket() {
					bounds[f.GetName()] = append(bounds[f.GetName()], bucket.GetUpperBound())
				}
				bounds[f.GetName()] = slices.Compact(slices.Sorted(slices.Values(bounds[f.GetName()])))
			default:
				values[key] = 0
			}
		}
	}
	return values, bounds
}

// TestHistoryHasTheSeriesOfTheProcess holds the generated series against those of a fresh process,
// which has more: the history tells what the panels and the alerts ask for.
func TestHistoryHasTheSeriesOfTheProcess(t *testing.T) {
	p := startProcess(t, quiet())
	counted, bounds := p.gather(t)
	require.Equal(t, requestBounds(), bounds["hancock_request_duration_seconds"])
	require.Equal(t, modelBounds(), bounds["hancock_model_response_time_seconds"])

	x := newExposition("i", Model)
	var generated []string
	add := func(s series) {
		l := labels.NewBuilder(s.labels)
		require.Equal(t, "hancock", s.labels.Get("job"))
		require.Equal(t, "i", s.labels.Get("instance"))
		generated = append(generated, l.Del("job", "instance").Labels().String())
	}
	for _, s := range x.scalars {
		if s != x.up && s != x.connections { // of the scrape and of the server, not of the agent
			add(s.series)
		}
	}
	for _, h := range x.histograms {
		add(h.native)
	}
	var want []string
	for key := range counted {
		want = append(want, key)
	}
	require.Subset(t, want, generated)
}

// TestTrafficAgainstTheProcess lets the simulated clients loose on real handlers and holds what was
// counted against what was sent and what the history believes of each kind.
func TestTrafficAgainstTheProcess(t *testing.T) {
	p := startProcess(t, quiet())
	traffic, err := NewTraffic(p.url, TrafficOptions{Rate: 2000, Clients: 4, Seed: 7, WebhookSecret: webhookSecret})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- traffic.Run(ctx) }()
	require.Eventually(t, func() bool { return traffic.Stats().Sent >= 600 }, time.Minute, 5*time.Millisecond)
	cancel()
	require.NoError(t, <-done)

	stats := traffic.Stats()
	require.LessOrEqual(t, stats.Unanswered, uint64(4), "those that the end of the test cut off")
	require.InDelta(t, float64(stats.Sent)/50, float64(stats.Refused), 12, "one of fifty is wrong on purpose")

	// A request whose client has left may still be on its way through the process.
	var got map[string]float64
	require.Eventually(t, func() bool {
		got, _ = p.gather(t)
		return got[`{__name__="hancock_requests_total"}`] >= float64(stats.Answered+stats.Refused)
	}, time.Minute, 5*time.Millisecond)
	for _, mode := range agent.Modes() {
		require.Positive(t, got[labels.FromStrings("__name__", "hancock_requests_by_mode", "mode", mode).String()], mode)
	}
	for series, count := range got {
		if strings.Contains(series, "rate_limit") || strings.Contains(series, "fallback") {
			require.Zero(t, count, series)
		}
	}
}

// TestOutcomes asks the real handlers about each kind of request.
func TestOutcomes(t *testing.T) {
	for k := chatWhole; k <= wrongContentType; k++ {
		t.Run(fmt.Sprint("kind ", int(k)), func(t *testing.T) {
			p := startProcess(t, quiet())
			o := DefaultTrafficOptions()
			o.WebhookSecret = webhookSecret
			traffic, err := NewTraffic(p.url, o)
			require.NoError(t, err)
			defer traffic.client.CloseIdleConnections()
			require.True(t, traffic.send(t.Context(), draw{kind: k, mode: "yara", question: 3}))

			want := k.outcome()
			if want.mode == "" {
				want.mode = "yara"
			}
			x := newExposition("i", Model)
			e := event{end: 1, outcome: want}
			if want.usesModel {
				e.model = 1
			}
			x.count(e)
			var got map[string]float64
			require.Eventually(t, func() bool {
				got, _ = p.gather(t)
				return got[`{__name__="hancock_requests_total"}`] == 1
			}, time.Minute, time.Millisecond)
			for _, s := range x.scalars {
				if s == x.up || s == x.connections || s == x.memory {
					continue
				}
				require.InDelta(t, s.value, got[strip(s.labels)], 0, s.labels.String())
			}
			for _, h := range x.histograms {
				require.InDelta(t, float64(h.total), got[strip(h.native.labels)], 0, h.native.labels.String())
			}
		})
	}
}

func strip(l labels.Labels) string {
	return labels.NewBuilder(l).Del("job", "instance").Labels().String()
}

// TestModesAreRecognised holds the backend's guess against the prompts that the agent sends.
func TestModesAreRecognised(t *testing.T) {
	p := startProcess(t, quiet())
	resp, err := http.Get(p.url + agentsEndpoint)
	require.NoError(t, err)
	defer resp.Body.Close()
	var body struct {
		Agents map[string]string `json:"agents"`
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&body))
	require.Len(t, body.Agents, len(modes))
	for mode, prompt := range body.Agents {
		require.Equal(t, mode, modeOf(prompt), "mode of the prompt")
	}
}
