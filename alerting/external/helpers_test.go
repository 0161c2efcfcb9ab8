package external_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cyberviser/hancock/alerting/external"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// received is one request that an Alertmanager got.
type received struct {
	Method, Path, ContentType string
	Header                    http.Header
	Alerts                    []alert
}

// alert is one alert as Alertmanager's API v2 wants it.
type alert struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
}

// receiver stands for an Alertmanager: it keeps what it gets and answers with a status.
type receiver struct {
	*httptest.Server
	status int
	// hang, when it is there, holds answers up until it is closed or the client has gone.
	hang chan struct{}

	mtx sync.Mutex
	all []received
	bad []string
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{status: http.StatusOK}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	got := received{Method: req.Method, Path: req.URL.Path, ContentType: req.Header.Get("Content-Type"), Header: req.Header}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if derr := dec.Decode(&got.Alerts); err != nil || derr != nil {
		r.mtx.Lock()
		r.bad = append(r.bad, string(body))
		r.mtx.Unlock()
	}
	r.mtx.Lock()
	r.all = append(r.all, got)
	r.mtx.Unlock()
	if r.hang != nil {
		select {
		case <-r.hang:
		case <-req.Context().Done():
		}
	}
	w.WriteHeader(r.status)
}

func (r *receiver) address() string { return r.Listener.Addr().String() }

func (r *receiver) requests() []received {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	return append([]received(nil), r.all...)
}

// names are those of all alerts that came, in their order.
func (r *receiver) names() []string {
	var names []string
	for _, req := range r.requests() {
		for _, a := range req.Alerts {
			names = append(names, a.Labels["alertname"])
		}
	}
	return names
}

// section reads what stands under `alerting`.
func section(t testing.TB, text string) *config.AlertingConfig {
	t.Helper()
	var b strings.Builder
	b.WriteString("alerting:\n")
	for line := range strings.Lines(text) {
		b.WriteString("  " + line)
	}
	cfg, err := config.Load(b.String(), slog.New(slog.DiscardHandler))
	require.NoError(t, err, b.String())
	return &cfg.AlertingConfig
}

// to is a section that sends to these addresses. None of them is given up before the test is.
func to(t testing.TB, addresses ...string) *config.AlertingConfig {
	return section(t, "alertmanagers:\n- timeout: 5m\n  static_configs:\n  - targets: ['"+strings.Join(addresses, "', '")+"']\n")
}

func with(cfg *config.AlertingConfig) external.Options {
	o := external.DefaultOptions()
	o.Config = cfg
	o.DrainTimeout = patience
	return o
}

// forwarding is a Forwarder that runs.
type forwarding struct {
	*external.Forwarder
	t    *testing.T
	reg  *prometheus.Registry
	log  *lines
	done chan error
}

// lines is a log that can be read while it is written.
type lines struct {
	mtx sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mtx.Lock()
	defer l.mtx.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mtx.Lock()
	defer l.mtx.Unlock()
	return l.buf.String()
}

func open(t *testing.T, o external.Options) *forwarding {
	t.Helper()
	f := &forwarding{t: t, reg: prometheus.NewRegistry(), log: &lines{}, done: make(chan error, 1)}
	var err error
	f.Forwarder, err = external.Open(o, f.reg, slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	require.NoError(t, err)
	go func() { f.done <- f.Run(t.Context()) }()
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

// close ends it and says how long that took.
func (f *forwarding) close() time.Duration {
	f.t.Helper()
	start := time.Now()
	require.NoError(f.t, f.Close())
	require.NoError(f.t, <-f.done)
	return time.Since(start)
}

// patience is how long a test waits for what must come: on a busy machine that may take a while.
const patience = time.Minute

// until waits for what must come true.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	require.Eventually(t, is, patience, 2*time.Millisecond, what)
}

// known waits until so many Alertmanagers are.
func (f *forwarding) known(n int) {
	f.t.Helper()
	until(f.t, "Alertmanagers are known", func() bool { return len(f.Alertmanagers()) == n })
}

// metric is the sum of a metric over its labels, -1 when it is not there.
func (f *forwarding) metric(name string) float64 {
	families, err := f.reg.Gather()
	require.NoError(f.t, err)
	for _, mf := range families {
		if mf.GetName() == name {
			var sum float64
			for _, m := range mf.GetMetric() {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
			return sum
		}
	}
	return -1
}

// fires is an alert, and ended one that is resolved.
func fires(name string) *notifier.Alert {
	now := time.Now().Truncate(time.Millisecond)
	return &notifier.Alert{
		Labels:      labels.FromStrings("alertname", name, "severity", "warning"),
		Annotations: labels.FromStrings("summary", "it is so"),
		StartsAt:    now.Add(-time.Minute), EndsAt: now.Add(4 * time.Minute), GeneratorURL: "http://hancock.example/graph",
	}
}

func ended(name string) *notifier.Alert {
	a := fires(name)
	a.EndsAt = time.Now().Add(-time.Second).Truncate(time.Millisecond)
	return a
}

// requestOf reads the credentials of a request.
type requestOf struct{ received }

func (r *requestOf) password() string {
	_, password, _ := (&http.Request{Header: r.Header}).BasicAuth()
	return password
}
