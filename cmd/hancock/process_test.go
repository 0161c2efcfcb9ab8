package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
)

// asHancock makes the test binary be the command itself, in a process of its own.
const asHancock = "HANCOCK_TEST_RUNS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asHancock) != "" {
		main()
	}
	testscript.Main(m, map[string]func(){"hancock": main})
}

// process is a running hancock.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	base string
	log  *safeBuffer
	done chan error
}

// safeBuffer can be read while a process writes to it.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// startHancock runs a hancock in dir and waits until it is ready. It is killed
// at the end of the test if it still runs.
func startHancock(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	p := &process{t: t, log: new(safeBuffer), done: make(chan error, 1)}
	p.cmd = exec.CommandContext(context.Background(), os.Args[0], args...)
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), asHancock+"=1", "GORACE=halt_on_error=1")
	p.cmd.Stderr = p.log
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(p.kill)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) == 2 && fields[0] == "Dashboard" {
			p.base = strings.TrimSuffix(fields[1], "/")
			break
		}
	}
	go func() {
		_, _ = io.Copy(io.Discard, out)
		p.done <- p.cmd.Wait()
	}()
	require.NotEmpty(t, p.base, "hancock did not start: %s", p.log)
	p.eventually("ready", func() bool {
		code, _ := p.get("/readyz")
		return code == http.StatusOK
	})
	return p
}

// sameAddress makes another process listen where this one did, so that its
// series go on.
func (p *process) sameAddress() string {
	return "--web.listen-address=" + strings.TrimPrefix(p.base, "http://")
}

// stop asks for a clean stop and returns the log.
func (p *process) stop() string {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-p.done:
		p.done <- err
		require.NoError(p.t, err, p.log.String())
	case <-time.After(2 * time.Minute):
		p.t.Fatalf("hancock did not stop: %s", p.log)
	}
	return p.log.String()
}

// kill ends the process at once, as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	err := <-p.done
	p.done <- err
}

// eventually waits until condition holds.
func (p *process) eventually(what string, condition func() bool) {
	p.t.Helper()
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		if time.Now().After(deadline) {
			p.t.Fatalf("not within a minute: %s\nlog:\n%s", what, p.log)
		}
		<-tick.C
	}
}

// get returns the status and the body; status 0 when there was no answer.
func (p *process) get(path string) (int, string) {
	return p.do(http.MethodGet, path, "", "")
}

// post sends body as JSON.
func (p *process) post(path, body string) (int, string) {
	return p.do(http.MethodPost, path, "application/json", body)
}

func (p *process) do(method, path, contentType, body string) (int, string) {
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.base+path, strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(answer)
}

// sample is one series of the answer to an instant query.
type sample struct {
	Metric map[string]string `json:"metric"`
	Value  [2]any            `json:"value"`
}

// query asks the process's own query API.
func (p *process) query(expr string) []sample {
	p.t.Helper()
	code, body := p.get("/api/v1/query?query=" + url.QueryEscape(expr))
	require.Equal(p.t, http.StatusOK, code, body)
	var answer struct {
		Data struct {
			Result []sample `json:"result"`
		} `json:"data"`
	}
	require.NoError(p.t, json.Unmarshal([]byte(body), &answer), body)
	return answer.Data.Result
}

// scalar is the value of a query with one series; ok is false when there is none.
func (p *process) scalar(expr string) (v float64, ok bool) {
	p.t.Helper()
	result := p.query(expr)
	if len(result) == 0 {
		return 0, false
	}
	require.Len(p.t, result, 1, expr)
	v, err := strconv.ParseFloat(result[0].Value[1].(string), 64)
	require.NoError(p.t, err)
	return v, true
}

// vector is the value of each series of a query by one of its labels.
func (p *process) vector(expr, label string) map[string]float64 {
	p.t.Helper()
	values := make(map[string]float64)
	for _, s := range p.query(expr) {
		v, err := strconv.ParseFloat(s.Value[1].(string), 64)
		require.NoError(p.t, err)
		values[s.Metric[label]] = v
	}
	return values
}

// scrapes waits until n further scrapes of the process by itself can be queried.
// Those that fail, as on a busy machine, have no samples.
func (p *process) scrapes(n int) {
	p.t.Helper()
	count := func() float64 {
		v, _ := p.scalar(`sum_over_time(up{job="hancock"}[1h])`)
		return v
	}
	want := count() + float64(n)
	p.eventually(fmt.Sprintf("%d scrapes", n), func() bool { return count() >= want })
}

// configure writes a hancock.yml that asks the backend at url, scrapes and
// evaluates each second, and has no limits that a test would meet, on a busy
// machine either.
func configure(t *testing.T, dir, backend, rules string) {
	t.Helper()
	prometheus := ""
	if rules != "" {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "rules.yml"), []byte(rules), 0o600))
		prometheus = "prometheus: {rule_files: [rules.yml]}\n"
	}
	text := fmt.Sprintf(`
web: {listen_address: "127.0.0.1:0", shutdown_timeout: 80s}
agent: {backend: ollama, rate_limit: 100000, timeout: 20s, ollama: {base_url: %q, model: test-model, coder_model: test-coder}}
storage: {path: data, scrape_interval: 1s, scrape_timeout: 1s}
alerting: {evaluation_interval: 1s, builtin_rules: %t}
%s`, backend, rules == "", prometheus)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "hancock.yml"), []byte(text), 0o600))
}
