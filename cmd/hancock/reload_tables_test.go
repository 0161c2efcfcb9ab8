package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

func webSettings() []setting {
	keyed := with{"web.api_key": key}
	unkeyed := func(path string) func(*bench) string {
		return func(b *bench) string {
			status, _, _ := b.open("GET", path, "")
			return strconv.Itoa(status)
		}
	}
	viewer := func(b *bench) string { // Without any key everything is open.
		status, _, _ := b.open("GET", "/v1/agents", "", "Authorization", "Bearer viewer")
		return strconv.Itoa(status) + " " + unkeyed("/v1/agents")(b)
	}
	return []setting{
		{name: "web.api_key_file", value: "key", observe: unkeyed("/v1/agents"), want: "401"},
		{name: "web.read_only_key", value: "viewer", with: keyed, observe: viewer, want: "200 401"},
		{name: "web.read_only_key_file", value: "viewer", with: keyed, observe: viewer, want: "200 401"},
		{name: "web.api_key", value: key, observe: unkeyed("/v1/agents"), want: "401"},
		{name: "web.protect_metrics", value: true, with: keyed, observe: unkeyed("/metrics"), want: "401"},
		{
			name: "web.external_url", value: "https://hancock.example/",
			observe: code("GET", "/v1/agents", "", "Host", "hancock.example"), want: "200",
		},
		{
			name: "web.trusted_proxies", value: []string{"127.0.0.1"}, want: "one each",
			observe: func(b *bench) string { // Each request of another client, as the proxy says.
				left := ""
				for range 3 {
					b.asked++
					_, _, h := b.ask("GET", "/v1/agents", "", "X-Forwarded-For", fmt.Sprintf("203.0.113.%d", b.asked%250))
					left = h.Get("X-RateLimit-Remaining")
				}
				if left == "99999" {
					return "one each"
				}
				return left
			},
		},
		{
			name: "web.allowed_origins", value: []string{"https://wiki.example"}, want: "200",
			observe: code("GET", "/api/v1/labels", "", "Origin", "https://wiki.example", "Sec-Fetch-Site", "cross-site"),
		},
		{name: "web.max_connections", value: 2, observe: openConnections, want: "2"},
		{name: "web.enable_admin_api", value: true, observe: code("POST", "/api/v1/admin/tsdb/clean_tombstones", ""), want: "204"},
		{name: "web.enable_remote_write_receiver", value: true, observe: code("POST", "/api/v1/write", "not snappy"), want: "400"},
		{name: "web.enable_otlp_receiver", value: true, observe: code("POST", "/api/v1/otlp/v1/metrics", "{}"), want: "200"},
	}
}

// looks tells whether the health checks have asked the backend for its models once more after some requests.
func looks(paths ...string) func(*bench) string {
	return func(b *bench) string {
		b.ask("GET", "/health", "") // What a reload has started is over then.
		before := b.server.looks.Load()
		for _, path := range paths {
			b.ask("GET", path, "")
		}
		return strconv.FormatBool(b.server.looks.Load() > before)
	}
}

// checks is the status of a check of /health.
func checks(name string) func(*bench) string {
	return func(b *bench) string {
		_, body, _ := b.ask("GET", "/health", "")
		var report struct {
			Checks map[string]struct{ Status string }
		}
		require.NoError(b.t, json.Unmarshal([]byte(body), &report), body)
		return report.Checks[name].Status
	}
}

// grew tells whether a number is greater than when it was last looked at.
func (b *bench) grew(now int64) string {
	before := b.seen
	b.seen = now
	return strconv.FormatBool(now > before)
}

// calls are how many calls one question that fails makes.
func calls(b *bench) string {
	before := b.server.calls.Load()
	answers("fail")(b)
	return strconv.FormatInt(b.server.calls.Load()-before, 10)
}

// told tells whether a receiver whose path begins with letter gets what webhooks bring about.
func told(letter byte) func(*bench) string {
	return func(b *bench) string {
		b.ask("POST", "/v1/webhook", `{"alert":"disk full"}`)
		return b.grew(b.sink.count(letter))
	}
}

// beside is the status of a question while another one is being answered.
func beside(b *bench) string {
	first := make(chan struct{})
	go func() {
		defer close(first)
		answers("hold")(b)
	}()
	<-b.server.held
	status, _, _ := b.ask("POST", "/v1/ask", `{"question":"hello"}`)
	b.server.release <- struct{}{}
	<-first
	return strconv.Itoa(status)
}

