package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cyberviser/hancock/agent"
	"github.com/cyberviser/hancock/agent/llm"
	"github.com/cyberviser/hancock/agent/llm/llmtest"
	"github.com/cyberviser/hancock/agent/requestlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secretPrompt must not be in any log.
const secretPrompt = "the prompt that no log may hold"

// api is an agent behind a server on a real socket, with a backend on another.
type api struct {
	t        testing.TB
	url      string
	client   *http.Client
	agent    *agent.Agent
	registry *prometheus.Registry
	backend  *llmtest.Server
	// model asks the backend, by its options.
	model   *llm.Client
	options llm.Options
	log     *lockedBuffer
	// cutOff ends the contexts of all requests, as a server does that stops.
	cutOff context.CancelFunc
}

// settings of the API under test.
type settings struct {
	agent   agent.Options
	timeout time.Duration
	// inFlight, if not 0, bounds the requests in flight.
	inFlight int
	// fallback, if not nil, answers as OpenAI.
	fallback llmtest.Reply
	// http2 serves with TLS and HTTP/2.
	http2 bool
	// model, if not empty, is asked instead of test-model.
	model string
	// url, if not empty, is asked instead of a backend of our own.
	url string
}

// newAPI starts an API whose backend answers with reply.
func newAPI(t testing.TB, reply llmtest.Reply, change ...func(*settings)) *api {
	t.Helper()
	s := settings{agent: agent.DefaultOptions(), timeout: 5 * time.Minute}
	s.agent.RateLimit = 1_000_000
	s.agent.Notify.DrainTimeout = time.Minute
	for _, c := range change {
		c(&s)
	}
	a := &api{t: t, registry: prometheus.NewRegistry(), backend: llmtest.New(t, reply), log: &lockedBuffer{}}
	log := requestlog.New(a.log, slog.LevelDebug)

	lo := llm.DefaultOptions()
	lo.Ollama = llm.Endpoint{BaseURL: a.backend.URL, APIKey: "sk-backend", Model: "test-model", CoderModel: "test-coder"}
	if s.model != "" {
		lo.Ollama.Model = s.model
	}
	if s.url != "" {
		lo.Ollama.BaseURL = s.url
	}
	lo.Timeout, lo.RetryWait = s.timeout, time.Millisecond
	if s.inFlight > 0 {
		lo.MaxInFlight = s.inFlight
	}
	if s.fallback != nil {
		lo.OpenAI = llm.Endpoint{BaseURL: llmtest.New(t, s.fallback).URL + "/v1", APIKey: "sk-cloud", Model: "cloud-model", CoderModel: "cloud-coder"}
	}
	client, err := llm.New(lo, log)
	require.NoError(t, err)
	a.model, a.options = client, lo
	a.agent, err = agent.New(s.agent, client, a.registry, log)
	require.NoError(t, err)

	e := echo.New()
	e.HTTPErrorHandler = writeError
	e.Use(requestlog.Middleware(log), a.agent.Middleware(), middleware.RecoverWithConfig(middleware.RecoverConfig{
		LogErrorFunc: func(_ echo.Context, err error, _ []byte) error { return err },
	}))
	a.agent.Register(e)
	e.GET("/health", func(c echo.Context) error { return c.NoContent(http.StatusOK) })
	e.GET("/v1/panic", func(echo.Context) error { panic("boom") })
	server := httptest.NewUnstartedServer(e)
	life, cutOff := context.WithCancel(context.Background())
	server.Config.BaseContext = func(net.Listener) context.Context { return life }
	a.cutOff = cutOff
	a.client = &http.Client{Transport: &http.Transport{}}
	if s.http2 {
		server.EnableHTTP2 = true
		server.StartTLS()
		a.client = server.Client()
	} else {
		server.Start()
	}
	a.url = server.URL
	t.Cleanup(func() {
		cutOff()
		a.client.CloseIdleConnections()
		server.Close()
		require.NoError(t, a.agent.Close())
		require.NoError(t, client.Close())
	})
	return a
}

// writeError is the error form of the API.
func writeError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	code, message := http.StatusInternalServerError, "internal error"
	if he, ok := errors.AsType[*echo.HTTPError](err); ok {
		code, message = he.Code, fmt.Sprint(he.Message)
	}
	_ = c.JSON(code, map[string]string{
		"error": message, "request_id": c.Response().Header().Get("X-Request-ID"),
	})
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// fields decodes a JSON answer.
func (a answer) fields(t *testing.T) map[string]any {
	t.Helper()
	var m map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.body), &m), a.body)
	return m
}

// do sends a request with JSON's content type unless header says otherwise.
func (a *api) do(method, path, body string, header ...string) answer {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.url+path, strings.NewReader(body))
	require.NoError(a.t, err)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := a.client.Do(req)
	require.NoError(a.t, err)
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	require.NoError(a.t, err)
	return answer{status: res.StatusCode, header: res.Header, body: string(text)}
}

func (a *api) post(path, body string) answer {
	a.t.Helper()
	return a.do(http.MethodPost, path, body)
}

// counters are the values of all counters, keyed as in the text format.
func (a *api) counters() map[string]float64 {
	a.t.Helper()
	families, err := a.registry.Gather()
	require.NoError(a.t, err)
	out := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			key := f.GetName()
			if len(labels) > 0 {
				key += "{" + strings.Join(labels, ",") + "}"
			}
			switch {
			case m.GetCounter() != nil:
				out[key] = m.GetCounter().GetValue()
			case m.GetHistogram() != nil:
				out[key] = float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return out
}

// moved are the counters that are not 0.
func (a *api) moved() map[string]float64 {
	a.t.Helper()
	out := a.counters()
	for k, v := range out {
		if v == 0 {
			delete(out, k)
		}
	}
	return out
}

// completed waits for a request_completed line: it is written after the answer
// has left.
func (a *api) completed(id string) map[string]any {
	a.t.Helper()
	var found map[string]any
	require.Eventually(a.t, func() bool {
		for line := range strings.Lines(a.log.String()) {
			var m map[string]any
			if json.Unmarshal([]byte(line), &m) == nil && m["event"] == "request_completed" && m["request_id"] == id {
				found = m
				return true
			}
		}
		return false
	}, waitFor, tick)
	return found
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// closedPort is the URL of a port on which nobody listens, and which nobody is
// given who asks for a free one.
const closedPort = "http://127.0.0.1:1"

// canceled is a context that ends when the returned function is called.
func canceled(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, cancel
}

// How long and how often a test looks for what happens just after an answer.
const (
	waitFor = 30 * time.Second
	tick    = time.Millisecond
)

// again makes another agent with the registry of the first.
func again(a *api) (*agent.Agent, error) {
	client, err := llm.New(llm.DefaultOptions(), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	return agent.New(agent.DefaultOptions(), client, a.registry, slog.New(slog.DiscardHandler))
}
