package alertmanager_test

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/alertmanager"
)

// everything is one group, whose messages follow each other at once while alerts are added to it.
const everything = `
  group_by: []
  group_wait: 10ms
  group_interval: 50ms
  repeat_interval: 4h
`

// richAlert has everything that a default text shows.
func richAlert(name, instance string) *notifier.Alert {
	return &notifier.Alert{
		Labels: labels.FromStrings("alertname", name, "instance", instance, "job", "hancock", "severity", "critical", "zone", "a b"),
		Annotations: labels.FromStrings("summary", "7.3% of the requests fail", "description", "Over 5 minutes requests failed.\nThe log says why.",
			"runbook_url", "https://hancock.example/docs/runbooks/"+name),
		StartsAt: time.Now().Add(-time.Minute), EndsAt: time.Now().Add(time.Hour),
		GeneratorURL: "http://hancock.example:5000/graph?g0.expr=up&g0.tab=1",
	}
}

// defaultOf is a configuration of one integration without texts of its own.
func defaultOf(kind, address, route string) string {
	fields := regexp.MustCompile(`, \w+: 'TEXT'`).ReplaceAllString(kinds[kind], "")
	return oneReceiver(route, "  "+kind+"_configs:\n  - "+fields, address)
}

// texted are the kinds whose messages are texts; the others send the alerts as data.
func texted() (all []string) {
	for kind, fields := range kinds {
		if strings.Contains(fields, "TEXT") && kind != "webhook" {
			all = append(all, kind)
		}
	}
	slices.Sort(all)
	return all
}

// received sends alerts through the real integration of a kind and returns all texts that its server got.
func received(t *testing.T, kind, text string, server *receiver, alerts ...*notifier.Alert) string {
	t.Helper()
	s := newStation(t, text)
	s.Send(alerts...)
	a := s.attempt(t, "the message about all", func(a alertmanager.Attempt) bool { return a.AlertsTotal == len(alerts) })
	require.Equal(t, "ok", a.Outcome, a.Error)
	require.NoError(t, s.Close())
	var b strings.Builder
	for len(server.calls) > 0 {
		body := server.next(t).body
		if len(alerts) > 1 {
			b.Reset() // Those before are about fewer alerts.
		}
		var v any
		if json.Unmarshal(body, &v) == nil {
			flatten(&b, v)
		} else if form, err := url.ParseQuery(string(body)); err == nil {
			for _, values := range form {
				fmt.Fprintln(&b, strings.Join(values, "\n"))
			}
		}
	}
	if kind == "slack" || kind == "telegram" {
		return b.String()
	}
	// Markdown's escapes are of no interest but to their own test.
	return strings.NewReplacer(`\_`, "_", `\[`, "[").Replace(b.String())
}

func flatten(b *strings.Builder, v any) {
	switch x := v.(type) {
	case string:
		fmt.Fprintln(b, x)
	case []any:
		for _, v := range x {
			flatten(b, v)
		}
	case map[string]any:
		for name, v := range x {
			fmt.Fprintln(b, name)
			flatten(b, v)
		}
	}
}

func serverOf(t *testing.T, kind string) *receiver {
	t.Helper()
	if kind == "sns" {
		return newReceiver(t, answer{
			status: http.StatusOK, contentType: "text/xml",
			body: `<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>`,
		})
	}
	return newReceiver(t, agreed)
}

// Each kind says what happened, to what, since when, and where to read on, without any text in the configuration.
func TestDefaultTexts(t *testing.T) {
	t.Parallel()
	for _, kind := range texted() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			server := serverOf(t, kind)
			got := received(t, kind, defaultOf(kind, server.URL, once), server, richAlert("HancockHighErrorRate", "a:5000"))
			require.Contains(t, got, "[FIRING:1] HancockHighErrorRate: 7.3% of the requests fail")
			require.Contains(t, got, "Over 5 minutes requests failed.")
			require.Contains(t, got, "The log says why.")
			require.Contains(t, got, "https://hancock.example/docs/runbooks/HancockHighErrorRate")
			require.Contains(t, got, "http://hancock.example:5000/graph?g0.expr=up")
			if kind != "pagerduty" { // whose custom details are the alerts as they are
				require.Regexp(t, `Firing since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC`, got)
				require.Contains(t, got, "instance=a:5000, job=hancock, severity=critical, zone=a b")
				require.Contains(t, got, "http://hancock.example:5000/#/silences/new?filter=%7Balertname%3D%22HancockHighErrorRate%22%2C"+
					"instance%3D%22a%3A5000%22%2Cjob%3D%22hancock%22%2Cseverity%3D%22critical%22%2Czone%3D%22a%20b%22%7D")
			}
		})
	}
}

