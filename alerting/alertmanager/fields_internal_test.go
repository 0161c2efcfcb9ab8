package alertmanager

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/config/receiver"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/template"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

// everyField is a configuration of each kind in which each text is set that
// can be, to x where it may be anything.
func everyField(address string) map[string]string {
	same := func(names string) string {
		var b strings.Builder
		for name := range strings.FieldsSeq(names) {
			b.WriteString(", " + name + ": x")
		}
		return b.String()
	}
	all := map[string]string{
		"discord": "{webhook_url: URL/d" + same("content title message username avatar_url") + "}",
		"jira": "{api_url: URL/2, reopen_transition: x, resolve_transition: x, wont_fix_resolution: x, labels: [x], fields: {a: {b: x}}" +
			same("project summary description priority issue_type") + "}",
		"mattermost": "{webhook_url: URL/m, fields: [{title: x, value: x}], props: {card: x}, priority: {priority: x}" +
			same("channel username text fallback color pretext author_name author_link author_icon title title_link thumb_url footer "+
				"footer_icon image_url icon_url icon_emoji type") + "}",
		"msteams":   "{webhook_url: URL/t" + same("title summary text") + "}",
		"msteamsv2": "{webhook_url: URL/t" + same("title text") + "}",
		"opsgenie": "{api_url: URL/, responders: [{id: x, name: x, username: x, type: user}], details: {a: x}" +
			same("api_key message description source entity actions tags note priority") + "}",
		"pagerduty": "{url: URL/p, details: {a: {b: [x]}}, images: [{src: x, alt: x, href: x}], links: [{href: x, text: x}]" +
			same("routing_key client client_url description source severity class component group") + "}",
		"rocketchat": "{api_url: URL, fields: [{title: x, value: x}], actions: [{type: x, text: x, url: x, imageurl: x, webviewheightratio: x, " +
			"msg: x, msgprocessingtype: x}]" +
			same("token token_id channel color title title_link text emoji icon_url image_url thumb_url") + "}",
		"slack": "{api_url: URL/s, fields: [{title: x, value: x}], mrkdwn_in: [x], actions: [{type: x, text: x, url: x, style: x}, " +
			"{type: x, text: x, name: x, value: x, confirm: {text: x, title: x, ok_text: x, dismiss_text: x}}]" +
			same("channel username color title title_link pretext text message_text footer fallback callback_id icon_emoji icon_url "+
				"image_url thumb_url") + "}",
		"sns": "{api_url: URL/sns, sigv4: {region: x, access_key: x, secret_key: x}, attributes: {a: x}" +
			same("topic_arn subject message") + "}",
		"telegram": "{api_url: URL, bot_token: x, chat_id: 1, message: x, parse_mode: ''}",
		"victorops": "{api_url: URL/v/, custom_fields: {a: x}" +
			same("api_key routing_key message_type state_message entity_display_name monitoring_tool") + "}",
		"webex":   "{api_url: URL/w, http_config: {authorization: {credentials: x}}, message: x, room_id: x}",
		"webhook": "{url: URL/h, payload: {a: [x]}}",
		"wechat":  "{api_url: URL/" + same("api_secret corp_id message to_user to_party to_tag agent_id") + ", message_type: text}",
	}
	for kind := range all {
		all[kind] = strings.ReplaceAll(all[kind], "URL", address)
	}
	return all
}

// otherTexts are settings that are texts and take no part in what is sent, or
// could not be tried with the others.
func otherTexts(path string) bool {
	return strings.HasSuffix(path, "_file") || slices.Contains([]string{
		"api_type", "parse_mode", "message_type",
		"app_token", "service_key", "phone_number", "target_arn", "attachments",
	}, path)
}

// actionWithout tells which texts Alertmanager empties: an action has an
// address or a name.
func actionWithout(path string) bool {
	return path == "actions[0].name" || path == "actions[0].value" || path == "actions[1].url" || path == "actions[1].style"
}

