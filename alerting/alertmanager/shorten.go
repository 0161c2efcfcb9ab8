package alertmanager

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/template"
	"github.com/prometheus/common/model"
)

// shortener makes a draft small enough for its receiver.
type shortener struct {
	c     *composer
	d     *draft
	data  *template.Data
	total int // alerts

	omissions []omission
}

// shorten applies the limits of the receiver, and then makes what is left
// smaller by the scale if that is below 1.
func (s *shortener) shorten(scale float64) {
	limits := s.c.limits
	for _, l := range limits {
		s.apply(l)
	}
	s.shortenList(scale)
	if scale < 1 {
		all := limit{fields: []string{"payload"}, measure: size, sum: true}
		for _, l := range limits {
			all.fields = append(all.fields, l.fields...)
		}
		all.fields = unique(all.fields)
		for _, r := range s.members(all) {
			all.max += len(r.text)
		}
		all.max = int(float64(all.max) * scale)
		s.apply(all)
	}
	s.d.TruncatedFields, s.d.AlertsOmitted = unique(s.d.TruncatedFields), s.omitted()
	if !s.d.empty() {
		s.d.note = note(s.d.AlertsOmitted, len(s.d.TruncatedFields) > 0)
	}
}

// omission is how many alerts a text does not list.
type omission struct {
	alerts int
	of     *rendering // nil for a message that lists them itself
}

// omitted is how many alerts the message does not tell of. A title may list
// fewer than the text; the lists of firing and of resolved alerts are both long.
func (s *shortener) omitted() int {
	longest, most := 0, 0
	for _, o := range s.omissions {
		if o.of == nil {
			return o.alerts
		}
		longest = max(longest, len(o.of.text))
	}
	for _, o := range s.omissions {
		if len(o.of.text) >= longest/2 {
			most = max(most, o.alerts)
		}
	}
	return most
}

func (s *shortener) members(l limit) []*rendering {
	var members []*rendering
	for _, r := range s.d.fields {
		if matches(r.path, l.fields) && r.text != "" {
			members = append(members, r)
		}
	}
	return members
}

func (s *shortener) apply(l limit) {
	members := s.members(l)
	most := l.max
	if l.sum {
		most = share(members, l)
	}
	for _, r := range members {
		if l.measure(r.text) <= most {
			continue
		}
		s.d.TruncatedFields = append(s.d.TruncatedFields, r.path)
		fits := func(text string) bool { return l.measure(text) <= most }
		switch l.how {
		case leaveOut:
			r.text, r.drop = "", true
		case cutOff:
			r.text = bare(r.text, r.html, fits)
		default:
			s.fit(r, fits)
		}
	}
}

// share returns how large each text may be so that all of them together keep
// to the limit: the small ones stay as they are.
func share(members []*rendering, l limit) int {
	sizes := make([]int, len(members))
	for i, r := range members {
		sizes[i] = l.measure(r.text)
	}
	slices.Sort(sizes)
	left := l.max
	for i, size := range sizes {
		if each := left / (len(sizes) - i); size > each {
			return each
		}
		left -= size
	}
	return l.max
}

// fit renders a text from fewer alerts, the firing ones first, until it fits.
// Where that does not help it is cut.
func (s *shortener) fit(r *rendering, fits func(string) bool) {
	structured := isStructured(r.text)
	least := 1
	if structured {
		least = 0
	}
	ordered := slices.Clone(s.data.Alerts)
	slices.SortStableFunc(ordered, func(a, b template.Alert) int { return cmp.Compare(urgency(a.Status), urgency(b.Status)) })
	with := func(n int) (string, bool) {
		data := *s.data
		data.Alerts = ordered[:n]
		text, err := r.render(&data)
		return text, err == nil
	}
	full, omitted := r.text, 0
	if text, ok := with(min(least, s.total)); ok && text != full {
		if fits(s.withNote(text, r.html, note(s.total-least, false))) {
			// The first number of alerts that is too many.
			n := least + sort.Search(s.total-least-1, func(i int) bool {
				n := least + 1 + i
				text, ok := with(n)
				return !ok || !fits(s.withNote(text, r.html, note(s.total-n, false)))
			})
			if text, ok = with(n); ok {
				r.text = s.withNote(text, r.html, note(s.total-n, false))
				s.omissions = append(s.omissions, omission{s.total - n, r})
				return
			}
		}
		// A title counts the alerts; what gets much shorter lists them.
		if len(text) < len(full)*9/10 {
			full, omitted = text, s.total-least
			s.omissions = append(s.omissions, omission{omitted, r})
		}
	}
	r.text = s.cut(r, full, omitted, fits)
}

// cut shortens a text at a place where no character, entity or tag is cut in
// two. Of a structured one only the note is left.
func (s *shortener) cut(r *rendering, text string, omitted int, fits func(string) bool) string {
	label := note(omitted, true)
	if isStructured(text) {
		if s.c.takesDocument() && r.path == "description" {
			return document(label)
		}
		return label
	}
	shortened := func(n int) string {
		switch {
		case r.html:
			return s.withNote(cutHTML(text, n), true, label)
		case s.c.kind == "telegram" && strings.HasPrefix(s.c.config.Elem().FieldByName("ParseMode").String(), "Markdown"):
			return s.withNote(cutMarkdown(cutText(text, n)), false, label)
		default:
			return s.withNote(cutText(text, n), false, label)
		}
	}
	for n := sort.Search(len(text), func(i int) bool { return !fits(shortened(i + 1)) }); n > 0; n-- {
		if out := shortened(n); fits(out) {
			return out
		}
	}
	return bare(text, r.html, fits)
}

