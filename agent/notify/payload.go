package notify

import (
	"cmp"
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf8"
)

// How many characters of each text people get.
const (
	alertLength  = 200
	triageLength = 400
	labelLength  = 80
)

// excerpt is what fits into a message: texts are cut and hold no character
// that would change how the rest is shown.
type excerpt struct {
	source, severity, alert, triage, model, id string
}

func excerptOf(m Message) excerpt {
	return excerpt{
		source: oneLine(m.Source), severity: oneLine(m.Severity), model: oneLine(m.Model), id: oneLine(m.RequestID),
		alert: beginning(m.Alert, alertLength), triage: beginning(m.Triage, triageLength),
	}
}

func (e excerpt) headline() string {
	return "Alert triaged: severity " + e.severity + ", source " + e.source
}

// beginning is never empty: neither receiver takes an empty text.
func beginning(s string, n int) string { return cmp.Or(cut(clean(s), n), "(empty)") }

// oneLine is a short text for a label.
func oneLine(s string) string {
	return cmp.Or(cut(strings.Join(strings.Fields(clean(s)), " "), labelLength), "unknown")
}

// cut is the first n characters of s, with an ellipsis where there were more.
func cut(s string, n int) string {
	count := 0
	for i := range s {
		if count == n {
			return s[:i] + "…"
		}
		count++
	}
	return s
}

// clean replaces what is not valid UTF-8, control characters, and the marks
// that reverse the direction of text, by a visible sign.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == '\u2028', r == '\u2029':
			return utf8.RuneError
		}
		return r
	}, strings.ReplaceAll(strings.TrimSpace(s), "\r\n", "\n"))
}

// level is a severity that has a colour of its own, or other.
func level(severity string) string {
	switch s := strings.ToLower(strings.TrimSpace(severity)); s {
	case "critical", "high", "medium":
		return s
	default:
		return "other"
	}
}

// slackBody is the body for a Slack incoming webhook: an attachment, because
// only those have a colour.
func slackBody(m Message) []byte {
	e := excerptOf(m)
	color := map[string]string{"critical": "#8B0000", "high": "#E01E5A", "medium": "#ECB22E", "other": "#36A64F"}[level(m.Severity)]
	text := func(s string) map[string]any {
		return map[string]any{"type": "mrkdwn", "text": s, "verbatim": true}
	}
	section := func(title, body string) map[string]any {
		return map[string]any{"type": "section", "text": text("*" + title + "*\n" + slackText(body))}
	}
	return encode(map[string]any{
		"text": slackText(e.headline()),
		"attachments": []any{map[string]any{
			"color":    color,
			"fallback": slackText(e.headline()),
			"blocks": []any{
				map[string]any{"type": "section", "fields": []any{
					text("*Severity*\n" + slackText(e.severity)), text("*Source*\n" + slackText(e.source)),
				}},
				section("Alert", e.alert),
				section("Triage", e.triage),
				map[string]any{"type": "context", "elements": []any{
					text("Hancock · model " + slackText(e.model) + " · request " + slackText(e.id)),
				}},
			},
		}},
	})
}

// slackText escapes the three characters by which a text could mention people
// or hide where a link leads. What is left is bold and italic, which harms
// nobody; verbatim keeps Slack from making links itself.
func slackText(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

// teamsBody is the body for a webhook of a Teams workflow: an Adaptive Card.
// Every text from outside is a text run, which has no markup.
func teamsBody(m Message) []byte {
	e := excerptOf(m)
	style := map[string]string{"critical": "attention", "high": "warning", "medium": "accent", "other": "emphasis"}[level(m.Severity)]
	run := func(s string, bold bool) map[string]any {
		r := map[string]any{"type": "TextRun", "text": teamsText(s)}
		if bold {
			r["weight"] = "Bolder"
		}
		return r
	}
	rich := func(runs ...any) map[string]any {
		return map[string]any{"type": "RichTextBlock", "inlines": runs}
	}
	card := map[string]any{
		"$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
		"type":    "AdaptiveCard",
		"version": "1.4",
		"msteams": map[string]any{"width": "Full"},
		// What a list of notifications shows.
		"fallbackText": teamsText(e.headline()),
		"body": []any{
			map[string]any{
				"type": "Container", "style": style, "bleed": true,
				"items": []any{rich(run(e.headline(), true))},
			},
			rich(run("Severity: ", true), run(e.severity, false)),
			rich(run("Source: ", true), run(e.source, false)),
			rich(run("Alert", true)), rich(run(e.alert, false)),
			rich(run("Triage", true)), rich(run(e.triage, false)),
			rich(run("Hancock · model "+e.model+" · request "+e.id, false)),
		},
	}
	return encode(map[string]any{
		"type": "message",
		"attachments": []any{map[string]any{
			"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": nil, "content": card,
		}},
	})
}

// teamsText breaks the one thing that a text run still acts upon, the
// functions for dates in double braces.
func teamsText(s string) string { return strings.ReplaceAll(s, "{{", "{\u2060{") }

// encode cannot fail: there are only maps, lists and strings in v.
func encode(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return body
}
