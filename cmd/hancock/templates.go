package main

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/cyberviser/hancock/alerting/alertmanager"
	"github.com/cyberviser/hancock/cmd/hancock/internal/config"
)

// templateFindings returns the templates of receivers that fail: an error where every alert fails, a warning where some
// do. It takes up to seconds if a template does not end.
func templateFindings(c config.Config, externalURL *url.URL) (findings []config.Finding) {
	for _, f := range alertmanager.CheckTemplates(c.Alertmanager, externalURL) {
		severity, path, problem := config.Warning, config.Path{"alertmanager"}, f.Message
		if f.Wrong {
			severity = config.Error
		}
		setting := f.Field
		if f.Receiver != "" {
			for i := range c.Alertmanager.Receivers {
				if c.Alertmanager.Receivers[i].Name == f.Receiver {
					path = path.At("receivers", i)
				}
			}
			setting = f.Integration + "." + strings.TrimSuffix(f.Field, " (name)")
			problem = fmt.Sprintf("receiver %q: %s", f.Receiver, f.Message)
		}
		findings = append(findings, c.Finding(severity, append(path, steps(setting)...), problem, ""))
	}
	return findings
}

// stepRE matches one step of a setting's name: an index or a key.
var stepRE = regexp.MustCompile(`\[(\d+)\]|[^.\[\]]+`)

// steps are those of a setting's name: slack_configs[0].text.
func steps(setting string) (path config.Path) {
	for _, m := range stepRE.FindAllStringSubmatch(setting, -1) {
		if i, err := strconv.Atoi(m[1]); err == nil {
			path = append(path, i)
		} else {
			path = append(path, m[0])
		}
	}
	return path
}
