package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cyberviser/hancock/alerting/alertmanager"
	"github.com/cyberviser/hancock/alerting/ruletemplate"
	"github.com/cyberviser/hancock/cmd/hancock/internal/config"
	"github.com/cyberviser/hancock/internal/redact"
	"github.com/cyberviser/hancock/internal/render"
)

// templateFindings returns the templates of receivers that fail: an error where every alert fails, a warning where some
// do. Those that exceed the limits of a template are in exceeded, too. It takes up to seconds for each that does.
func templateFindings(ctx context.Context, p *render.Process, c config.Config, externalURL *url.URL) (findings, exceeded []config.Finding, err error) {
	found, err := alertmanager.CheckTemplates(ctx, p, c.Alertmanager, externalURL)
	for _, f := range found {
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
		finding := c.Finding(severity, append(path, steps(setting)...), problem, "")
		findings = append(findings, finding)
		if f.Exceeded {
			exceeded = append(exceeded, finding)
		}
	}
	return findings, exceeded, err
}

// checkTemplates returns the findings in the templates of receivers, and an error for each template of a receiver or a
// rule that exceeds the limits of one: with it no process starts. It starts a child process if there are templates of
// the user.
func checkTemplates(ctx context.Context, c config.Config, opts options) (findings []config.Finding, err error) {
	p := render.New(render.Options{}, alertmanager.TemplateKind(), ruletemplate.Kind())
	defer p.Close()
	findings, exceeded, err := templateFindings(ctx, p, c, opts.alertmanager.ExternalURL)
	errs := []error{err, opts.alerting.Loaded.CheckTemplates(ctx, p, opts.alerting)}
	for _, f := range exceeded {
		errs = append(errs, errors.New(redact.URLs(f.String())))
		findings = slices.DeleteFunc(findings, func(other config.Finding) bool { return other == f })
	}
	return findings, errors.Join(errs...)
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
