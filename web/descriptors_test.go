//go:build unix

package web

import (
	"bytes"
	"log/slog"
	"net/http"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// TestDescriptors lowers the limit of connections below that of open files.
func TestDescriptors(t *testing.T) {
	var before syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before))
	t.Cleanup(func() { require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before)) })
	for _, tc := range []struct{ files, asked, want int }{{600, 512, 344}, {600, 100, 100}, {400, 512, 200}, {100, 1000, 50}} {
		limit := before
		limit.Cur = uint64(tc.files)
		require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
		opts := DefaultOptions()
		opts.MaxConnections = tc.asked
		var log bytes.Buffer
		s := New(opts, Handlers{Metrics: http.NotFoundHandler(), API: http.NotFoundHandler(), Page: http.NotFoundHandler()},
			prometheus.NewRegistry(), slog.New(slog.NewTextHandler(&log, nil)))
		require.Equal(t, tc.want, s.now.Load().connections)
		if tc.want < tc.asked {
			require.Contains(t, log.String(), "web.max_connections is lowered")
			require.Contains(t, log.String(), "ulimit -n")
		} else {
			require.Empty(t, log.String())
		}
	}
}
