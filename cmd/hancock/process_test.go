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
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/alertmanager"
	"github.com/cyberviser/hancock/alerting/ruletemplate"
	"github.com/cyberviser/hancock/internal/render"
)

// asHancock makes the test binary be the command itself, in a process of its own.
const asHancock = "HANCOCK_TEST_RUNS_MAIN"

func TestMain(m *testing.M) {
	render.Child(ruletemplate.Kind(), alertmanager.TemplateKind())
	if os.Getenv(asHancock) != "" {
		main()
	}
	testscript.Main(m, map[string]func(){"hancock": main})
}

// patience is longer than anything takes on a machine that is busy with other tests.
const patience = 3 * time.Minute

// process is a running hancock.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	base string
	log  *safeBuffer
	// greeting is what it prints at the start.
	greeting *safeBuffer
	done     chan error
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

// reserve is an address on which nobody listens, and whose port nobody else is given before the test ends: another
// test's server would get it while a process of ours is down. Who names the port may listen there: Linux lets those
// that share addresses bind one twice, as long as one of them listens.
func reserve(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	syscall.CloseOnExec(fd)
	done := func() { _ = syscall.Close(fd) }
	if runtime.GOOS == "linux" {
		t.Cleanup(done)
	} else {
		defer done() // elsewhere the port has to be free
	}
	require.NoError(t, syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1))
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	name, err := syscall.Getsockname(fd)
	require.NoError(t, err)
	return fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
}

// startHancock runs a hancock in dir and waits until it is ready. It is killed
// at the end of the test if it still runs. Where args name no address, it
// listens on one that is its own until the test ends.
func startHancock(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	if !slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "--web.listen-address=") }) {
		args = append(args, "--web.listen-address="+reserve(t))
	}
	p := &process{t: t, log: new(safeBuffer), greeting: new(safeBuffer), done: make(chan error, 1)}
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
		fmt.Fprintln(p.greeting, lines.Text())
		if fields := strings.Fields(lines.Text()); len(fields) == 2 && fields[0] == "Dashboard" {
			p.base = strings.TrimSuffix(fields[1], "/")
			break
		}
	}
	go func() {
		for lines.Scan() {
			fmt.Fprintln(p.greeting, lines.Text())
		}
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
	case <-time.After(patience):
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
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		if time.Now().After(deadline) {
			p.t.Fatalf("not within %s: %s\nlog:\n%s", patience, what, p.log)
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
	p.grows(`sum_over_time(up{job="hancock"}[1h])`, n)
}

// grows waits until the value of a query, 0 where there is none, is n more.
func (p *process) grows(expr string, n int) {
	p.t.Helper()
	count := func() float64 {
		v, _ := p.scalar(expr)
		return v
	}
	want := count() + float64(n)
	p.eventually(fmt.Sprintf("%d more of %s", n, expr), func() bool { return count() >= want })
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
