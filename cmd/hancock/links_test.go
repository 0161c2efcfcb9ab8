package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"
)

// integrations are all kinds that can be sent to an address of one's choice, with their default texts. URL stands for
// the address, HOST for that of the mail server.
var integrations = [...]struct{ kind, fields string }{
	{"discord", "{webhook_url: URL/discord}"},
	{"email", "{to: ops@example.org, from: hancock@example.org, smarthost: HOST, require_tls: false}"},
	{"incidentio", "{url: URL/incidentio, alert_source_token: x}"},
	{"jira", "{api_url: URL/jira, project: OPS, issue_type: Bug, http_config: {basic_auth: {username: u, password: p}}}"},
	{"mattermost", "{webhook_url: URL/mattermost, channel: alerts}"},
	{"msteams", "{webhook_url: URL/msteams}"},
	{"msteamsv2", "{webhook_url: URL/msteamsv2}"},
	{"opsgenie", "{api_url: URL/opsgenie/, api_key: x}"},
	{"pagerduty", "{url: URL/pagerduty, routing_key: x}"},
	{"rocketchat", "{api_url: URL/rocketchat, token: x, token_id: x, channel: '#alerts'}"},
	{"slack", "{api_url: URL/slack, channel: '#alerts'}"},
	{"sns", "{api_url: URL/sns, sigv4: {region: eu-central-1, access_key: AKIA0, secret_key: x}, topic_arn: 'arn:aws:sns:eu-central-1:1:alerts'}"},
	{"telegram", "{api_url: URL/telegram, bot_token: '7:x', chat_id: 42}"},
	{"victorops", "{api_url: URL/victorops/, api_key: x, routing_key: team}"},
	{"webex", "{api_url: URL/webex, room_id: room, http_config: {authorization: {credentials: x}}}"},
	{"webhook", "{url: URL/webhook}"},
	{"wechat", "{api_url: URL/wechat/, api_secret: x, corp_id: corp}"},
}

// inbox takes the messages of all integrations over HTTP and SMTP and keeps every text in them.
type inbox struct {
	url, mail string
	mu        sync.Mutex
	texts     map[string][]string // by kind
}

func newInbox(t *testing.T) *inbox {
	t.Helper()
	in := &inbox{texts: map[string][]string{}}
	server := httptest.NewServer(http.HandlerFunc(in.take))
	t.Cleanup(server.Close)
	in.url = server.URL
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	in.mail = l.Addr().String()
	post := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return postman{in}, nil }))
	post.Domain = "mail.example"
	var serving sync.WaitGroup
	serving.Go(func() { _ = post.Serve(l) })
	t.Cleanup(func() {
		_ = post.Close()
		serving.Wait()
	})
	return in
}

func (in *inbox) add(kind string, texts ...string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.texts[kind] = append(in.texts[kind], texts...)
}

// take answers in a way that every integration accepts.
func (in *inbox) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	kind := strings.Split(r.URL.Path, "/")[1]
	var message any
	switch form, formErr := url.ParseQuery(string(body)); {
	case json.Unmarshal(body, &message) == nil:
		in.add(kind, stringsIn(message)...)
	case strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") && formErr == nil:
		for _, values := range form {
			in.add(kind, values...)
		}
	default:
		in.add(kind, string(body))
	}
	if kind == "sns" {
		w.Header().Set("Content-Type", "text/xml")
		_, _ = io.WriteString(w, `<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>`)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"ok":true,"success":true,"errcode":0,"access_token":"x","issues":[],"result":{"message_id":1,"date":1,"chat":{"id":42,"type":"group"}}}`)
}

// stringsIn are all texts of a JSON value.
func stringsIn(v any) []string {
	var found []string
	switch v := v.(type) {
	case string:
		var inner any // a card within a message
		if strings.HasPrefix(v, "{") && json.Unmarshal([]byte(v), &inner) == nil {
			return stringsIn(inner)
		}
		found = append(found, v)
	case []any:
		for _, e := range v {
			found = append(found, stringsIn(e)...)
		}
	case map[string]any:
		for _, e := range v {
			found = append(found, stringsIn(e)...)
		}
	}
	return found
}

// postman is one conversation with the mail server.
type postman struct{ in *inbox }

func (postman) Reset()                               {}
func (postman) Logout() error                        { return nil }
func (postman) Mail(string, *smtp.MailOptions) error { return nil }
func (postman) Rcpt(string, *smtp.RcptOptions) error { return nil }

func (p postman) Data(r io.Reader) error {
	message, err := mail.ReadMessage(r)
	if err != nil {
		return err
	}
	_, parameters, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil {
		return err
	}
	parts := multipart.NewReader(message.Body, parameters["boundary"])
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		body, err := io.ReadAll(part)
		if err != nil {
			return err
		}
		p.in.add("email", string(body))
	}
}

// links are the addresses at base in the messages of each kind, each once.
func (in *inbox) links(base string) map[string][]string {
	linkRE := regexp.MustCompile(regexp.QuoteMeta(base) + "[^\\s\"'<>|()\\[\\]{}`\\\\^]*")
	in.mu.Lock()
	defer in.mu.Unlock()
	found := map[string][]string{}
	for kind, texts := range in.texts {
		for _, text := range texts {
			for _, link := range linkRE.FindAllString(html.UnescapeString(text), -1) {
				if link = strings.TrimRight(link, ".,;:"); !slices.Contains(found[kind], link) {
					found[kind] = append(found[kind], link)
				}
			}
		}
	}
	return found
}

