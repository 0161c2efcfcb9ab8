package demo

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
)

// root is the folder of the module.
const root = "../../../.."

func panelsAreFull(t *testing.T, e evaluator) {
	for name, query := range map[string]string{
		"request rate":       `rate(hancock_requests_total[2m])`,
		"error rate":         `rate(hancock_errors_total[2m]) / rate(hancock_requests_total[2m]) * 100`,
		"by endpoint":        `hancock_requests_by_endpoint`,
		"by mode":            `hancock_requests_by_mode`,
		"memory":             `hancock_memory_usage_bytes`,
		"active connections": `hancock_active_connections`,
		"total requests":     `hancock_requests_total`,
		"total errors":       `hancock_errors_total`,
		"native quantile":    `histogram_quantile(0.95, sum(rate(hancock_request_duration_seconds[5m])))`,
		"classic quantile":   `histogram_quantile(0.95, sum by (le) (rate(hancock_request_duration_seconds_bucket[5m])))`,
		"model quantile":     `histogram_quantile(0.95, sum(rate(hancock_model_response_time_seconds[5m])))`,
		"up":                 `up{job="hancock"}`,
	} {
		t.Run(name, func(t *testing.T) {
			e := e
			e.t = t
			m := e.over(query, fixedNow.Add(-6*time.Hour), fixedNow.Add(-time.Second), time.Minute)
			require.NotEmpty(t, m)
			for _, s := range m {
				require.GreaterOrEqual(t, len(s.Floats), 340, "points of %s", s.Metric)
				if s.Metric.Has("job") {
					require.Equal(t, "hancock", s.Metric.Get("job"))
					require.Equal(t, "localhost:5000", s.Metric.Get("instance"))
				}
			}
		})
	}
	require.Empty(t, e.at(`{__name__=~".+"}`, fixedNow), "the generated process has ended")
}

func errorRatePeaksInTheIncidentOnly(t *testing.T, e evaluator) {
	begin, end := outage()

	rates := e.over(`rate(hancock_errors_total[2m]) / rate(hancock_requests_total[2m]) * 100`,
		fixedNow.Add(-6*time.Hour+5*time.Minute), fixedNow.Add(-time.Second), 15*time.Second)
	require.Len(t, rates, 1)
	peak, usual, n, usualPeak := 0.0, 0.0, 0, 0.0
	for _, p := range rates[0].Floats {
		at := time.UnixMilli(p.T)
		if at.Before(begin) || at.After(end.Add(4*time.Minute)) {
			usual, n, usualPeak = usual+p.F, n+1, max(usualPeak, p.F)
			continue
		}
		peak = max(peak, p.F)
	}
	t.Logf("error rate: peak %.1f %%, otherwise %.2f %% on average and at most %.1f %%", peak, usual/float64(n), usualPeak)
	require.InDelta(t, 42, peak, 8)
	require.InDelta(t, 2.6, usual/float64(n), 1)
	require.Less(t, usualPeak, 10.0)

	before, during := begin.Add(-10*time.Minute), end.Add(-time.Minute)
	p95 := `histogram_quantile(0.95, sum(rate(hancock_model_response_time_seconds[5m])))`
	require.Less(t, e.one(p95, before), 4.5)
	require.Greater(t, e.one(p95, during), 8.0, "latency rises")
	require.Less(t, e.one(`hancock_active_connections`, before), 20.0)
	require.Greater(t, e.one(`hancock_active_connections`, during), 30.0, "connections pile up")
	require.Less(t, e.one(`hancock_memory_usage_bytes`, before), 90.0*(1<<20))
	require.Greater(t, e.one(`hancock_memory_usage_bytes`, during), 250.0*(1<<20), "memory rises")
	require.Less(t, e.one(`hancock_memory_usage_bytes`, end.Add(2*time.Minute)), 80.0*(1<<20), "the restart frees it")
	require.InDelta(t, 1, e.one(`resets(hancock_requests_total[6h])`, fixedNow.Add(-time.Second)), 0)
	require.Empty(t, e.at(`up`, end.Add(20*time.Second)), "the process is down")
}

func countersAgree(t *testing.T, e evaluator) {
	begin, end, step := fixedNow.Add(-6*time.Hour), fixedNow.Add(-2*time.Second), 15*time.Second

	for name, query := range map[string]string{
		"errors are requests": `hancock_errors_total > hancock_requests_total`,
		"endpoints":           `sum(hancock_requests_by_endpoint) != sum(hancock_requests_total)`,
		"modes":               `sum(hancock_requests_by_mode) != sum(hancock_requests_by_endpoint{endpoint!~"/v1/agents|other"})`,
		"durations":           `sum(hancock_request_duration_seconds_count) != sum(hancock_requests_total)`,
		"durations by status": `sum(hancock_request_duration_seconds_count{status_code=~"[45].."}) != sum(hancock_errors_total)`,
		"durations by path":   `sum by (endpoint) (hancock_request_duration_seconds_count) != sum by (endpoint) (hancock_requests_by_endpoint)`,
		"native counts":       `histogram_count(hancock_request_duration_seconds) != hancock_request_duration_seconds_count`,
		"native sums":         `histogram_sum(hancock_request_duration_seconds) != hancock_request_duration_seconds_sum`,
		"classic ends":        `hancock_request_duration_seconds_bucket{le="+Inf"} != ignoring(le) hancock_request_duration_seconds_count`,
		"model answers":       `sum(hancock_model_response_time_seconds_count) != sum(hancock_request_duration_seconds_count{status_code="200",method="POST"})`,
		"native model counts": `histogram_count(hancock_model_response_time_seconds) != hancock_model_response_time_seconds_count`,
		"waiting for models":  `sum(hancock_model_response_time_seconds_sum) > sum(hancock_request_duration_seconds_sum)`,
	} {
		t.Run(name, func(t *testing.T) {
			e := e
			e.t = t
			require.Empty(t, e.over(query, begin, end, step))
		})
	}
	total := e.one(`sum(increase(hancock_requests_total[6h]))`, fixedNow.Add(-time.Second))
	require.InDelta(t, 6*3600*meanRate, total, 3000)

	// Both forms tell the same quantiles, as far as the classic buckets can.
	for _, q := range []string{"0.5", "0.9"} {
		native := e.one(`histogram_quantile(`+q+`, sum(increase(hancock_model_response_time_seconds[5h])))`, fixedNow)
		classic := e.one(`histogram_quantile(`+q+`, sum by (le) (increase(hancock_model_response_time_seconds_bucket[5h])))`, fixedNow)
		require.InEpsilon(t, native, classic, 0.35, "quantile %s", q)
	}
}

