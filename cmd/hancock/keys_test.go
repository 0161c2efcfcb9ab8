package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent"
	"github.com/cyberviser/hancock/agent/llm"
	"github.com/cyberviser/hancock/tsdb"
	"github.com/cyberviser/hancock/web"
)

// TestKeyFiles starts a process whose keys are in files: they are created once, commands read them, and a reload takes a
// new one.
func TestKeyFiles(t *testing.T) {
	t.Parallel()
	dir, model := t.TempDir(), newFakeModel(t)
	configure(t, dir, model.url, "")
	file := filepath.Join(dir, "hancock.yml")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	address := reserve(t)
	text = bytes.Replace(text, []byte(`web: {listen_address: "127.0.0.1:0"`), []byte(`web: {listen_address: "`+address+`", api_key_file: key, read_only_key_file: viewer`), 1)
	require.NoError(t, os.WriteFile(file, text, 0o600))
	s := secured{dir: dir}
	s.process = &process{t: t}

	stdout, stderr, ok := s.command("check")
	require.True(t, ok, stderr)
	require.Contains(t, stdout, "web.api_key_file: key does not exist; a start creates it with a new key")
	require.Contains(t, stdout, "web.read_only_key_file: viewer does not exist")
	_, stderr, ok = s.command("ask", "x")
	require.False(t, ok)
	require.Contains(t, stderr, "hancock.yml:2: web.api_key_file: open key: no such file")
	require.NoFileExists(t, filepath.Join(dir, "key"))

	key := func(name string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode())
		key, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Regexp(t, "^[0-9a-f]{64}\n$", string(key))
		return strings.TrimSpace(string(key))
	}
	p := startHancock(t, dir, "--web.listen-address="+address)
	all, viewer := key("key"), key("viewer")
	require.NotEqual(t, all, viewer)
	p.eventually("the new keys are printed", func() bool {
		printed := p.greeting.String()
		return strings.Count(printed, all) == 1 && strings.Count(printed, viewer) == 1 && strings.Contains(printed, `Bearer $(cat 'key')`)
	})
	log := p.stop()
	require.NotContains(t, log, all)
	require.NotContains(t, log, viewer)

	p = startHancock(t, dir, "--web.listen-address="+address)
	require.Equal(t, all, key("key"))
	require.Equal(t, http.StatusOK, p.status(http.MethodPost, "/-/reload", all))
	require.Equal(t, http.StatusForbidden, p.status(http.MethodPost, "/-/reload", viewer))
	require.Equal(t, http.StatusOK, p.status(http.MethodGet, "/api/v1/query?query=up", viewer))
	require.Equal(t, http.StatusUnauthorized, p.status(http.MethodGet, "/api/v1/query?query=up", ""))
	_, stderr, ok = s.command("ask", "what is this")
	require.True(t, ok, stderr)

	// Each key is replaced by a reload.
	const newKey, newViewer = "the-new-key-of-all-of-it", "the-new-key-of-viewers"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "key"), []byte(newKey), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "viewer"), []byte(newViewer+"\n"), 0o600))
	require.Equal(t, http.StatusUnauthorized, p.status(http.MethodPost, "/-/reload", newKey), "not yet")
	require.Equal(t, http.StatusOK, p.status(http.MethodPost, "/-/reload", all))
	require.Equal(t, http.StatusUnauthorized, p.status(http.MethodPost, "/-/reload", all))
	require.Equal(t, http.StatusUnauthorized, p.status(http.MethodGet, "/api/v1/query?query=up", viewer))
	require.Equal(t, http.StatusOK, p.status(http.MethodGet, "/api/v1/query?query=up", newViewer))
	_, stderr, ok = s.command("ask", "what is this")
	require.True(t, ok, stderr)

	// Without the file the last key goes on.
	require.NoError(t, os.Remove(filepath.Join(dir, "key")))
	require.Equal(t, http.StatusInternalServerError, p.status(http.MethodPost, "/-/reload", newKey))
	require.Equal(t, http.StatusOK, p.status(http.MethodGet, "/api/v1/query?query=up", newKey))
	require.NoFileExists(t, filepath.Join(dir, "key"))
	log = p.stop()
	require.Contains(t, log, "only a start creates it")
	for _, secret := range []string{all, viewer, newKey, newViewer} {
		require.NotContains(t, log, secret)
		require.NotContains(t, p.greeting.String(), secret)
	}
	require.NotContains(t, log, "DATA RACE")
}

