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

// slackTemplates tells whether the texts of a message can be made.
// Alertmanager's Slack integration sends the message empty from the first text
// on that fails and calls that a success.
func slackTemplates(c *config.SlackConfig, tmpl *template.Template) func(context.Context, []*alert.Alert) error {
	texts := map[string]string{}
	collectTemplates(reflect.ValueOf(c), "", texts)
	quiet := slog.New(slog.DiscardHandler)
	return func(ctx context.Context, alerts []*alert.Alert) error {
		data := notify.GetTemplateData(ctx, tmpl, alerts, quiet)
		for field, text := range texts {
			if _, err := tmpl.ExecuteTextString(text, data); err != nil {
				return fmt.Errorf("the template of %s fails: %w", field, err)
			}
		}
		return nil
	}
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
