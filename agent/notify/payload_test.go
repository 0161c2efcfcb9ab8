package notify

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// texts are all strings below v, by the key that they stand under.
func texts(v any, key string, out map[string][]string) {
	switch x := v.(type) {
	case map[string]any:
		for k, value := range x {
			texts(value, k, out)
		}
	case []any:
		for _, value := range x {
			texts(value, key, out)
		}
	case string:
		out[key] = append(out[key], x)
	}
}

func decode(t *testing.T, body []byte) (all map[string]any, strs map[string][]string) {
	t.Helper()
	require.NoError(t, json.Unmarshal(body, &all))
	strs = make(map[string][]string)
	texts(all, "", strs)
	return all, strs
}

func TestSlackBody(t *testing.T) {
	m := message()
	m.Alert, m.Triage = strings.Repeat("ä", 201), strings.Repeat("€", 401)
	all, strs := decode(t, slackBody(m))
	require.Equal(t, "Alert triaged: severity High, source splunk", all["text"])
	attachment := all["attachments"].([]any)[0].(map[string]any)
	require.Equal(t, "#E01E5A", attachment["color"])
	require.Contains(t, strs["text"], "*Alert*\n"+strings.Repeat("ä", 200)+"…")
	require.Contains(t, strs["text"], "*Triage*\n"+strings.Repeat("€", 400)+"…")
	require.Contains(t, strs["text"], "*Severity*\nHigh")
	require.Contains(t, strs["text"], "*Source*\nsplunk")
	require.Contains(t, strs["text"], "Hancock · model m · request req-1")
	for _, s := range strs["text"] {
		require.LessOrEqual(t, utf8.RuneCountInString(s), 3000, "the limit of a section")
	}
}

func TestTeamsBody(t *testing.T) {
	m := message()
	m.Alert, m.Triage = strings.Repeat("ä", 200), strings.Repeat("€", 400)
	all, strs := decode(t, teamsBody(m))
	require.Equal(t, "message", all["type"])
	attachment := all["attachments"].([]any)[0].(map[string]any)
	require.Equal(t, "application/vnd.microsoft.card.adaptive", attachment["contentType"])
	card := attachment["content"].(map[string]any)
	require.Equal(t, "AdaptiveCard", card["type"])
	require.Equal(t, "warning", card["body"].([]any)[0].(map[string]any)["style"])
	require.Contains(t, strs["text"], m.Alert)
	require.Contains(t, strs["text"], m.Triage)
	require.NotContains(t, string(teamsBody(m)), `"TextBlock"`, "its text has markup")
}

func TestColours(t *testing.T) {
	for severity, want := range map[string]string{
		"critical": "critical", " CRITICAL ": "critical", "High": "high", "medium": "medium",
		"low": "other", "": "other", "unknown": "other", "criticalish": "other",
	} {
		require.Equal(t, want, level(severity), severity)
	}
	slack, teams := map[any]bool{}, map[any]bool{}
	for _, severity := range []string{"critical", "high", "medium", "low"} {
		m := Message{Severity: severity}
		all, _ := decode(t, slackBody(m))
		slack[all["attachments"].([]any)[0].(map[string]any)["color"]] = true
		all, _ = decode(t, teamsBody(m))
		card := all["attachments"].([]any)[0].(map[string]any)["content"].(map[string]any)
		teams[card["body"].([]any)[0].(map[string]any)["style"]] = true
	}
	require.Len(t, slack, 4)
	require.Len(t, teams, 4)
}

func TestHostileTexts(t *testing.T) {
	m := Message{
		Source:   "<!channel>\n<@U123>" + strings.Repeat("x", 200),
		Severity: "critical\u202egnp.exe",
		Alert:    "<https://evil.example|https://bank.example> & \x00\x1b[31m {{DATE(2026-01-01)}}",
		Triage:   "line\r\nnext \xff \u2066x",
	}
	body := slackBody(m)
	require.NotContains(t, string(body), "<")
	_, strs := decode(t, body)
	for _, s := range strs["text"] {
		require.NotContains(t, s, "<")
		require.NotContains(t, s, ">")
	}
	joined := strings.Join(strs["text"], "\n")
	require.Contains(t, joined, "&lt;https://evil.example|https://bank.example&gt; &amp; ��[31m")
	require.Contains(t, joined, "&lt;!channel&gt; &lt;@U123&gt;xxx")
	require.Contains(t, joined, "critical�gnp.exe")
	require.Contains(t, joined, "line\nnext � �x")

	_, strs = decode(t, teamsBody(m))
	joined = strings.Join(strs["text"], "\n")
	require.NotContains(t, joined, "{{")
	require.Contains(t, joined, "<https://evil.example|https://bank.example>", "a text run shows it as it is")
}

func TestEmptyTexts(t *testing.T) {
	_, strs := decode(t, slackBody(Message{}))
	require.Contains(t, strs["text"], "*Source*\nunknown")
	_, strs = decode(t, teamsBody(Message{}))
	require.NotContains(t, strs["text"], "", "Teams refuses an empty run")
}

// Whatever the texts, both bodies are JSON, cut at rune borders, of bounded
// size, and hold nothing that Slack would act upon.
func FuzzPayloads(f *testing.F) {
	f.Add("splunk", "high", "alert", "triage")
	f.Add("<!here>", "\xff", strings.Repeat("😀", 300), strings.Repeat("&", 900))
	f.Add("", "", "\u2028", "{{{{")
	f.Fuzz(func(t *testing.T, source, severity, alert, triage string) {
		m := Message{Source: source, Severity: severity, Alert: alert, Triage: triage}
		for _, body := range [][]byte{slackBody(m), teamsBody(m)} {
			require.True(t, json.Valid(body))
			require.True(t, utf8.Valid(body))
			require.Less(t, len(body), 28<<10, "the limit of Teams")
		}
		_, strs := decode(t, slackBody(m))
		for _, s := range strs["text"] {
			require.NotContains(t, s, "<")
			require.LessOrEqual(t, utf8.RuneCountInString(s), 3000)
		}
		e := excerptOf(m)
		require.LessOrEqual(t, utf8.RuneCountInString(e.alert), 201)
		require.LessOrEqual(t, utf8.RuneCountInString(e.triage), 401)
		if e.alert != "(empty)" {
			require.True(t, strings.HasPrefix(clean(alert), strings.TrimSuffix(e.alert, "…")))
		}
	})
}
