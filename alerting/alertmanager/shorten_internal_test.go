package alertmanager

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/template"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

// composerOf is of one integration, written as in a configuration.
func composerOf(t testing.TB, kind, integration, files string) (*composer, context.Context) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ours.tmpl")
	require.NoError(t, os.WriteFile(name, []byte(files), 0o600))
	c, err := config.Load("global: {smtp_smarthost: 'localhost:25', smtp_from: h@example.org}\nroute: {receiver: r}\n" +
		"receivers: [{name: r, " + kind + "_configs: [" + integration + "]}]")
	require.NoError(t, err)
	tmpl, err := template.FromGlobs([]string{name})
	require.NoError(t, err)
	builtin, err := template.FromGlobs(nil)
	require.NoError(t, err)
	tmpl.ExternalURL = &url.URL{Scheme: "http", Host: "h"}
	i := notify.NewIntegration(nil, broken(nil), kind, 0, "r")
	ctx := notify.WithGroupKey(notify.WithReceiverName(t.Context(), "r"), "g")
	ctx = notify.WithNotificationReason(notify.WithGroupLabels(ctx, model.LabelSet{"alertname": "A"}), notify.ReasonFirstNotification)
	return newComposer(&i, configOf(&i, c.Receivers[0]), tmpl, builtin), ctx
}

// someAlerts are the resolved ones first.
func someAlerts(resolved, firing int, text string) []*alert.Alert {
	alerts := make([]*alert.Alert, resolved+firing)
	for i := range alerts {
		end := time.Now().Add(time.Hour)
		if i < resolved {
			end = time.Now().Add(-time.Minute)
		}
		alerts[i] = &alert.Alert{Alert: model.Alert{
			Labels:      model.LabelSet{"alertname": "A", "n": model.LabelValue(fmt.Sprintf("n%03d", i))},
			Annotations: model.LabelSet{"text": model.LabelValue(text)}, StartsAt: time.Now().Add(-time.Hour), EndsAt: end,
		}}
	}
	return alerts
}

func textOf(t *testing.T, d *draft, path string) string {
	t.Helper()
	for _, r := range d.fields {
		if r.path == path {
			return r.text
		}
	}
	require.FailNow(t, "no field "+path)
	return ""
}

