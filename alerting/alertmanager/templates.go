package alertmanager

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/notify/pagerduty"
)

// field is a setting of an integration that Alertmanager executes as a template.
type field struct {
	path   string // as in the file: fields[0].value
	text   string
	html   bool
	secret bool // its text must not be shown
}

// templateFields returns the settings of an integration that Alertmanager
// executes as templates, by their YAML names; a name includes all strings below it.
func templateFields(kind string) []string {
	switch kind {
	case "discord":
		return []string{"content", "title", "message"}
	case "email":
		return []string{"to", "from", "headers", "html", "text"}
	case "jira":
		return []string{"project", "summary", "description", "labels", "priority", "issue_type", "fields"}
	case "mattermost":
		return []string{
			"channel", "username", "text", "fallback", "color", "pretext", "author_name", "author_link", "author_icon", "title",
			"title_link", "fields", "thumb_url", "footer", "footer_icon", "image_url", "icon_url", "icon_emoji", "attachments", "type",
			"props", "priority",
		}
	case "msteams":
		return []string{"title", "summary", "text"}
	case "msteamsv2":
		return []string{"title", "text"}
	case "opsgenie":
		return []string{
			"api_key", "message", "description", "source", "details", "entity", "responders", "actions", "tags", "note", "priority",
		}
	case "pagerduty":
		return []string{
			"service_key", "routing_key", "client", "client_url", "description", "details", "images", "links", "source", "severity",
			"class", "component", "group",
		}
	case "pushover":
		return []string{"user_key", "token", "title", "message", "url", "url_title", "device", "sound", "priority"}
	case "rocketchat":
		return []string{
			"channel", "color", "title", "title_link", "text", "fields", "emoji", "icon_url", "image_url", "thumb_url",
			"actions.text", "actions.url", "actions.msg",
		}
	case "slack":
		return []string{
			"channel", "username", "color", "title", "title_link", "pretext", "text", "message_text", "fields", "footer", "fallback",
			"callback_id", "icon_emoji", "icon_url", "image_url", "thumb_url", "actions",
		}
	case "sns":
		return []string{"api_url", "topic_arn", "phone_number", "target_arn", "subject", "message", "attributes"}
	case "telegram":
		return []string{"message"}
	case "victorops":
		return []string{"routing_key", "message_type", "state_message", "entity_display_name", "monitoring_tool", "custom_fields"}
	case "webex":
		return []string{"message", "room_id"}
	case "webhook":
		return []string{"url", "payload"}
	case "wechat":
		return []string{"api_secret", "corp_id", "message", "to_user", "to_party", "to_tag", "agent_id"}
	default: // incidentio has none
		return nil
	}
}

// isAddress reports whether a message without this setting reaches nobody, or
// somebody else: no default can replace it.
func isAddress(kind, path string) bool {
	return slices.Contains(map[string][]string{
		"email":     {"to", "from"},
		"jira":      {"project", "issue_type"},
		"opsgenie":  {"api_key"},
		"pagerduty": {"service_key", "routing_key"},
		"pushover":  {"user_key", "token"},
		"sns":       {"api_url", "topic_arn", "phone_number", "target_arn"},
		"victorops": {"routing_key"},
		"webex":     {"room_id"},
		"webhook":   {"url"},
		"wechat":    {"api_secret", "corp_id"},
	}[kind], path)
}

// isSecret reports whether the text of a setting is one.
func isSecret(kind, path string) bool {
	return slices.Contains(map[string][]string{
		"opsgenie":  {"api_key"},
		"pagerduty": {"service_key", "routing_key"},
		"pushover":  {"user_key", "token"},
		"webhook":   {"url"},
		"wechat":    {"api_secret"},
	}[kind], path)
}

// configOf returns a pointer to the configuration of an integration.
func configOf(i *notify.Integration, r config.Receiver) reflect.Value {
	return configs(reflect.ValueOf(&r).Elem(), i.Name()).Index(i.Index())
}

// configs returns the list of a receiver's integrations of a kind.
func configs(r reflect.Value, kind string) reflect.Value {
	for i := range r.NumField() {
		if yamlName(r.Type().Field(i)) == kind+"_configs" {
			return r.Field(i)
		}
	}
	panic("no integration of kind " + kind)
}

// only returns a receiver with one integration.
func only(name, kind string, c reflect.Value) config.Receiver {
	r := config.Receiver{Name: name}
	list := configs(reflect.ValueOf(&r).Elem(), kind)
	list.Set(reflect.Append(list, c))
	return r
}

func yamlName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if name == "" {
		return strings.ToLower(f.Name)
	}
	return name
}

// fieldsOf returns the templates of an integration in a fixed order.
func fieldsOf(kind string, c reflect.Value) []field {
	var fields []field
	html := func(path string) bool {
		get := func(name string) reflect.Value { return c.Elem().FieldByName(name) }
		switch kind + "." + path {
		case "email.html":
			return true
		case "telegram.message":
			return get("ParseMode").String() == "HTML"
		case "pushover.message":
			return get("HTML").Bool()
		}
		return false
	}
	replaceTexts(kind, c, func(path, text string) (string, bool) {
		fields = append(fields, field{path: path, text: text, html: html(path), secret: isSecret(kind, path)})
		return text, true
	})
	return fields
}

