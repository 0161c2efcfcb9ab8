package external_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/notifier"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/external"
)

func TestSends(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config string // ADDRESS is that of the Alertmanager.
		path   string // Default: /api/v2/alerts.
		header map[string]string
		labels map[string]string // Of the alert as it arrives, besides its name.
	}{
		{
			name:   "plain",
			config: "alertmanagers:\n- static_configs:\n  - targets: [ADDRESS]\n",
			labels: map[string]string{"severity": "warning"},
		},
		{
			name: "relabelled for all, which was done before",
			config: `alert_relabel_configs:
- {target_label: severity, replacement: page}
alertmanagers:
- static_configs:
  - targets: [ADDRESS]
`,
			labels: map[string]string{"severity": "warning"},
		},
		{
			name: "relabelled for one",
			config: `alertmanagers:
- static_configs:
  - targets: [ADDRESS]
  alert_relabel_configs:
  - {target_label: team, replacement: night}
  - {source_labels: [alertname], regex: Unwanted, action: drop}
`,
			labels: map[string]string{"severity": "warning", "team": "night"},
		},
		{
			name: "a path and a password",
			config: `alertmanagers:
- static_configs:
  - targets: [ADDRESS]
  path_prefix: /am/
  basic_auth: {username: hancock, password: "s3cret"}
`,
			path:   "/am/api/v2/alerts",
			header: map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte("hancock:s3cret"))},
			labels: map[string]string{"severity": "warning"},
		},
		{
			name: "a bearer token",
			config: `alertmanagers:
- static_configs:
  - targets: [ADDRESS]
  authorization: {credentials: t0ken}
`,
			header: map[string]string{"Authorization": "Bearer t0ken"},
			labels: map[string]string{"severity": "warning"},
		},
		{
			name:   "found in a file",
			config: "alertmanagers:\n- file_sd_configs:\n  - files: [DIR/am.json]\n",
			labels: map[string]string{"severity": "warning"},
		},
		{
			name:   "found over HTTP",
			config: "alertmanagers:\n- http_sd_configs:\n  - url: LIST\n",
			labels: map[string]string{"severity": "warning"},
		},
		{
			name: "found under another address",
			config: `alertmanagers:
- static_configs:
  - targets: [elsewhere.invalid]
  relabel_configs:
  - {target_label: __address__, replacement: ADDRESS}
`,
			labels: map[string]string{"severity": "warning"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			am, dir := newReceiver(t), t.TempDir()
			found := fmt.Sprintf(`[{"targets": [%q]}]`, am.address())
			require.NoError(t, os.WriteFile(filepath.Join(dir, "am.json"), []byte(found), 0o600))
			list := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprint(w, found)
			}))
			defer list.Close()
			o := with(section(t, strings.NewReplacer("ADDRESS", am.address(), "DIR", dir, "LIST", list.URL).Replace(tt.config)))
			f := open(t, o)
			f.known(1)
			firing, resolved := fires("Firing"), ended("Resolved")
			f.Send(firing)
			until(t, "the first one has arrived", func() bool { return len(am.requests()) == 1 })
			f.Send(resolved)
			if strings.Contains(tt.config, "Unwanted") {
				f.Send(fires("Unwanted"))
			}
			f.close()

			require.Empty(t, am.bad)
			requests := am.requests()
			require.Len(t, requests, 2)
			for i, sent := range []*notifier.Alert{firing, resolved} {
				got := requests[i]
				require.Equal(t, http.MethodPost, got.Method)
				require.Equal(t, "application/json", got.ContentType)
				if tt.path == "" {
					tt.path = "/api/v2/alerts"
				}
				require.Equal(t, tt.path, got.Path)
				for name, value := range tt.header {
					require.Equal(t, value, got.Header.Get(name))
				}
				tt.labels["alertname"] = sent.Name()
				require.Equal(t, tt.labels, got.Alerts[0].Labels)
				require.Equal(t, map[string]string{"summary": "it is so"}, got.Alerts[0].Annotations)
				require.WithinDuration(t, sent.StartsAt, got.Alerts[0].StartsAt, 0)
				require.WithinDuration(t, sent.EndsAt, got.Alerts[0].EndsAt, 0)
				require.Equal(t, "http://hancock.example/graph", got.Alerts[0].GeneratorURL)
				require.Equal(t, "warning", sent.Labels.Get("severity"), "the caller's alert is left alone")
			}
		})
	}
}

