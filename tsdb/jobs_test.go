package tsdb_test

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/stretchr/testify/require"
)

// eventually waits for what the world outside of the process does.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, 20*time.Second, 10*time.Millisecond, what)
}

// count is how many series a query finds now.
func (s *store) count(query string) int {
	v, err := s.QueryFunc()(s.t.Context(), query, time.Now())
	require.NoError(s.t, err)
	return len(v)
}

func TestOtherTargets(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintf(w, "other_up{path=%q} 1\n", r.URL.Path)
	}))
	defer other.Close()
	address := strings.TrimPrefix(other.URL, "http://")
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "targets.yml"),
		[]byte("- targets: ['"+address+"']\n  labels: {from: file}\n"), 0o600))
	targets := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `[{"targets": [%q], "labels": {"from": "http"}}]`, address)
	}))
	defer targets.Close()

	o := options(t)
	o.Prometheus = section(t, `
global: {scrape_interval: 1h, scrape_timeout: 1m, sample_limit: 5}
scrape_configs:
  - job_name: static
    metrics_path: /probe
    static_configs: [{targets: ['`+address+`']}]
  - job_name: file
    file_sd_configs: [{files: ['`+filepath.Join(dir, "*.yml")+`']}]
  - job_name: http
    http_sd_configs: [{url: '`+targets.URL+`'}]
  - job_name: down
    static_configs: [{targets: ['127.0.0.1:1']}]
`)
	s := open(t, o).run()
	require.Equal(t, 1, s.count(`up{job="hancock"} == 1`), "limits for others do not hold for us")
	eventually(t, "all jobs", func() bool { return s.count(`other_up`) == 3 && s.count(`up{job="down"} == 0`) == 1 })
	require.Equal(t, 1, s.count(`other_up{job="static",path="/probe"}`))
	require.Equal(t, 1, s.count(`other_up{job="file",from="file"}`))
	require.Equal(t, 1, s.count(`other_up{job="http",from="http"}`))
	api := s.NewAPI(apiOptions())
	_, a := ask(t, api, "GET", "targets", nil)
	require.Contains(t, string(a.Data), address)
	s.stop()
	require.Zero(t, s.count(`other_up`), "other targets' series end as well")
}

// receiver is a remote write endpoint that keeps what it gets.
type receiver struct {
	*httptest.Server
	mtx     sync.Mutex
	samples map[string][]float64 // By the labels of the series.
}

func newReceiver(t testing.TB) *receiver {
	r := &receiver{samples: map[string][]float64{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		got, err := remote.DecodeWriteRequest(req.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.mtx.Lock()
		defer r.mtx.Unlock()
		b := labels.NewScratchBuilder(0)
		for _, ts := range got.Timeseries {
			for _, v := range ts.Samples {
				key := ts.ToLabels(&b, nil).String()
				r.samples[key] = append(r.samples[key], v.Value)
			}
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) get(series string) []float64 {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	return append([]float64(nil), r.samples[series]...)
}

func TestRemoteWrite(t *testing.T) {
	r := newReceiver(t)
	o := options(t)
	o.FlushTimeout = 10 * time.Second
	// What is stored wakes up the sending, and what sleeps too soundly is woken up by the next scrape.
	o.ScrapeInterval, o.ScrapeTimeout = time.Second, time.Second
	o.Prometheus = section(t, `
global: {external_labels: {site: a}}
remote_write:
  - url: `+r.URL+`
    queue_config: {batch_send_deadline: 50ms}
`)
	s := open(t, o)
	s.requests.Add(4)
	s.run()
	series := `{__name__="hancock_requests_total", instance="127.0.0.1:5000", job="hancock", site="a"}`
	eventually(t, "remote write", func() bool { return len(r.get(series)) > 0 })
	s.close()
	got := r.get(series)
	require.InDelta(t, 4, got[0], 0)
	require.True(t, value.IsStaleNaN(got[len(got)-1]), "the end of the series arrives too: %v", got)
}

func TestRemoteRead(t *testing.T) {
	at := time.Now().Add(-time.Minute).UnixMilli()
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		answer := &prompb.ReadResponse{Results: []*prompb.QueryResult{{Timeseries: []*prompb.TimeSeries{{
			Labels:  []prompb.Label{{Name: "__name__", Value: "far_away"}},
			Samples: []prompb.Sample{{Timestamp: at, Value: 42}},
		}}}}}
		_, _ = io.Copy(io.Discard, req.Body)
		w.Header().Set("Content-Type", "application/x-protobuf")
		_ = remote.EncodeReadResponse(answer, w)
	}))
	defer far.Close()
	o := options(t)
	o.Prometheus = section(t, "remote_read: [{url: '"+far.URL+"', read_recent: true}]")
	s := open(t, o).run()
	require.Equal(t, 1, s.count(`far_away == 42`))
	q, err := s.Queryable().Querier(math.MinInt64, math.MaxInt64)
	require.NoError(t, err)
	defer q.Close()
	set := q.Select(t.Context(), false, nil, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "far_away"))
	require.False(t, set.Next(), "state is restored from local storage only")
}

func TestQueryLog(t *testing.T) {
	file := filepath.Join(t.TempDir(), "queries.log")
	o := options(t)
	o.Prometheus = section(t, "global: {query_log_file: '"+file+"'}")
	s := open(t, o).run()
	require.Equal(t, 1, s.count(`up == 1`))
	s.close()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(content), `"query":"up == 1"`)

	o.Prometheus = section(t, "global: {query_log_file: /nothing/here.log}")
	failing(t, o, "query log", "/nothing/here.log")
}

func TestRemoteWriteWrong(t *testing.T) {
	o := options(t)
	o.Prometheus = section(t, `
remote_write:
  - url: http://127.0.0.1:1/write
    tls_config: {ca_file: /nothing/here.pem}
`)
	failing(t, o, "remote storage", "/nothing/here.pem")
	o.Prometheus = nil
	open(t, o) // What the failure left behind is no obstacle.
}
