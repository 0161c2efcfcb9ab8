package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting"
	"github.com/cyberviser/hancock/cmd/hancock/internal/config"
	"github.com/cyberviser/hancock/ui"
)

var update = flag.Bool("update", false, "write the golden files")

// guide are the metrics of the monitoring guide with their types and labels.
var guide = map[string]struct {
	kind   dto.MetricType
	labels []string
}{
	"hancock_requests_total":              {dto.MetricType_COUNTER, nil},
	"hancock_errors_total":                {dto.MetricType_COUNTER, nil},
	"hancock_requests_by_endpoint":        {dto.MetricType_COUNTER, []string{"endpoint"}},
	"hancock_requests_by_mode":            {dto.MetricType_COUNTER, []string{"mode"}},
	"hancock_request_duration_seconds":    {dto.MetricType_HISTOGRAM, []string{"endpoint", "method", "status_code"}},
	"hancock_model_response_time_seconds": {dto.MetricType_HISTOGRAM, []string{"model", "operation"}},
	"hancock_rate_limit_exceeded_total":   {dto.MetricType_COUNTER, []string{"client_id", "endpoint"}},
	"hancock_memory_usage_bytes":          {dto.MetricType_GAUGE, nil},
	"hancock_active_connections":          {dto.MetricType_GAUGE, nil},
}

// families scrapes the process in the format that accept asks for.
func (p *process) families(accept string) (map[string]*dto.MetricFamily, string) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.base+"/metrics", http.NoBody)
	require.NoError(p.t, err)
	r.Header.Set("Accept", accept)
	resp, err := http.DefaultClient.Do(r)
	require.NoError(p.t, err)
	defer resp.Body.Close()
	require.Equal(p.t, http.StatusOK, resp.StatusCode)
	families := make(map[string]*dto.MetricFamily)
	dec := expfmt.NewDecoder(resp.Body, expfmt.ResponseFormat(resp.Header))
	for {
		mf := new(dto.MetricFamily)
		err := dec.Decode(mf)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(p.t, err)
		families[mf.GetName()] = mf
	}
	return families, resp.Header.Get("Content-Type")
}

