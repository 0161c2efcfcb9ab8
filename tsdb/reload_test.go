package tsdb_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/value"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/tsdb"
)

// longWait is longer than anything takes on a busy machine.
const longWait = 2 * time.Minute

// exporter serves one metric whose value is the number of the scrape.
func exporter(t testing.TB) (address string, scrapes *atomic.Int64) {
	t.Helper()
	scrapes = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "scrapes %d\n", scrapes.Add(1))
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://"), scrapes
}

// jobs is a prometheus section with one job for each name, all of which scrape address every interval.
func jobs(address, interval string, names ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "global: {scrape_interval: %s, scrape_timeout: %s}\nscrape_configs:\n", interval, interval)
	for _, name := range names {
		fmt.Fprintf(&b, "- {job_name: %s, static_configs: [{targets: ['%s']}]}\n", name, address)
	}
	return b.String()
}

// TestReloadKeepsJobs reloads again and again while jobs come and go: the one that stays loses no sample and has no
// stale marker, the one that goes is marked as ended.
func TestReloadKeepsJobs(t *testing.T) {
	address, _ := exporter(t)
	o := options(t)
	o.Prometheus = section(t, jobs(address, "100ms", "stays"))
	s := open(t, o).run()
	count := func(job string) int { return len(stored(t, s.DB, "scrapes", "job", job)) }
	require.Eventually(t, func() bool { return count("stays") > 1 }, longWait, 10*time.Millisecond)

	for i := range 20 {
		o.Prometheus = section(t, jobs(address, "100ms", "stays", fmt.Sprintf("comes_%d", i%2)))
		require.NoError(t, s.Reload(o))
	}
	require.Eventually(t, func() bool { return count("comes_1") > 1 }, longWait, 10*time.Millisecond)
	o.Prometheus = section(t, jobs(address, "100ms", "stays"))
	require.NoError(t, s.Reload(o))
	gone := stored(t, s.DB, "scrapes", "job", "comes_1")
	require.True(t, value.IsStaleNaN(gone[len(gone)-1].v), "the job that has gone is ended")
	n := count("stays")
	require.Eventually(t, func() bool { return count("stays") > n+1 }, longWait, 10*time.Millisecond)

	var last float64
	for _, got := range stored(t, s.DB, "scrapes", "job", "stays") {
		require.False(t, value.IsStaleNaN(got.v), "a stale marker of a target that never went away")
		require.Greater(t, got.v, last)
		last = got.v
	}
	v, err := s.QueryFunc()(t.Context(), `resets(up{job="stays"}[1h]) + min_over_time(up{job="stays"}[1h])`, time.Now())
	require.NoError(t, err)
	require.InDelta(t, 1, v[0].F, 0, "no scrape has failed")
}

// TestReloadOfTheInterval takes another interval for a job, and for the process itself: series go on without a marker.
func TestReloadOfTheInterval(t *testing.T) {
	address, scrapes := exporter(t)
	o := options(t)
	o.Prometheus = section(t, jobs(address, "1h", "slow"))
	s := open(t, o).run()
	require.Eventually(t, func() bool { return scrapes.Load() == 1 }, longWait, 10*time.Millisecond)
	o.Prometheus = section(t, jobs(address, "50ms", "slow"))
	o.ScrapeInterval, o.ScrapeTimeout = 50*time.Millisecond, 50*time.Millisecond
	require.NoError(t, s.Reload(o))
	for name, job := range map[string]string{"scrapes": "slow", "hancock_requests_total": tsdb.JobName} {
		require.Eventually(t, func() bool { return len(stored(t, s.DB, name, "job", job)) > 3 }, longWait, 10*time.Millisecond)
		for _, got := range stored(t, s.DB, name, "job", job) {
			require.False(t, value.IsStaleNaN(got.v), name)
		}
	}
}