func TestComposeShortens(t *testing.T) {
	const each = `{{ range .Alerts }}{{ .Status }} {{ .Labels.n }} {{ .Annotations.text }}{{ "\n" }}{{ end }}`
	for name, test := range map[string]struct {
		kind, integration, path string
		alerts                  []*alert.Alert
		want                    string // an expression for all of the text
		omitted                 int
	}{
		"firing ones first": {
			"webex", "{room_id: x, http_config: {authorization: {credentials: c}}, message: '" + each + "'}", "message",
			someAlerts(50, 50, strings.Repeat("x", 200)), `(?s)^firing n050 .*firing n0[7-9]\d x+\n… \d+ more alerts omitted$`, 66,
		},
		"resolved ones after them": {
			"discord", "{webhook_url: 'http://x', message: '" + each + "'}", "message",
			someAlerts(50, 2, strings.Repeat("x", 200)), `(?s)^firing n050 .*firing n051 .*resolved n000 .*\n… 34 more alerts omitted$`, 34,
		},
		"one alert is too much": {
			"discord", "{webhook_url: 'http://x', message: '" + each + "'}", "message",
			someAlerts(0, 3, strings.Repeat("磁🔥", 3000)), `(?s)^firing n000 (磁🔥)+磁? … text truncated, 2 more alerts omitted$`, 2,
		},
		"a text that lists no alerts": {
			"discord", "{webhook_url: 'http://x', message: '{{ .CommonAnnotations.text }}'}", "message",
			someAlerts(0, 3, strings.Repeat("ä", 9000)), `^ä+ … text truncated$`, 0,
		},
		"a title that counts them": {
			"slack", "{api_url: 'http://x', title: '{{ len .Alerts }} {{ .CommonAnnotations.text }}'}", "title",
			someAlerts(0, 30, strings.Repeat("ä", 9000)), `^30 ä+ … text truncated$`, 0,
		},
		"one of two": {
			"victorops", "{api_key: k, routing_key: r, state_message: '" + each + "'}", "state_message",
			someAlerts(0, 2, strings.Repeat("x", 11_000)), `(?s)^firing n000 x+\n?… 1 more alert omitted$|^firing n000 x+ … 1 more alert omitted$`, 1,
		},
		"HTML of Telegram, by alerts": {
			"telegram", `{bot_token: t, chat_id: 1, message: '{{ range .Alerts }}<b>{{ .Labels.n }}</b> {{ .Annotations.text }}{{ "\n" }}{{ end }}'}`,
			"message", someAlerts(0, 100, strings.Repeat("<&>", 20)), `(?s)^(<b>n\d+</b> (&lt;&amp;&gt;){20}\n)+… \d+ more alerts omitted$`, 86,
		},
		"HTML of Telegram, within one": {
			"telegram", `{bot_token: t, chat_id: 1, message: '<i><b>{{ .CommonAnnotations.text }}</b></i>'}`,
			"message", someAlerts(0, 1, strings.Repeat("<&>", 2000)), `^<i><b>(&lt;&amp;&gt;)+(&lt;)?(&amp;)?</b></i> … text truncated$`, 0,
		},
		"Markdown of Telegram": {
			"telegram", `{bot_token: t, chat_id: 1, parse_mode: MarkdownV2, message: '*{{ .CommonAnnotations.text }}* _x_'}`,
			"message", someAlerts(0, 1, strings.Repeat(`\.`, 2040)+" `code that goes on for longer than the message can be, and then some more`"),
			`^(\*(\\\.)+\*)?\W* ?… text truncated$`, 0,
		},
		"an address": {
			"pushover", "{token: t, user_key: u, message: x, url: 'http://x/{{ .CommonAnnotations.text }}'}", "url",
			someAlerts(0, 1, strings.Repeat("x", 600)), `^$`, 0,
		},
		"a subject in ASCII": {
			"sns", "{topic_arn: t, sigv4: {region: x}, subject: '{{ .CommonAnnotations.text }}'}", "subject",
			someAlerts(0, 1, strings.Repeat("x", 600)), `^x{100}$`, 0,
		},
		"a text message": {
			"sns", "{phone_number: '1', sigv4: {region: x}, message: '" + each + "'}", "message",
			someAlerts(0, 200, "x"), `(?s)^firing.*… \d+ more alerts omitted$`, -1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, ctx := composerOf(t, test.kind, test.integration, "")
			d, err := c.compose(ctx, test.alerts, 1)
			require.NoError(t, err)
			text := textOf(t, d, test.path)
			require.True(t, utf8.ValidString(text))
			require.Regexp(t, test.want, text)
			require.Equal(t, []string{test.path}, d.TruncatedFields)
			if test.omitted >= 0 {
				require.Equal(t, test.omitted, d.AlertsOmitted)
			}
			for _, l := range c.limits {
				if matches(test.path, l.fields) {
					require.LessOrEqual(t, l.measure(text), l.max)
				}
			}
		})
	}
}

// What is JSON stays JSON.
func TestComposeKeepsStructures(t *testing.T) {
	c, ctx := composerOf(t, "pagerduty", "{routing_key: k}", "")
	alerts := someAlerts(10, 400, strings.Repeat(`<"&`, 2000))
	d, err := c.compose(ctx, alerts, 1)
	require.NoError(t, err)
	var firing []map[string]any
	require.NoError(t, json.Unmarshal([]byte(textOf(t, d, "details.firing")), &firing))
	require.NotEmpty(t, firing)
	require.NotEmpty(t, resolvedOf(t, d))
	require.Equal(t, len(alerts)-len(firing), d.AlertsOmitted)
	require.Equal(t, "400", textOf(t, d, "details.num_firing"), "the numbers are those of all")
	require.Contains(t, d.note, fmt.Sprintf("%d more alerts omitted", d.AlertsOmitted))

	c, ctx = composerOf(t, "jira", `{api_url: 'http://x/rest/api/3', project: P, issue_type: B, description: '{"type":"doc","version":1,"content":[
		{{ range $i, $a := .Alerts }}{{ if $i }},{{ end }}{"type":"paragraph","content":[{"type":"text","text":{{ toJson $a.Annotations.text }}}]}{{ end }}]}'}`, "")
	d, err = c.compose(ctx, someAlerts(0, 400, strings.Repeat(`<"`, 200)), 1)
	require.NoError(t, err)
	var doc struct{ Content []any }
	require.NoError(t, json.Unmarshal([]byte(textOf(t, d, "description")), &doc))
	require.Len(t, doc.Content, 400-d.AlertsOmitted+1)
	require.Contains(t, fmt.Sprint(doc.Content[len(doc.Content)-1]), "more alerts omitted")
}

