package alertmanager_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
)

const unnotified = `
route: {receiver: nobody, group_by: [alertname], group_wait: 10ms, group_interval: 50ms}
receivers: [{name: nobody}]
`

// ask sends one request and reads the whole answer.
func ask(t *testing.T, method, address, body string) (status int, answer string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	require.NoError(t, err)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(text)
}

// serve is the station's routes on a real socket, as the process has them.
func serve(t *testing.T, s *station) string {
	t.Helper()
	e := echo.New()
	s.Register(e)
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	return server.URL
}

// What Grafana's Alertmanager data source asks, in its order: the test of the
// data source, then the pages of alerts, groups, silences and contact points.
func TestGrafana(t *testing.T) {
	t.Parallel()
	s := newStation(t, unnotified)
	address := serve(t, s)
	s.Send(alertOf("HancockDown", "critical"))
	get := func(path string, into any) {
		t.Helper()
		status, body := ask(t, http.MethodGet, address+path, "")
		require.Equal(t, http.StatusOK, status, "%s: %s", path, body)
		require.NoError(t, json.Unmarshal([]byte(body), into), "%s: %s", path, body)
	}
	// An Alertmanager of Mimir would answer here; ours is Prometheus'.
	code, _ := ask(t, http.MethodGet, address+"/alertmanager/api/v2/status", "")
	require.Equal(t, http.StatusNotFound, code)
	var status struct {
		Cluster struct{ Status string }
		Config  struct{ Original string }
		Uptime  time.Time
	}
	get("/api/v2/status", &status)
	require.Equal(t, "disabled", status.Cluster.Status)
	require.Contains(t, status.Config.Original, "receiver: nobody")
	require.WithinDuration(t, time.Now(), status.Uptime, time.Minute)

	type alert struct {
		Fingerprint string
		Labels      map[string]string
		Status      struct {
			State      string
			SilencedBy []string
		}
	}
	var groups []struct {
		Labels   map[string]string
		Receiver struct{ Name string }
		Alerts   []alert
	}
	require.Eventually(t, func() bool { // the dispatcher takes it up
		get("/api/v2/alerts/groups?silenced=true&inhibited=true&active=true", &groups)
		return len(groups) == 1
	}, patience, 10*time.Millisecond)
	require.Equal(t, map[string]string{"alertname": "HancockDown"}, groups[0].Labels)
	require.Equal(t, "nobody", groups[0].Receiver.Name)
	var alerts []alert
	get("/api/v2/alerts?filter="+url.QueryEscape(`severity=~"crit.*"`)+"&silenced=true&active=true&inhibited=true", &alerts)
	require.Len(t, alerts, 1)
	require.Equal(t, "active", alerts[0].Status.State)
	get("/api/v2/alerts?filter="+url.QueryEscape(`severity="info"`), &alerts)
	require.Empty(t, alerts)
	var receivers []struct{ Name string }
	get("/api/v2/receivers", &receivers)
	require.Len(t, receivers, 1)

	var made struct{ SilenceID string }
	silence := `{"matchers":[{"name":"alertname","value":"HancockDown","isRegex":false,"isEqual":true}],` +
		`"startsAt":"` + time.Now().UTC().Format(time.RFC3339Nano) + `","endsAt":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano) +
		`","createdBy":"grafana","comment":"known"}`
	code, body := ask(t, http.MethodPost, address+"/api/v2/silences", silence)
	require.Equal(t, http.StatusOK, code, "%s", body)
	require.NoError(t, json.Unmarshal([]byte(body), &made))
	var silences []struct {
		ID     string
		Status struct{ State string }
	}
	get("/api/v2/silences", &silences)
	require.Len(t, silences, 1)
	require.Equal(t, made.SilenceID, silences[0].ID)
	get("/api/v2/alerts?silenced=true", &alerts)
	require.Len(t, alerts, 1)
	code, _ = ask(t, http.MethodDelete, address+"/api/v2/silence/"+made.SilenceID, "")
	require.Equal(t, http.StatusOK, code)
	get("/api/v2/silences", &silences)
	require.Equal(t, "expired", silences[0].Status.State)
}

