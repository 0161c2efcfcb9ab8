package alertmanager_test

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/alertmanager"
)

// quick is a configuration with one webhook, which notifies at once.
func quick(url string) string {
	return `
route: {receiver: hook, group_by: [alertname], group_wait: 10ms, group_interval: 100ms}
receivers: [{name: hook, webhook_configs: [{url: '` + url + `'}]}]
`
}

// first waits for the first attempt.
func first(t *testing.T, l *logs) alertmanager.Attempt {
	t.Helper()
	require.Eventually(t, func() bool { return len(l.attempts(t)) > 0 }, patience, 5*time.Millisecond)
	return l.attempts(t)[0]
}

func TestReceiverThatFails(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "not today", code) }
	}
	hijack := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = c.Write([]byte(answer))
				c.Close()
			}
		}
	}
	tests := map[string]struct {
		answer http.HandlerFunc
		code   int
		retry  bool
		err    string
	}{
		"500":     {status(500), 500, true, "unexpected status code 500"},
		"429":     {status(429), 429, false, "unexpected status code 429"},
		"404":     {status(404), 404, false, "not today"},
		"closes":  {hijack(""), 0, true, "EOF"},
		"garbage": {hijack("\x00\xff garbage\r\n\r\n"), 0, true, "malformed HTTP"},
		"hangs":   {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 0, true, "deadline exceeded"},
		"endless": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}, 502, true, "unexpected status code 502"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHook(t)
			h.answers(test.answer)
			text, timeout := quick(h.URL), patience
			if test.retry {
				// A notification goes on for as long as its group's interval, so the second try is one of the same.
				text = strings.Replace(text, "group_interval: 100ms", "group_interval: 5m", 1)
			}
			if name == "hangs" {
				timeout = time.Second
			}
			_, l := openSending(t, text, timeout)
			a := first(t, l)
			require.Equal(t, "failed", a.Outcome)
			require.Equal(t, test.code, a.StatusCode)
			require.Equal(t, test.retry, a.Retry)
			require.Contains(t, a.Error, test.err)
			require.LessOrEqual(t, len(a.Error), 3<<10)

			// Nothing is lost: what failed comes when the receiver is well again.
			h.answers(nil)
			require.Eventually(t, func() bool {
				all := l.attempts(t)
				return all[len(all)-1].Outcome == "ok"
			}, patience, 10*time.Millisecond)
			all := l.attempts(t)
			if test.retry {
				require.Equal(t, 2, all[1].Try, "tries are counted")
			} else {
				require.Equal(t, 1, all[1].Try, "a new flush counts anew")
			}
		})
	}
}

// openSending opens an Alertmanager and sends it an alert.
func openSending(t *testing.T, text string, timeout time.Duration) (*alertmanager.Alertmanager, *logs) {
	t.Helper()
	am, l := open(t, t.TempDir(), text, func(o *alertmanager.Options) { o.AttemptTimeout = timeout })
	am.Send(firing("alertname", "Slow"))
	return am, l
}

func TestReceiverThatIsNotThere(t *testing.T) {
	tests := map[string]struct{ url, err string }{
		"refuses":       {refusing + "/", "refused"},
		"has no name":   {nameless + "/", "dial tcp"},
		"speaks no TLS": {strings.Replace(newHook(t).URL, "http:", "https:", 1), "HTTP response to HTTPS client"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, l := openSending(t, quick(test.url), patience)
			a := first(t, l)
			require.Contains(t, a.Error, test.err)
			require.True(t, a.Retry)
			require.Zero(t, a.StatusCode)
		})
	}
}

// A mail server that accepts and says nothing: mail has no deadline of its own.
func TestMailServerThatHangs(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	conns := make(chan net.Conn, 16)
	go func() {
		defer close(conns)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns <- c
		}
	}()
	am, l := open(t, t.TempDir(), `
global: {smtp_smarthost: '`+ln.Addr().String()+`', smtp_from: a@example.org}
route: {receiver: mail, group_wait: 1ms, group_interval: 5m}
receivers: [{name: mail, email_configs: [{to: b@example.org}]}]
`, func(o *alertmanager.Options) {
		o.AttemptTimeout, o.CloseTimeout = 50*time.Millisecond, 50*time.Millisecond
	})
	am.Send(firing("alertname", "Slow"))
	// One whose time is up before there is a connection fails otherwise, and does not hang.
	failed := func(text string) func() bool {
		return func() bool {
			return slices.ContainsFunc(l.attempts(t), func(a alertmanager.Attempt) bool { return strings.Contains(a.Error, text) })
		}
	}
	require.Eventually(t, failed("did not answer in time"), patience, 10*time.Millisecond)
	require.Eventually(t, failed("earlier tries still hang"), patience, 10*time.Millisecond, "tries that hang do not pile up")
	start := time.Now()
	require.NoError(t, am.Close())
	require.Less(t, time.Since(start), patience, "the notification would go on for five minutes")
	ln.Close()
	for c := range conns {
		c.Close()
	}
}

