package agent_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent"
	"github.com/cyberviser/hancock/agent/llm"
	"github.com/cyberviser/hancock/agent/requestlog"
)

// wild is a backend whose calls claim to be of models and providers that
// nobody has configured.
type wild struct {
	instant
	random *rand.Rand
}

func (w wild) Chat(ctx context.Context, r llm.Request) (llm.Answer, error) {
	at := llm.Attempt{Provider: llm.Ollama, Model: "m", Finish: llm.Stop, Duration: 1}
	if w.random.IntN(2) == 0 {
		at.Model = fmt.Sprint("model", w.random.Uint32())
	}
	if w.random.IntN(4) == 0 {
		at.Provider = fmt.Sprint("provider", w.random.Uint32())
	}
	r.Observe(at)
	return w.instant.Chat(ctx, r)
}

// series are all that are exposed, those of single clients apart.
func series(t *testing.T, reg *prometheus.Registry) (fixed map[string]bool, clients int) {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	fixed = make(map[string]bool)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			key, client := f.GetName(), false
			for _, l := range m.GetLabel() {
				key = fmt.Sprintf("%s %s=%s", key, l.GetName(), l.GetValue())
				client = client || l.GetName() == "client_id" && l.GetValue() != "other"
			}
			if client {
				clients++
			} else {
				fixed[key] = true
			}
		}
	}
	return fixed, clients
}

// Whatever 100,000 requests hold, the series stay those that ordinary traffic
// has brought about.
func TestCardinalityFirewall(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // The same numbers each time.
	opts := agent.DefaultOptions()
	opts.RateLimit = 1
	opts.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}
	reg := prometheus.NewRegistry()
	log := requestlog.New(io.Discard, slog.LevelError+1)
	a, err := agent.New(opts, wild{random: random}, reg, log)
	require.NoError(t, err)
	defer func() { require.NoError(t, a.Close()) }()
	e := echo.New()
	e.HTTPErrorHandler = writeError
	e.Use(requestlog.Middleware(log), a.Middleware())
	a.Register(e)

	sent := 0
	send := func(method, path, body, address string) {
		sent++
		r, err := http.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/json")
		r.RemoteAddr = "192.0.2.1:1"
		r.Header.Set("X-Forwarded-For", address)
		e.ServeHTTP(httptest.NewRecorder(), r)
	}
	body := func(mode, word string) string {
		return fmt.Sprintf(`{"message":"x","question":"x","alert":"x","target":"x","incident":"x","task":"x","description":"x","indicator":"x",`+
			`"mode":%q,"model":%q,"source":%q,"severity":%q,"siem":%q,"language":%q,"output":%q,"type":%q,%q:1}`, mode, word, word, word, word, word, word, word, word)
	}
	var paths []string
	for _, path := range a.Endpoints() {
		if strings.HasPrefix(path, "/v1/") {
			paths = append(paths, path)
		}
	}
	methods := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"}

	// Ordinary traffic: everything once, well and badly, and once too often.
	for _, method := range methods {
		for _, path := range append(paths, "/v1/unknown") {
			for _, b := range []string{body("soc", "x"), body("nothing", "x"), "rubbish"} {
				address := fmt.Sprintf("2001:db8:0:%x::1", sent)
				send(method, path, b, address)
				send(method, path, b, address)
			}
		}
	}
	for range 100 { // all claims of the backend
		send("POST", "/v1/chat", body("soc", "x"), fmt.Sprintf("2001:db8:1:%x::1", sent))
	}
	for _, mode := range agent.Modes() {
		for range 20 {
			send("POST", "/v1/chat", body(mode, "x"), fmt.Sprintf("2001:db8:2:%x::1", sent))
		}
	}
	before, _ := series(t, reg)

	for range 100_000 {
		word := fmt.Sprint("w", random.Uint32())
		method, path, b := "POST", paths[random.IntN(len(paths))], body("soc", word)
		switch random.IntN(5) {
		case 0:
			path = "/v1/" + word
		case 1:
			method = strings.ToUpper(word)
		case 2:
			b = body(word, word)
		case 3:
			method = methods[random.IntN(len(methods))]
		}
		address := fmt.Sprintf("2001:db8:%x:%x::1", random.Uint32()%0xffff, random.Uint32()%0xffff)
		if random.IntN(10) == 0 { // more insistent ones than there are places
			address = fmt.Sprintf("203.0.113.%d", random.IntN(40))
		}
		send(method, path, b, address)
		if random.IntN(4) == 0 {
			send(method, path, b, address) // and is refused
		}
	}
	after, clients := series(t, reg)
	for key := range after {
		require.Contains(t, before, key)
	}
	require.Len(t, after, len(before))
	require.Positive(t, clients)
	require.LessOrEqual(t, clients, 20*(len(paths)+1))

	api := &api{t: t, registry: reg}
	counters := api.counters()
	require.InDelta(t, sent, counters["hancock_requests_total"], 0)
	for _, label := range []string{"endpoint", "method", "mode", "model", "client_id"} {
		require.Greater(t, counters["hancock_label_overflow_total{label="+label+"}"], 1000.0, label)
	}
	t.Logf("%d requests, %d label sets, %d of clients", sent, len(after), clients)
}
