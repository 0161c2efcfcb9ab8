package alertmanager_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/alertmanager"
)

// many are alerts of one group.
func many(n int, text string) []*notifier.Alert {
	alerts := make([]*notifier.Alert, n)
	for i := range alerts {
		alerts[i] = &notifier.Alert{
			Labels:       labels.FromStrings("alertname", "PodBroken", "severity", "critical", "pod", fmt.Sprintf("pod-%04d", i), "job", "k8s"),
			Annotations:  labels.FromStrings("summary", fmt.Sprintf("pod-%04d <b>is</b> & stays \"broken\" 磁盘 🔥", i), "description", text),
			StartsAt:     time.Now(),
			EndsAt:       time.Now().Add(time.Hour),
			GeneratorURL: "http://hancock.example:5000/graph?g0.expr=up",
		}
	}
	return alerts
}

// at returns a value within a JSON document: embeds.0.title.
func at(t *testing.T, v any, path string) string {
	t.Helper()
	for step := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[step]
		case []any:
			i, err := strconv.Atoi(step)
			require.NoError(t, err)
			v = x[i]
		}
	}
	s, ok := v.(string)
	require.True(t, ok, "%s is %T: %v", path, v, v)
	return s
}

func utf16Length(s string) int { return len(utf16.Encode([]rune(s))) }

var omittedRE = regexp.MustCompile(`(\d+) more alerts omitted|"truncatedAlerts":(\d+)`)

// A group of 1,000 alerts reaches the receivers of every kind, within the
// limits that they document, and the message says what is missing.
func TestReceiversOversizedGroup(t *testing.T) {
	const total = 1000
	type text struct {
		path string
		max  int
		size func(string) int
	}
	bytesOf := func(s string) int { return len(s) }
	tests := map[string]struct {
		body  int // bytes of the request; 0: not limited
		texts []text
	}{
		"discord":    {texts: []text{{"embeds.0.title", 256, utf16Length}, {"embeds.0.description", 4096, utf16Length}}},
		"incidentio": {body: 512 << 10},
		"jira":       {texts: []text{{"fields.summary", 255, utf16Length}, {"fields.description", 32767, utf16Length}}},
		"mattermost": {texts: []text{{"attachments.0.text", 16383, utf16Length}}},
		"msteams":    {body: 28_000},
		"msteamsv2":  {body: 28_000},
		"opsgenie":   {texts: []text{{"message", 130, utf16Length}, {"description", 15000, utf16Length}}},
		"pagerduty":  {body: 512_000, texts: []text{{"payload.summary", 1024, utf16Length}}},
		"pushover":   {texts: []text{{"title", 250, utf16Length}, {"message", 1024, utf16Length}}},
		"rocketchat": {texts: []text{{"attachments.0.text", 5000, utf16Length}}},
		"slack":      {texts: []text{{"attachments.0.title", 1024, utf16Length}, {"attachments.0.text", 40000, utf16Length}}},
		"sns":        {texts: []text{{"Message", 256 << 10, bytesOf}, {"Subject", 100, utf16Length}}},
		"telegram":   {texts: []text{{"text", 4096, utf16Length}}},
		"victorops":  {texts: []text{{"state_message", 20480, utf16Length}}},
		"webex":      {texts: []text{{"markdown", 7439, bytesOf}}},
		"webhook":    {},
		"wechat":     {texts: []text{{"text.content", 2048, bytesOf}}},
	}
	more := map[string]string{
		"slack": ", text: 'TEXT'", "telegram": ", parse_mode: HTML", "sns": ", subject: 'TEXT'",
	}
	// The default texts stay within the limits; these do not.
	bodies := map[string]string{"discord": "message", "jira": "description", "msteams": "text", "msteamsv2": "text", "opsgenie": "description"}
	for kind := range kinds {
		require.Contains(t, tests, kind)
	}
	alerts := many(total, strings.Repeat("The description of a pod <in> & out. 磁盘 🔥\n", 10))
	type variant struct{ kind, name, text string }
	var variants []variant
	const list = `{{ range .Alerts }}{{ .Labels.pod }} {{ .Annotations.summary }}{{ "\n" }}{{ end }}`
	for kind := range tests {
		variants = append(variants, variant{kind, kind, list})
		if strings.Contains(kinds[kind], "message: 'TEXT'") && kind != "opsgenie" || strings.Contains(kinds[kind], "text: 'TEXT'") ||
			more[kind] != "" || !strings.Contains(kinds[kind], "TEXT") {
			continue
		}
		variants[len(variants)-1].name += ", all in the title, too"
		variants = append(variants, variant{kind, kind, "{{ .CommonLabels.alertname }}"})
	}
	for _, v := range variants {
		kind, test := v.kind, tests[v.kind]
		t.Run(v.name, func(t *testing.T) {
			server := newReceiver(t, yes(kind))
			fields := strings.Replace(kinds[kind], ", parse_mode: ''", "", 1)
			config := "  " + kind + "_configs:\n  - " + strings.TrimSuffix(fields, "}") + more[kind] + ", send_resolved: true}"
			if field := bodies[kind]; field != "" {
				config = strings.TrimSuffix(config, "}") + ", " + field + `: '{{ template "__text_alert_list" .Alerts }}'}`
			}
			if kind == "pushover" {
				config = "  pushover_configs:\n  - {token: token-of-pushover, user_key: u, title: 'TEXT', http_config: " + pushoverAt(t, server) + "}"
			}
			if kind == "webhook" { // that of the kinds has a payload of its own
				config = "  webhook_configs: [{url: URL}]"
			}
			config = strings.ReplaceAll(config, "TEXT", v.text)
			if kind == "sns" {
				config = strings.ReplaceAll(config, "{{ .Annotations.summary }}", "{{ .Annotations.summary }} {{ .Annotations.description }}")
			}
			s := newStation(t, oneReceiver(quickly, config, server.URL))
			s.Send(alerts...)
			a := s.attempt(t, "all of them", func(a alertmanager.Attempt) bool { return a.AlertsTotal == total })
			require.Equal(t, "ok", a.Outcome, a.Error)
			require.Empty(t, a.FailedFields)
			require.NoError(t, s.Close())

			var last delivery
			for len(server.calls) > 0 {
				if c := server.next(t); !strings.HasSuffix(c.path, "/search") && !strings.HasSuffix(c.path, "/gettoken") {
					last = c
				}
			}
			sent := parts(t, kind, last)
			require.True(t, utf8.Valid(last.body))
			if test.body > 0 {
				require.LessOrEqual(t, len(last.body), test.body)
				require.Greater(t, len(last.body), test.body*8/10, "no more is left out than must be")
			}
			for _, part := range test.texts {
				got := at(t, sent, part.path)
				require.LessOrEqual(t, part.size(got), part.max, part.path)
				require.True(t, utf8.ValidString(got))
				require.NotContains(t, got, "\ufffd")
			}
			included := total
			if kind == "webhook" {
				require.Empty(t, a.TruncatedFields)
			} else {
				require.NotEmpty(t, a.TruncatedFields)
				notes := omittedRE.FindAllStringSubmatch(string(last.body)+last.query, -1)
				if kind == "pushover" {
					notes = omittedRE.FindAllStringSubmatch(at(t, sent, "title")+at(t, sent, "message"), -1)
				}
				if kind == "sns" {
					notes = omittedRE.FindAllStringSubmatch(at(t, sent, "Message"), -1)
				}
				require.NotEmpty(t, notes)
				numbers := map[string]bool{}
				for _, m := range notes {
					numbers[m[1]+m[2]] = true
				}
				require.Contains(t, numbers, strconv.Itoa(a.AlertsOmitted), "the ledger has the same number")
				included = total - a.AlertsOmitted
				require.Positive(t, included)
			}
			var limits strings.Builder
			for _, part := range test.texts {
				fmt.Fprintf(&limits, "; %s %d of %d", part.path, part.size(at(t, sent, part.path)), part.max)
			}
			t.Logf("%d bytes of %d%s; %d of %d alerts, %.0f ms", len(last.body)+len(last.query), test.body, &limits, included, total, a.DurationMS)
		})
	}
}

