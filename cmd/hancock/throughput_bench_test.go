package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent"
	"github.com/cyberviser/hancock/agent/llm"
	"github.com/cyberviser/hancock/agent/requestlog"
	"github.com/cyberviser/hancock/web"
)

const (
	connections = 64
	asked       = `{"message":"Which ATT&CK techniques use scheduled tasks?","mode":"soc"}`
)

// BenchmarkThroughput asks Hancock and a bare handler the same over 64
// connections each, in turns, so that both see the same machine. Logs go to a
// file; metrics and exemplars are on.
func BenchmarkThroughput(b *testing.B) {
	hancock, bare := competitors(b)
	const turns = 20
	perTurn := max(b.N/turns, connections)
	hancock.run(b, connections) // connections are opened
	bare.run(b, connections)
	var ours, theirs, oursCPU, theirsCPU time.Duration
	b.ResetTimer()
	for range turns {
		start := cpuTime(b)
		theirs += bare.run(b, perTurn)
		between := cpuTime(b)
		ours += hancock.run(b, perTurn)
		theirsCPU, oursCPU = theirsCPU+between-start, oursCPU+cpuTime(b)-between
	}
	n := float64(turns * perTurn)
	b.ReportMetric(n/ours.Seconds(), "hancock_req/s")
	b.ReportMetric(n/theirs.Seconds(), "bare_req/s")
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "ratio")
	// The time of the processor, client and backend included, is what others on
	// the machine disturb less.
	b.ReportMetric(theirsCPU.Seconds()/oursCPU.Seconds(), "cpu_ratio")
	b.ReportMetric(0, "ns/op")
}

// cpuTime is what the process has used so far.
func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkLatency asks each of the two 500 times a second and reports what
// Hancock adds. One after the other, so that neither waits for the other one.
func BenchmarkLatency(b *testing.B) {
	hancock, bare := competitors(b)
	hancock.run(b, connections)
	bare.run(b, connections)
	var ours, theirs []time.Duration
	ticker := time.NewTicker(time.Second / 1000)
	defer ticker.Stop()
	b.ResetTimer()
	for range b.N {
		<-ticker.C
		theirs = append(theirs, bare.one(b))
		<-ticker.C
		ours = append(ours, hancock.one(b))
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	at := func(d []time.Duration, q float64) float64 {
		return float64(d[int(q*float64(len(d)-1))].Nanoseconds()) / 1000
	}
	b.ReportMetric(at(ours, .5)-at(theirs, .5), "added_p50_µs")
	b.ReportMetric(at(ours, .99)-at(theirs, .99), "added_p99_µs")
	b.ReportMetric(at(theirs, .5), "bare_p50_µs")
	b.ReportMetric(at(theirs, .99), "bare_p99_µs")
	b.ReportMetric(0, "ns/op")
}

// competitors are a whole Hancock and a bare handler, which ask one backend.
func competitors(b *testing.B) (hancock, bare *target) {
	b.Helper()
	const said = `{"id":"1","object":"chat.completion","model":"test-model","choices":[{"index":0,"message":{"role":"assistant",` +
		`"content":"T1053.005 is the one to hunt for first: query 4698 events for tasks that run from user-writable folders."},` +
		`"finish_reason":"stop"}],"usage":{"prompt_tokens":470,"completion_tokens":27,"total_tokens":497}}`
	var first atomic.Pointer[[]byte]
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		first.CompareAndSwap(nil, &body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, said)
	}))
	b.Cleanup(backend.Close)
	hancock = connect(b, wholeHancock(b, backend.URL))
	hancock.one(b)
	var sent bareQuestion
	require.NoError(b, json.Unmarshal(*first.Load(), &sent))
	server := httptest.NewServer(bareHandler(b, backend.URL, sent))
	b.Cleanup(server.Close)
	return hancock, connect(b, server.Listener.Addr().String())
}

