package alertmanager

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"strings"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/template"
)

// textsOf are the texts of a message that must be made before a try begins, by
// their fields' names. Alertmanager's Slack integration sends the message empty
// from the first text on that fails, and calls that a success; the one for mail
// finds out when half of it is sent. All others need no help.
func textsOf(i *notify.Integration, r config.Receiver) map[string]string {
	texts := map[string]string{}
	switch i.Name() {
	case "slack":
		collectTemplates(reflect.ValueOf(r.SlackConfigs[i.Index()]), "", texts)
	case "email":
		c := r.EmailConfigs[i.Index()]
		texts["text"], texts[htmlField] = c.Text, c.HTML
		for name, text := range c.Headers {
			texts["headers."+name] = text
		}
	}
	return texts
}

const htmlField = "html" // of a mail

// canBeMade tells which of the texts cannot be made.
func canBeMade(ctx context.Context, texts map[string]string, tmpl *template.Template, alerts []*alert.Alert) error {
	data := notify.GetTemplateData(ctx, tmpl, alerts, slog.New(slog.DiscardHandler))
	for field, text := range texts {
		execute := tmpl.ExecuteTextString
		if field == htmlField {
			execute = tmpl.ExecuteHTMLString
		}
		if _, err := execute(text, data); err != nil {
			return fmt.Errorf("the template of %s fails: %w", field, err)
		}
	}
	return nil
}

// collectTemplates finds the texts of a message by their fields' names; how
// it is sent is not part of it.
func collectTemplates(v reflect.Value, field string, texts map[string]string) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			collectTemplates(v.Elem(), field, texts)
		}
	case reflect.Slice:
		for i := range v.Len() {
			collectTemplates(v.Index(i), fmt.Sprintf("%s[%d]", field, i), texts)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			if !f.IsExported() || name == "http_config" || strings.HasPrefix(name, "api_url") || strings.HasPrefix(name, "app_") {
				continue
			}
			if field != "" && name != "" {
				name = field + "." + name
			}
			collectTemplates(v.Field(i), name, texts)
		}
	case reflect.String:
		if strings.Contains(v.String(), "{{") {
			texts[field] = v.String()
		}
	}
}
