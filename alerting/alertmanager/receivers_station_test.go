package alertmanager_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/alertmanager"
)

// patience is how long a test waits for something that must come: on a busy machine that may take a while.
const patience = time.Minute

// What cannot be reached, whatever else is going on: no system gives port 1 to somebody who asks for any, and of a name
// with a label that is too long no server is asked.
const refusing = "http://127.0.0.1:1"

var nameless = "http://" + strings.Repeat("x", 64) + ".invalid"

// quickly is a route whose groups are told at once and told again of every
// change after a moment; a failed notification is tried again as a new one.
const quickly = `
  group_by: [alertname]
  group_wait: 10ms
  group_interval: 50ms
  repeat_interval: 1h
`

// once is a route that tells at once and then nothing for an hour, so that
// what is tried again is tried again within one notification.
const once = `
  group_by: [alertname]
  group_wait: 10ms
  group_interval: 1h
  repeat_interval: 4h
`

// station is an Alertmanager with what it logged, its ledger included.
type station struct {
	*alertmanager.Alertmanager
	journal *journal
	reg     *prometheus.Registry
}

// newStation opens an Alertmanager with a configuration and closes it, within
// bounds, at the end of the test.
func newStation(t *testing.T, text string, options ...func(*alertmanager.Options)) *station {
	t.Helper()
	c, err := config.Load(text)
	require.NoError(t, err)
	o := alertmanager.DefaultOptions()
	o.Path = t.TempDir()
	o.Config = c
	o.ExternalURL = &url.URL{Scheme: "http", Host: "hancock.example:5000"}
	for _, option := range options {
		option(&o)
	}
	s := &station{journal: newJournal(), reg: prometheus.NewRegistry()}
	s.Alertmanager, err = alertmanager.Open(o, s.reg,
		slog.New(slog.NewJSONHandler(s.journal, &slog.HandlerOptions{Level: slog.LevelDebug})))
	require.NoError(t, err)
	t.Cleanup(func() {
		start := time.Now()
		require.NoError(t, s.Close())
		require.Less(t, time.Since(start), patience, "Close is bounded")
	})
	return s
}

// attempt waits for a record of the ledger that matches.
func (s *station) attempt(t *testing.T, what string, match func(alertmanager.Attempt) bool) alertmanager.Attempt {
	t.Helper()
	return s.journal.attempt(t, what, match)
}

// first waits for the first attempt of a receiver.
func (s *station) first(t *testing.T, receiver string) alertmanager.Attempt {
	t.Helper()
	return s.attempt(t, "first try of "+receiver, func(a alertmanager.Attempt) bool {
		return a.Receiver == receiver && a.Try == 1
	})
}

// alertOf is an alert that fires, of a severity if one is given.
func alertOf(name, severity string) *notifier.Alert {
	lbls := []string{"alertname", name, "instance", "127.0.0.1:5000", "job", "hancock"}
	if severity != "" {
		lbls = append(lbls, "severity", severity)
	}
	return &notifier.Alert{
		Labels:       labels.FromStrings(lbls...),
		Annotations:  labels.FromStrings("summary", "Something of "+name, "runbook_url", "https://hancock.example/runbooks/"+name),
		StartsAt:     time.Now().Add(-time.Minute),
		EndsAt:       time.Now().Add(time.Hour),
		GeneratorURL: "http://hancock.example:5000/graph?g0.expr=up",
	}
}

// ended is the same alert once it is over.
func ended(a *notifier.Alert) *notifier.Alert {
	over := *a
	over.EndsAt = time.Now()
	return &over
}

// journal keeps what is logged, and the ledger's records apart.
type journal struct {
	mu       sync.Mutex
	text     bytes.Buffer
	attempts []alertmanager.Attempt
	changed  chan struct{} // closed at each new attempt, and then replaced
}

func newJournal() *journal { return &journal{changed: make(chan struct{})} }

// Write takes one record, as slog's handlers write them.
func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text.Write(line)
	var record struct {
		Event string `json:"event"`
		alertmanager.Attempt
	}
	if json.Unmarshal(line, &record) == nil && record.Event == "notification_attempt" {
		j.attempts = append(j.attempts, record.Attempt)
		close(j.changed)
		j.changed = make(chan struct{})
	}
	return len(line), nil
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) attempt(t *testing.T, what string, match func(alertmanager.Attempt) bool) alertmanager.Attempt {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for seen := 0; ; {
		j.mu.Lock()
		attempts, changed := j.attempts, j.changed
		j.mu.Unlock()
		for ; seen < len(attempts); seen++ {
			if match(attempts[seen]) {
				return attempts[seen]
			}
		}
		select {
		case <-changed:
		case <-deadline.C:
			require.FailNow(t, "not in the ledger: "+what, "%s", j)
		}
	}
}

// delivery is a request that a receiver got.
type delivery struct {
	method, path, query string
	header              http.Header
	body                []byte
}

// decode reads the call's JSON.
func (c delivery) decode(t *testing.T) map[string]any {
	t.Helper()
	require.Equal(t, http.MethodPost, c.method)
	require.Equal(t, "application/json", c.header.Get("Content-Type"))
	var m map[string]any
	require.NoError(t, json.Unmarshal(c.body, &m), "%s", c.body)
	return m
}

// receiver is an HTTP receiver on a real socket.
type receiver struct {
	*httptest.Server
	calls chan delivery
}

// answer is what a receiver answers.
type answer struct {
	status      int
	contentType string
	body        string
}

// newReceiver answers its calls in turn; the last answer stands for all that
// follow. Without any it says 200.
func newReceiver(t *testing.T, answers ...answer) *receiver {
	t.Helper()
	h := &receiver{calls: make(chan delivery, 1000)}
	var (
		mu sync.Mutex
		n  int
	)
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the caller left
		}
		h.calls <- delivery{method: r.Method, path: r.URL.Path, query: r.URL.RawQuery, header: r.Header, body: body}
		mu.Lock()
		a := answer{status: http.StatusOK}
		if len(answers) > 0 {
			a = answers[min(n, len(answers)-1)]
		}
		n++
		mu.Unlock()
		if a.contentType != "" {
			w.Header().Set("Content-Type", a.contentType)
		}
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, a.body)
	}))
	t.Cleanup(h.Close)
	return h
}

// next waits for the next delivery.
func (h *receiver) next(t *testing.T) delivery {
	t.Helper()
	return next(t, h.calls)
}

// quiet asserts that nothing else has come.
func (h *receiver) quiet(t *testing.T) {
	t.Helper()
	require.Empty(t, h.calls)
}

// next waits for what must come over a channel.
func next[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		require.FailNow(t, "nothing came")
		panic("unreachable")
	}
}

// lines joins parts of a YAML document.
func lines(parts ...string) string { return strings.Join(parts, "\n") + "\n" }