// parts are the texts of a message, whatever its form is.
func parts(t *testing.T, kind string, c delivery) any {
	t.Helper()
	form := string(c.body)
	switch kind {
	case "pushover":
		form = c.query
	case "sns":
	default:
		var v any
		require.NoError(t, json.Unmarshal(c.body, &v))
		return v
	}
	values, err := url.ParseQuery(form)
	require.NoError(t, err)
	m := map[string]any{}
	for name := range values {
		m[name] = values.Get(name)
	}
	return m
}

// pushoverAt is an HTTP configuration with which what goes to Pushover's
// address reaches a receiver: through a proxy, to a server with its name.
func pushoverAt(t *testing.T, server *receiver) string {
	t.Helper()
	ca := newAuthority(t)
	pushover := httptest.NewUnstartedServer(server.Config.Handler)
	pushover.TLS = ca.server(t, "api.pushover.net")
	pushover.StartTLS()
	t.Cleanup(pushover.Close)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		to, err := net.Dial("tcp", pushover.Listener.Addr().String())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer to.Close()
		w.WriteHeader(http.StatusOK)
		from, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer from.Close()
		go func() {
			_, _ = io.Copy(to, buffered)
			_ = to.(*net.TCPConn).CloseWrite()
		}()
		_, _ = io.Copy(from, to)
	}))
	t.Cleanup(proxy.Close)
	return "{proxy_url: '" + proxy.URL + "', tls_config: {ca_file: '" + ca.file + "'}}"
}

