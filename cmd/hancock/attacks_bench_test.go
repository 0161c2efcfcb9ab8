package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// maxAttackedMemory is what the process and its children may take while it is attacked, in bytes.
const maxAttackedMemory = 300_000_000

// BenchmarkAttacks sends everything at once that took memory or time without bound: requests of other sites, expressions
// that are long, deep or about everything, clients that do not read, and templates that grow. Meanwhile it asks an ordinary
// query again and again. It takes half a minute; the history is that of the demonstration.
func BenchmarkAttacks(b *testing.B) {
	base, pid := startDemo(b)
	ctx, stop := context.WithTimeout(b.Context(), 25*time.Second)
	defer stop()
	var crossed, refused, answered atomic.Int64
	var attackers sync.WaitGroup
	again := func(n int, attack func()) {
		for range n {
			attackers.Go(func() {
				for ctx.Err() == nil {
					attack()
				}
			})
		}
	}
	everything := "/api/v1/query_range?" + url.Values{
		"query": {`{__name__=~".+"}`}, "step": {"15"}, "start": {strconv.FormatInt(time.Now().Add(-5*time.Hour).Unix(), 10)}, "end": {strconv.FormatInt(time.Now().Unix(), 10)},
	}.Encode()
	again(6, func() { // as six images on a page of another site
		if send(ctx, http.MethodGet, base+everything, "", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image") == http.StatusForbidden {
			refused.Add(1)
		} else if ctx.Err() == nil {
			crossed.Add(1)
		}
	})
	for _, expr := range []string{
		strings.Repeat("(", 30_000) + "1" + strings.Repeat(")", 30_000), strings.Repeat("-", 60_000) + "1", strings.Repeat("1+", 30_000) + "1",
		`count_over_time({__name__=~".+"}[6h:1s])`, `label_replace({__name__=~".+"}, "x", "$1", "y", "(.*)")`,
	} {
		for _, path := range []string{"/api/v1/query", "/api/v1/format_query", "/api/v1/parse_query"} {
			again(1, func() {
				send(ctx, http.MethodPost, base+path, url.Values{"query": {expr}}.Encode(), "Content-Type", "application/x-www-form-urlencoded")
			})
		}
	}
	minuses := "query=" + strings.Repeat("-", 8<<20) + "1"
	again(2, func() {
		send(ctx, http.MethodPost, base+"/api/v1/query", minuses, "Content-Type", "application/x-www-form-urlencoded")
	})
	again(4, func() { send(ctx, http.MethodGet, base+everything, "") })
	again(60, func() { neverRead(ctx, strings.TrimPrefix(base, "http://"), everything) })
	bomb := `{{ $s := \"xxxxxxxxxx\" }}{{ range 31 }}{{ $s = printf \"%s%s\" $s $s }}{{ end }}`
	again(2, func() {
		send(ctx, http.MethodPost, base+"/api/hancock/rules/backtest",
			`{"from": "1h", "rules": "groups: [{name: a, rules: [{alert: A, expr: up, annotations: {x: '`+strings.ReplaceAll(bomb, `\"`, `\\\"`)+`'}}]}]"}`,
			"Content-Type", "application/json")
	})

	var most int64
	var latencies []time.Duration
	for ctx.Err() == nil {
		begun := time.Now()
		if send(ctx, http.MethodGet, base+"/api/v1/query?query=up", "") == http.StatusOK {
			answered.Add(1)
			latencies = append(latencies, time.Since(begun))
		}
		most = max(most, memoryOf(b, pid))
		time.Sleep(20 * time.Millisecond)
	}
	attackers.Wait()
	require.Equal(b, http.StatusOK, send(b.Context(), http.MethodGet, base+"/livez", ""))
	require.Zero(b, crossed.Load(), "requests of another site that reached a handler")
	require.Positive(b, refused.Load())
	require.NotEmpty(b, latencies)
	slices.Sort(latencies)
	at := func(q float64) float64 {
		return float64(latencies[int(q*float64(len(latencies)-1))].Microseconds()) / 1000
	}
	b.ReportMetric(float64(most)/1e6, "MB-most")
	b.ReportMetric(at(0.5), "ms-p50")
	b.ReportMetric(at(0.99), "ms-p99")
	b.ReportMetric(at(1), "ms-most")
	b.ReportMetric(float64(len(latencies)), "queries")
	b.ReportMetric(0, "ns/op")
	require.Less(b, most, int64(maxAttackedMemory))
}

// startDemo starts a demonstration and waits until it is ready.
func startDemo(b *testing.B) (base string, pid int) {
	b.Helper()
	cmd := exec.CommandContext(context.Background(), os.Args[0], "demo", "--web.listen-address=127.0.0.1:0", "--storage.path="+filepath.Join(b.TempDir(), "data"))
	cmd.Env = append(os.Environ(), asHancock+"=1")
	out, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for base == "" && lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) == 2 && fields[0] == "Dashboard" {
			base = strings.TrimSuffix(fields[1], "/")
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	require.NotEmpty(b, base)
	require.Eventually(b, func() bool { return send(b.Context(), http.MethodGet, base+"/readyz", "") == http.StatusOK }, patience, 50*time.Millisecond)
	return base, cmd.Process.Pid
}

// send returns the status of the answer to a request, which it reads; 0 without one.
func send(ctx context.Context, method, address, body string, header ...string) int {
	r, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return 0
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// neverRead sends a request and reads nothing of the answer, until the server closes the connection or ctx ends.
func neverRead(ctx context.Context, address, path string) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return
	}
	defer c.Close()
	_ = c.(*net.TCPConn).SetReadBuffer(4096)
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path); err != nil {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
	}
}

// memoryOf is the resident memory of a process and its children, in bytes.
func memoryOf(b *testing.B, pid int) (sum int64) {
	b.Helper()
	pids := []string{strconv.Itoa(pid)}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	require.NoError(b, err)
	for _, path := range tasks {
		if list, err := os.ReadFile(path); err == nil { // the thread may have ended
			pids = append(pids, strings.Fields(string(list))...)
		}
	}
	for _, pid := range pids {
		text, err := os.ReadFile("/proc/" + pid + "/statm")
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if fields := strings.Fields(string(text)); len(fields) > 1 {
			pages, err := strconv.ParseInt(fields[1], 10, 64)
			require.NoError(b, err)
			sum += pages * int64(os.Getpagesize())
		}
	}
	return sum
}