// TestBadAlertmanagers has one that is well beside one that is not.
func TestBadAlertmanagers(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, am *receiver) (address string)
		log   string
		hangs bool
	}{
		{"answers 500", func(_ *testing.T, am *receiver) string {
			am.status = http.StatusInternalServerError
			return am.address()
		}, "500 Internal Server Error", false},
		// No system gives port 1 to somebody who asks for any.
		{"refuses", func(*testing.T, *receiver) string { return "127.0.0.1:1" }, "connection refused", false},
		{"hangs", func(_ *testing.T, am *receiver) string {
			am.hang = make(chan struct{})
			return am.address()
		}, "stopped", true},
		{"says nothing", func(t *testing.T, _ *receiver) string {
			ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
			require.NoError(t, err)
			t.Cleanup(func() { ln.Close() })
			return ln.Addr().String()
		}, "stopped", true},
		// With a label that is too long, so that no server is asked for it.
		{"is not there", func(*testing.T, *receiver) string { return strings.Repeat("x", 64) + ".invalid:9093" }, "no such host", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			well, ill := newReceiver(t), newReceiver(t)
			o := with(to(t, well.address(), tt.spoil(t, ill)))
			o.DrainTimeout = 100 * time.Millisecond
			if !tt.hangs {
				o.DrainTimeout = patience
			}
			f := open(t, o)
			f.known(2)
			start := time.Now()
			for i := range 1000 {
				f.Send(fires(fmt.Sprint("Alert", i)))
			}
			require.Less(t, time.Since(start), patience, "nobody waits for an Alertmanager, which may take five minutes")
			until(t, "the one that is well has them all", func() bool { return len(well.names()) == 1000 })
			if !tt.hangs {
				until(t, "failures are counted", func() bool { return f.metric("prometheus_notifications_dropped_total") == 1000 })
			}
			require.Less(t, f.close(), patience, "nor does the end")
			// Nobody waits for the sender of a request that was given up: it may say so after the end.
			until(t, "the failure is told", func() bool { return strings.Contains(f.log.String(), tt.log) })
			require.Empty(t, well.bad)
		})
	}
}

func TestQueueIsBounded(t *testing.T) {
	am := newReceiver(t)
	am.hang = make(chan struct{})
	o := with(to(t, am.address()))
	o.QueueCapacity = 10
	f := open(t, o)
	f.known(1)
	f.Send(fires("First"))
	until(t, "the first one is on its way", func() bool { return len(am.names()) == 1 })
	for i := range 100 {
		f.Send(fires(fmt.Sprint("Alert", i)))
	}
	require.InDelta(t, 90, f.metric("prometheus_notifications_dropped_total"), 0)
	require.InDelta(t, 10, f.metric("prometheus_notifications_queue_length"), 0)
	close(am.hang)
	f.close()
	names := am.names()
	require.Len(t, names, 11)
	require.Equal(t, "Alert90", names[1], "the newest are kept")
}

// TestCloseDrains sends right before the end, when nobody has taken anything from a queue yet.
func TestCloseDrains(t *testing.T) {
	for range 3 {
		am := newReceiver(t)
		f := open(t, with(to(t, am.address())))
		f.known(1)
		for i := range 600 {
			f.Send(fires(fmt.Sprint("Alert", i)))
		}
		f.close()
		require.Len(t, am.names(), 600)
		require.NotContains(t, f.log.String(), "level=WARN")
		require.NotContains(t, f.log.String(), "level=ERROR")
	}
}