// TestReloadThatFails changes nothing, whatever is wrong with it.
func TestReloadThatFails(t *testing.T) {
	address, _ := exporter(t)
	o := options(t)
	o.Prometheus = section(t, jobs(address, "100ms", "stays"))
	s := open(t, o).run()
	api := s.NewAPI(apiOptions())
	bad := filepath.Join(t.TempDir(), "bad.pem")
	require.NoError(t, os.WriteFile(bad, []byte("no certificate"), 0o600))
	for _, tt := range []struct{ name, yml, want string }{
		{"a certificate of a job", jobs(address, "100ms") + "- {job_name: stays, tls_config: {ca_file: " + bad + "}}", "scrape configuration"},
		{"a certificate of remote_write", "remote_write: [{url: 'http://127.0.0.1:1/', tls_config: {ca_file: " + bad + "}}]", "remote_write"},
		{"a certificate of remote_read", "remote_read: [{url: 'http://127.0.0.1:1/', tls_config: {ca_file: " + bad + "}}]", "remote_read"},
		{"two of one kind", "remote_write: [{url: 'http://127.0.0.1:1/', remote_timeout: 1s}, {url: 'http://127.0.0.1:1/', remote_timeout: 1s}]", "remote_write"},
		{"a query log that cannot be", "global: {query_log_file: /proc/hancock/queries.log}", "query log"},
		{"our own name", "scrape_configs: [{job_name: hancock}]", "is taken"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, before := ask(t, api, http.MethodGet, "status/config", nil)
			wrong := o
			wrong.Retention = time.Hour
			wrong.Prometheus = section(t, tt.yml)
			require.ErrorContains(t, s.Reload(wrong), tt.want)
			_, after := ask(t, api, http.MethodGet, "status/config", nil)
			require.Equal(t, string(before.Data), string(after.Data))
			n := len(stored(t, s.DB, "scrapes", "job", "stays"))
			require.Eventually(t, func() bool { return len(stored(t, s.DB, "scrapes", "job", "stays")) > n }, longWait, 10*time.Millisecond)
		})
	}
}

// TestReloadUnderQueries reloads the engine while queries run: none of them fails, each runs by the old or the new bounds.
func TestReloadUnderQueries(t *testing.T) {
	o := options(t)
	s := open(t, o).run()
	api := s.NewAPI(apiOptions())
	stop := make(chan struct{})
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if code, answer := ask(t, api, http.MethodGet, "query?query=count_over_time(up[1h])", nil); code != http.StatusOK {
					t.Errorf("status %d: %s", code, answer.Error)
				}
			}
		})
	}
	for i := range 100 {
		o.QueryMaxSamples, o.QueryConcurrency = 1_000_000+i, 5+i%5
		o.QueryLookback = time.Duration(5+i%2) * time.Minute
		require.NoError(t, s.Reload(o))
		a := apiOptions()
		a.EnableRemoteWrite, a.EnableAdmin = i%2 == 0, i%3 == 0
		api.Reload(a)
	}
	close(stop)
	asking.Wait()
	families, err := s.reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == "prometheus_engine_queries_concurrent_max" {
			require.Len(t, f.GetMetric(), 1)
			require.InDelta(t, 5+99%5, f.GetMetric()[0].GetGauge().GetValue(), 0)
		}
	}
}

// TestReloadOfRetention lets the storage bound its blocks anew.
func TestReloadOfRetention(t *testing.T) {
	o := options(t)
	s := open(t, o)
	o.Retention, o.RetentionSize = 3*time.Hour, 5<<20
	o.Prometheus = section(t, "storage: {exemplars: {max_exemplars: 7}, tsdb: {out_of_order_time_window: 30m}}")
	require.NoError(t, s.Reload(o))
	families, err := s.reg.Gather()
	require.NoError(t, err)
	want := map[string]float64{
		"prometheus_tsdb_retention_limit_seconds": 3 * 3600, "prometheus_tsdb_retention_limit_bytes": 5 << 20,
		"prometheus_tsdb_exemplar_max_exemplars": 7,
	}
	for _, f := range families {
		if v, ok := want[f.GetName()]; ok {
			require.InDelta(t, v, f.GetMetric()[0].GetGauge().GetValue(), 0, f.GetName())
			delete(want, f.GetName())
		}
	}
	require.Empty(t, want)
}
