//go:build browser

package ui

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/alertmanager/matcher/parse"
)

// fakeManager answers as Alertmanager's API and the delivery ledger do. It knows the alert that fires by the
// fake rules, with a label more than they give it.
type fakeManager struct {
	mu       sync.Mutex
	mode     string // "" or "away"
	asked    []string
	silences []map[string]any // that are active
	expired  []map[string]any
	posted   []map[string]any // every silence, as it came
	failing  bool             // the last attempt to notify
	notifies bool
	quiet    bool       // the heartbeat alone fires
	foreign  bool       // there is an alert that no rule here gives
	muted    bool       // the times of the route mute it
	many     int        // alerts from elsewhere, each of another name
	outgoing []any      // alerts of rules that are sent with other labels
	others   []fakePost // alerts from elsewhere
}

// fakePost is an alert that somebody posted.
type fakePost struct{ name, severity, receiver string }

func (f *fakeManager) change(how func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how()
}

// calls counts the questions whose path ends so, and forgets none.
func (f *fakeManager) calls(suffix string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, path := range f.asked {
		if strings.HasSuffix(path, suffix) {
			n++
		}
	}
	return n
}

func (f *fakeManager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, r.Method+" "+r.URL.Path)
	w.Header().Set("Content-Type", "application/json")
	if f.mode == "away" {
		w.WriteHeader(http.StatusServiceUnavailable)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": "alertmanager is not ready " + hostile})
		return
	}
	_, path, _ := strings.Cut(r.URL.Path, "/api/")
	id, isSilence := strings.CutPrefix(path, "v2/silence/")
	switch {
	case r.Method == http.MethodDelete && isSilence:
		f.end(w, id)
	case r.Method == http.MethodPost && path == "v2/silences":
		f.silence(w, r)
	case path == "v2/silences":
		_ = json.NewEncoder(w).Encode(append([]map[string]any{}, f.silences...))
	case path == "v2/alerts/groups":
		_ = json.NewEncoder(w).Encode(f.groups())
	case path == "hancock/alerts/outgoing":
		_ = json.NewEncoder(w).Encode(map[string]any{"alerts": append([]any{}, f.outgoing...)})
	case path == "v2/alerts":
		f.matching(w, r)
	case isSilence:
		for _, s := range append(f.silences, f.expired...) {
			if s["id"] == id {
				_ = json.NewEncoder(w).Encode(s)
				return
			}
		}
		w.WriteHeader(http.StatusNotFound)
	case path == "v2/status":
		_ = json.NewEncoder(w).Encode(map[string]any{"config": map[string]string{"original": "route: {receiver: pager} # " + hostile}})
	case path == "v2/receivers":
		_ = json.NewEncoder(w).Encode([]any{map[string]any{"name": "slack-warnings"}})
	case path == "hancock/notifications" && r.FormValue("limit") == "20":
		_ = json.NewEncoder(w).Encode(map[string]any{"notifications": f.attempts(), "next_cursor": "", "notifies": f.notifies})
	default:
		http.NotFound(w, r)
	}
}

// silence refuses a comment that says so, in the words and the form of Alertmanager.
func (f *fakeManager) silence(w http.ResponseWriter, r *http.Request) {
	var s map[string]any
	if err := json.NewDecoder(r.Body).Decode(&s); err != nil || s["comment"] == "refuse" {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode("bad silence " + hostile)
		return
	}
	f.posted = append(f.posted, s)
	id := fmt.Sprintf("silence-%d", len(f.posted))
	s["id"], s["status"] = id, map[string]string{"state": "active"}
	f.silences = append(f.silences, s)
	_ = json.NewEncoder(w).Encode(map[string]string{"silenceID": id})
}

func (f *fakeManager) end(w http.ResponseWriter, id string) {
	for i, s := range f.silences {
		if s["id"] == id {
			f.silences = append(f.silences[:i:i], f.silences[i+1:]...)
			return
		}
	}
	w.WriteHeader(http.StatusNotFound)
}