func resolvedOf(t *testing.T, d *draft) (resolved []any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(textOf(t, d, "details.resolved")), &resolved))
	return resolved
}

// A field that fails gets its default, that of the files first; what has none
// is left out.
func TestComposeDefaults(t *testing.T) {
	bad := "{{ .Nonsense }}"
	for name, test := range map[string]struct {
		kind, integration, files string
		check                    func(t *testing.T, conf reflect.Value)
	}{
		"a default that the files have replaced": {
			"slack", "{api_url: 'http://x', title: '" + bad + "'}", `{{ define "slack.default.title" }}ours of {{ .Status }}{{ end }}`,
			func(t *testing.T, conf reflect.Value) {
				require.Contains(t, conf.Elem().FieldByName("Title").String(), "ours of firing")
			},
		},
		"a default that fails, too": {
			"slack", "{api_url: 'http://x'}", `{{ define "slack.default.title" }}{{ .Nonsense }}{{ end }}`,
			func(t *testing.T, conf reflect.Value) {
				require.Contains(t, conf.Elem().FieldByName("Title").String(), "[FIRING:1]")
				require.Contains(t, conf.Elem().FieldByName("Fallback").String(), "[FIRING:1]")
			},
		},
		"a field of Slack": {
			"slack", "{api_url: 'http://x', fields: [{title: a, value: '" + bad + "'}, {title: b, value: c}], actions: [{type: button, text: t, url: '" + bad + "'}]}", "",
			func(t *testing.T, conf reflect.Value) {
				require.Equal(t, 2, conf.Elem().FieldByName("Fields").Len())
				require.Equal(t, 0, conf.Elem().FieldByName("Actions").Len())
			},
		},
		"a responder": {
			"opsgenie", "{api_key: k, responders: [{type: team, name: '" + bad + "'}, {type: team, name: n}], details: {a: '" + bad + "', b: c}}", "",
			func(t *testing.T, conf reflect.Value) {
				require.Equal(t, 1, conf.Elem().FieldByName("Responders").Len())
				require.Equal(t, 1, conf.Elem().FieldByName("Details").Len())
			},
		},
		"an attribute's name": {
			"sns", "{topic_arn: t, sigv4: {region: x}, attributes: {'" + bad + "': a, b: c}}", "",
			func(t *testing.T, conf reflect.Value) {
				require.Equal(t, 1, conf.Elem().FieldByName("Attributes").Len())
			},
		},
		"details": {
			"pagerduty", "{routing_key: k, details: {firing: '" + bad + "', mine: {a: '" + bad + "', b: c}}}", "",
			func(t *testing.T, conf reflect.Value) {
				details := conf.Elem().FieldByName("Details").Interface().(map[string]any)
				require.Contains(t, details["firing"], `\"status\":\"firing\"`)
				require.Len(t, details["mine"], 1)
				require.Contains(t, details, "omitted")
			},
		},
		"a payload": {
			"webhook", "{url: 'http://x', payload: {a: {b: ['" + bad + "']}}}", "",
			func(t *testing.T, conf reflect.Value) { require.True(t, conf.Elem().FieldByName("Payload").IsNil()) },
		},
		"a document": {
			"jira", "{api_url: 'http://x/rest/api/3/', project: P, issue_type: B, description: '" + bad + "'}", "",
			func(t *testing.T, conf reflect.Value) {
				require.Contains(t, conf.Elem().FieldByName("Description").FieldByName("Template").String(), `{\"content\":[{\"content\":[{\"text\":\"`)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, ctx := composerOf(t, test.kind, test.integration, test.files)
			before := fmt.Sprintf("%#v", c.config.Elem().Interface())
			d, err := c.compose(ctx, someAlerts(0, 1, "x"), 1)
			require.NoError(t, err)
			require.NotEmpty(t, d.FailedFields)
			c.build = func(conf reflect.Value) (notify.Notifier, error) {
				test.check(t, conf)
				return broken(nil), nil
			}
			_, err = c.integration(d)
			require.NoError(t, err)
			require.Equal(t, before, fmt.Sprintf("%#v", c.config.Elem().Interface()), "the configuration is untouched")
		})
	}
}

