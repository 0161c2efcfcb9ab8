package main

import (
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// noEnvironment is one in which nothing is set.
func noEnvironment(string) (string, bool) { return "", false }

// TestSettingsReachTheirOptions writes settings that no other test uses.
func TestSettingsReachTheirOptions(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile(defaultConfigFile, []byte(`agent:
  retry_wait: 3s
  health: {cache_ttl: 4s, metric_age: 0, timeout: 6s, traffic_age: 7s}
`), 0o600))
	inv, err := parseCommandLine(nil, noEnvironment, io.Discard)
	require.NoError(t, err)
	o, err := compose(inv.config)
	require.NoError(t, err)
	require.Equal(t, 3*time.Second, o.llm.RetryWait)
	require.Equal(t, 4*time.Second, o.health.CacheTTL)
	require.Zero(t, o.health.MetricAge)
	require.Equal(t, 6*time.Second, o.health.Timeout)
	require.Equal(t, 7*time.Second, o.health.TrafficAge)
	for _, setting := range []string{"retry_wait: 0s", "health: {timeout: 0s}", "health: {traffic_age: 0s}"} {
		require.NoError(t, os.WriteFile(defaultConfigFile, []byte("agent: {"+setting+"}\n"), 0o600))
		inv, err := parseCommandLine(nil, noEnvironment, io.Discard)
		require.NoError(t, err)
		_, err = compose(inv.config)
		require.ErrorContains(t, err, "must be longer than 0, is 0s", setting)
	}
}

// TestRetentionPrecedence sets the retention in every place: a flag counts more
// than Hancock's own section, that more than Prometheus' section, and that more
// than the default.
func TestRetentionPrecedence(t *testing.T) {
	const (
		day        = 24 * time.Hour
		own        = "storage: {retention: {time: 3d, size: 3GB}}\n"
		prometheus = "prometheus: {storage: {tsdb: {retention: {time: 5d, size: 5GB}}}}\n"
	)
	for _, tc := range []struct {
		name, file string
		args       []string
		time       time.Duration
		gigabytes  int64
	}{
		{"default", "", nil, 15 * day, 0},
		{"prometheus.storage", prometheus, nil, 5 * day, 5},
		{"prometheus.storage without a retention", "prometheus: {storage: {exemplars: {max_exemplars: 5}}}\n", nil, 15 * day, 0},
		{"prometheus.storage with a size alone", "prometheus: {storage: {tsdb: {retention: {size: 5GB}}}}\n", nil, 0, 5},
		{"prometheus.storage with a percentage", "prometheus: {storage: {tsdb: {retention: {size: 5GB, percentage: 5}}}}\n", nil, 0, 0},
		{"own section", own + prometheus, nil, 3 * day, 3},
		{"part of the own section", "storage: {retention: {time: 3d}}\n" + prometheus, nil, 3 * day, 5},
		{"flag", own + prometheus, []string{"--storage.retention.time=7d", "--storage.retention.size=7GB"}, 7 * day, 7},
		{"flag over prometheus.storage", prometheus, []string{"--storage.retention.time=7d"}, 7 * day, 5},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			require.NoError(t, os.WriteFile(defaultConfigFile, []byte(tc.file), 0o600))
			inv, err := parseCommandLine(tc.args, noEnvironment, io.Discard)
			require.NoError(t, err)
			require.Empty(t, inv.config.Warnings)
			o, err := compose(inv.config)
			require.NoError(t, err)
			require.Equal(t, tc.time, o.tsdb.Retention)
			require.Equal(t, tc.gigabytes<<30, o.tsdb.RetentionSize)
		})
	}
}

// TestAddressWithAPassword never shows it.
func TestAddressWithAPassword(t *testing.T) {
	for _, address := range []string{"http://user:sesame@[::1", "http://user:sesame@example.org:port/"} {
		c := defaultConfig()
		c.Web.ExternalURL = address
		_, err := compose(c)
		require.ErrorContains(t, err, "web.external_url")
		require.NotContains(t, err.Error(), "sesame")
	}
}