// linkedAlert has an expression and a receiver whose links need escaping.
const (
	linkedExpr     = `count_over_time(up{job=~"hancock|a+b c"}[1m]) > 0 unless up == 10 % 7`
	linkedReceiver = "ops & on-call (day)"
)

// linked starts a process that sends an alert to every integration. Its messages, that it fires and that it is resolved,
// are in the inbox. base is its external URL: its own address, or one behind a proxy with a prefix.
func linked(t *testing.T, behindProxy bool) (p *process, in *inbox, base string) {
	t.Helper()
	dir, model := t.TempDir(), newFakeModel(t)
	in = newInbox(t)
	rule := func(expr string) string {
		return fmt.Sprintf(`
groups:
  - name: test
    rules:
      - alert: Linked
        expr: %s
        labels: {severity: critical, "team": 'a & "b"'}
        annotations:
          summary: it is on
          description: Nobody answers at {{ $labels.instance }}.
          runbook_url: '{{ $externalURL }}/docs/runbooks/HancockNoTraffic'
`, expr)
	}
	configure(t, dir, model.url, rule(linkedExpr))
	var section strings.Builder
	fmt.Fprintf(&section, "\nalertmanager:\n  route: {receiver: %q, group_by: [alertname], group_wait: 10ms, group_interval: 1s, repeat_interval: 1h}\n", linkedReceiver)
	fmt.Fprintf(&section, "  receivers:\n    - name: %q\n", linkedReceiver)
	for _, i := range integrations {
		fields := strings.NewReplacer("URL", in.url, "HOST", in.mail).Replace(i.fields)
		fmt.Fprintf(&section, "      %s_configs: [%s]\n", i.kind, strings.Replace(fields, "{", "{send_resolved: true, ", 1))
	}
	f, err := os.OpenFile(filepath.Join(dir, "hancock.yml"), os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = f.WriteString(section.String())
	require.NoError(t, errors.Join(err, f.Close()))

	if behindProxy {
		address := reserve(t)
		proxy := httptest.NewServer(http.StripPrefix("/some/prefix", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: address})
		}}))
		t.Cleanup(proxy.Close)
		base = proxy.URL + "/some/prefix"
		p = startHancock(t, dir, "--web.listen-address="+address, "--web.external-url="+base+"/")
	} else {
		p = startHancock(t, dir)
		base = p.base
	}
	everyone := func(status string) func() bool {
		return func() bool {
			_, body := p.get("/api/hancock/notifications?limit=500&outcome=ok")
			var page struct {
				Notifications []struct {
					Kind   string
					Alerts []struct{ Status string }
				}
			}
			require.NoError(t, json.Unmarshal([]byte(body), &page), body)
			told := map[string]bool{}
			for _, n := range page.Notifications {
				told[n.Kind] = told[n.Kind] || len(n.Alerts) > 0 && n.Alerts[0].Status == status
			}
			return !slices.ContainsFunc(integrations[:], func(i struct{ kind, fields string }) bool { return !told[i.kind] })
		}
	}
	p.eventually("every integration is notified that it fires", everyone("firing"))
	p.rewrite(dir, rule("count_over_time(up[1m]) < 0"))
	p.eventually("every integration is notified that it is resolved", everyone("resolved"))
	p.rewrite(dir, rule(linkedExpr)) // the page shows it again
	return p, in, base
}