// logFiles are the number of files of the log and their size, after some requests more.
func (b *bench) logFiles(requests int) (n int, size int64) {
	for range requests {
		b.ask("GET", "/v1/"+strings.Repeat("x", 200), "")
	}
	files, err := filepath.Glob(filepath.Join(b.dir, "data", "log", "*.log"))
	require.NoError(b.t, err)
	for _, f := range files {
		if info, err := os.Stat(f); err == nil { // One may just have been removed.
			size += info.Size()
		}
	}
	return len(files), size
}

func backendSettings(name string) []setting {
	chosen := with{"agent.backend": name}
	prefix := "agent." + name + "."
	return []setting{
		{name: prefix + "base_url", with: chosen, value: "$OTHER/elsewhere/v1", observe: says("hello", "path /elsewhere/v1/chat"), want: "true"},
		{name: prefix + "api_key", with: chosen, value: "k-1", observe: says("hello", "key Bearer k-1"), want: "true"},
		{name: prefix + "api_key_file", with: chosen, value: "model-key", observe: says("hello", "key Bearer k-3"), want: "true"},
		{name: prefix + "organization", with: chosen, value: "org-1", observe: says("hello", "org org-1"), want: "true"},
		{name: prefix + "model", with: chosen, value: "second-model", observe: says("hello", `"model":"second-model"`), want: "true"},
		{name: prefix + "coder_model", with: chosen, value: "second-coder", observe: says("code", `"model":"second-coder"`), want: "true"},
	}
}

func agentSettings() []setting {
	often := with{"agent.health.cache_ttl": "1ms"}
	settings := []setting{
		{
			name: "agent.log_level", value: "DEBUG", want: "true",
			observe: func(b *bench) string {
				b.ask("GET", "/livez", "")
				return b.grew(int64(strings.Count(b.log.String(), `"level":"DEBUG"`)))
			},
		},
		{name: "agent.backend", value: "openai", with: with{"agent.openai.api_key": "k-2"}, observe: says("hello", "key Bearer k-2"), want: "true"},
		{
			name: "agent.egress", value: "local", observe: code("POST", "/v1/ask", `{"question":"hello"}`), want: "502",
			with: with{"agent.ollama.base_url": "http://127.0.0.1:1", "agent.openai.api_key": "k-2", "agent.max_retries": 0},
		},
		{name: "agent.timeout", value: "100ms", observe: code("POST", "/v1/ask", `{"question":"slow"}`), want: "504"},
		{
			name: "agent.connect_timeout", value: "50ms", want: "502", observe: code("POST", "/v1/ask", `{"question":"hello"}`),
			with: with{"agent.ollama.base_url": "https://$SILENT", "agent.timeout": "1s", "agent.max_retries": 0},
		},
		{name: "agent.max_retries", value: 0, observe: calls, want: "1"},
		{name: "agent.retry_wait", value: "10m", observe: calls, want: "1"},
		{name: "agent.max_in_flight", value: 1, observe: beside, want: "503"},
		{
			name: "agent.rate_limit", value: 50000, want: "50000",
			observe: func(b *bench) string {
				_, _, h := b.ask("GET", "/v1/agents", "")
				return h.Get("X-RateLimit-Limit")
			},
		},
		{name: "agent.max_body", value: "100B", observe: code("POST", "/v1/ask", `{"question":"`+strings.Repeat("x", 200)+`"}`), want: "413"},
		{name: "agent.prices", value: with{"first-model": with{"input": 1, "output": 1}}, observe: shows("/metrics", "hancock_llm_cost_total"), want: "true", sticks: true},
		{name: "agent.webhook.secret", value: "s", observe: code("POST", "/v1/webhook", `{"alert":"disk full"}`), want: "401"},
		{name: "agent.webhook.secret_file", value: "secret", observe: code("POST", "/v1/webhook", `{"alert":"disk full"}`), want: "401"},
		{name: "agent.webhook.slack_url_file", value: "slack", observe: told('s'), want: "true"},
		{name: "agent.webhook.teams_url_file", value: "teams", observe: told('t'), want: "true"},
		{name: "agent.webhook.slack_url", value: "$SINK/slack", observe: told('s'), want: "true"},
		{name: "agent.webhook.teams_url", value: "$SINK/teams", observe: told('t'), want: "true"},
		{name: "agent.enable_diagnostics", value: true, with: with{"web.api_key": key}, observe: code("GET", "/internal/diagnostics", ""), want: "200"},
		{name: "agent.health.cache_ttl", value: "1ms", observe: looks("/health"), want: "true"},
		{name: "agent.health.metric_age", value: "1ms", with: often, observe: looks("/metrics", "/metrics"), want: "true"},
		{name: "agent.health.timeout", value: "50ms", with: with{"agent.ollama.base_url": "$SERVER/slow"}, observe: checks("ollama"), want: "error"},
		{
			name: "agent.health.traffic_age", value: "1h", with: often, want: "true",
			observe: func(b *bench) string {
				answers("hello")(b)
				for answered := time.Now(); time.Since(answered) < 5*time.Millisecond; {
					b.ask("GET", "/livez", "")
				}
				return shows("/health", `"detail":"answered `)(b)
			},
		},
		{name: "agent.health.min_memory", value: "1PiB", observe: checks("memory"), want: "degraded"},
		{name: "agent.health.min_disk", value: "1PiB", observe: checks("disk"), want: "degraded"},
		{
			name: "agent.log.max_file_size", value: "256KiB", with: with{"agent.log.max_total_size": "200MiB"}, want: "several", sticks: true,
			observe: func(b *bench) string {
				if n, _ := b.logFiles(100); n == 1 {
					return "one"
				}
				return "several"
			},
		},
		{
			name: "agent.log.max_total_size", value: "1200KiB", with: with{"agent.log.max_file_size": "600KiB"}, want: "bounded",
			observe: func(b *bench) string {
				for range 40 {
					if _, size := b.logFiles(100); size > 1500<<10 {
						return "more"
					}
				}
				return "bounded"
			},
		},
	}
	for _, name := range []string{"ollama", "nvidia", "openai"} {
		settings = append(settings, backendSettings(name)...)
	}
	return settings
}