// amtool builds Alertmanager's own tool: the way in which this test was built,
// so that most of it is compiled already.
func amtool(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "amtool")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program)
	build.Dir = filepath.Join("..", "..", "tools", "amtool")
	build.Env = os.Environ()
	info, ok := debug.ReadBuildInfo()
	require.True(t, ok)
	for _, setting := range info.Settings {
		switch setting.Key {
		case "-race":
			build.Args = append(build.Args, "-race")
		case "CGO_ENABLED":
			build.Env = append(build.Env, "CGO_ENABLED="+setting.Value)
		}
	}
	build.Args = append(build.Args, "github.com/prometheus/alertmanager/cmd/amtool")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return program
}

func TestAmtool(t *testing.T) {
	t.Parallel()
	program := amtool(t)
	pager := newReceiver(t)
	s := newStation(t, lines(
		"route:",
		"  receiver: nobody", quickly,
		"  routes: [{matchers: [severity=critical], receiver: pager}, {matchers: [severity=none], receiver: hook}]",
		"receivers:",
		"- name: nobody",
		"- name: pager",
		"  pagerduty_configs: [{url: "+pager.URL+", routing_key: 0123456789abcdef0123456789abcdef}]",
		"- name: hook",
		"  webhook_configs: [{url: "+refusing+"/hook}]",
	))
	address := serve(t, s)
	run := func(args ...string) string {
		t.Helper()
		c := exec.CommandContext(t.Context(), program, append(args, "--alertmanager.url="+address)...)
		// A program with the race detector sleeps for a second at its end.
		c.Env = append(os.Environ(), "HOME="+t.TempDir(), "GORACE=atexit_sleep_ms=0")
		out, err := c.CombinedOutput()
		require.NoError(t, err, "amtool %s: %s", strings.Join(args, " "), out)
		return string(out)
	}
	s.Send(alertOf("HancockSlow", "warning"))
	run("alert", "add", "alertname=FromTheCommandLine", "severity=critical", "--annotation=summary=made by hand")
	require.Contains(t, pager.next(t).decode(t)["payload"].(map[string]any)["summary"], "FromTheCommandLine")
	list := run("alert", "query")
	require.Contains(t, list, "HancockSlow")
	require.Contains(t, list, "made by hand")
	require.NotContains(t, run("alert", "query", "severity=critical"), "HancockSlow")

	id := strings.TrimSpace(run("silence", "add", "alertname=HancockSlow", "--author=operator", "--comment=known", "--duration=2h"))
	require.Regexp(t, `^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`, id)
	require.Contains(t, run("silence", "query"), id)
	require.Eventually(t, func() bool { return !strings.Contains(run("alert", "query", "--active"), "HancockSlow") }, patience, 10*time.Millisecond)
	require.Contains(t, run("alert", "query", "--silenced"), "HancockSlow")
	require.Contains(t, run("silence", "update", "--comment=still known", "--duration=3h", id), id)
	require.Contains(t, run("silence", "query", "--id="+id), "still known")
	run("silence", "expire", id)
	require.NotContains(t, run("silence", "query"), id)
	require.Contains(t, run("silence", "query", "--expired"), id)
	require.Contains(t, run("alert", "query", "--active"), "HancockSlow")

	shown := run("config", "show")
	require.Contains(t, shown, "receiver: pager")
	require.NotContains(t, shown, "0123456789abcdef")
	// Older programs do not know the fields of newer configurations, nor masked addresses of webhooks.
	require.Contains(t, run("config", "routes"), `{severity="critical"}  receiver: pager`)
	require.Contains(t, run("config", "routes", "show"), "receiver: nobody")
	require.Contains(t, run("config", "routes", "test", "severity=critical"), "pager")
	require.Contains(t, run("cluster", "show"), "disabled")
	require.Contains(t, run("check-config", filepath.Join("..", "..", "docs", "alertmanager.example.yml")), "SUCCESS")
}

// amtool and what is embedded are of one version.
func TestAmtoolVersion(t *testing.T) {
	t.Parallel()
	version := func(path ...string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(path...))
		require.NoError(t, err)
		found := regexp.MustCompile(`(?m)^\s*(?:require )?github\.com/prometheus/alertmanager (v\S+)`).FindSubmatch(text)
		require.NotNil(t, found)
		return string(found[1])
	}
	embedded := version("..", "..", "go.mod")
	require.Equal(t, embedded, version("..", "..", "tools", "amtool", "go.mod"))
	docs, err := os.ReadFile(filepath.Join("..", "..", "docs", "alerting.md"))
	require.NoError(t, err)
	require.Contains(t, string(docs), "Use "+strings.Join(strings.Split(strings.TrimPrefix(embedded, "v"), ".")[:2], ".")+" for it, the version of the embedded")
}