// bare shortens a text that has no room for a note.
func bare(text string, html bool, fits func(string) bool) string {
	shortened := cutText
	if html {
		shortened = cutHTML
	}
	for n := sort.Search(len(text), func(i int) bool { return !fits(shortened(text, i+1)) }); n > 0; n-- {
		if out := shortened(text, n); fits(out) {
			return out
		}
	}
	return ""
}

func urgency(status string) int {
	if status == string(model.AlertFiring) {
		return 0
	}
	return 1
}

// note is what a message says of what is not in it. It has no character that
// a language of marked-up text gives a meaning.
func note(omitted int, truncated bool) string {
	text := ellipsis
	if truncated {
		text += " text truncated"
	}
	switch {
	case omitted == 0:
		return text
	case truncated:
		text += ","
	}
	if omitted == 1 {
		return text + " 1 more alert omitted"
	}
	return fmt.Sprintf("%s %d more alerts omitted", text, omitted)
}

// withNote puts a note behind a text, within its document if it is one.
func (s *shortener) withNote(text string, html bool, note string) string {
	if isStructured(text) {
		return s.documentWithNote(text, note)
	}
	if html && s.c.kind == "email" {
		if i := strings.LastIndex(text, "</body>"); i >= 0 {
			return text[:i] + "<p>" + note + "</p>" + text[i:]
		}
		return text + "<p>" + note + "</p>"
	}
	text = strings.TrimRight(text, "\n ")
	if strings.Contains(text, "\n") {
		return text + "\n" + note
	}
	if text == "" {
		return note
	}
	return text + " " + note
}

// documentWithNote puts the note into a document as Jira takes it; into other
// structured texts none fits.
func (s *shortener) documentWithNote(text, note string) string {
	if !s.c.takesDocument() {
		return text
	}
	var doc map[string]any
	if json.Unmarshal([]byte(text), &doc) != nil {
		return text
	}
	content, ok := doc["content"].([]any)
	if !ok {
		return text
	}
	doc["content"] = append(content, json.RawMessage(`{"type":"paragraph","content":[{"type":"text","text":`+jsonText(note)+`}]}`))
	out, err := json.Marshal(doc)
	if err != nil {
		return text
	}
	return string(out)
}

func jsonText(s string) string {
	b, err := json.Marshal(s)
	if err != nil { // a text can be encoded
		return `""`
	}
	return string(b)
}

// cutText returns at most the first n bytes, whole characters only.
func cutText(s string, n int) string {
	n = min(n, len(s))
	for n > 0 && n < len(s) && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// cutMarkdown takes away what begins near the end of a text that was cut and
// does not end: Telegram refuses a message in which anything stays open.
func cutMarkdown(s string) string {
	for _, mark := range []string{"```", "`", "*", "_", "~", "||"} {
		if count, last := unescaped(s, mark); count%2 == 1 {
			s = s[:last]
		}
	}
	opened, at := unescaped(s, "[")
	if closed, _ := unescaped(s, ")"); opened > closed {
		s = s[:at]
	}
	slashes := len(s) - len(strings.TrimRight(s, `\`))
	return s[:len(s)-slashes%2]
}

// unescaped counts the marks without a backslash before them and returns the
// place of the last one.
func unescaped(s, mark string) (count, last int) {
	for i := 0; i < len(s); {
		switch {
		case s[i] == '\\':
			i += 2
		case strings.HasPrefix(s[i:], mark):
			count, last = count+1, i
			i += len(mark)
		default:
			i++
		}
	}
	return count, last
}

// shortenList bounds the alerts of a message that lists them as JSON and has
// no templates: incident.io takes no more than half a megabyte, of which
// Alertmanager would leave one alert; a webhook says what it takes by refusing.
func (s *shortener) shortenList(scale float64) {
	keep := s.total
	switch {
	case s.c.kind == "incidentio":
		keep = s.listed(int(float64(incidentioBytes) * scale))
	case s.c.kind == "webhook" && s.c.config.Elem().FieldByName("Payload").IsNil() && scale < 1:
		keep = int(float64(s.total) * scale)
	}
	if keep >= s.total || s.total == 0 {
		return
	}
	if most := int(s.c.config.Elem().FieldByName("MaxAlerts").Uint()); most > 0 && most <= keep {
		return
	}
	s.d.maxAlerts = max(keep, 1)
	s.omissions = []omission{{alerts: s.total - s.d.maxAlerts}}
	s.d.alerts = slices.Clone(s.d.alerts)
	slices.SortStableFunc(s.d.alerts, func(a, b *alert.Alert) int {
		return cmp.Compare(urgency(string(a.Status())), urgency(string(b.Status())))
	})
	s.d.TruncatedFields = append(s.d.TruncatedFields, "alerts")
}

// listed returns how many alerts there is room for, the firing ones first.
func (s *shortener) listed(room int) int {
	encoded := func(v any) int {
		b, err := json.Marshal(v)
		if err != nil { // there is nothing in it that cannot be encoded
			return 0
		}
		return len(b) + 1
	}
	frame := *s.data
	frame.Alerts = nil
	room -= encoded(frame)
	ordered := slices.Clone(s.data.Alerts)
	slices.SortStableFunc(ordered, func(a, b template.Alert) int { return cmp.Compare(urgency(a.Status), urgency(b.Status)) })
	for i, a := range ordered {
		if room -= encoded(a); room < 0 {
			return i
		}
	}
	return len(ordered)
}