// groups are one for each route that matches, of which the second is never muted and takes what is foreign.
func (f *fakeManager) groups() []any {
	status := map[string]any{"state": "active", "silencedBy": []string{}, "inhibitedBy": []string{}, "mutedBy": []string{}}
	if f.muted {
		status["state"], status["mutedBy"] = "suppressed", []string{"nights " + hostile}
	}
	if len(f.silences) > 0 {
		status["state"], status["silencedBy"] = "suppressed", []any{f.silences[0]["id"]}
	}
	alerts := []any{fakeAlert("2", map[string]any{"state": "active"}, "Watchdog", "none")}
	if !f.quiet {
		alerts = append(alerts, fakeAlert("1", status, "HancockNoTraffic", "critical"))
	}
	foreign := []any{}
	if f.foreign {
		foreign = append(foreign, fakeAlert("3", map[string]any{"state": "suppressed", "inhibitedBy": []string{"1"}}, "DiskFull", "warning"))
	}
	for i := range f.many {
		foreign = append(foreign, fakeAlert(fmt.Sprintf("many-%d", i), map[string]any{"state": "active"},
			fmt.Sprintf("Many%d\u202e%s", i, strings.Repeat("x", 8000)), strings.Repeat("y", 8000)))
	}
	for i, p := range f.others {
		alert := fakeAlert(fmt.Sprintf("other-%d", i), map[string]any{"state": "active"}, p.name, p.severity).(map[string]any)
		alert["receivers"] = []any{map[string]string{"name": p.receiver}}
		foreign = append(foreign, alert)
	}
	return []any{map[string]any{"alerts": alerts}, map[string]any{"alerts": foreign}}
}

// matching answers with the alerts that all filters match, as Alertmanager does.
func (f *fakeManager) matching(w http.ResponseWriter, r *http.Request) {
	found := []any{}
	receiver, err := regexp.Compile("^(?:" + r.FormValue("receiver") + ")$")
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode("failed to parse receiver param: " + err.Error())
		return
	}
	for _, group := range f.groups() {
		for _, alert := range group.(map[string]any)["alerts"].([]any) {
			name := alert.(map[string]any)["receivers"].([]any)[0].(map[string]string)["name"]
			matches := r.FormValue("receiver") == "" || receiver.MatchString(name)
			for _, filter := range r.URL.Query()["filter"] {
				m, err := parse.Matcher(filter)
				if err != nil {
					w.WriteHeader(http.StatusBadRequest)
					_ = json.NewEncoder(w).Encode(err.Error())
					return
				}
				matches = matches && m.Matches(alert.(map[string]any)["labels"].(map[string]string)[m.Name])
			}
			if matches {
				found = append(found, alert)
			}
		}
	}
	_ = json.NewEncoder(w).Encode(found)
}

func fakeAlert(fingerprint string, status map[string]any, name, severity string) any {
	return map[string]any{
		"labels":      map[string]string{"alertname": name, "severity": severity, "site": "here"},
		"annotations": map[string]string{"summary": hostile, "runbook_url": "javascript:document.title='owned'"},
		"fingerprint": fingerprint, "startsAt": "2026-01-02T03:04:05Z", "status": status,
		"receivers": []any{map[string]string{"name": "slack-warnings"}},
	}
}

func (f *fakeManager) attempts() []any {
	attempt := func(receiver, outcome, reason string) any {
		return map[string]any{
			"time": time.Now().UTC(), "receiver": receiver, "integration": "slack[0]", "kind": "slack", "outcome": outcome, "error": reason,
			"alerts":       []any{map[string]any{"fingerprint": "1", "labels": map[string]string{"alertname": "HancockNoTraffic"}, "status": "firing"}},
			"alerts_total": 1, "status_code": 200, "duration_ms": 12, "try": 1, "test": false,
		}
	}
	list := []any{}
	if f.failing {
		list = append(list, attempt("slack-warnings", "failed", "unexpected status code 500 "+hostile))
	}
	if f.notifies {
		list = append(list, attempt("slack-warnings", "ok", ""), attempt("a receiver of the past", "failed", "gone"))
	}
	return list
}
