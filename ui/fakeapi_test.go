//go:build browser

package ui

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// hostile is a label's value that would run if it ever became HTML.
const hostile = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`

// fakeAPI answers as Prometheus' API and /health do, and as badly as a test wants.
type fakeAPI struct {
	mu    sync.Mutex
	mode  string   // "", "empty", "hostile", "gone", "one error", "hang", "quiet", "no heartbeat", "no rules", "young", "negative"
	steps []string // of range queries, as asked since the mode was set
	asked []string // all queries, with the time or the end of the range

	cancelled chan string // queries that the browser gave up, while in mode "hang"

	manager fakeManager
}

func (f *fakeAPI) set(mode string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mode = mode
	f.steps = nil
}

// queries are those that were asked since the page was opened.
func (f *fakeAPI) queries() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.asked...)
}

func (f *fakeAPI) askedSteps() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.steps...)
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	mode := f.mode
	if strings.HasSuffix(r.URL.Path, "/query_range") {
		f.steps = append(f.steps, r.FormValue("step"))
	}
	if query := r.FormValue("query"); query != "" {
		f.asked = append(f.asked, fmt.Sprintf("%s %s%s", query, r.FormValue("time"), r.FormValue("end")))
	}
	f.mu.Unlock()

	w.Header().Set("Content-Type", "application/json")
	query := r.FormValue("query")
	switch {
	case mode == "gone":
		panic(http.ErrAbortHandler)
	case mode == "hang" && query != "":
		<-r.Context().Done()
		f.cancelled <- query
	case mode == "one error" && query == "hancock_requests_by_mode":
		w.WriteHeader(http.StatusUnprocessableEntity)
		_ = json.NewEncoder(w).Encode(map[string]string{"status": "error", "errorType": "execution", "error": "too many samples " + hostile})
	case strings.Contains(query, "((("):
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"status": "error", "errorType": "bad_data", "error": `invalid parameter "query": 2:7: parse error: unexpected "<img src=x>"`})
	case mode == "no rules" && strings.HasSuffix(r.URL.Path, "/rules"):
		w.WriteHeader(http.StatusServiceUnavailable)
		_ = json.NewEncoder(w).Encode(map[string]string{"status": "error", "errorType": "unavailable", "error": "rules are not ready " + hostile})
	case fakeStatus(w, r, mode):
	case strings.HasSuffix(r.URL.Path, "/health"):
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "ok", "checks": map[string]any{"disk": map[string]any{"status": "ok", "detail": hostile}}})
	case strings.HasSuffix(r.URL.Path, "/rules"):
		writeData(w, map[string]any{"groups": []any{map[string]any{"name": "g", "rules": fakeRules(mode)}}})
	case strings.HasSuffix(r.URL.Path, "/query_range"):
		writeData(w, map[string]any{"resultType": "matrix", "result": fakeMatrix(r, mode)})
	case strings.HasSuffix(r.URL.Path, "/query"):
		writeData(w, map[string]any{"resultType": "vector", "result": fakeVector(mode)})
	default:
		http.NotFound(w, r)
	}
}

func writeData(w http.ResponseWriter, data any) {
	_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": data})
}

// fakeMatrix has three lines with a gap in the middle.
func fakeMatrix(r *http.Request, mode string) []any {
	result := []any{}
	if mode == "empty" {
		return result
	}
	start, _ := strconv.Atoi(r.FormValue("start"))
	end, _ := strconv.Atoi(r.FormValue("end"))
	step, _ := strconv.Atoi(r.FormValue("step"))
	for line := range 3 {
		values := []any{}
		for t := start; t <= end; t += step {
			if part := float64(t-start) / float64(end-start); part < 0.4 || part > 0.5 {
				value := (line + 1) * (10 + t/step%7)
				if mode == "negative" {
					value = -value
				}
				values = append(values, []any{t, strconv.Itoa(value)})
			}
		}
		result = append(result, map[string]any{"metric": fakeLabels(mode, line), "values": values})
	}
	return result
}

func fakeVector(mode string) []any {
	if mode == "empty" {
		return []any{}
	}
	return []any{map[string]any{"metric": fakeLabels(mode, 0), "value": []any{0, "1234"}}}
}

func fakeLabels(mode string, line int) map[string]string {
	name := fmt.Sprintf("line-%d", line)
	if mode == "hostile" {
		name += hostile
	}
	return map[string]string{"__name__": "m", "instance": name, "mode": name, "endpoint": name}
}

func fakeRules(mode string) []any {
	rule := func(name, state string, alerts ...any) any {
		return map[string]any{
			"name": name, "type": "alerting", "state": state, "query": "up == 0", "duration": 60, "health": "ok",
			"labels": map[string]string{"severity": "critical"}, "annotations": map[string]string{"summary": hostile}, "alerts": alerts,
		}
	}
	alert := func(name, severity, state, value string) any {
		return map[string]any{
			"labels":      map[string]string{"alertname": name, "severity": severity},
			"annotations": map[string]string{"summary": hostile, "runbook_url": "https://runbooks.example/" + name},
			"state":       state, "activeAt": "2026-01-02T03:04:05Z", "value": value,
		}
	}
	if mode == "young" {
		young := rule("HancockHighErrorRate", "unknown").(map[string]any)
		young["health"] = "unknown"
		return []any{young}
	}
	watchdog := rule("Watchdog", "firing", alert("Watchdog", "none", "firing", "1")).(map[string]any)
	watchdog["labels"] = map[string]string{"severity": "none"}
	if mode == "no heartbeat" {
		watchdog["state"], watchdog["alerts"] = "inactive", []any{}
	}
	if mode == "quiet" || mode == "no heartbeat" {
		return []any{watchdog, rule("HancockHighErrorRate", "inactive")}
	}
	return []any{
		watchdog,
		rule("HancockHighErrorRate", "inactive"),
		rule("HancockNoTraffic", "firing", alert("HancockNoTraffic", "critical", "firing", "0.25")),
		rule("HancockMemoryGrowth", "pending", alert("HancockMemoryGrowth", "warning", "pending", "1e+00")),
		rule("HancockHighMemoryUsage", "inactive"),
	}
}

// servePage serves the page below a prefix, with the fake API beside it, and returns its address.
func servePage(t *testing.T, api *fakeAPI) string {
	t.Helper()
	u := newUI(t, Options{Version: "v1.2.3", Demo: true})
	mux := http.NewServeMux()
	mux.Handle("/deep/", http.StripPrefix("/deep", u))
	mux.Handle("/deep/api/v1/", api)
	manager := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		api.mu.Lock()
		gone := api.mode == "gone"
		api.mu.Unlock()
		if gone {
			panic(http.ErrAbortHandler)
		}
		api.manager.ServeHTTP(w, r)
	})
	mux.Handle("/deep/api/v2/", manager)
	mux.Handle("/deep/api/hancock/", manager)
	mux.Handle("/deep/health", api)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL + "/deep/"
}
