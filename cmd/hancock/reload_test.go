package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/cmd/hancock/internal/config"
)

// reloaderOf is one whose process was started with a configuration and now finds another one. It has no parts.
func reloaderOf(started, written config.Config) *reloader {
	r := &reloader{
		good: invocation{config: started}, started: started, log: slog.New(slog.DiscardHandler), moved: make(chan struct{}, 1),
		load: func() (invocation, error) { return invocation{config: written, flags: map[string]string{}}, nil },
		bind: func(*options) {}, look: func(context.Context, config.Config, bool) {},
	}
	r.current.Store(&options{})
	return r
}

// TestNeedRestart names the three settings that a start alone takes, and those only.
func TestNeedRestart(t *testing.T) {
	dir := t.TempDir()
	plain, users := filepath.Join(dir, "plain.yml"), filepath.Join(dir, "users.yml")
	require.NoError(t, os.WriteFile(plain, nil, 0o600))
	require.NoError(t, os.WriteFile(users, []byte("basic_auth_users: {u: $2y$10$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}"), 0o600))
	for _, tc := range []struct {
		name   string
		change func(*config.Config)
		want   []string
	}{
		{"nothing", func(*config.Config) {}, []string{}},
		{"another setting", func(c *config.Config) { c.Agent.RateLimit++ }, []string{}},
		{"the address", func(c *config.Config) { c.Web.ListenAddress = "127.0.0.1:1" }, []string{"web.listen_address"}},
		{"the data directory", func(c *config.Config) { c.Storage.Path = "elsewhere" }, []string{"storage.path"}},
		{"the TLS file", func(c *config.Config) { c.Web.ConfigFile = plain }, []string{"web.config_file"}},
		{"all of them", func(c *config.Config) {
			c.Web.ListenAddress, c.Web.ConfigFile, c.Storage.Path = "[::1]:1", users, "elsewhere"
		}, []string{"storage.path", "web.config_file", "web.listen_address"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			written := defaultConfig()
			tc.change(&written)
			got, err := reloaderOf(defaultConfig(), written).reload()
			require.NoError(t, err)
			require.Equal(t, tc.want, got)
		})
	}
}

// TestReloadOfAnOpenListener takes the key away from a process that other machines can reach. What is bound counts, and
// what the next start would bind does, too.
func TestReloadOfAnOpenListener(t *testing.T) {
	open := func(change func(*config.Config)) config.Config {
		c := defaultConfig()
		c.Web.ListenAddress, c.Web.APIKey = "0.0.0.0:5000", clientKey
		change(&c)
		return c
	}
	for _, tc := range []struct {
		name   string
		change func(*config.Config)
		want   string
	}{
		{"another key", func(c *config.Config) { c.Web.APIKey = viewerKey }, ""},
		{"a short key", func(c *config.Config) { c.Web.APIKey = "sesame" }, "web.api_key: has fewer than 16 characters"},
		{"no key", func(c *config.Config) { c.Web.APIKey = "" }, "there is no API key"},
		{"no key and another address", func(c *config.Config) { c.Web.APIKey, c.Web.ListenAddress = "", "127.0.0.1:5000" }, "there is no API key"},
		{"no key, as is wanted", func(c *config.Config) { c.Web.APIKey, c.Web.AllowUnauthenticated = "", true }, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := reloaderOf(open(func(*config.Config) {}), open(tc.change))
			_, err := r.reload()
			if tc.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tc.want)
		})
	}
	t.Run("a listener that the next start would open", func(t *testing.T) {
		written := open(func(c *config.Config) { c.Web.APIKey = "" })
		_, err := reloaderOf(defaultConfig(), written).reload()
		require.ErrorContains(t, err, "there is no API key")
	})
}

// TestReloadOfTheShutdownTimeout stops a process while a request is held: it is cut off after what the last reload says.
func TestReloadOfTheShutdownTimeout(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	require.Empty(t, b.reload(with{"web.shutdown_timeout": "2s"}))
	go answers("hold")(b)
	<-b.server.held
	require.NoError(t, b.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-b.done:
		b.done <- err
		require.Error(t, err)
	case <-time.After(patience):
		require.FailNow(t, "it does not stop")
	}
	b.server.release <- struct{}{}
	require.Contains(t, b.log.String(), "requests still ran after 1s")
}