// TestLinksOfMessages follows every link to Hancock in every integration's messages.
func TestLinksOfMessages(t *testing.T) {
	t.Parallel()
	for _, behindProxy := range []bool{false, true} {
		t.Run(fmt.Sprintf("behind a proxy %t", behindProxy), func(t *testing.T) {
			t.Parallel()
			p, in, base := linked(t, behindProxy)
			byKind := in.links(base)
			answers := map[string]string{}
			for kind, links := range byKind {
				for _, link := range links {
					t.Logf("%s: %s", kind, link)
					if _, ok := answers[link]; ok {
						continue
					}
					r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, link, http.NoBody)
					require.NoError(t, err)
					resp, err := http.DefaultClient.Do(r)
					require.NoError(t, err, link)
					body, err := io.ReadAll(resp.Body)
					require.NoError(t, errors.Join(err, resp.Body.Close()))
					require.Equal(t, http.StatusOK, resp.StatusCode, link)
					require.Contains(t, resp.Header.Get("Content-Type"), "text/html", link)
					answers[link] = string(body)
				}
			}
			for _, kind := range []string{"email", "msteams", "msteamsv2", "opsgenie", "pagerduty", "slack", "webhook"} {
				require.NotEmpty(t, byKind[kind], kind)
			}
			for _, link := range []string{
				base + "/graph?g0.expr=" + url.QueryEscape(linkedExpr) + "&g0.tab=1",
				base + "/docs/runbooks/HancockNoTraffic",
				base + "/#/alerts?receiver=" + url.QueryEscape(regexp.QuoteMeta(linkedReceiver)), // an expression, in Alertmanager's own links
			} {
				require.Contains(t, slices.Collect(maps.Keys(answers)), link)
			}
			require.Contains(t, answers[base+"/docs/runbooks/HancockNoTraffic"], "<h1 id=\"hancocknotraffic\">HancockNoTraffic</h1>")
			p.stop()
		})
	}
}

// TestPathsOfPrometheus opens what Prometheus' own page has, and follows the same rules as the dashboard about who may.
func TestPathsOfPrometheus(t *testing.T) {
	t.Parallel()
	dir, model := t.TempDir(), newFakeModel(t)
	configure(t, dir, model.url, switchRule(false))
	file := filepath.Join(dir, "hancock.yml")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	secret := "prometheus: {remote_write: [{url: 'http://127.0.0.1:1/w', basic_auth: {username: u, password: of-remote-write}}], "
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(string(text), "prometheus: {", secret, 1)), 0o600))
	route(t, dir, "http://127.0.0.1:1/of-the-webhook", "10ms")
	open := startHancock(t, dir)
	paths := []string{
		"/graph", "/graph?g0.expr=up&g0.tab=1", "/query?g0.expr=up", "/alerts", "/rules", "/silences", "/targets", "/service-discovery", "/config", "/status", "/flags",
		"/tsdb-status", "/alertmanager-discovery", "/classic/graph?g0.expr=up", "/classic/targets", "/new/query", "/docs", "/docs/", "/docs/alerting", "/docs/runbooks/Watchdog",
	}
	for _, path := range paths {
		code, body := open.get(path)
		require.Equal(t, http.StatusOK, code, path)
		require.Contains(t, body, "<!doctype html>", path)
		code, _ = open.do(http.MethodPost, path, "", "")
		require.Equal(t, http.StatusMethodNotAllowed, code, path)
	}
	code, body := open.get("/docs/runbooks/Nothing")
	require.Equal(t, http.StatusNotFound, code)
	require.Contains(t, body, "HancockNoTraffic")

	// What the views of tables ask holds no secret.
	for _, path := range []string{"/api/v1/targets", "/api/v1/status/config", "/api/v1/status/flags", "/api/v1/status/runtimeinfo", "/api/v1/alertmanagers", "/api/v2/status"} {
		code, body := open.get(path)
		require.Equal(t, http.StatusOK, code, path)
		require.NotContains(t, body, "of-remote-write", path)
		require.NotContains(t, body, "of-the-webhook", path)
	}
	open.stop()

	text, err = os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(string(text), "web: {", "web: {api_key: of-the-server, ", 1)), 0o600))
	closed := startHancock(t, dir)
	for _, path := range paths {
		code, _ := closed.get(path)
		require.Equal(t, http.StatusUnauthorized, code, path)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, closed.base+path, http.NoBody)
		require.NoError(t, err)
		r.SetBasicAuth("anybody", "of-the-server")
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusOK, resp.StatusCode, path)
	}
	closed.stop()
}
