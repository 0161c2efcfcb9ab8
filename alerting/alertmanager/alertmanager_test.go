package alertmanager_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cyberviser/hancock/alerting/alertmanager"
	"github.com/cyberviser/hancock/internal/amcompat"
	"github.com/cyberviser/hancock/internal/render"
)

// TestMain makes the test binary a template process if it was started as one, and initializes the syntax of matchers
// before any test loads a configuration.
func TestMain(m *testing.M) {
	render.Child(alertmanager.TemplateKind())
	amcompat.Init()
	goleak.VerifyTestMain(m)
}

// logs is a log that tests can read.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// attempts is the ledger as the log has it.
func (l *logs) attempts(t *testing.T) []alertmanager.Attempt {
	t.Helper()
	var all []alertmanager.Attempt
	for line := range bytes.Lines([]byte(l.String())) {
		var record struct {
			Event string `json:"event"`
			alertmanager.Attempt
		}
		if json.Unmarshal(line, &record) == nil && record.Event == alertmanager.AttemptEvent {
			all = append(all, record.Attempt)
		}
	}
	return all
}

// hook is a webhook receiver.
type hook struct {
	*httptest.Server
	got chan message
	mu  sync.Mutex
	// answer is called for each request; nil answers 200.
	answer http.HandlerFunc
}

// message is what a webhook gets.
type message struct {
	Receiver    string            `json:"receiver"`
	Status      string            `json:"status"`
	GroupKey    string            `json:"groupKey"`
	GroupLabels map[string]string `json:"groupLabels"`
	Alerts      []struct {
		Status      string            `json:"status"`
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
		Fingerprint string            `json:"fingerprint"`
	} `json:"alerts"`
}

func newHook(t testing.TB) *hook {
	t.Helper()
	h := &hook{got: make(chan message, 20_000)}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// To its end: closing a connection with something unread in it resets it.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the caller left
		}
		var m message
		if err := json.Unmarshal(body, &m); err != nil {
			t.Errorf("the body of a webhook: %v", err)
		}
		h.mu.Lock()
		answer := h.answer
		h.mu.Unlock()
		if answer != nil {
			answer(w, r)
		}
		h.got <- m
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) answers(f http.HandlerFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer = f
}

// next is the next message, which must come.
func (h *hook) next(t testing.TB) message {
	t.Helper()
	select {
	case m := <-h.got:
		return m
	case <-time.After(patience):
		require.FailNow(t, "no message came")
		return message{}
	}
}

// nextOf is the first message that tells of so many alerts: those that are sent together may come one after the other,
// if group_wait is over before all are there.
func (h *hook) nextOf(t testing.TB, alerts int) message {
	t.Helper()
	for {
		if m := h.next(t); len(m.Alerts) == alerts {
			return m
		}
	}
}

func load(t testing.TB, text string) *config.Config {
	t.Helper()
	c, err := config.Load(text)
	require.NoError(t, err)
	return c
}

// open starts an Alertmanager in the folder.
func open(t testing.TB, path, text string, change ...func(*alertmanager.Options)) (*alertmanager.Alertmanager, *logs) {
	t.Helper()
	o := alertmanager.DefaultOptions()
	o.Path = path
	if text != "" {
		o.Config = load(t, text)
	}
	for _, c := range change {
		c(&o)
	}
	l := &logs{}
	am, err := alertmanager.Open(o, prometheus.NewPedanticRegistry(), slog.New(slog.NewJSONHandler(l, nil)))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, am.Close()) })
	return am, l
}

// reload replaces the configuration alone.
func reload(am *alertmanager.Alertmanager, c *config.Config) error {
	o := am.Options()
	o.Config = c
	return am.Reload(o)
}

func firing(pairs ...string) *notifier.Alert {
	now := time.Now()
	return &notifier.Alert{Labels: labels.FromStrings(pairs...), StartsAt: now, EndsAt: now.Add(4 * time.Minute)}
}

func resolved(pairs ...string) *notifier.Alert {
	now := time.Now()
	return &notifier.Alert{Labels: labels.FromStrings(pairs...), StartsAt: now.Add(-time.Minute), EndsAt: now}
}

// call asks the routes that Register mounts.
func call(am *alertmanager.Alertmanager, method, path, body string) *httptest.ResponseRecorder {
	e := echo.New()
	am.Register(e)
	r := httptest.NewRequest(method, path, bytes.NewReader([]byte(body)))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w
}

func TestFromRuleToReceiver(t *testing.T) {
	h := newHook(t)
	am, l := open(t, t.TempDir(), `
route: {receiver: hook, group_by: [alertname], group_wait: 10ms, group_interval: 100ms}
receivers: [{name: hook, webhook_configs: [{url: '`+h.URL+`'}]}]
`)
	require.True(t, am.Notifies())
	am.Send(firing("alertname", "Slow", "severity", "warning"))
	m := h.next(t)
	require.Equal(t, "firing", m.Status)
	require.Equal(t, map[string]string{"alertname": "Slow"}, m.GroupLabels)

	am.Send(resolved("alertname", "Slow", "severity", "warning"))
	require.Equal(t, "resolved", h.next(t).Status)

	require.Eventually(t, func() bool { return len(l.attempts(t)) == 2 }, patience, 5*time.Millisecond)
	a := l.attempts(t)[0]
	require.Equal(t, "ok", a.Outcome)
	require.Equal(t, "webhook[0]", a.Integration)
	require.Equal(t, "webhook", a.Kind)
	require.Equal(t, "hook", a.Receiver)
	require.Equal(t, "first notification", a.Reason)
	require.Equal(t, 1, a.Try)
	require.Equal(t, 1, a.AlertsTotal)
	require.Equal(t, "Slow", a.Alerts[0].Labels["alertname"])
	require.Equal(t, "all alerts resolved", l.attempts(t)[1].Reason)
}

func TestWithoutConfiguration(t *testing.T) {
	am, l := open(t, t.TempDir(), "")
	require.False(t, am.Notifies())
	am.Send(firing("alertname", "Slow"))
	require.Eventually(t, func() bool {
		w := call(am, http.MethodGet, "/api/v2/alerts", "")
		return w.Code == http.StatusOK && bytes.Contains(w.Body.Bytes(), []byte(`"Slow"`))
	}, patience, 5*time.Millisecond)
	require.Empty(t, l.attempts(t))
}
