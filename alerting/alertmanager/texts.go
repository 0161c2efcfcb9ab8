package alertmanager

import (
	"cmp"
	_ "embed"
	"fmt"
	"html"
	htmltemplate "html/template"
	"net/url"
	"regexp"
	"strings"
	texttemplate "text/template"
	"time"
	"unicode"

	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/notify/pagerduty"
	"github.com/prometheus/alertmanager/template"
	"github.com/prometheus/common/helpers/templates"
	"github.com/prometheus/common/model"
)

// texts are the default texts of messages.
//
//go:embed texts.tmpl
var texts string

const (
	maxSubject     = 250  // bytes of a subject
	maxShort       = 200  // bytes of an alert that has one line
	maxDescription = 2000 // bytes of the description of an alert
	maxLabelText   = 500  // bytes of its labels
	maxSilence     = 1500 // bytes of the filter of a silence; a longer address does not work everywhere
)

// newTemplate parses Alertmanager's default templates, over them ours, and over
// both the user's files. Links begin with base. The set is what tmpl renders
// text with.
func newTemplate(files []string, base *url.URL) (tmpl *template.Template, set *texttemplate.Template, err error) {
	address := ""
	if base != nil {
		address = strings.TrimRight(base.String(), "/")
	}
	functions := map[string]any{
		"hancockMessage": func(alerts any, budget int) (messageText, error) {
			return newMessageText(alerts, budget, address)
		},
		"hancockSlack":       slackText,
		"hancockSlackURL":    slackURL,
		"hancockMarkdown":    markdownText,
		"hancockMarkdownURL": markdownURL,
	}
	tmpl, err = template.FromGlobs(nil, func(t *texttemplate.Template, h *htmltemplate.Template) {
		t.Funcs(functions)
		h.Funcs(functions)
		set = t
	})
	if err != nil {
		return nil, nil, err
	}
	if err := tmpl.Parse(strings.NewReader(texts)); err != nil {
		return nil, nil, err
	}
	for _, pattern := range files {
		if err := tmpl.FromGlob(pattern); err != nil {
			return nil, nil, err
		}
	}
	tmpl.ExternalURL = base
	return tmpl, set, nil
}

// completeTexts sets the texts that Alertmanager leaves empty where the
// configuration does, too.
func completeTexts(r *config.Receiver) {
	for _, c := range r.EmailConfigs {
		if c.Text == "" && c.HTML == config.DefaultEmailConfig.HTML {
			c.Text = `{{ template "email.default.text" . }}`
		}
	}
	for _, c := range r.PagerdutyConfigs {
		if len(c.Links) == 0 {
			c.Links = []pagerduty.PagerdutyLink{
				{Href: `{{ template "pagerduty.default.runbook" . }}`, Text: "Runbook"},
				{Href: `{{ template "pagerduty.default.source" . }}`, Text: "Source"},
			}
		}
	}
}

// messageText is what the default templates show of a message.
type messageText struct {
	// Subject is one line for all of it.
	Subject string
	// Single is whether the message is about one alert, which the subject names.
	Single           bool
	Firing, Resolved []alertText
	// Runbook and Source are those of the first alert that has one.
	Runbook, Source string
	// More are alerts for which the message has no room.
	More int
}

// alertText is what the default templates show of an alert. Addresses are HTTP
// or HTTPS, or empty.
type alertText struct {
	// Title is one line: name and summary.
	Title string
	// Full is false when the title has to suffice.
	Full                     bool
	Description, Labels      string
	When                     string
	Runbook, Source, Silence string
}

// newMessageText describes alerts, which are template data or a list, in about
// so many bytes, each as fully as there is room: alerts that fire first.
func newMessageText(alerts any, budget int, base string) (m messageText, err error) {
	var data template.Data
	switch a := alerts.(type) {
	case *template.Data:
		data = *a
	case template.Data:
		data = a
	case template.Alerts:
		data.Alerts = a
	case []template.Alert:
		data.Alerts = a
	default:
		return m, fmt.Errorf("hancockMessage: expected the data of a message or alerts, got %T", alerts)
	}
	m.Subject = subject(data)
	m.Single = len(data.Alerts) == 1
	for _, part := range []struct {
		alerts []template.Alert
		to     *[]alertText
	}{{data.Alerts.Firing(), &m.Firing}, {data.Alerts.Resolved(), &m.Resolved}} {
		for _, a := range part.alerts {
			t := newAlertText(a, base, budget/3)
			m.Runbook, m.Source = cmp.Or(m.Runbook, t.Runbook), cmp.Or(m.Source, t.Source)
			// The longest address is the first to go.
			if t.size() > budget {
				t.Silence = ""
			}
			if t.size() > budget {
				t.Source = ""
			}
			size, short := t.size(), len(html.EscapeString(t.Title))+4
			switch t.Full = size <= budget; {
			case t.Full:
				budget -= size
			case short <= budget:
				budget -= short
			default:
				budget = 0
				m.More++
				continue
			}
			*part.to = append(*part.to, t)
		}
	}
	return m, nil
}