// TestMetricsContract scrapes a booted process in the three formats that a
// Prometheus asks for: the guide's metrics are in each under their exact names.
func TestMetricsContract(t *testing.T) {
	t.Parallel()
	dir, backend := t.TempDir(), newFakeModel(t)
	configure(t, dir, backend.url, "")
	// Those of notifications exist where there is a receiver.
	route(t, dir, "http://127.0.0.1:9/", "1h")
	p := startHancock(t, dir)
	// Some of Prometheus' own metrics exist once the API is built, the second
	// scrape is over, and every rule group has been evaluated.
	p.get("/api/v2/status")
	p.scrapes(3)
	p.eventually("rules evaluated", func() bool {
		v, _ := p.scalar("count(prometheus_rule_group_last_evaluation_timestamp_seconds > 0)")
		return v == float64(strings.Count(alerting.Builtin(), "\n  - name: "))
	})

	for _, format := range []struct{ name, accept, got string }{
		{"text", "text/plain;version=0.0.4", "text/plain"},
		// OpenMetrics would rename the guide's counters that lack _total; what
		// comes instead is the text format, which every scraper falls back to.
		{"OpenMetrics", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", "text/plain"},
		{"protobuf", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited", "application/vnd.google.protobuf"},
	} {
		t.Run(format.name, func(t *testing.T) {
			families, contentType := p.families(format.accept)
			mediaType, _, err := mime.ParseMediaType(contentType)
			require.NoError(t, err)
			require.Equal(t, format.got, mediaType)
			for name, want := range guide {
				mf := families[name]
				require.NotNil(t, mf, "%s is missing", name)
				require.Equal(t, want.kind, mf.GetType(), name)
				for _, m := range mf.GetMetric() {
					require.Equal(t, want.labels, labelNames(m), name)
				}
			}
		})
	}

	families, _ := p.families("text/plain;version=0.0.4")
	t.Run("golden", func(t *testing.T) { compareGolden(t, families) })
	t.Run("lint", func(t *testing.T) {
		var ours []*dto.MetricFamily
		for name, mf := range families {
			if strings.HasPrefix(name, "hancock_") {
				ours = append(ours, mf)
			}
		}
		problems, err := promlint.NewWithMetricFamilies(ours).Lint()
		require.NoError(t, err)
		for _, problem := range problems {
			// The guide fixes these names.
			if problem.Metric == "hancock_requests_by_endpoint" || problem.Metric == "hancock_requests_by_mode" {
				require.Contains(t, problem.Text, "_total")
				continue
			}
			t.Errorf("%s: %s", problem.Metric, problem.Text)
		}
	})
	p.stop()
}

func labelNames(m *dto.Metric) []string {
	var names []string
	for _, l := range m.GetLabel() {
		names = append(names, l.GetName())
	}
	slices.Sort(names)
	return names
}

// compareGolden holds names, types, help and labels of what is exposed to the
// golden file. What the Go runtime and the operating system bring is left out.
func compareGolden(t *testing.T, families map[string]*dto.MetricFamily) {
	t.Helper()
	var got bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(families)) {
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
			continue
		}
		mf := families[name]
		names := map[string]bool{}
		for _, m := range mf.GetMetric() {
			for _, l := range labelNames(m) {
				names[l] = true
			}
		}
		fmt.Fprintf(&got, "%s{%s} %s\n    %s\n", name, strings.Join(slices.Sorted(maps.Keys(names)), ","), mf.GetType(), mf.GetHelp())
	}
	const path = "testdata/metrics.golden"
	if *update {
		require.NoError(t, os.WriteFile(path, got.Bytes(), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(string(want), got.String()), "the exposed metrics have changed; if that is meant: go test ./cmd/hancock -run TestMetricsContract -update")
}

// TestReferences checks that every metric and every label which the rules and
// the dashboard name is stored by a running process.
func TestReferences(t *testing.T) {
	t.Parallel()
	dir, backend := t.TempDir(), newFakeModel(t)
	configure(t, dir, backend.url, "")
	route(t, dir, "http://127.0.0.1:9/", "1h")
	p := startHancock(t, dir)
	p.get("/api/v1/rules")
	p.scrapes(3)

	src, err := os.ReadFile("../../alerting/rules.yml")
	require.NoError(t, err)
	groups, errs := rulefmt.Parse(src, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	require.Empty(t, errs)
	exprs := map[string]string{}
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			exprs["rule "+r.Alert+r.Record] = r.Expr
		}
	}
	board, err := ui.Dashboard()
	require.NoError(t, err)
	for _, panel := range board.Panels {
		exprs["panel "+panel.Name] = panel.Query
	}
	require.Len(t, exprs, strings.Count(alerting.Builtin(), "- alert: ")+10)

	for where, expr := range exprs {
		parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
		require.NoError(t, err, where)
		parser.Inspect(parsed, func(n parser.Node, _ []parser.Node) error {
			vs, ok := n.(*parser.VectorSelector)
			if !ok {
				return nil
			}
			// After a scrape that fails, as on a busy machine, no series has a value.
			stored := func(selector string) bool { return len(p.query("last_over_time("+selector+"[1h])")) > 0 }
			require.True(t, stored(vs.Name), "%s: nothing emits %s", where, vs.Name)
			for _, m := range vs.LabelMatchers {
				if m.Name != model.MetricNameLabel {
					require.True(t, stored(fmt.Sprintf("%s{%s!=\"\"}", vs.Name, m.Name)), "%s: %s has no label %s", where, vs.Name, m.Name)
				}
			}
			return nil
		})
	}
	p.stop()
}

// TestExampleIsTheDefaults loads the example configuration, which says of
// itself that it holds every option with its default.
func TestExampleIsTheDefaults(t *testing.T) {
	want := defaultConfig()
	want.Web.TrustedProxies = []string{}
	got, err := config.Load("../../docs/hancock.example.yml", defaultConfig())
	require.NoError(t, err)
	got.Storage.Path = want.Storage.Path // relative to the file
	require.NotNil(t, got.Sources)
	got.Sources = nil
	require.Equal(t, want, got)
	_, err = compose(got)
	require.NoError(t, err)
}

// TestQueryAPI asks each read-only call of Prometheus' API, and those that are
// off by default.
func TestQueryAPI(t *testing.T) {
	t.Parallel()
	dir, backend := t.TempDir(), newFakeModel(t)
	configure(t, dir, backend.url, "")
	p := startHancock(t, dir)
	p.scrapes(1)
	for _, path := range []string{
		"/query?query=up", "/query_range?query=up&start=0&end=10&step=5", "/query_exemplars?query=up", "/format_query?query=up",
		"/labels", "/label/job/values", "/series?match[]=up", "/targets", "/metadata", "/rules", "/alerts", "/alertmanagers",
		"/status/config", "/status/flags", "/status/runtimeinfo", "/status/buildinfo", "/status/tsdb",
	} {
		code, body := p.get("/api/v1" + path)
		require.Equal(t, http.StatusOK, code, "%s: %s", path, body)
		require.True(t, json.Valid([]byte(body)), path)
		require.Contains(t, body, `"status":"success"`, path)
	}
	_, build := p.get("/api/v1/status/buildinfo")
	require.Regexp(t, `"version":"3\.\d+\.\d+"`, build, "Grafana decides by it what it may ask")
	code, body := p.do(http.MethodPost, "/api/v1/query", "application/x-www-form-urlencoded", "query=up")
	require.Equal(t, http.StatusOK, code, body)
	require.Contains(t, body, `"job":"hancock"`)
	for path, want := range map[string]int{
		"/api/v1/write":                        http.StatusNotFound,
		"/api/v1/otlp/v1/metrics":              http.StatusNotFound,
		"/api/v1/admin/tsdb/clean_tombstones":  http.StatusInternalServerError,
		"/api/v1/admin/tsdb/delete_series":     http.StatusInternalServerError,
		"/api/v1/query?query=sum(":             http.StatusBadRequest,
		"/api/v1/query_range?query=up&start=a": http.StatusBadRequest,
	} {
		code, body := p.post(path, "")
		require.Equal(t, want, code, "%s: %s", path, body)
	}
	p.stop()
}