// targetOf is a field of the one target of a job, as /api/v1/targets has it.
func targetOf(job, field string) func(*bench) string {
	return func(b *bench) string {
		_, body, _ := b.ask("GET", "/api/v1/targets", "")
		var answer struct {
			Data struct{ ActiveTargets []map[string]any }
		}
		require.NoError(b.t, json.Unmarshal([]byte(body), &answer), body)
		for _, t := range answer.Data.ActiveTargets {
			if t["scrapePool"] == job {
				return fmt.Sprint(t[field])
			}
		}
		return "none"
	}
}

// failure is the type of the error of a query, or its number of series.
func failure(query string) func(*bench) string {
	return func(b *bench) string {
		_, body, _ := b.ask("GET", "/api/v1/query?query="+query, "")
		var answer struct {
			ErrorType string
			Data      struct{ Result []any }
		}
		require.NoError(b.t, json.Unmarshal([]byte(body), &answer), body)
		if answer.ErrorType != "" {
			return answer.ErrorType
		}
		return strconv.Itoa(len(answer.Data.Result))
	}
}

func storageSettings() []setting {
	return []setting{
		{name: "storage.retention.time", value: "3d", observe: shows("/api/v1/status/runtimeinfo", `"storageRetention":"3d"`), want: "true"},
		{name: "storage.retention.size", value: "3GiB", observe: shows("/metrics", "prometheus_tsdb_retention_limit_bytes 3.221225472e+09"), want: "true"},
		{name: "storage.scrape_interval", value: "2s", observe: targetOf("hancock", "scrapeInterval"), want: "2s"},
		{name: "storage.scrape_timeout", value: "900ms", observe: targetOf("hancock", "scrapeTimeout"), want: "900ms"},
		{name: "storage.query.timeout", value: "1ms", observe: failure("count_over_time((up)[1h:100ms])"), want: "timeout"},
		{name: "storage.query.max_samples", value: 1, observe: failure(`{job="hancock"}`), want: "execution"},
		{name: "storage.query.max_concurrency", value: 7, observe: shows("/metrics", "prometheus_engine_queries_concurrent_max 7"), want: "true"},
		{name: "storage.query.lookback_delta", value: "1ms", observe: failure(`up{job="hancock"}`), want: "0"},
		{name: "alerting.builtin_rules", value: false, observe: shows("/api/v1/rules", "Watchdog"), want: "false"},
		{name: "alerting.disabled", value: []string{"HancockSlowModel"}, observe: shows("/api/v1/rules", "HancockSlowModel"), want: "false"},
		{name: "alerting.severity", value: with{"HancockSlowModel": "page"}, observe: shows("/api/v1/rules", `"severity":"page"`), want: "true"},
		{
			name: "alerting.traffic_hours", value: []any{with{"weekdays": []string{"monday:friday"}}},
			observe: shows("/rules.yml", "Only within alerting.traffic_hours"), want: "true",
		},
		{name: "alerting.evaluation_interval", value: "7s", observe: shows("/api/v1/rules", `"interval":7,`), want: "true"},
		{
			name: "alerting.retention", value: "30m", want: "true", sticks: true, // than repeat_interval, which the log is told
			observe: func(b *bench) string {
				return strconv.FormatBool(strings.Contains(b.log.String(), "repeat_interval is longer than the notification log is kept"))
			},
		},
	}
}