// A mail is as large as mail servers take it, and its HTML stays whole.
func TestReceiversOversizedMail(t *testing.T) {
	ca := newAuthority(t)
	office := newPostOffice(t, ca.server(t, "127.0.0.1"), false)
	// A mail of this size takes its time, which group_interval bounds.
	s := newStation(t, mailTo("  group_by: [alertname]\n  group_wait: 5s\n  group_interval: 1h", office.address, mailPassword, strings.Join([]string{
		`    html: '<html><body><h1>{{ len .Alerts }} alerts</h1>{{ range .Alerts }}<p>{{ .Labels.pod }} {{ .Annotations.description }}</p>{{ end }}</body></html>'`,
		`    headers: {Subject: '{{ range .Alerts }}{{ .Labels.pod }} {{ end }}'}`,
		"    tls_config: {ca_file: " + ca.file + "}",
	}, "\n")), func(o *alertmanager.Options) { o.AttemptTimeout = 10 * time.Minute })
	const total = 500
	s.Send(many(total, strings.Repeat("<&x ä\n", 2000))...)
	a := s.attempt(t, "all of them", func(a alertmanager.Attempt) bool { return a.AlertsTotal == total })
	require.Equal(t, "ok", a.Outcome, a.Error)
	require.NoError(t, s.Close())
	var l letter
	for len(office.letters) > 0 {
		l = next(t, office.letters)
	}
	t.Logf("%d bytes sent, %d alerts, %.0f ms", l.size, total-a.AlertsOmitted, a.DurationMS)
	require.Equal(t, []string{"headers.Subject", "html"}, a.TruncatedFields)
	require.Less(t, l.size, 10_240_000)
	require.Greater(t, l.size, 8_000_000)
	require.Contains(t, l.message.Header.Get("Subject"), "pod-0000")
	require.LessOrEqual(t, len(l.message.Header.Get("Subject")), 3000)
	require.Equal(t, strings.Count(l.html, "<p>"), strings.Count(l.html, "</p>"))
	require.Regexp(t, `<p>… \d+ more alerts omitted</p></body></html>$`, l.html)
}

// What is refused as too large all the same is sent once more at half its
// size; a receiver that refuses that, too, is left alone until something changes.
func TestReceiversThatRefuseTheSize(t *testing.T) {
	for name, test := range map[string]struct {
		kind   string
		refuse answer
	}{
		"teams, 413":                 {"msteamsv2", answer{status: http.StatusRequestEntityTooLarge, body: "too large"}},
		"discord, 400":               {"discord", answer{status: http.StatusBadRequest, body: `{"content": ["Must be 2000 or fewer in length."]}`}},
		"slack, 200":                 {"slack", answer{status: http.StatusOK, contentType: "application/json", body: `{"ok":false,"error":"msg_too_long"}`}},
		"telegram, 400":              {"telegram", answer{status: http.StatusBadRequest, contentType: "application/json", body: `{"ok":false,"error_code":400,"description":"Bad Request: message is too long"}`}},
		"webhook without a template": {"webhook", answer{status: http.StatusRequestEntityTooLarge}},
		"webhook with a payload":     {"payload", answer{status: http.StatusRequestEntityTooLarge}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kind, fields := test.kind, kinds[test.kind]
			switch kind {
			case "webhook":
				fields = "{url: URL}"
			case "payload":
				kind, fields = "webhook", kinds["webhook"]
			}
			text := `{{ range .Alerts }}{{ .Annotations.summary }} {{ end }}`
			config := strings.ReplaceAll("  "+kind+"_configs:\n  - "+fields, "TEXT", text)
			const total = 40
			// The route waits for all of them, as they have just begun.
			whole := func(s *station) alertmanager.Attempt {
				s.Send(many(total, "d")...)
				return s.attempt(t, "all of them", func(a alertmanager.Attempt) bool { return a.AlertsTotal == total })
			}

			once := newReceiver(t, test.refuse, yes(kind))
			s := newStation(t, oneReceiver("  group_by: [alertname]\n  group_wait: 5s\n  group_interval: 1h", config, once.URL))
			a := whole(s)
			require.Equal(t, "ok", a.Outcome, a.Error)
			require.Positive(t, a.AlertsOmitted)
			first, second := once.next(t), once.next(t)
			require.Less(t, len(second.body), len(first.body))
			require.Regexp(t, omittedRE, string(second.body))

			always := newReceiver(t, test.refuse)
			s = newStation(t, oneReceiver("  group_by: [alertname]\n  group_wait: 5s\n  group_interval: 50ms\n  repeat_interval: 1h", config, always.URL))
			a = whole(s)
			require.Equal(t, "failed", a.Outcome)
			require.False(t, a.Retry)
			require.Contains(t, a.Error, "refuses the message as too large")
			always.next(t)
			always.next(t)
			// The next turn of the group passes it by, and logs it as sent.
			require.Eventually(t, func() bool {
				w := httptest.NewRecorder()
				s.API().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v2/alerts/groups", nil))
				return w.Code == http.StatusOK && strings.Count(s.journal.String(), "oversized notification not repeated") == 1
			}, patience, 10*time.Millisecond)
			require.Empty(t, always.calls)

			// Another alert is another message.
			s.Send(alertOf("PodBroken", "critical"))
			a = s.attempt(t, "one more", func(a alertmanager.Attempt) bool { return a.AlertsTotal == total+1 })
			require.Contains(t, a.Error, "refuses the message as too large")
			require.NotEmpty(t, bytes.TrimSpace(always.next(t).body))
		})
	}
}