// A text that looks like a template, or like what ends one, is sent as it is.
func TestLiteral(t *testing.T) {
	tmpl, err := template.FromGlobs(nil)
	require.NoError(t, err)
	for _, text := range []string{"", "x", `{{ .Status }}`, "{{", "}} \" ` \\ \n\t\x00 ä 🔥 \u2028", "<b>&amp;</b><!-- c -->", "{{`}}`}}"} {
		got, err := tmpl.ExecuteTextString(literal(text, false), nil)
		require.NoError(t, err)
		require.Equal(t, text, got)
		got, err = tmpl.ExecuteHTMLString(literal(text, true), nil)
		require.NoError(t, err)
		require.Equal(t, text, got)
	}
}

func TestCutHTML(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		n    int
		want string
	}{
		"fits":         {"<b>x</b>", 8, "<b>x</b>"},
		"in a tag":     {"<b>x</b>y", 6, "<b>x</b>"},
		"in an entity": {"a &amp; b", 5, "a "},
		"after one":    {"a &amp; b", 7, "a &amp;"},
		"nested":       {"<b>a<i>b<br>c</i></b>", 13, "<b>a<i>b<br>c</i></b>"},
		"an attribute": {`<a href="x">yy</a>`, 13, `<a href="x">y</a>`},
		"a comment":    {"<!-- <b> -->xx", 13, "<!-- <b> -->x"},
		"a character":  {"ä磁", 3, "ä"},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, cutHTML(test.text, test.n)) })
	}
}

// FuzzFit shortens any text to any size: it fits, is valid, and its HTML stays closed.
func FuzzFit(f *testing.F) {
	f.Add("<b>ä</b> & x", 40, uint8(3), true)
	f.Add("{\"a\": 1}", 5, uint8(1), false)
	f.Add("*a_ `", 100, uint8(2), false)
	f.Fuzz(func(t *testing.T, text string, room int, repeat uint8, html bool) {
		if room < 0 || room > 1<<16 || len(text) > 1<<10 {
			return
		}
		c := &composer{kind: "discord"}
		s := &shortener{c: c, d: &draft{}, data: &template.Data{}}
		r := &rendering{field: field{html: html}, text: strings.Repeat(strings.ToValidUTF8(text, ""), int(repeat))}
		r.source = strings.ReplaceAll(r.text, "{{", "")
		if isStructured(r.text) {
			return
		}
		fits := func(s string) bool { return len(s) <= room }
		if fits(r.text) {
			return
		}
		r.text = s.cut(r, r.text, 0, fits)
		require.LessOrEqual(t, len(r.text), room)
		require.True(t, utf8.ValidString(r.text))
	})
}

// BenchmarkCompose is what rendering before sending costs.
func BenchmarkCompose(b *testing.B) {
	for kind, integration := range map[string]string{
		"slack": "{api_url: 'http://x'}", "msteamsv2": "{webhook_url: 'http://x'}", "webhook": "{url: 'http://x'}", "pagerduty": "{routing_key: k}",
	} {
		for _, n := range []int{1, 20, 1000} {
			b.Run(fmt.Sprintf("%s/%d", kind, n), func(b *testing.B) {
				c, ctx := composerOf(b, kind, integration, "")
				alerts := someAlerts(0, n, "The text of an alert is one sentence.")
				for b.Loop() {
					if _, err := c.compose(ctx, alerts, 1); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
