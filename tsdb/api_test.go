package tsdb_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	v1 "github.com/prometheus/prometheus/web/api/v1"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/tsdb"
)

// section parses what stands in the prometheus section of the configuration.
func section(t testing.TB, yml string) *config.Config {
	t.Helper()
	cfg, err := config.Load(yml, promslog.NewNopLogger())
	require.NoError(t, err)
	return cfg
}

func apiOptions() tsdb.APIOptions {
	return tsdb.APIOptions{
		ListenAddress: "127.0.0.1:5000",
		Flags: map[string]string{
			"storage.path":  "data",
			"agent.api-key": "flag-secret",
			"proxy":         "http://user:flag-secret@proxy.example:3128",
			"token.empty":   "",
		},
		Build: v1.PrometheusVersion{Version: "1.2.3", Revision: "abc"},
	}
}

// TestAPIAfterAReload shows what a reload has changed, and that the one after it failed.
func TestAPIAfterAReload(t *testing.T) {
	o := options(t)
	o.Prometheus = section(t, "rule_files: [old.yml]\nglobal: {external_labels: {site: test}}")
	s := open(t, o).run()
	a := apiOptions()
	a.Reloaded = func() (bool, time.Time) { return false, time.UnixMilli(0) }
	api := s.NewAPI(a)
	o.Prometheus = section(t, "rule_files: [new.yml]\nglobal: {external_labels: {site: changed}}")
	require.NoError(t, s.Reload(o))
	_, got := ask(t, api, http.MethodGet, "status/config", nil)
	require.Contains(t, string(got.Data), "new.yml")
	require.NotContains(t, string(got.Data), "old.yml")
	require.Contains(t, string(got.Data), "site: changed")
	_, got = ask(t, api, http.MethodGet, "status/runtimeinfo", nil)
	require.Contains(t, string(got.Data), `"reloadConfigSuccess":false,"lastConfigTime":"1970-01-01T00:00:00Z"`)
}