// wholeHancock returns the address of a Hancock that serves as the process does.
func wholeHancock(b *testing.B, backend string) string {
	b.Helper()
	file, err := os.Create(filepath.Join(b.TempDir(), "log"))
	require.NoError(b, err)
	log := requestlog.New(file, slog.LevelInfo)
	reg := prometheus.NewRegistry()
	lo := llm.DefaultOptions()
	lo.Ollama = llm.Endpoint{BaseURL: backend, Model: "test-model", CoderModel: "test-coder"}
	lo.MaxInFlight = 2 * connections
	client, err := llm.New(lo, log)
	require.NoError(b, err)
	ao := agent.DefaultOptions()
	ao.RateLimit = 1 << 40
	a, err := agent.New(ao, client, reg, log)
	require.NoError(b, err)
	b.Cleanup(func() {
		require.NoError(b, a.Close())
		require.NoError(b, client.Close())
		require.NoError(b, file.Close())
	})
	wo := web.DefaultOptions()
	wo.ListenAddress = "127.0.0.1:0"
	ln, err := web.Listen(b.Context(), wo)
	require.NoError(b, err)
	server := web.New(wo, web.Handlers{
		Log:     requestlog.Middleware(log),
		Outer:   []echo.MiddlewareFunc{a.Middleware()},
		Routes:  []web.Routes{a},
		Metrics: http.NotFoundHandler(), API: http.NotFoundHandler(), Page: http.NotFoundHandler(),
	}, reg, log)
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, ln) }()
	b.Cleanup(func() {
		stop()
		require.NoError(b, <-served)
	})
	return ln.Addr().String()
}

type bareQuestion struct {
	Model       string           `json:"model"`
	Messages    []map[string]any `json:"messages"`
	Temperature float64          `json:"temperature"`
	TopP        float64          `json:"top_p"`
	MaxTokens   int              `json:"max_tokens"`
}

// bareHandler is the least that answers: it decodes the same body, sends the
// backend the same question, and encodes the same answer.
func bareHandler(b *testing.B, backend string, sent bareQuestion) http.Handler {
	b.Helper()
	transport := &http.Transport{MaxIdleConns: connections, MaxIdleConnsPerHost: connections}
	b.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport}
	e := echo.New()
	e.POST("/v1/chat", func(c echo.Context) error {
		var in struct{ Message, Mode string }
		if err := json.NewDecoder(c.Request().Body).Decode(&in); err != nil {
			return err
		}
		q := sent
		q.Messages = []map[string]any{q.Messages[0], {"role": "user", "content": in.Message}}
		body, err := json.Marshal(q)
		if err != nil {
			return err
		}
		r, err := http.NewRequestWithContext(c.Request().Context(), http.MethodPost, backend+"/v1/chat/completions", bytes.NewReader(body))
		if err != nil {
			return err
		}
		r.Header.Set("Content-Type", "application/json")
		res, err := client.Do(r)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		var out struct {
			Choices []struct{ Message struct{ Content string } }
		}
		if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, res.Body) // or the connection is not used again
		return c.JSON(http.StatusOK, map[string]any{"response": out.Choices[0].Message.Content, "model": q.Model, "mode": in.Mode})
	})
	return e
}

// target is a server with connections to it. They speak HTTP by hand, as a
// client of net/http would take more of the machine than what is measured.
type target struct {
	conns chan *conn
}

type conn struct {
	net.Conn
	r *bufio.Reader
}

// connect opens the connections to a server.
func connect(b *testing.B, address string) *target {
	b.Helper()
	t := &target{conns: make(chan *conn, connections)}
	for range connections {
		c, err := new(net.Dialer).DialContext(context.Background(), "tcp", address)
		require.NoError(b, err)
		b.Cleanup(func() { _ = c.Close() })
		t.conns <- &conn{Conn: c, r: bufio.NewReader(c)}
	}
	return t
}

// run sends n requests over all connections and returns how long that took.
func (t *target) run(b *testing.B, n int) time.Duration {
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	start := time.Now()
	for range connections {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				t.one(b)
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}

// one sends a request over a connection that is free.
func (t *target) one(b *testing.B) time.Duration {
	c := <-t.conns
	defer func() { t.conns <- c }()
	start := time.Now()
	if err := c.ask(); err != nil {
		b.Error(err)
	}
	return time.Since(start)
}

func (c *conn) ask() error {
	const request = "POST /v1/chat HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
	if _, err := fmt.Fprintf(c, request, len(asked), asked); err != nil {
		return err
	}
	length := 0
	for first := true; ; first = false {
		line, err := c.r.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case first && !strings.HasPrefix(string(line), "HTTP/1.1 200"):
			return fmt.Errorf("answered with %s", line)
		case len(line) == 2:
			_, err := c.r.Discard(length)
			return err
		}
		if n, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if _, err := fmt.Sscan(string(n), &length); err != nil {
				return err
			}
		}
	}
}
