//go:build browser

package ui

import (
	"net/http"
	"strings"
	"time"
)

// fakeStatus answers what the views of tables ask; false when r is about something else.
func fakeStatus(w http.ResponseWriter, r *http.Request, mode string) bool {
	_, path, _ := strings.Cut(r.URL.Path, "/api/v1/")
	empty := mode == "empty"
	counts := []any{map[string]any{"name": "hancock_requests_total " + hostile, "value": 42}}
	if empty {
		counts = []any{}
	}
	switch path {
	case "targets":
		targets := []any{
			fakeTarget("node", "http://127.0.0.1:9100/metrics", "up", ""),
			fakeTarget("broken", "http://127.0.0.1:9/metrics?"+strings.Repeat("long", 40), "down", "connection refused "+hostile),
		}
		if empty {
			targets = []any{}
		}
		writeData(w, map[string]any{"activeTargets": targets, "droppedTargetCounts": map[string]int{"node": 3, "none": 0}})
	case "status/config":
		yaml := "global:\n  scrape_interval: 15s # " + hostile + "\nscrape_configs: []\n"
		if empty {
			yaml = ""
		}
		writeData(w, map[string]string{"yaml": yaml})
	case "status/runtimeinfo":
		writeData(w, map[string]any{"startTime": "2026-01-02T03:04:05Z", "reloadConfigSuccess": true, "goroutineCount": 99})
	case "status/buildinfo":
		writeData(w, map[string]string{"version": "3.15.0", "goVersion": "go1.26"})
	case "status/flags":
		writeData(w, map[string]string{"web.listen-address": "127.0.0.1:5000", "storage.path": hostile})
	case "status/tsdb":
		writeData(w, map[string]any{
			"headStats":               map[string]any{"numSeries": 1234},
			"seriesCountByMetricName": counts, "labelValueCountByLabelName": counts,
			"memoryInBytesByLabelName": counts, "seriesCountByLabelValuePair": counts,
		})
	case "alertmanagers":
		writeData(w, map[string]any{"activeAlertmanagers": []any{map[string]string{"url": "http://127.0.0.1:9093/api/v2/alerts"}}, "droppedAlertmanagers": []any{}})
	default:
		return false
	}
	return true
}

func fakeTarget(job, address, health, reason string) any {
	return map[string]any{
		"scrapePool": job, "scrapeUrl": address, "health": health, "lastError": reason,
		"labels": map[string]string{"job": job, "instance": "127.0.0.1", "service.name": "a"}, "lastScrape": time.Now().UTC(), "lastScrapeDuration": 0.012,
	}
}
