package alertmanager

import (
	"bytes"
	"encoding/json"
	"mime/quotedprintable"
	"reflect"
	"unicode/utf8"
)

// measure is the size of a text as a receiver counts it.
type measure func(string) int

// limit is the most that a receiver takes: of each of the fields, or of all
// together.
type limit struct {
	fields  []string
	max     int
	measure measure
	sum     bool
	how     reduction
}

// reduction is how a text gets shorter.
type reduction int

const (
	fewerAlerts reduction = iota // with a note of how many there were
	cutOff                       // without a note, where only ASCII is taken
	leaveOut                     // as half an address leads nowhere
)

const (
	kib = 1 << 10
	// teamsBytes is what a webhook of Microsoft Teams takes (28 KB) without the
	// frame of the card.
	teamsBytes = 28_000 - kib
	// pagerDutyBytes is what PagerDuty takes (512 KB) without the frame and the
	// names of the details.
	pagerDutyBytes = 512_000 - 8*kib
	// incidentioBytes is what incident.io takes.
	incidentioBytes = 512*kib - 4*kib
	// mailBytes is what a mail server takes: Postfix by default,
	// 10,240,000 bytes, of which headers and boundaries take some.
	mailBytes = 10_000_000
	snsBytes  = 256*kib - kib
	// maxHeaderBytes keeps the lines of a mail's header within the 998 bytes
	// of RFC 5322.
	maxHeaderBytes = 900
)

// limitsOf returns the limits that the receivers of a kind document.
// Alertmanager has some of them, but cuts without a word about it, in some
// cases amid a character, and in others drops all of the text.
func limitsOf(kind string, c reflect.Value) []limit {
	each := func(most int, m measure, fields ...string) limit { return limit{fields: fields, max: most, measure: m} }
	sum := func(most int, m measure, fields ...string) limit {
		return limit{fields: fields, max: most, measure: m, sum: true}
	}
	switch kind {
	case "discord":
		return []limit{each(256, characters, "title"), each(4096, characters, "message"), each(2000, characters, "content")}
	case "email":
		return []limit{each(maxHeaderBytes, size, "headers.Subject"), sum(mailBytes, quotedPrintableSize, "html", "text")}
	case "jira":
		labels := each(255, characters, "labels")
		labels.how = leaveOut
		return []limit{labels, each(255, characters, "summary"), each(32_767, characters, "description", "fields")}
	case "mattermost":
		return []limit{each(16_383, characters, "text", "pretext", "attachments", "fields", "props", "fallback")}
	case "msteams":
		return []limit{sum(teamsBytes, jsonSize, "title", "summary", "text")}
	case "msteamsv2":
		return []limit{sum(teamsBytes, jsonSize, "title", "text")}
	case "opsgenie":
		return []limit{
			each(130, characters, "message"), each(15_000, characters, "description"), each(25_000, characters, "note"),
			each(100, characters, "source"), each(512, characters, "entity"), sum(8000, characters, "details"),
		}
	case "pagerduty":
		return []limit{
			each(1024, characters, "description"),
			sum(pagerDutyBytes, jsonSize, "details", "description", "client", "source", "class", "component", "group", "links", "images"),
		}
	case "pushover":
		url := each(512, characters, "url")
		url.how = leaveOut
		return []limit{each(250, characters, "title"), each(1024, characters, "message"), each(100, characters, "url_title"), url}
	case "rocketchat":
		return []limit{each(1024, characters, "title"), sum(5000, characters, "text", "fields")}
	case "slack":
		return []limit{
			each(1024, characters, "title"),
			sum(40_000, characters, "title", "text", "pretext", "message_text", "fallback", "footer", "fields"),
		}
	case "sns":
		if c.Elem().FieldByName("PhoneNumber").String() != "" {
			return []limit{each(1600, characters, "message")}
		}
		subject := each(100, characters, "subject")
		subject.how = cutOff
		return []limit{subject, sum(snsBytes, size, "message", "attributes")}
	case "telegram":
		return []limit{each(4096, characters, "message")}
	case "victorops":
		return []limit{each(20_480, characters, "state_message", "entity_display_name")}
	case "webex":
		return []limit{each(7439, size, "message")}
	case "wechat":
		return []limit{each(2048, size, "message")}
	default: // a webhook's receiver has its own limit, and max_alerts for it
		return nil
	}
}

func size(s string) int { return len(s) }

// characters counts as those do who are written in languages whose texts are
// UTF-16; for all others it is a bit more than they count.
func characters(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xffff {
			n++
		}
	}
	return n
}

// jsonSize is the length of a text within a JSON document, where a text that
// is JSON itself stands as it is.
func jsonSize(s string) int {
	n := len(s) + 2
	structured := isStructured(s)
	for i := 0; i < len(s); {
		r, width := utf8.DecodeRuneInString(s[i:])
		i += width
		switch {
		case r == '<', r == '>', r == '&', r == utf8.RuneError && width == 1:
			n += 5
		case structured:
		case r == '"', r == '\\', r == '\n', r == '\r', r == '\t':
			n++
		case r < ' ', r == 0x7f:
			n += 5
		case r == '\u2028', r == '\u2029':
			n += 3
		}
	}
	return n
}

func isStructured(s string) bool {
	trimmed := bytes.TrimSpace([]byte(s))
	return len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[') && json.Valid(trimmed)
}

// quotedPrintableSize is the length of a text in a mail.
func quotedPrintableSize(s string) int {
	var n counter
	w := quotedprintable.NewWriter(&n)
	// It fails only when the counter does, which never happens.
	_, _ = w.Write([]byte(s))
	_ = w.Close()
	return int(n)
}

type counter int

func (n *counter) Write(p []byte) (int, error) {
	*n += counter(len(p))
	return len(p), nil
}