// effective tells whether the configuration that runs has a text.
func effective(text string) func(*bench) string { return shows("/api/v1/status/config", text) }

// times is how often a text stands in the configuration that runs: in global, in our own job and in the other one.
func times(text string) func(*bench) string {
	return func(b *bench) string {
		_, body, _ := b.ask("GET", "/api/v1/status/config", "")
		return strconv.Itoa(strings.Count(body, text))
	}
}

// exists tells whether a file in the folder of the bench has something in it.
func exists(name string) func(*bench) string {
	return func(b *bench) string {
		b.ask("GET", "/api/v1/query?query=up", "")
		info, err := os.Stat(filepath.Join(b.dir, name))
		return strconv.FormatBool(err == nil && info.Size() > 0)
	}
}

// reached tells whether something comes to a path that begins with letter.
func reached(letter byte) func(*bench) string {
	return func(b *bench) string {
		b.ask("GET", fmt.Sprintf("/api/v1/query?query=up&time=%d", time.Now().Add(-time.Hour).Unix()), "")
		return b.grew(b.sink.count(letter))
	}
}

// notified tells whether the sink is notified of a test alert.
func notified(b *bench) string {
	b.ask("POST", "/api/hancock/notifications/test", `{"labels": {"severity": "critical"}}`)
	return b.grew(b.sink.count('h'))
}