func alertGoesPendingThenFiring(t *testing.T, e evaluator) {
	begin, end := outage()

	m := e.over(`ALERTS`, fixedNow.Add(-6*time.Hour), fixedNow, 15*time.Second)
	require.Len(t, m, 2)
	firing, pending := m[0], m[1]
	if firing.Metric.Get("alertstate") != "firing" {
		firing, pending = pending, firing
	}
	require.Equal(t, labels.FromStrings("__name__", "ALERTS", "alertname", "HancockHighErrorRate", "alertstate", "firing",
		"instance", "localhost:5000", "job", "hancock", "severity", "warning").String(), firing.Metric.String())
	first, last := time.UnixMilli(firing.Floats[0].T), time.UnixMilli(firing.Floats[len(firing.Floats)-1].T)
	t.Logf("pending from %s, firing from %s to %s after the outage began", time.UnixMilli(pending.Floats[0].T).Sub(begin), first.Sub(begin), last.Sub(begin))
	require.Equal(t, alertFor, first.Sub(time.UnixMilli(pending.Floats[0].T)))
	require.WithinRange(t, first, begin, end)
	require.WithinRange(t, last, end.Add(time.Minute), end.Add(8*time.Minute))

	state := e.over(`ALERTS_FOR_STATE`, fixedNow.Add(-6*time.Hour), fixedNow, 15*time.Second)
	require.Len(t, state, 1)
	for _, p := range state[0].Floats {
		require.InDelta(t, float64(pending.Floats[0].T/1000), p.F, 0, "since when, also after the restart")
	}

	// What is stored is what the expression says, but for the edges, where rate() extrapolates.
	held := e.over(`rate(hancock_errors_total[5m]) / rate(hancock_requests_total[5m]) > 0.05`, fixedNow.Add(-6*time.Hour), fixedNow.Add(-time.Second), 15*time.Second)
	require.Len(t, held, 1)
	require.InDelta(t, len(firing.Floats)+len(pending.Floats), len(held[0].Floats), 6)
}

// dashboardIsFull evaluates every panel of the page over the generated hours.
func dashboardIsFull(t *testing.T, e evaluator) {
	data, err := os.ReadFile(filepath.Join(root, "ui", "dashboard.json"))
	require.NoError(t, err)
	var dashboard struct {
		Panels []struct{ Name, Query string }
	}
	require.NoError(t, json.Unmarshal(data, &dashboard))
	require.GreaterOrEqual(t, len(dashboard.Panels), 10)

	begin := time.Now()
	for _, p := range dashboard.Panels {
		m := e.over(p.Query, fixedNow.Add(-6*time.Hour), fixedNow, 30*time.Second)
		require.NotEmpty(t, m, p.Name)
		require.Greater(t, len(m[0].Floats), 600, p.Name)
	}
	t.Logf("%d panels over six hours took %s", len(dashboard.Panels), time.Since(begin))
}

// rulesAgree evaluates the built-in rules over the generated hours: only the one of the
// incident is ever violated, and the stored ALERTS are those of its expression and its for.
func rulesAgree(t *testing.T, e evaluator) {
	content, err := os.ReadFile(filepath.Join(root, "alerting", "rules.yml"))
	require.NoError(t, err)
	groups, errs := rulefmt.Parse(content, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	require.Empty(t, errs)

	const interval = 15 * time.Second
	begin, end := fixedNow.Add(-6*time.Hour), fixedNow.Add(-interval)
	outageBegin, outageEnd := outage()
	stored := e.over(`count without (alertstate) (ALERTS{alertname="`+alertName+`"})`, begin, end, interval)
	require.Len(t, stored, 1)

	seen := 0
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			seen++
			m := e.over(r.Expr, begin, end, interval)
			if r.Alert == "Watchdog" {
				require.NotEmpty(t, m, "the heartbeat never stops")
				continue
			}
			if r.Alert == "HancockWebhookFailing" { // It looks back 15 minutes.
				for _, series := range m {
					for _, p := range series.Floats {
						require.WithinRange(t, time.UnixMilli(p.T), outageBegin, outageEnd.Add(15*time.Minute), r.Alert)
					}
				}
				continue
			}
			if r.Alert != alertName {
				require.Empty(t, m, r.Alert)
				continue
			}
			require.Equal(t, alertFor, time.Duration(r.For))
			require.Equal(t, map[string]string{"severity": alertSeverity}, r.Labels)
			require.Len(t, m, 1)
			held := 0
			for _, p := range m[0].Floats {
				at := time.UnixMilli(p.T)
				if at.After(outageBegin) && at.Before(outageEnd.Add(8*time.Minute)) {
					held++
					continue
				}
				require.Less(t, p.F, 0.07, "just above, for a moment, at %s", at)
			}
			require.InDelta(t, held, len(stored[0].Floats), 6)
		}
	}
	require.GreaterOrEqual(t, seen, 4)
}
