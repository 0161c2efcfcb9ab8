package alertmanager

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/template"
)

// maxFailedFields bounds the fields that an attempt lists.
const maxFailedFields = 20

// FieldError is a template of an integration that failed.
type FieldError struct {
	Field string `json:"field"`
	Error string `json:"error"`
}

// Amendment says how a message differs from the one that was configured.
type Amendment struct {
	// FailedFields are the templates that failed; their defaults were sent.
	FailedFields []FieldError `json:"failed_fields,omitempty"`
	// AlertsOmitted is the number of alerts that a text left out because the
	// receiver does not take a longer one.
	AlertsOmitted int `json:"alerts_omitted,omitempty"`
	// TruncatedFields are the texts that were shortened.
	TruncatedFields []string `json:"truncated_fields,omitempty"`
}

func (a *Amendment) empty() bool { return len(a.FailedFields) == 0 && len(a.TruncatedFields) == 0 }

// composer renders the templates of one integration before a message is sent,
// since some integrations find out halfway that one fails, and none knows what
// to leave out of a message that its receiver refuses as too large.
type composer struct {
	kind     string
	config   reflect.Value // a pointer to the configuration
	fields   []field
	defaults map[string]string
	limits   []limit
	tmpl     *template.Template
	builtin  *template.Template // Alertmanager's own templates only
	// build makes an integration for one message.
	build func(reflect.Value) (notify.Notifier, error)
}

func newComposer(i *notify.Integration, c reflect.Value, tmpl, builtin *template.Template) *composer {
	kind := i.Name()
	return &composer{
		kind: kind, config: c, fields: fieldsOf(kind, c), defaults: defaultsOf(kind, c), limits: limitsOf(kind, c),
		tmpl: tmpl, builtin: builtin,
	}
}

// rendering is a field while a message is composed: what it was rendered from,
// and its text.
type rendering struct {
	field
	tmpl   *template.Template
	source string
	text   string
	drop   bool // left out of its map or list
}

func (r *rendering) render(data *template.Data) (string, error) {
	if !strings.Contains(r.source, "{{") {
		return r.source, nil
	}
	if r.html {
		return r.tmpl.ExecuteHTMLString(r.source, data)
	}
	return r.tmpl.ExecuteTextString(r.source, data)
}

// draft is a message before it is sent.
type draft struct {
	Amendment
	fields []*rendering
	alerts []*alert.Alert // as they are given to the integration
	// maxAlerts bounds the alerts in a message that is made of them and not of
	// templates; 0: all.
	maxAlerts int
	note      string // of what was omitted
}

// compose renders a message. A field that fails gets its default, and what is
// too long for the receiver is shortened. With a scale below 1 the message gets
// smaller than that by this factor.
func (c *composer) compose(ctx context.Context, alerts []*alert.Alert, scale float64) (*draft, error) {
	data := notify.GetTemplateData(ctx, c.tmpl, alerts, slog.New(slog.DiscardHandler))
	d := &draft{alerts: alerts}
	for _, f := range c.fields {
		r := &rendering{field: f, tmpl: c.tmpl, source: f.text}
		d.fields = append(d.fields, r)
		var err error
		if r.text, err = r.render(data); err == nil {
			continue
		}
		d.failed(f, err)
		if isAddress(c.kind, f.path) {
			return d, fmt.Errorf("the template of %s fails, and without it there is nowhere to send to: %w", f.path, err)
		}
		c.useDefault(r, data)
	}
	c.complete(d, data)
	s := &shortener{c: c, d: d, data: data, total: len(alerts)}
	s.shorten(scale)
	return d, nil
}

func (d *draft) failed(f field, err error) {
	if len(d.FailedFields) >= maxFailedFields {
		return
	}
	text := err.Error()
	if f.secret {
		text = "the template fails; its text is a secret"
	}
	d.FailedFields = append(d.FailedFields, FieldError{f.path, text})
}

// useDefault renders a field from its default: with the templates of the
// configuration if that works, else with Alertmanager's own. What has no
// default is empty, and left out where that is possible.
func (c *composer) useDefault(r *rendering, data *template.Data) {
	r.source = c.defaults[r.path]
	if r.source == "" {
		r.text, r.drop = "", true
		return
	}
	for _, r.tmpl = range []*template.Template{c.tmpl, c.builtin} {
		text, err := r.render(data)
		if err == nil {
			r.text = text
			return
		}
	}
	r.source, r.text = "", ""
}

// complete mends what the integration refuses: a mail without a body, and a
// description that Jira's API 3 would not take for a document.
func (c *composer) complete(d *draft, data *template.Data) {
	if len(d.FailedFields) == 0 {
		return
	}
	find := func(path string) *rendering {
		i := slices.IndexFunc(d.fields, func(r *rendering) bool { return r.path == path })
		return d.fields[i]
	}
	switch {
	case c.kind == "email":
		if html := find("html"); html.text == "" && find("text").text == "" {
			c.useDefault(html, data)
		}
	case c.takesDocument():
		if r := find("description"); r.text != "" && !json.Valid([]byte(r.text)) {
			r.source, r.text = "", document(r.text)
		}
	}
}

// takesDocument reports whether this is Jira's API 3, whose descriptions are
// documents in JSON.
func (c *composer) takesDocument() bool {
	if c.kind != "jira" {
		return false
	}
	u := c.config.Elem().FieldByName("APIURL")
	return !u.IsNil() && strings.HasSuffix(strings.TrimRight(u.Elem().FieldByName("URL").Elem().FieldByName("Path").String(), "/"), "/3")
}

// document is text in the format of Atlassian's documents.
func document(text string) string {
	type m = map[string]any
	doc, err := json.Marshal(m{"type": "doc", "version": 1, "content": []m{
		{"type": "paragraph", "content": []m{{"type": "text", "text": text}}},
	}})
	if err != nil { // there is nothing in it that cannot be encoded
		return ""
	}
	return string(doc)
}

// integration builds the integration that sends a draft which is not what the
// configuration says. It is used for one message.
func (c *composer) integration(d *draft) (notify.Notifier, error) {
	byPath := map[string]*rendering{}
	payloadFails := false
	for _, r := range d.fields {
		byPath[r.path] = r
		payloadFails = payloadFails || r.drop && matches(r.path, []string{"payload"})
	}
	conf := replaceTexts(c.kind, c.config, func(path, text string) (string, bool) {
		r := byPath[path]
		if r.secret {
			return text, true
		}
		// A column of a table or an attachment can be empty.
		empty := matches(path, []string{"attachments", "fields"}) && c.kind != "jira"
		return literal(r.text, r.html), !r.drop || empty
	})
	set := func(name string) reflect.Value { return conf.Elem().FieldByName(name) }
	if d.maxAlerts > 0 {
		set("MaxAlerts").SetUint(uint64(d.maxAlerts))
	}
	if payloadFails {
		set("Payload").SetZero() // the default is the message of all webhooks
	}
	if c.kind == "pagerduty" && d.note != "" {
		// The texts in the details may be structured, with no room for a note.
		set("Details").SetMapIndex(reflect.ValueOf("omitted"), reflect.ValueOf(literal(d.note, false)))
	}
	return c.build(conf)
}