func prometheusSettings() []setting {
	const global = "prometheus.global."
	down := func(limit string, value any) setting {
		return setting{name: global + limit, value: value, observe: targetOf("other", "health"), want: "down"}
	}
	files := with{"prometheus.scrape_configs": []any{}}
	return []setting{
		{name: global + "scrape_interval", value: "2s", observe: targetOf("other", "scrapeInterval"), want: "2s"},
		{name: global + "scrape_timeout", value: "900ms", observe: targetOf("other", "scrapeTimeout"), want: "900ms"},
		{name: global + "scrape_protocols", value: []string{"PrometheusText0.0.4"}, observe: failure(`accepts{what="text/plain"}`), want: "1"},
		{name: global + "evaluation_interval", value: "7s", observe: shows("/api/v1/rules", `"interval":7,`), want: "true"},
		{name: global + "rule_query_offset", value: "7s", observe: effective("rule_query_offset: 7s"), want: "true"},
		{name: global + "query_log_file", value: "$DIR/queries.log", observe: exists("queries.log"), want: "true", sticks: true},
		{
			name: global + "scrape_failure_log_file", value: "$DIR/failures.log", observe: exists("failures.log"), want: "true", sticks: true,
			with: with{global + "sample_limit": 1, "prometheus.scrape_configs": []any{
				with{"job_name": "other", "static_configs": []any{with{"targets": []string{"127.0.0.1:1"}}}},
			}},
		},
		{name: global + "external_labels", value: with{"site": "here"}, observe: effective("site: here"), want: "true"},
		down("body_size_limit", "10B"),
		down("sample_limit", 1),
		down("label_limit", 1),
		down("label_name_length_limit", 10),
		down("label_value_length_limit", 10),
		{name: global + "target_limit", value: 1, observe: targetOf("other", "health"), want: "down", with: with{"prometheus.scrape_configs": []any{
			with{"job_name": "other", "static_configs": []any{with{"targets": []string{"$EXPORTER", "127.0.0.1:1"}}}},
		}}},
		{name: global + "keep_dropped_targets", value: 7, observe: effective("keep_dropped_targets: 7"), want: "true"},
		{name: global + "metric_name_validation_scheme", value: "legacy", observe: effective("metric_name_validation_scheme: legacy"), want: "true"},
		{name: global + "metric_name_escaping_scheme", value: "dots", observe: effective("metric_name_escaping_scheme: dots"), want: "true"},
		{name: global + "scrape_native_histograms", value: true, observe: times("scrape_native_histograms: true"), want: "3"},
		{name: global + "convert_classic_histograms_to_nhcb", value: true, observe: effective("convert_classic_histograms_to_nhcb: true"), want: "true"},
		{name: global + "always_scrape_classic_histograms", value: true, observe: times("always_scrape_classic_histograms: true"), want: "3"},
		{name: global + "extra_scrape_metrics", value: true, observe: failure(`scrape_timeout_seconds{job="other"}`), want: "1", sticks: true},
		{name: "prometheus.scrape_configs", value: []any{job("other"), job("more")}, observe: targetOf("more", "health"), want: "up"},
		{name: "prometheus.scrape_config_files", value: []string{"$DIR/jobs-*.yml"}, with: files, observe: targetOf("filed", "health"), want: "up"},
		{name: "prometheus.rule_files", value: []string{"$DIR/rules-*.yml"}, observe: shows("/api/v1/rules", `"name":"FromAFile"`), want: "true"},
		{name: "prometheus.alerting", value: with{"alertmanagers": []any{with{"static_configs": []any{with{"targets": []string{"127.0.0.1:1"}}}}}}, observe: shows("/api/v1/alertmanagers", "127.0.0.1:1"), want: "true"},
		{name: "prometheus.remote_write", value: []any{with{"url": "$SINK/write"}}, observe: reached('w'), want: "true"},
		{name: "prometheus.remote_read", value: []any{with{"url": "$SINK/read", "read_recent": true}}, observe: reached('r'), want: "true"},
		{name: "prometheus.storage.tsdb.out_of_order_time_window", value: "7m", observe: effective("out_of_order_time_window: 7m"), want: "true"},
		{name: "prometheus.storage.tsdb.stale_series_compaction_threshold", value: 0.7, observe: effective("stale_series_compaction_threshold: 0.7"), want: "true"},
		{name: "prometheus.storage.tsdb.chunk_encoding", value: with{"floats": "xor2"}, observe: effective("floats: xor2"), want: "true"},
		{name: "prometheus.storage.tsdb.retention", value: with{"time": "4d"}, observe: shows("/api/v1/status/runtimeinfo", `"storageRetention":"4d`), want: "true"},
		{name: "prometheus.storage.exemplars.max_exemplars", value: 77, observe: shows("/metrics", "prometheus_tsdb_exemplar_max_exemplars 77"), want: "true"},
		{name: "prometheus.otlp", value: with{"promote_resource_attributes": []string{"service.name"}}, observe: effective("service.name"), want: "true"},
	}
}

func alertmanagerSettings() []setting {
	status := func(text string) func(*bench) string { return shows("/api/v2/status", text) }
	nights := []any{with{"name": "nights", "time_intervals": []any{with{"times": []any{with{"start_time": "00:00", "end_time": "05:00"}}}}}}
	return []setting{
		{name: "alertmanager.global", value: with{"resolve_timeout": "7m"}, observe: status("resolve_timeout: 7m"), want: "true"},
		{name: "alertmanager.route", value: with{"receiver": "nobody", "group_by": []string{"severity"}}, observe: shows("/api/v2/alerts/groups", `"labels":{"severity"`), want: "true"},
		{name: "alertmanager.receivers", value: []any{with{"name": "nobody", "webhook_configs": []any{with{"url": "$SINK/hook"}}}}, observe: notified, want: "true", sticks: true},
		{name: "alertmanager.inhibit_rules", value: []any{with{"source_matchers": []string{"a=b"}, "target_matchers": []string{"c=d"}}}, observe: status("source_matchers"), want: "true"},
		{name: "alertmanager.templates", value: []string{"$DIR/*.tmpl"}, observe: status("*.tmpl"), want: "true"},
		{name: "alertmanager.time_intervals", value: nights, observe: status("nights"), want: "true"},
		{name: "alertmanager.mute_time_intervals", value: nights, observe: status("nights"), want: "true"},
	}
}
