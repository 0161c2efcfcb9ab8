package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent/requestlog"
	"github.com/cyberviser/hancock/alerting/external"
	"github.com/cyberviser/hancock/tsdb"
)

func TestRedacted(t *testing.T) {
	for in, want := range map[string]string{
		"":                              "",
		"no address":                    "no address",
		"http://a:9093/api/v2/alerts":   "http://a:9093",
		"https://u:p@a/x?token=y#z":     "https://a",
		`Get "http://u:p@a/x?t=y": EOF`: `Get "http://a": EOF`,
		"http://a/b and ws://c/d":       "http://a and ws://c",
		"http://u@v:p@a/b":              "http://a",
		"http://u:p@":                   "http://",
	} {
		require.Equal(t, want, redacted(in), in)
	}
}

func TestRedacting(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(redacting{slog.NewTextHandler(&out, nil)}).With("url", "http://a/s3cret").WithGroup("g")
	log.Error("at http://u:s3cret@b", "err", errors.New(`Post "http://c/s3cret"`), "n", 3,
		slog.Group("more", "url", "http://d/?s3cret"), "any", []string{"http://e/s3cret"})
	require.NotContains(t, out.String(), "s3cret")
	for _, host := range []string{"http://a", "http://b", "http://c", "http://d", "http://e", "n=3"} {
		require.Contains(t, out.String(), host)
	}
}

// TestLibrariesLogNoSecrets has remote storage, service discovery and the sending of alerts fail, whose lines have
// addresses in them.
func TestLibrariesLogNoSecrets(t *testing.T) {
	gone := reserve(t)
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile(defaultConfigFile, []byte(strings.ReplaceAll(`prometheus:
  remote_write:
    - url: http://writer:s3cret@ADDRESS/s3cret?token=s3cret
      queue_config: {batch_send_deadline: 10ms}
  scrape_configs:
    - job_name: listed
      http_sd_configs: [{url: 'http://hancock:s3cret@ADDRESS/s3cret?token=s3cret'}]
  alerting:
    alertmanagers:
      - static_configs: [{targets: [ADDRESS]}]
        path_prefix: /s3cret/
        basic_auth: {username: hancock, password: s3cret}
`, "ADDRESS", gone)), 0o600))
	inv, err := parseCommandLine(nil, noEnvironment, io.Discard)
	require.NoError(t, err)
	opts, err := compose(inv.config)
	require.NoError(t, err)
	opts.tsdb.FlushTimeout = time.Millisecond

	log := new(safeBuffer)
	quiet := libraryLogger(requestlog.NewLog(log, slog.LevelDebug), slog.LevelDebug)
	reg := prometheus.NewRegistry()
	db, err := tsdb.Open(opts.tsdb, http.NotFoundHandler(), reg, quiet)
	require.NoError(t, err)
	outside, err := external.Open(opts.external, reg, quiet)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = db.Run(ctx) })
	running.Go(func() { _ = outside.Run(ctx) })
	require.Eventually(t, func() bool {
		outside.Send(&notifier.Alert{Labels: labels.FromStrings("alertname", "A"), StartsAt: time.Now()})
		lines := log.String()
		return strings.Contains(lines, "Failed to send batch") && strings.Contains(lines, "Unable to refresh target groups") &&
			strings.Contains(lines, "Error sending alerts")
	}, patience, 10*time.Millisecond)
	stop()
	running.Wait()
	_ = errors.Join(outside.Close(), db.Close()) // Not everything was sent.
	require.Contains(t, log.String(), "http://"+gone)
	require.NotContains(t, log.String(), "s3cret")
}

// FuzzRedacted hides a secret in each place of an address.
func FuzzRedacted(f *testing.F) {
	f.Add("see ", " or not", "host:1")
	f.Add(`Get "`, `": EOF`, "[::1]:9093")
	f.Fuzz(func(t *testing.T, before, after, host string) {
		const secret = "s3cret"
		if strings.Contains(before+after+host, secret) || strings.ContainsAny(host, "@/ \t\n\r\f\v\"'?#\\") {
			return // no address, or the secret is not only where it is hidden
		}
		for _, address := range []string{"http://u:" + secret + "@" + host, "https://" + host + "/" + secret, "http://" + host + "?t=" + secret} {
			require.NotContains(t, redacted(before+address+after), secret)
		}
	})
}