// An alert that somebody has posted may have no annotations, no name, and no address.
func TestDefaultTextsOfBareAlerts(t *testing.T) {
	t.Parallel()
	for _, kind := range texted() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			server := serverOf(t, kind)
			got := received(t, kind, defaultOf(kind, server.URL, once), server, &notifier.Alert{
				Labels: labels.FromStrings("host", "db1", "check", "disk"), StartsAt: time.Now(), EndsAt: time.Now().Add(time.Hour),
			})
			require.Contains(t, got, "[FIRING:1] Alert (disk db1)")
			for _, empty := range []string{"Runbook:", "Source:", "[Runbook]", "|Runbook>", "<no value>", "()", "<|"} {
				require.NotContains(t, got, empty)
			}
		})
	}
}

// What annotations hold is text, whatever the client would make of it.
func TestDefaultTextsAreEscaped(t *testing.T) {
	t.Parallel()
	hostile := richAlert("Hostile", "a:5000")
	hostile.Annotations = labels.FromStrings("summary", "<!channel> A & B", "description",
		"<@U123> @everyone <https://evil.example|click> [click](https://evil.example) *bold* `code` <b>x</b>\n# head\n_em_ my_metric_total",
		"runbook_url", "javascript:alert(1)")
	hostile.GeneratorURL = "http://x.example/a|b(c)?d=<e>&f"
	for kind, tt := range map[string]struct{ want, not []string }{
		"slack": {
			[]string{"&lt;!channel&gt; A &amp; B", "&lt;@U123&gt;", "&lt;https://evil.example|click&gt;", "<http://x.example/a%7Cb%28c%29?d=%3Ce%3E&amp;f|Source>", "Runbook: javascript:alert(1)"},
			[]string{"<!channel>", "<@U123>", "<https://evil"},
		},
		"msteamsv2": {
			[]string{`\<!channel> A & B`, `]\(https://evil.example)`, `\*bold\*`, "\\`code\\`", `\<b>`, "\n\\# head", "_em_ my_metric_total", "(http://x.example/a%7Cb%28c%29?d=%3Ce%3E&f)", "@\u200beveryone"},
			[]string{"](https://evil", "](javascript", "@everyone", "\n# head"},
		},
		"discord":    {[]string{`\<@U123>`, "@\u200beveryone"}, []string{"](https://evil", "@everyone"}},
		"mattermost": {[]string{`\<!channel>`, "@\u200beveryone"}, []string{"](https://evil", "@everyone"}},
		"telegram":   {[]string{"<!channel> A & B", "<b>x</b>"}, nil}, // in plain text, as kinds has it
		"pagerduty":  {[]string{"<!channel> A & B"}, []string{"&lt;"}},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			server := serverOf(t, kind)
			got := received(t, kind, defaultOf(kind, server.URL, once), server, hostile)
			for _, want := range tt.want {
				require.Contains(t, got, want)
			}
			for _, not := range tt.not {
				require.NotContains(t, got, not)
			}
		})
	}
	t.Run("telegram's HTML", func(t *testing.T) {
		t.Parallel()
		server := serverOf(t, "telegram")
		text := strings.Replace(defaultOf("telegram", server.URL, once), ", parse_mode: ''", "", 1)
		got := received(t, "telegram", text, server, hostile)
		require.Contains(t, got, "&lt;!channel&gt; A &amp; B")
		require.NotContains(t, got, "<b>")
	})
}

// A group is listed: the first alerts in full, more by their titles, the rest by their number. It stays within what
// the receiver takes.
func TestDefaultTextsOfGroups(t *testing.T) {
	t.Parallel()
	limits := map[string]int{"discord": 4096, "mattermost": 16383, "msteams": 28 << 10, "msteamsv2": 28 << 10, "telegram": 4096, "webex": 7439, "wechat": 2048}
	for _, kind := range texted() {
		for _, n := range []int{3, 400} {
			t.Run(fmt.Sprintf("%s %d", kind, n), func(t *testing.T) {
				t.Parallel()
				server := serverOf(t, kind)
				var alerts []*notifier.Alert
				for i := range n {
					a := richAlert(fmt.Sprintf("Alert%03d", i), "a:5000")
					a.StartsAt = a.StartsAt.Add(time.Duration(i) * time.Millisecond)
					alerts = append(alerts, a)
				}
				got := received(t, kind, defaultOf(kind, server.URL, everything), server, alerts...)
				require.Contains(t, got, fmt.Sprintf("[FIRING:%d] ", n))
				require.Contains(t, got, ": 7.3% of the requests fail", "they have it in common")
				if kind == "pagerduty" {
					return
				}
				for i := range min(n, 2) {
					require.Contains(t, got, fmt.Sprintf("Alert%03d: 7.3%% of the requests fail", i))
				}
				if n > 100 {
					more := regexp.MustCompile(`and (\d+) more`).FindStringSubmatch(got)
					require.NotNil(t, more, got)
					shown := regexp.MustCompile(`Alert\d\d\d: `).FindAllString(got, -1)
					require.Equal(t, strconv.Itoa(n-len(shown)), more[1])
					if limit := limits[kind]; limit > 0 {
						require.Less(t, len(got), limit, "with all else in the message")
					}
				}
			})
		}
	}
}

