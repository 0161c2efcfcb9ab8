package main

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/ui"
)

// viewerKey is a read-only key.
const viewerKey = "another-key-of-32-characters-xyz"

// TestSecurityPage holds each line of the table of endpoints against a process with a key.
func TestSecurityPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(root + "/docs/security.md")
	require.NoError(t, err)
	lines := regexp.MustCompile("(?m)^\\| `(/[^`]*)` \\| ([A-Z, ]+) \\| (yes|no)[^|]* \\| (yes|no|GET) \\| (yes|no) \\|$").FindAllStringSubmatch(string(page), -1)
	require.GreaterOrEqual(t, len(lines), 40)
	for _, path := range ui.Paths() {
		require.Contains(t, string(page), "| `"+path+"` | GET | no | yes | yes |")
	}

	dir, model := t.TempDir(), newFakeModel(t)
	configure(t, dir, model.url, "")
	file := filepath.Join(dir, "hancock.yml")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, bytes.Replace(text, []byte("web: {"), []byte("web: {api_key: "+clientKey+", read_only_key: "+viewerKey+", "), 1), 0o600))
	p := startHancock(t, dir)
	status := p.status
	seen := map[string]bool{}
	for _, line := range lines {
		path, open, readable, link := strings.Replace(line[1], "*", "graph", 1), line[3] == "yes", line[4], line[5] == "yes"
		require.False(t, seen[path], path)
		seen[path] = true
		for method := range strings.SplitSeq(line[2], ", ") {
			what := method + " " + path
			got := status(method, path, "")
			require.Equal(t, open, got != http.StatusUnauthorized, "%s without the key: %d", what, got)
			require.NotEqual(t, http.StatusNotFound, got, what)
			require.Equal(t, readable == "yes" || readable == method || open, status(method, path, viewerKey) != http.StatusForbidden, what+" with the read-only key")
			if path != "/-/reload" && path != "/api/hancock/rules/backtest" {
				got = status(method, path, clientKey)
				require.NotContains(t, []int{http.StatusUnauthorized, http.StatusMethodNotAllowed}, got, what)
			}
			require.Equal(t, link && method == http.MethodGet,
				status(method, path, clientKey, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document") != http.StatusForbidden, what)
			for _, mode := range []string{"no-cors", "cors", "websocket"} {
				require.Equal(t, http.StatusForbidden, status(method, path, clientKey, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", mode, "Sec-Fetch-Dest", "image"), what)
			}
		}
	}
	p.stop()
}

// status is that of the answer to a request with a key as a bearer token, or without one.
func (p *process) status(method, path, key string, header ...string) int {
	p.t.Helper()
	body := ""
	if method == http.MethodPost {
		body = "{}"
	}
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.base+path, strings.NewReader(body))
	require.NoError(p.t, err)
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r)
	require.NoError(p.t, err)
	require.NoError(p.t, resp.Body.Close())
	return resp.StatusCode
}