// TestReloadUnderLoad reloads again and again while requests of all kinds run. None of them fails for it, none is lost
// from the counters, and nothing is left behind.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.scrapes(1)
	stop := make(chan struct{})
	var agentRequests atomic.Int64
	var clients sync.WaitGroup
	client := func(method, path, body string, right func(string) bool) {
		clients.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond) // The rest of the machine is for the reloads.
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				if strings.HasPrefix(path, "/v1/") {
					agentRequests.Add(1)
				}
				if code, answer := b.do(method, path, "application/json", body); code != http.StatusOK || !right(answer) {
					t.Errorf("%s %s: status %d: %s", method, path, code, answer)
					return
				}
			}
		})
	}
	either := func(answer string) bool {
		return strings.Contains(answer, "first-model") || strings.Contains(answer, "second-model")
	}
	client("POST", "/v1/ask", `{"question":"hello"}`, either)
	client("POST", "/v1/webhook", `{"alert":"disk full"}`, either)
	client("POST", "/v1/chat", `{"message":"hello","stream":true}`, func(answer string) bool { return strings.Contains(answer, `"done":true`) })
	client("GET", "/health", "", either)
	client("GET", "/api/v1/query?query=count_over_time(up[1h])", "", func(answer string) bool { return strings.Contains(answer, "success") })
	client("GET", "/api/v1/status/flags", "", func(answer string) bool { return strings.Contains(answer, "success") })
	client("GET", "/metrics", "", func(answer string) bool { return strings.Contains(answer, "hancock_requests_total") })

	b.eventually("all clients are there", func() bool { return agentRequests.Load() > 10 })
	before := b.goroutines()
	changed := with{
		"agent.ollama.base_url": "$OTHER/v1", "agent.ollama.model": "second-model", "agent.timeout": "19s", "agent.rate_limit": 90000,
		"agent.max_in_flight": 50, "agent.prices": with{"second-model": with{"input": 1, "output": 2}}, "agent.webhook.slack_url": "$SINK/slack",
		"agent.health.cache_ttl": "1ms", "agent.log_level": "WARNING", "web.trusted_proxies": []string{"10.0.0.0/8"}, "web.enable_admin_api": true,
		"web.enable_otlp_receiver": true, "web.enable_remote_write_receiver": true, "storage.query.max_samples": 1000000,
		"alerting.evaluation_interval": "2s",
	}
	reload := func(times int) {
		for i := range times {
			if i%2 == 0 {
				require.Empty(t, b.reload(changed))
			} else {
				require.Empty(t, b.reload(nil))
			}
		}
	}
	reload(30)
	b.eventually("no goroutine is left", func() bool { return b.goroutines() <= before+20 })
	// Prometheus' clients keep their connections for five minutes after their job or queue has gone, and with them goroutines.
	changed["storage.scrape_interval"], changed["prometheus.scrape_configs"] = "2s", []any{job("other"), job("more")}
	changed["prometheus.remote_write"] = []any{with{"url": "$SINK/write"}}
	reload(6)
	close(stop)
	clients.Wait()
	b.eventually("no request is lost", func() bool {
		_, text := b.get("/metrics")
		return strings.Contains(text, fmt.Sprintf("\nhancock_requests_total %d\n", agentRequests.Load()))
	})
	require.NotContains(t, b.stop(), "DATA RACE")
}

// goroutines is how many the process has.
func (b *bench) goroutines() int {
	_, body := b.get("/api/v1/status/runtimeinfo")
	var answer struct {
		Data struct{ GoroutineCount int }
	}
	require.NoError(b.t, json.Unmarshal([]byte(body), &answer), body)
	return answer.Data.GoroutineCount
}

// TestReloadThatFailsChangesNothing has something wrong in one section, and something right in each other one.
func TestReloadThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	right := with{
		"agent.ollama.model": "second-model", "agent.rate_limit": 50000, "web.enable_admin_api": true, "storage.retention.time": "3d",
		"prometheus.scrape_configs": []any{job("other"), job("more")}, "alerting.builtin_rules": false,
	}
	for name, value := range map[string]any{
		"agent.ollama.base_url":   "ftp://nowhere",
		"agent.log.max_file_size": "1KiB",
		"web.shutdown_timeout":    "0s",
		"web.config_file":         "$DIR/none.yml",
		"storage.query.timeout":   "0s",
		"prometheus.rule_files":   []string{"$DIR/none.yml"},
		"prometheus.remote_write": []any{with{"url": "$SINK/write"}, with{"url": "$SINK/write"}},
		"prometheus.global":       with{"query_log_file": "/proc/none/queries.log"},
		"alertmanager.templates":  []string{"$DIR/hancock.yml"},
		"alertmanager.nonsense":   1,
	} {
		t.Run(name, func(t *testing.T) {
			wrong := with{name: value}
			maps.Copy(wrong, right)
			if name == "alertmanager.templates" {
				require.NoError(t, os.WriteFile(filepath.Join(b.dir, "bad.tmpl"), []byte("{{ define"), 0o600))
				wrong[name] = []string{"$DIR/bad.tmpl"}
			}
			b.write(wrong)
			code, body, _ := b.ask("POST", "/-/reload", "")
			require.Equal(t, http.StatusInternalServerError, code, body)
			require.NotContains(t, answers("hello")(b), "second-model")
			require.Equal(t, "none", targetOf("more", "health")(b))
			require.Equal(t, "true", shows("/api/v1/rules", "Watchdog")(b))
			require.Equal(t, "true", shows("/api/v1/status/runtimeinfo", `"storageRetention":"15d"`)(b))
			_, _, header := b.ask("GET", "/v1/agents", "")
			require.Equal(t, "100000", header.Get("X-RateLimit-Limit"))
			code, _, _ = b.ask("POST", "/api/v1/admin/tsdb/clean_tombstones", "")
			require.NotEqual(t, http.StatusNoContent, code)
		})
	}
	require.Empty(t, b.reload(right))
	require.Contains(t, answers("hello")(b), "second-model")
	b.stop()
}
