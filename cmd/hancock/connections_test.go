package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// hold opens a connection to a process, sends text, and leaves it at that.
func (p *process) hold(text string) net.Conn {
	p.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(p.base, "http://"))
	require.NoError(p.t, err)
	p.t.Cleanup(func() { _ = c.Close() })
	// What was closed to make room for others may not take it all.
	_, _ = io.WriteString(c, text)
	return c
}

// openConnections is how many of several idle connections a process keeps open, the one that asks included.
func openConnections(b *bench) string {
	var idle []net.Conn
	defer func() {
		for _, c := range idle {
			_ = c.Close()
		}
	}()
	for range 8 {
		c := b.hold("GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
		idle = append(idle, c)
		require.NoError(b.t, c.SetReadDeadline(time.Now().Add(patience)))
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(b.t, err)
		_, _ = io.Copy(io.Discard, resp.Body)
	}
	families, _ := b.families("text/plain;version=0.0.4")
	return strconv.Itoa(int(families["hancock_open_connections"].GetMetric()[0].GetGauge().GetValue()))
}

// TestConnectionsOfAProcess has more clients than there may be connections: silent ones, those that send a header for
// ever, and those that ask for much and read nothing. Probes and queries are answered meanwhile.
func TestConnectionsOfAProcess(t *testing.T) {
	t.Parallel()
	dir, model := t.TempDir(), newFakeModel(t)
	configure(t, dir, model.url, "")
	p := startHancock(t, dir)
	for range 100 {
		p.hold(strings.Repeat("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 200))
	}
	for range 512 {
		p.hold("")
		p.hold("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
	}
	code, body := p.get("/livez")
	require.Equal(t, http.StatusOK, code, body)
	code, body = p.get("/api/v1/query?query=1")
	require.Equal(t, http.StatusOK, code, body)
	families, _ := p.families("text/plain;version=0.0.4")
	require.LessOrEqual(t, families["hancock_open_connections"].GetMetric()[0].GetGauge().GetValue(), 512.0+16)
	require.NotContains(t, p.stop(), "DATA RACE")
}

// TestBlankSecrets starts no process that a blank variable would leave without protection.
func TestBlankSecrets(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{"HANCOCK_WEBHOOK_SECRET": "", "HANCOCK_API_KEY": " "} {
		var errs safeBuffer
		status := run([]string{"serve"}, func(n string) (string, bool) { return value, n == name }, streams{out: io.Discard, err: &errs})
		require.Equal(t, 2, status)
		require.Contains(t, errs.String(), name+": set, but blank")
		require.Contains(t, errs.String(), "remove the variable")
	}
}
