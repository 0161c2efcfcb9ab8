package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
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

// TestAnswersShowNoSecrets has a secret in each kind of address and credential of the configuration, and asks for everything
// that a running process shows, the labels of its stored samples among it.
func TestAnswersShowNoSecrets(t *testing.T) {
	t.Parallel()
	dir, model, gone := t.TempDir(), newFakeModel(t), reserve(t)
	configure(t, dir, model.url, "")
	file := filepath.Join(dir, "hancock.yml")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	listed := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `[{"targets": [%q], "labels": {"from": "http"}}]`, gone)
	}))
	defer listed.Close()
	text = append(text, strings.NewReplacer("ADDRESS", gone, "LISTED", strings.TrimPrefix(listed.URL, "http://")).Replace(`
prometheus:
  remote_write:
    - url: http://writer:s3cret@ADDRESS/s3cret?token=s3cret
      headers: {X-Scope: s3cret}
    - url: http://ADDRESS/s3cret/other
      basic_auth: {username: u, password: s3cret}
      http_headers: {X-Key: {values: [s3cret, other], secrets: [s3cret]}}
    - url: http://ADDRESS/s3cret/third
      authorization: {credentials: s3cret}
  remote_read:
    - {url: 'http://ADDRESS/s3cret?token=s3cret', headers: {X-Scope: s3cret}, required_matchers: {never: asked}}
  scrape_configs:
    - job_name: listed
      scrape_interval: 1s
      params: {token: [s3cret], files: [s3cret], "s": [s3cret]}
      http_sd_configs: [{url: 'http://hancock:s3cret@LISTED/s3cret?token=s3cret', refresh_interval: 1s}]
      basic_auth: {username: u, password: s3cret}
    - job_name: proxied
      scrape_interval: 1s
      proxy_url: http://u:s3cret@ADDRESS/
      oauth2: {client_id: i, client_secret: s3cret, token_url: 'http://ADDRESS/s3cret?x=s3cret', endpoint_params: {x: s3cret}}
      http_headers: {secrets: {values: [s3cret]}}
      static_configs: [{targets: [ADDRESS]}]
    - job_name: gone
      scrape_interval: 1s
      http_sd_configs: [{url: 'http://hancock:s3cret@ADDRESS/s3cret?token=s3cret', refresh_interval: 1s}]
  alerting:
    alertmanagers:
      - {static_configs: [{targets: [ADDRESS]}], path_prefix: /s3cret/, basic_auth: {username: u, password: s3cret}, http_headers: {X-Key: {values: [s3cret]}}}
      - {static_configs: [{targets: [ADDRESS]}], path_prefix: /s3cret/other}
alertmanager:
  route: {receiver: all}
  receivers:
    - name: all
      slack_configs: [{api_url: 'http://ADDRESS/s3cret', channel: '#x'}]
      webhook_configs: [{url: 'http://u:s3cret@ADDRESS/s3cret?t=s3cret'}]
      pagerduty_configs: [{routing_key: s3cret, url: 'http://ADDRESS/'}]
`)...)
	require.NoError(t, os.WriteFile(file, text, 0o600))
	p := startHancock(t, dir, "--log.level=DEBUG")
	p.eventually("targets fail and queues exist", func() bool {
		_, targets := p.get("/api/v1/targets")
		_, metrics := p.get("/metrics")
		return strings.Contains(targets, "connection refused") && strings.Contains(targets, `"from":"http"`) &&
			strings.Contains(metrics, `url="http://`+gone+`"`) && strings.Contains(metrics, `alertmanager="http://`+gone+`#2"`)
	})
	p.scrapes(2)
	_, body := p.get("/api/v1/labels")
	var names struct {
		Data []string `json:"data"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &names))
	paths := []string{
		"/metrics", "/health", "/internal/diagnostics", "/api/v1/status/config", "/api/v1/status/flags", "/api/v1/status/runtimeinfo",
		"/api/v1/targets", "/api/v1/targets?state=any", "/api/v1/scrape_pools", "/api/v1/alertmanagers", "/api/v1/targets/metadata",
		"/api/v1/rules", "/api/v1/alerts", "/api/v1/series?match[]={__name__=~%22.%2B%22}", "/api/v2/status", "/api/v2/receivers",
		"/api/hancock/logs?limit=500", "/api/hancock/notifications", "/api/hancock/alerts/outgoing", "/api/v1/notifications",
		"/api/v1/targets/relabel_steps?scrapePool=listed&labels=%7B%7D",
	}
	for _, name := range names.Data {
		paths = append(paths, "/api/v1/label/"+name+"/values")
	}
	for _, path := range paths {
		code, body := p.get(path)
		require.NotZero(t, code, path)
		require.NotContains(t, body, "s3cret", path)
	}
	_, targets := p.get("/api/v1/targets")
	require.Contains(t, targets, `"scrapeUrl":"http://`+gone+`/metrics"`)
	_, config := p.get("/api/v1/status/config")
	require.Contains(t, config, "url: http://"+strings.TrimPrefix(listed.URL, "http://"))
	require.NotContains(t, p.log.String(), "s3cret")
	info, err := os.Stat(filepath.Join(dir, "data"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	p.kill()
}

// TestLibrariesDoNotFloodTheLog has a library repeat a line without end; the lines of our own packages all remain.
func TestLibrariesDoNotFloodTheLog(t *testing.T) {
	out := new(safeBuffer)
	logs := requestlog.NewLog(out, slog.LevelInfo)
	library, own := libraryLogger(logs, slog.LevelInfo).With("component", "tsdb"), logs.Logger(slog.LevelDebug)
	for range 1000 {
		library.Error("Error reading file", "err", "unexpected end of JSON input")
		own.Info("notification attempt", "event", "notification_attempt")
	}
	require.Equal(t, 20, strings.Count(out.String(), "Error reading file"))
	require.Equal(t, 1000, strings.Count(out.String(), "notification_attempt"))
}