func TestTemplateThatFails(t *testing.T) {
	tests := map[string]struct{ text, err string }{
		"unknown field":    {`{{ .NoSuchThing }}`, "NoSuchThing"},
		"unknown template": {`{{ template "nosuch" . }}`, "nosuch"},
		"endless":          {`{{ define "x" }}{{ template "x" . }}{{ end }}{{ template "x" . }}`, "maximum template depth"},
		"index":            {`{{ (index .Alerts 7).Status }}`, "index out of range"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHook(t)
			h.answers(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
			am, l := open(t, t.TempDir(), `
route: {receiver: slack, group_wait: 10ms, group_interval: 5m}
receivers: [{name: slack, slack_configs: [{api_url: '`+h.URL+`', channel: '#a', text: '`+test.text+`'}]}]
`) // with time enough: a hundred thousand calls deep takes a while
			am.Send(firing("alertname", "Slow"))
			a := first(t, l)
			require.Equal(t, "ok", a.Outcome, a.Error)
			require.Len(t, a.FailedFields, 1)
			require.Equal(t, "text", a.FailedFields[0].Field)
			require.Contains(t, a.FailedFields[0].Error, test.err)
			require.Equal(t, "slack", a.Kind)
		})
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	h := newHook(t)
	h.answers(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "you said "+r.Header.Get("Authorization")+r.Header.Get("X-Token")+" at "+r.URL.Path, http.StatusForbidden)
	})
	am, l := open(t, t.TempDir(), `
global: {victorops_api_url: 'http://user:hunter2victor@127.0.0.1:1/', victorops_api_key: hunter2key}
route:
  receiver: all
  group_wait: 10ms
receivers:
- name: all
  victorops_configs: [{routing_key: r}]
  slack_configs: [{api_url: '`+h.URL+`/services/hunter2slack', channel: '#a', send_resolved: true}]
  webhook_configs:
  - url: '`+h.URL+`/hunter2path'
    http_config:
      authorization: {credentials: hunter2auth}
      proxy_url: ''
      http_headers: {X-Token: {values: [hunter2header]}}
`)
	am.Send(firing("alertname", "Slow"))
	require.Eventually(t, func() bool {
		kinds := map[string]bool{}
		for _, a := range l.attempts(t) {
			kinds[a.Kind] = a.Error != ""
		}
		return kinds["webhook"] && kinds["slack"] && kinds["victorops"]
	}, patience, 5*time.Millisecond)
	require.NotContains(t, l.String(), "hunter2")
	w := call(am, http.MethodGet, "/api/v2/status", "")
	require.Equal(t, http.StatusOK, w.Code)
	require.Contains(t, w.Body.String(), "victorops_api_url")
	require.NotContains(t, w.Body.String(), "hunter2")
	w = call(am, http.MethodPost, alertmanager.TestPath, "")
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.Contains(t, w.Body.String(), "you said")
	require.NotContains(t, w.Body.String(), "hunter2")
}

// A reload does not wait for a receiver that hangs longer than it must.
func TestReloadPastAReceiverThatHangs(t *testing.T) {
	h, well := newHook(t), newHook(t)
	begun := make(chan struct{}, 100)
	h.answers(func(_ http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-r.Context().Done()
	})
	text := strings.Replace(quick(h.URL), "group_interval: 100ms", "group_interval: 5m", 1)
	am, l := open(t, t.TempDir(), text, func(o *alertmanager.Options) {
		o.CloseTimeout, o.AttemptTimeout = 50*time.Millisecond, 5*time.Minute
	})
	am.Send(firing("alertname", "Slow"))
	<-begun
	start := time.Now()
	require.NoError(t, reload(am, load(t, quick(well.URL))))
	require.Less(t, time.Since(start), patience, "the try would go on for five minutes")
	// The new one does not wait until the old one has told of its end.
	require.Eventually(t, func() bool {
		return slices.ContainsFunc(l.attempts(t), func(a alertmanager.Attempt) bool { return strings.Contains(a.Error, "canceled") })
	}, patience, 5*time.Millisecond)
	require.Equal(t, "Slow", well.next(t).GroupLabels["alertname"], "what was not sent is sent by the new configuration")
}