func TestAPIAnswers(t *testing.T) {
	o := options(t)
	o.Prometheus = section(t, `
global:
  external_labels: {site: test}
remote_write:
  - url: http://writer:url-secret@127.0.0.1:1/write
    basic_auth: {username: u, password: basic-secret}
  - url: http://127.0.0.1:1/write2
    headers: {X-Api-Key: header-secret}
remote_read:
  - url: http://127.0.0.1:1/read
    required_matchers: {never: asked}
    headers: {X-Api-Key: header-secret}
`)
	s := open(t, o).run()
	s.requests.Add(2)
	api := s.NewAPI(apiOptions())
	now := url.QueryEscape(time.Now().UTC().Format(time.RFC3339Nano))

	for _, tt := range []struct {
		name, method, target string
		form                 url.Values
		code                 int
		want                 []string // In the data or the error.
	}{
		{"instant query", "GET", `query?query=up`, nil, 200, []string{`"instance":"127.0.0.1:5000"`, `"job":"hancock"`, `"1"`}},
		{"instant query by form", "POST", `query`, url.Values{"query": {"up"}}, 200, []string{`"vector"`, `"job":"hancock"`}},
		{"range query", "GET", `query_range?query=up&step=1&start=` + now + `&end=` + now, nil, 200, []string{`"matrix"`}},
		{"range query by form", "POST", `query_range`, url.Values{
			"query": {"up"}, "step": {"1"}, "start": {"1"}, "end": {"2"},
		}, 200, []string{`"matrix"`}},
		{"subquery without a step", "GET", `query?query=max_over_time(up[1m:])`, nil, 200, []string{`"vector"`}},
		{"wrong query", "GET", `query?query=up{`, nil, 400, []string{"bad_data", "parse error"}},
		{"missing query", "POST", `query`, url.Values{}, 400, []string{"bad_data"}},
		{"too many points", "GET", `query_range?query=up&step=1&start=1&end=99999`, nil, 400, []string{"exceeded maximum resolution"}},
		{"format", "GET", `format_query?query=up%3D%3D1`, nil, 200, []string{"up == 1"}},
		{"parse", "GET", `parse_query?query=up`, nil, 200, []string{"vectorSelector"}},
		{"labels", "GET", `labels`, nil, 200, []string{`"__name__"`, `"instance"`}},
		{"labels by form", "POST", `labels`, url.Values{}, 200, []string{`"job"`}},
		{"label values", "GET", `label/job/values`, nil, 200, []string{`["hancock"]`}},
		{"series", "GET", `series?match[]=hancock_requests_total`, nil, 200, []string{`"hancock_requests_total"`}},
		{"series by form", "POST", `series`, url.Values{"match[]": {"up"}}, 200, []string{`"up"`}},
		{"exemplars", "GET", `query_exemplars?query=up&start=1&end=2`, nil, 200, []string{`[]`}},
		{"metadata", "GET", `metadata?metric=hancock_requests_total`, nil, 200, []string{`"counter"`, `"Requests."`}},
		{"targets", "GET", `targets`, nil, 200, []string{`"scrapePool":"hancock"`, `"health":"up"`}},
		{"target metadata", "GET", `targets/metadata?metric=up`, nil, 200, nil},
		{"scrape pools", "GET", `scrape_pools`, nil, 200, []string{`"hancock"`}},
		{"rules", "GET", `rules`, nil, 200, []string{`"groups":[]`}},
		{"alerts", "GET", `alerts`, nil, 200, []string{`"alerts":[]`}},
		{"alertmanagers", "GET", `alertmanagers`, nil, 200, []string{`"activeAlertmanagers":[]`}},
		{"build", "GET", `status/buildinfo`, nil, 200, []string{`"version":"1.2.3"`, `"goVersion":"go1.`}},
		{"runtime", "GET", `status/runtimeinfo`, nil, 200, []string{`"storageRetention":"15d"`, `"reloadConfigSuccess":true`}},
		{"flags", "GET", `status/flags`, nil, 200, []string{
			`"storage.path":"data"`, `"agent.api-key":"\u003csecret\u003e"`, `"token.empty":""`, `"proxy":"http://proxy.example:3128"`,
		}},
		{"config", "GET", `status/config`, nil, 200, []string{
			`job_name: hancock`, `site: test`, `always_scrape_classic_histograms: true`,
		}},
		{"storage", "GET", `status/tsdb`, nil, 200, []string{`"headStats"`, `"numSeries"`}},
		{"blocks", "GET", `status/tsdb/blocks`, nil, 200, nil},
		{"replay", "GET", `status/walreplay`, nil, 200, []string{`"current"`}},
		{"own metrics", "GET", `status/self_metrics`, nil, 200, nil},
		{"features", "GET", `features`, nil, 200, []string{`"exemplar_storage":true`}},
		{"notifications", "GET", `notifications`, nil, 200, nil},
		{"remote write is off", "POST", `write`, url.Values{}, 404, nil},
		{"otlp is off", "POST", `otlp/v1/metrics`, url.Values{}, 404, nil},
		{"deletion is off", "POST", `admin/tsdb/delete_series?match[]=up`, url.Values{}, 500, []string{"admin APIs disabled"}},
		{"snapshots are off", "POST", `admin/tsdb/snapshot`, url.Values{}, 500, []string{"admin APIs disabled"}},
		{"unknown path", "GET", `nothing`, nil, 404, nil},
		{"wrong method", "DELETE", `query`, nil, 405, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, a := ask(t, api, tt.method, tt.target, tt.form)
			all := string(a.Data) + a.ErrorType + a.Error
			require.Equal(t, tt.code, code, all)
			for _, want := range tt.want {
				require.Contains(t, all, want)
			}
			require.NotContains(t, all, "-secret")
			if code == http.StatusOK {
				require.Equal(t, "success", a.Status)
			}
		})
	}
}