// The end is told as such, beside what goes on.
func TestDefaultTextsOfResolved(t *testing.T) {
	t.Parallel()
	slack := newReceiver(t, answer{status: http.StatusOK, body: "ok"})
	s := newStation(t, lines(
		"route:", "  receiver: it", "  group_by: [job]", "  group_wait: 300ms", "  group_interval: 300ms", "  repeat_interval: 1h",
		"receivers:", "- name: it",
		"  slack_configs: [{api_url: "+slack.URL+"/x, channel: '#alerts', send_resolved: true}]"))
	read := func() (title, text string) {
		t.Helper()
		a := slack.next(t).decode(t)["attachments"].([]any)[0].(map[string]any)
		return a["title"].(string), a["text"].(string)
	}
	one, two := richAlert("One", "a:5000"), richAlert("Two", "a:5000")
	s.Send(one, two)
	title, text := read()
	for !strings.Contains(title, "[FIRING:2]") { // the first one, if the machine is slow
		title, text = read()
	}
	require.Contains(t, text, "*One: 7.3% of the requests fail*\nOver 5 minutes")
	require.Contains(t, text, "*Two: 7.3% of the requests fail*\nOver 5 minutes")
	s.Send(ended(one))
	title, text = read()
	require.Contains(t, title, "[FIRING:1]")
	firing, resolved, found := strings.Cut(text, "\n*Resolved:*\n")
	require.True(t, found, text)
	require.Contains(t, firing, "*Two: ")
	require.Contains(t, firing, "Firing since ")
	require.Contains(t, resolved, "*One: ")
	require.Regexp(t, `Resolved at .* UTC after \d`, resolved)
	s.Send(ended(two))
	title, text = read()
	require.Contains(t, title, "[RESOLVED] ")
	require.Contains(t, text, "Resolved at ")
	require.NotContains(t, text, "Firing since")
}

// Texts of the configuration, and templates of the user, take the place of the default ones.
func TestDefaultTextsGiveWay(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "own.tmpl")
	require.NoError(t, os.WriteFile(file, []byte(`{{ define "slack.default.text" }}own of {{ .CommonLabels.alertname }}{{ end }}{{ define "hancock.slack.alert" }}part{{ end }}`), 0o600))
	for name, tt := range map[string]struct{ fields, templates, title, text string }{
		"a text":            {`text: 'mine', title: 'my title'`, "", "my title", "mine"},
		"an empty text":     {`text: ''`, "", "[FIRING:1] X: 7.3% of the requests fail", ""},
		"a template":        {``, file, "[FIRING:1] X: 7.3% of the requests fail", "own of X"},
		"another's subject": {`title: '{{ template "__subject" . }}', text: 'x'`, "", "[FIRING:1] X (a:5000 hancock critical a b)", "x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			slack := newReceiver(t, answer{status: http.StatusOK, body: "ok"})
			text := oneReceiver(once, "  slack_configs:\n  - {api_url: URL/x, channel: '#a', "+tt.fields+"}", slack.URL)
			if tt.templates != "" {
				text += "templates: [" + tt.templates + "]\n"
			}
			s := newStation(t, text)
			s.Send(richAlert("X", "a:5000"))
			a := slack.next(t).decode(t)["attachments"].([]any)[0].(map[string]any)
			require.Equal(t, tt.title, a["title"])
			require.Equal(t, tt.text, a["text"])
		})
	}
}

// A mail has the same in HTML and in plain text, with every text escaped.
func TestDefaultTextsOfMail(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	office := newPostOffice(t, ca.server(t, "127.0.0.1"), false)
	text := mailTo(once, office.address, mailPassword, "    tls_config: {ca_file: "+ca.file+"}")
	own := regexp.MustCompile(`(?m)^    text: .*$`)
	require.Regexp(t, own, text)
	s := newStation(t, own.ReplaceAllString(text, ""))
	a := richAlert("Hostile", "a:5000")
	a.Annotations = labels.FromStrings("summary", "<script>alert(1)</script>", "description", "one < two\nand more", "runbook_url", "javascript:alert(1)")
	s.Send(a)
	l := next(t, office.letters)
	subject, err := new(mime.WordDecoder).DecodeHeader(l.message.Header.Get("Subject"))
	require.NoError(t, err)
	require.Equal(t, "[FIRING:1] Hostile: <script>alert(1)</script>", subject)
	require.Contains(t, l.html, "Hostile: &lt;script&gt;alert(1)&lt;/script&gt;")
	require.Regexp(t, `one &lt; two\r?\nand more`, l.html)
	require.Contains(t, l.html, `<a href="http://hancock.example:5000/graph?g0.expr=up&amp;g0.tab=1">Source</a>`)
	require.NotContains(t, l.html, "<script>")
	require.NotContains(t, l.html, `href="javascript`)
	for _, want := range []string{subject, "one < two", "Runbook: javascript:alert(1)", "Source: http://hancock.example:5000/graph?g0.expr=up&g0.tab=1", "Firing since "} {
		require.Contains(t, l.text, want)
	}
}
