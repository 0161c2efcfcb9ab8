package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEgress sends 10,000 requests to a process whose model fails now and then and whose configuration has a key for OpenAI.
// It runs in a network in which every address leads to this machine, so that each attempt to reach another one arrives.
func TestEgress(t *testing.T) {
	if os.Getenv(inNamespace) != "" {
		testEgress(t)
		return
	}
	runInNamespace(t, syscall.CLONE_NEWNET)
}

// outside counts what arrives at the addresses of others: DNS over UDP and TCP, HTTP and HTTPS.
type outside struct{ attempts atomic.Int64 }

func listenOutside(t *testing.T) *outside {
	t.Helper()
	o := new(outside)
	var lc net.ListenConfig
	for _, port := range []string{"53", "80", "443"} {
		ln, err := lc.Listen(t.Context(), "tcp", ":"+port)
		require.NoError(t, err)
		t.Cleanup(func() { _ = ln.Close() })
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				o.attempts.Add(1)
				_ = c.Close()
			}
		}()
	}
	udp, err := lc.ListenPacket(t.Context(), "udp", ":53")
	require.NoError(t, err)
	t.Cleanup(func() { _ = udp.Close() })
	go func() {
		packet := make([]byte, 1500)
		for {
			n, from, err := udp.ReadFrom(packet)
			if err != nil {
				return
			}
			o.attempts.Add(1)
			if n > 3 { // No such name.
				packet[2], packet[3] = packet[2]|0x80, packet[3]&0xf0|3
				_, _ = udp.WriteTo(packet[:n], from)
			}
		}
	}()
	return o
}

// giveUp makes a moody model fail.
const giveUp = "please-give-up"

// moody is a model that answers what does not ask it to fail.
func moody(w http.ResponseWriter, r *http.Request) {
	question, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.Method == http.MethodGet:
		fmt.Fprint(w, `{"object":"list","data":[{"id":"test-model","object":"model"},{"id":"test-coder","object":"model"}]}`)
	case bytes.Contains(question, []byte(giveUp)):
		w.WriteHeader(http.StatusInternalServerError)
	default:
		fmt.Fprint(w, `{"choices":[{"message":{"content":"hello"},"finish_reason":"stop"}]}`)
	}
}

func testEgress(t *testing.T) {
	for _, command := range []string{"ip link set lo up", "ip route add local 0.0.0.0/0 dev lo"} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput()
		require.NoError(t, err, "%s: %s", command, out)
	}
	o, model := listenOutside(t), httptest.NewServer(http.HandlerFunc(moody))
	defer model.Close()
	start := func(egress string, args ...string) *process {
		dir := t.TempDir()
		configure(t, dir, model.URL, "")
		file := filepath.Join(dir, "hancock.yml")
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		text = bytes.Replace(text, []byte("rate_limit: 100000,"), []byte("rate_limit: 0, max_retries: 0, openai: {api_key: k}, egress: "+egress+","), 1)
		require.NoError(t, os.WriteFile(file, text, 0o600))
		return startHancock(t, dir, args...)
	}
	t.Setenv("HTTPS_PROXY", "http://192.0.2.1:80")
	t.Setenv("HTTP_PROXY", "http://192.0.2.1:80")
	local := start("local")
	paths := map[string]string{
		"/v1/chat": "message", "/v1/ask": "question", "/v1/triage": "alert", "/v1/hunt": "target", "/v1/respond": "incident",
		"/v1/code": "task", "/v1/ciso": "question", "/v1/sigma": "description", "/v1/yara": "description", "/v1/ioc": "indicator", "/v1/webhook": "alert",
	}
	const workers, each = 8, 1250
	var failed, answered atomic.Int64
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := 0; i < each; {
				for path, field := range paths {
					text := "hello"
					if i%10 == w {
						text = giveUp
					}
					resp, err := http.Post(local.base+path, "application/json", strings.NewReader(fmt.Sprintf(`{%q: %q}`, field, text)))
					if err != nil {
						t.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
					switch resp.StatusCode {
					case http.StatusOK:
						answered.Add(1)
					case http.StatusBadGateway:
						failed.Add(1)
					default:
						t.Errorf("%s: status %d", path, resp.StatusCode)
						return
					}
					if resp.Header.Get("X-Hancock-Backend") != "ollama "+strings.TrimPrefix(model.URL, "http://") {
						t.Errorf("%s: backend %q", path, resp.Header.Get("X-Hancock-Backend"))
						return
					}
					if i++; i == each {
						break
					}
				}
			}
		})
	}
	group.Wait()
	require.EqualValues(t, workers*each, answered.Load()+failed.Load())
	require.Positive(t, failed.Load())
	_, health := local.get("/health")
	require.Contains(t, health, `"destinations":[{"purpose":"model","host":"ollama at `+strings.TrimPrefix(model.URL, "http://")+`"}]`)
	local.stop()
	require.Zero(t, o.attempts.Load(), "something outside was contacted")

	// The same with the fallback shows that an attempt is seen.
	other := start("any")
	code, _ := other.post("/v1/triage", `{"alert": "`+giveUp+`"}`)
	require.Equal(t, http.StatusBadGateway, code)
	require.Positive(t, o.attempts.Load())
	_, health = other.get("/health")
	require.Contains(t, health, `"host":"openai at api.openai.com"`)
	log := other.stop()
	require.Contains(t, log, `"to":"openai"`)
	require.Contains(t, log, `"backend_host":"api.openai.com"`)
}