// assembled is a server with all its parts, none of which runs.
func assembled(t *testing.T, environment map[string]string) *web.Server {
	t.Helper()
	ctx := t.Context()
	inv, err := parseCommandLine([]string{"serve", "--storage.path=" + t.TempDir()}, func(name string) (string, bool) {
		v, ok := environment[name]
		return v, ok
	}, io.Discard)
	require.NoError(t, err)
	s := services{level: new(slog.LevelVar), reg: newRegistry(), parts: &background{fail: func(error) {}}}
	s.opts, err = inv.options(ctx)
	require.NoError(t, err)
	s.begin(inv, io.Discard)
	s.at = addressOf("", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5000})
	s.opts.reachedAt(s.at)
	s.db, err = tsdb.Open(s.opts.tsdb, http.NotFoundHandler(), s.reg, s.quiet)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.db.Close()) })
	require.NoError(t, s.openEvents())
	s.notification, err = openNotification(s)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.notification.Close()) })
	s.rules, err = newRules(s)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.rules.Close()) })
	s.backend, err = llm.New(s.opts.llm, s.log)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.backend.Close()) })
	s.agent, err = agent.New(s.opts.agent, s.backend, s.reg, s.log)
	require.NoError(t, err)
	t.Cleanup(s.closeAgent)
	s.health, err = newChecker(s)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.health.Close()) })
	reload := newReloader(inv, s, nil, nil)
	s.api = s.db.NewAPI(apiOptions(s, s.opts, reload))
	s.server, err = newServer(context.WithoutCancel(ctx), s, reload, false)
	require.NoError(t, err)
	return s.server
}

// TestReadOnlyKeyOnEveryRoute walks over all routes. One that is not named here needs the API key.
func TestReadOnlyKeyOnEveryRoute(t *testing.T) {
	readable := regexp.MustCompile(`^(GET|HEAD) /(|assets/\*|favicon\.(ico|svg)|docs(/.*)?|metrics|health|livez|readyz|-/healthy|-/ready|rules\.yml|openapi\.yaml|v1/agents` +
		`|api/v1/\*|api/v1/notifications/live|api/v2/\*|api/hancock/(requests|logs|events|notifications|alerts/history|alerts/outgoing)` +
		`|query|graph|targets|config|status|alerts|rules|silences|service-discovery|alertmanager-discovery|flags|tsdb-status|classic/\*|new/\*)$`)
	server := assembled(t, map[string]string{"HANCOCK_API_KEY": clientKey, "HANCOCK_READ_ONLY_KEY": viewerKey})
	routes := server.Routes()
	require.Greater(t, len(routes), 60)
	refused, answered := 0, 0
	for _, route := range routes {
		method, path, _ := strings.Cut(route, " ")
		if method == "echo_route_not_found" {
			continue
		}
		if path == "/api/hancock/logs" || path == "/api/hancock/requests" || path == "/api/v1/notifications/live" {
			continue // They need an open log or stream without end; the page of endpoints has them.
		}
		r := httptest.NewRequest(method, strings.ReplaceAll(path, "*", "x"), strings.NewReader("{}"))
		r.Header.Set("Authorization", "Bearer "+viewerKey)
		rec := httptest.NewRecorder()
		server.ServeHTTP(rec, r)
		if readable.MatchString(route) {
			require.NotContains(t, []int{http.StatusForbidden, http.StatusUnauthorized}, rec.Code, "%s: %s", route, rec.Body)
			answered++
		} else {
			require.Equal(t, http.StatusForbidden, rec.Code, "%s: %s", route, rec.Body)
			require.Contains(t, rec.Body.String(), "read-only key", route)
			refused++
		}
	}
	require.Greater(t, refused, 20)
	require.Greater(t, answered, 30)
	require.True(t, slices.Contains(routes, "POST /v1/chat"))
}