// defaultsOf returns Alertmanager's defaults of the templates of an integration.
func defaultsOf(kind string, c reflect.Value) map[string]string {
	fresh := reflect.New(c.Type().Elem())
	if u, ok := reflect.TypeAssert[interface{ UnmarshalYAML(func(any) error) error }](fresh); ok {
		// It sets the defaults and then misses what has none.
		_ = u.UnmarshalYAML(func(any) error { return nil })
	}
	texts := map[string]string{}
	for _, f := range fieldsOf(kind, fresh) {
		texts[f.path] = f.text
	}
	switch kind {
	case "pagerduty":
		for name, text := range pagerduty.DefaultPagerdutyDetails {
			texts["details."+name] = fmt.Sprint(text)
		}
		texts["severity"] = "error"
		texts["source"] = texts["client"]
	case "email":
		texts["headers.Subject"] = config.DefaultEmailSubject
	}
	return texts
}

// replaceTexts returns a copy of an integration's configuration in which
// replace has been applied to each template. Where replace returns false, the
// entry of a map or the element of a list is left out. What is not a template
// is shared with the original.
func replaceTexts(kind string, c reflect.Value, replace func(path, text string) (string, bool)) reflect.Value {
	w := walker{kind: kind, names: templateFields(kind), replace: replace}
	out, _ := w.walk(c, "", "")
	return out
}

type walker struct {
	kind    string
	names   []string
	replace func(path, text string) (string, bool)
}

// below reports whether a path without indices is a template's or leads to one.
func (w *walker) below(plain string) bool {
	return slices.ContainsFunc(w.names, func(name string) bool {
		return plain == name || strings.HasPrefix(plain, name+".") || strings.HasPrefix(name, plain+".")
	})
}

// walk copies a value; plain is its path without indices.
func (w *walker) walk(v reflect.Value, path, plain string) (out reflect.Value, keep bool) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return v, true
		}
		elem, keep := w.walk(v.Elem(), path, plain)
		if v.Kind() == reflect.Interface {
			return elem, keep
		}
		out = reflect.New(v.Type().Elem())
		out.Elem().Set(elem)
		return out, keep
	case reflect.Struct:
		out = reflect.New(v.Type()).Elem()
		out.Set(v)
		keep = w.walkStruct(v, out, path, plain)
		return out, keep
	case reflect.Slice:
		if v.IsNil() {
			return v, true
		}
		out = reflect.MakeSlice(v.Type(), 0, v.Len())
		for i := range v.Len() {
			if elem, keep := w.walk(v.Index(i), fmt.Sprintf("%s[%d]", path, i), plain); keep {
				out = reflect.Append(out, elem)
			}
		}
		return out, true
	case reflect.Map:
		return w.walkMap(v, path, plain), true
	case reflect.String:
		text, keep := w.replace(path, v.String())
		return reflect.ValueOf(text).Convert(v.Type()), keep
	default:
		return v, true
	}
}

func (w *walker) walkStruct(v, out reflect.Value, path, plain string) (keep bool) {
	keep = true
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name := yamlName(f)
		if !f.IsExported() || f.Anonymous {
			continue
		}
		fieldPath, fieldPlain := name, name
		switch {
		case w.kind == "jira" && name == "template":
			fieldPath, fieldPlain = path, plain // the text itself may stand there
		case path != "":
			fieldPath, fieldPlain = path+"."+name, plain+"."+name
		}
		if !w.below(fieldPlain) {
			continue
		}
		elem, ok := w.walk(v.Field(i), fieldPath, fieldPlain)
		out.Field(i).Set(elem)
		keep = keep && ok
	}
	return keep
}

func (w *walker) walkMap(v reflect.Value, path, plain string) reflect.Value {
	if v.IsNil() {
		return v
	}
	out := reflect.MakeMap(v.Type())
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	for _, key := range keys {
		name := fmt.Sprint(key)
		newKey := key
		if w.namesAreTemplates(key, plain) {
			text, keep := w.replace(path+"."+name+" (name)", name)
			if !keep {
				continue
			}
			newKey = reflect.ValueOf(text)
		}
		if elem, keep := w.walk(v.MapIndex(key), path+"."+name, plain+"."+name); keep {
			out.SetMapIndex(newKey, elem)
		}
	}
	return out
}

// namesAreTemplates reports whether Alertmanager executes the names of a map,
// too: those of SNS' attributes and all within structured values.
func (w *walker) namesAreTemplates(key reflect.Value, plain string) bool {
	if key.Kind() == reflect.Interface {
		key = key.Elem()
	}
	switch {
	case key.Kind() != reflect.String:
		return false
	case w.kind == "sns":
		return plain == "attributes"
	case w.kind == "webhook":
		return true
	case w.kind == "pagerduty", w.kind == "jira":
		return strings.Contains(plain, ".")
	default:
		return false
	}
}

// literal returns the template that renders a text.
func literal(text string, html bool) string {
	switch {
	case text == "":
		return ""
	case html:
		return "{{ " + strconv.Quote(text) + " | safeHtml }}"
	default:
		return "{{ " + strconv.Quote(text) + " }}"
	}
}

// matches reports whether a path is named by one of the patterns, or is below it.
func matches(path string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		rest, ok := strings.CutPrefix(path, p)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// unique returns the names once each, sorted.
func unique(names []string) []string {
	set := map[string]bool{}
	for _, n := range names {
		set[n] = true
	}
	return slices.Sorted(maps.Keys(set))
}