// TestHeld is about alerts that come before the Alertmanagers are known.
func TestHeld(t *testing.T) {
	am := newReceiver(t)
	o := with(to(t, am.address()))
	o.QueueCapacity = 5
	f, err := external.Open(o, prometheus.NewRegistry(), discard())
	require.NoError(t, err)
	for i := range 8 {
		f.Send(fires(fmt.Sprint("Alert", i)))
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	until(t, "they have arrived", func() bool { return len(am.names()) == 5 })
	require.Equal(t, "Alert3", am.names()[0])
	cancel()
	require.NoError(t, <-done)
	f.Send(fires("Late"))
	require.Len(t, am.names(), 5)
}

func TestNobody(t *testing.T) {
	for name, cfg := range map[string]*config.AlertingConfig{
		"no section":       nil,
		"no Alertmanagers": section(t, "alert_relabel_configs:\n- {target_label: a, replacement: b}\n"),
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t, with(cfg))
			f.Send(fires("Firing"))
			families, err := f.reg.Gather()
			require.NoError(t, err)
			require.Empty(t, families)
			require.Empty(t, f.Alertmanagers())
			require.NotNil(t, f.DroppedAlertmanagers())
			f.close()
			require.Empty(t, f.log.String())
		})
	}
}

func TestAddresses(t *testing.T) {
	am, dir := newReceiver(t), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "am.json"),
		fmt.Appendf(nil, `[{"targets": [%q, "hancock:s3cret@127.0.0.1:1", "127.0.0.1:2"]}]`, am.address()), 0o600))
	f := open(t, with(section(t, `alertmanagers:
- file_sd_configs:
  - files: [`+dir+`/am.json]
  relabel_configs:
  - {source_labels: [__address__], regex: '.*:2', action: drop}
`)))
	f.known(1)
	require.Equal(t, "http://"+am.address()+"/api/v2/alerts", f.Alertmanagers()[0].String())
	var dropped []string
	for _, u := range f.DroppedAlertmanagers() {
		dropped = append(dropped, u.String())
	}
	require.ElementsMatch(t, []string{"http://127.0.0.1:1/api/v2/alerts", "http://127.0.0.1:2/api/v2/alerts"}, dropped)
	f.Send(fires("Firing"))
	until(t, "it has arrived", func() bool { return len(am.names()) == 1 })
	families, err := f.reg.Gather()
	require.NoError(t, err)
	f.close()
	require.NotContains(t, fmt.Sprint(families), "s3cret")
}

func TestLife(t *testing.T) {
	am := newReceiver(t)
	for name, do := range map[string]func(t *testing.T, f *external.Forwarder){
		"closed without running": func(*testing.T, *external.Forwarder) {},
		"run after close": func(t *testing.T, f *external.Forwarder) {
			require.NoError(t, f.Close())
			require.NoError(t, f.Run(t.Context()))
			require.Empty(t, f.Alertmanagers())
		},
		"stopped before it began": func(t *testing.T, f *external.Forwarder) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			require.NoError(t, f.Run(ctx))
		},
		"run twice": func(t *testing.T, f *external.Forwarder) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			require.NoError(t, f.Run(ctx))
			require.ErrorContains(t, f.Run(ctx), "only once")
		},
		"closed twice at once": func(t *testing.T, f *external.Forwarder) {
			done := make(chan error, 2)
			go func() { done <- f.Run(t.Context()) }()
			go func() { done <- f.Close() }()
			require.NoError(t, f.Close())
			require.NoError(t, <-done)
			require.NoError(t, <-done)
		},
		"reloaded after close": func(t *testing.T, f *external.Forwarder) {
			require.NoError(t, f.Close())
			require.ErrorContains(t, f.Reload(external.DefaultOptions()), "closed")
		},
	} {
		t.Run(name, func(t *testing.T) {
			reg := prometheus.NewRegistry()
			f, err := external.Open(with(to(t, am.address())), reg, discard())
			require.NoError(t, err)
			do(t, f)
			require.NoError(t, f.Close())
			f.Send(fires("Late"))
			families, err := reg.Gather()
			require.NoError(t, err)
			require.Empty(t, families)
		})
	}
}