// subject is a line that names what the alerts have in common.
func subject(data template.Data) string {
	var b strings.Builder
	if firing := len(data.Alerts.Firing()); firing > 0 {
		fmt.Fprintf(&b, "[FIRING:%d] ", firing)
	} else {
		b.WriteString("[RESOLVED] ")
	}
	name := cmp.Or(data.CommonLabels[model.AlertNameLabel], "Alerts")
	if name == "Alerts" && len(data.Alerts) == 1 {
		name = "Alert"
	}
	b.WriteString(name)
	summary, labels := data.CommonAnnotations["summary"], data.GroupLabels
	if summary == "" {
		labels = data.CommonLabels
	}
	if rest := labels.Remove([]string{model.AlertNameLabel}); len(rest) > 0 {
		b.WriteString(" (" + strings.Join(rest.Values(), " ") + ")")
	}
	if summary != "" {
		b.WriteString(": " + summary)
	}
	return shorten(oneLine(b.String()), maxSubject)
}

func newAlertText(a template.Alert, base string, room int) alertText {
	rest := a.Labels.Remove([]string{model.AlertNameLabel})
	t := alertText{
		Title:       cmp.Or(a.Labels[model.AlertNameLabel], "Alert"),
		Description: strings.TrimSpace(cmp.Or(a.Annotations["description"], a.Annotations["message"])),
		Labels:      shorten(oneLine(rest.String()), max(min(room, maxLabelText), 50)),
		Runbook:     webAddress(a.Annotations["runbook_url"]),
		Source:      webAddress(a.GeneratorURL),
		Silence:     silenceURL(base, a.Labels),
	}
	switch summary := strings.TrimSpace(a.Annotations["summary"]); {
	case summary != "":
		t.Title += ": " + summary
	case t.Labels != "":
		t.Title += " (" + t.Labels + ")"
	}
	t.Title = shorten(oneLine(t.Title), maxShort)
	if runbook := strings.TrimSpace(a.Annotations["runbook_url"]); runbook != "" && t.Runbook == "" {
		t.Description = strings.TrimSpace(t.Description + "\nRunbook: " + runbook)
	}
	t.Description = shorten(t.Description, max(min(room, maxDescription), 50))
	const clock = "2006-01-02 15:04:05 MST"
	if a.Status == string(model.AlertResolved) {
		t.When = "Resolved at " + a.EndsAt.UTC().Format(clock)
		if d, err := templates.HumanizeDuration(a.EndsAt.Sub(a.StartsAt).Truncate(time.Second).Seconds()); err == nil {
			t.When += " after " + d
		}
	} else {
		t.When = "Firing since " + a.StartsAt.UTC().Format(clock)
	}
	return t
}

// size is about how many bytes the alert takes when it is shown in full.
func (t alertText) size() int {
	const marks = 80
	return marks + len(html.EscapeString(t.Title+t.Description+t.Labels+t.When+t.Runbook+t.Source+t.Silence))
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// shorten cuts s to so many bytes, at the end of a character.
func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return cutText(s, most-len("…")) + "…"
}

// webAddress is s if it is an HTTP address. Others may do anything in a client.
func webAddress(s string) string {
	u, err := url.Parse(strings.TrimSpace(s))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return ""
	}
	return u.String()
}

var plainNameRE = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// silenceURL leads to a new silence for the labels, as in Alertmanager's UI.
func silenceURL(base string, labels template.KV) string {
	var matchers []string
	for _, l := range labels.SortedPairs() {
		name := l.Name
		if !plainNameRE.MatchString(name) {
			name = fmt.Sprintf("%q", name)
		}
		matchers = append(matchers, fmt.Sprintf("%s=%q", name, l.Value))
	}
	if base == "" || len(matchers) == 0 {
		return ""
	}
	// Readers of a fragment take a plus sign for itself.
	filter := strings.ReplaceAll(url.QueryEscape("{"+strings.Join(matchers, ",")+"}"), "+", "%20")
	if len(filter) > maxSilence {
		return ""
	}
	return base + "/#/silences/new?filter=" + filter
}

// slackText escapes what Slack would take for a mention, a link or an entity.
func slackText(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

// slackURL is an address inside of Slack's <address|text>.
func slackURL(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "%3C", ">", "%3E", "|", "%7C").Replace(s)
}

// markdownURL is an address inside of Markdown's [text](address).
func markdownURL(s string) string {
	return strings.NewReplacer("(", "%28", ")", "%29", "<", "%3C", ">", "%3E").Replace(s)
}

var (
	mentionRE  = regexp.MustCompile(`(?i)@(all|channel|everyone|here)\b`)
	quoteRE    = regexp.MustCompile(`(?m)^(\s*)([#>])`)
	newlinesRE = regexp.MustCompile(`\n+`)
)

// markdownText escapes what Markdown takes for formatting, links or HTML, and
// what chats take for a mention of everybody. Each line is a paragraph. It leaves
// as much as it can: clients without Markdown show the backslashes.
func markdownText(s string) string {
	s = strings.NewReplacer("\r", "", `\`, `\\`, "`", "\\`", "*", `\*`, "<", `\<`, "](", `]\(`, "~~", `\~\~`).Replace(s)
	s = escapeUnderscores(s)
	s = quoteRE.ReplaceAllString(s, `$1\$2`)
	s = mentionRE.ReplaceAllString(s, "@\u200b$1")
	return newlinesRE.ReplaceAllString(s, "\n\n")
}

// escapeUnderscores escapes those that are not between two letters or digits, as
// in the name of a metric, where they mean nothing.
func escapeUnderscores(s string) string {
	var b strings.Builder
	runes := []rune(s)
	within := func(i int) bool {
		return i >= 0 && i < len(runes) && (unicode.IsLetter(runes[i]) || unicode.IsDigit(runes[i]))
	}
	for i, r := range runes {
		if r == '_' && (!within(i-1) || !within(i+1)) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