// The fields that are taken for templates are those that Alertmanager executes:
// each text of each integration is tried, and what arrives says whether it was.
func TestFieldsAreThoseOfAlertmanager(t *testing.T) {
	const marker, executed = `MA{{ "RK" }}ED`, "MARKED"
	var mu sync.Mutex
	var sent strings.Builder
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		// JSON has escapes, forms have others; neither has one for what is looked for.
		fmt.Fprintln(&sent, r.URL, r.Header, string(body))
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"ok":true,"success":true,"errcode":0,"access_token":"x","issues":[],"result":{"message_id":1,"date":1,"chat":{"id":42}}}`)
	}))
	t.Cleanup(server.Close)
	tmpl, err := template.FromGlobs(nil)
	require.NoError(t, err)
	tmpl.ExternalURL = &url.URL{Scheme: "http", Host: "h"}
	ctx := notify.WithGroupKey(notify.WithReceiverName(t.Context(), "r"), "g")
	ctx = notify.WithNotificationReason(notify.WithGroupLabels(ctx, nil), notify.ReasonFirstNotification)
	al := &alert.Alert{Alert: model.Alert{Labels: model.LabelSet{"alertname": "A"}, StartsAt: time.Now(), EndsAt: time.Now().Add(time.Hour)}}

	for kind, text := range everyField(server.URL) {
		t.Run(kind, func(t *testing.T) {
			c, err := config.Load("route: {receiver: r}\nreceivers: [{name: r, " + kind + "_configs: [" + text + "]}]")
			require.NoError(t, err)
			conf := configs(reflect.ValueOf(&c.Receivers[0]).Elem(), kind).Index(0)
			var isField []string
			for _, f := range fieldsOf(kind, conf) {
				if !strings.HasSuffix(f.path, " (name)") {
					isField = append(isField, f.path)
				}
			}
			// All texts: each is a template by this walker, which knows all names.
			all := walker{kind: kind, replace: func(_, text string) (string, bool) { return text, true }}
			for i := range conf.Elem().NumField() {
				f := conf.Elem().Type().Field(i)
				switch f.Type.Kind() {
				case reflect.String, reflect.Slice, reflect.Map, reflect.Interface:
					all.names = append(all.names, yamlName(f))
				case reflect.Struct, reflect.Pointer:
					if strings.Contains(f.Type.String(), "Priority") || strings.Contains(f.Type.String(), "Props") || strings.Contains(f.Type.String(), "JiraField") {
						all.names = append(all.names, yamlName(f))
					}
				}
			}
			var paths []string
			all.replace = func(path, text string) (string, bool) {
				if !strings.HasSuffix(path, " (name)") {
					paths = append(paths, path)
				}
				return text, true
			}
			all.walk(conf, "", "")
			for _, path := range paths {
				if otherTexts(path) || path == "api_url" || path == "priority.priority" || // where only certain values are sent
					kind == "slack" && strings.HasPrefix(path, "actions") && actionWithout(path) || kind == "webhook" && path == "url" {
					continue
				}
				try := all
				try.replace = func(p, text string) (string, bool) {
					if p == path {
						require.NotEmpty(t, text, "%s is not tried", path)
						return marker, true
					}
					return text, true
				}
				tried, _ := try.walk(conf, "", "")
				built, err := receiver.BuildReceiverIntegrations(only("r", kind, tried), tmpl, slog.New(slog.DiscardHandler))
				require.NoError(t, err, path)
				mu.Lock()
				sent.Reset()
				mu.Unlock()
				_, _ = built[0].Notify(ctx, al)
				mu.Lock()
				got := strings.Contains(strings.ReplaceAll(sent.String(), "%", ""), executed)
				mu.Unlock()
				require.Equal(t, slices.Contains(isField, path), got, "%s: %s", path, &sent)
			}
		})
	}
}