func TestAPIDescription(t *testing.T) {
	s := open(t, options(t)).run()
	api := s.NewAPI(apiOptions())
	for range 2 {
		rec := httptest.NewRecorder()
		api.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/api/v1/openapi.yaml", nil))
		require.Equal(t, http.StatusOK, rec.Code)
		require.Contains(t, rec.Body.String(), "/query_range:")
		require.Contains(t, rec.Body.String(), "http://127.0.0.1:5000/api/v1")
	}
}

func TestAPIStates(t *testing.T) {
	s := open(t, options(t)).run()
	o := apiOptions()
	ready := false
	o.Ready = func() bool { return ready }
	o.MaxBodyBytes = 100
	api := s.NewAPI(o)

	code, a := ask(t, api, "GET", "query?query=up", nil)
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Equal(t, "unavailable", a.ErrorType)

	ready = true
	var all sync.WaitGroup // Building it at its first use is safe from many sides.
	var codes [4]int
	for i := range codes {
		all.Go(func() { codes[i], _ = ask(t, api, "GET", "query?query=up", nil) })
	}
	api.Warm()
	all.Wait()
	require.Equal(t, [4]int{http.StatusOK, http.StatusOK, http.StatusOK, http.StatusOK}, codes)

	code, a = ask(t, api, "POST", "query", url.Values{"query": {strings.Repeat("1+", 100) + "1"}})
	require.Equal(t, http.StatusRequestEntityTooLarge, code)
	require.Contains(t, a.Error, "larger than 100")

	s.close()
	code, a = ask(t, api, "GET", "query?query=up", nil)
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Contains(t, a.Error, "closed")
	_, err := s.QueryFunc()(t.Context(), "up", time.Now())
	require.ErrorContains(t, err, "closed")
}

func TestAPIAdmin(t *testing.T) {
	s := open(t, options(t)).run()
	o := apiOptions()
	o.EnableAdmin, o.EnableRemoteWrite, o.EnableOTLP = true, true, true
	api := s.NewAPI(o)

	code, a := ask(t, api, "POST", "admin/tsdb/snapshot", url.Values{})
	require.Equal(t, http.StatusOK, code, a.Error)
	var made struct{ Name string }
	require.NoError(t, json.Unmarshal(a.Data, &made))
	require.NotEmpty(t, made.Name)

	code, _ = ask(t, api, "POST", "admin/tsdb/delete_series?match[]=hancock_requests_total", url.Values{})
	require.Equal(t, http.StatusNoContent, code)
	code, _ = ask(t, api, "POST", "admin/tsdb/clean_tombstones", url.Values{})
	require.Equal(t, http.StatusNoContent, code)
	// The receivers are there and read the body.
	code, _ = ask(t, api, "POST", "write", url.Values{})
	require.Equal(t, http.StatusBadRequest, code)
	code, _ = ask(t, api, "POST", "otlp/v1/metrics", url.Values{})
	require.NotEqual(t, http.StatusNotFound, code)
}

func TestExemplarsAndHistograms(t *testing.T) {
	s := open(t, options(t))
	s.duration.(prometheus.ExemplarObserver).ObserveWithExemplar(0.5, prometheus.Labels{"request_id": "r-1"})
	s.run()
	api := s.NewAPI(apiOptions())

	_, a := ask(t, api, "GET", `query?query=hancock_request_duration_seconds_bucket{le="1.0"}`, nil)
	require.Contains(t, string(a.Data), `"1"]`, "the classic buckets are kept")
	_, a = ask(t, api, "GET", `query?query=histogram_count(hancock_request_duration_seconds)`, nil)
	require.Contains(t, string(a.Data), `"1"]`, "the native histogram is stored")
	_, a = ask(t, api, "GET", `query_exemplars?query=hancock_request_duration_seconds_bucket&start=1&end=9999999999`, nil)
	require.Contains(t, string(a.Data), `"request_id":"r-1"`)
}
