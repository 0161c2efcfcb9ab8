package alertmanager

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	tmpltext "text/template"
	"text/template/parse"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/template"
	"github.com/prometheus/common/model"

	"github.com/cyberviser/hancock/internal/render"
)

// TemplateFinding is a template of a receiver that fails, or a list of template
// files without files.
type TemplateFinding struct {
	Receiver    string
	Integration string // slack_configs[0]
	Field       string // as in the file
	// Wrong is true when the template fails for every alert.
	Wrong bool
	// Exceeded is true when the template takes too much time, memory or space.
	Exceeded bool
	Message  string // what is wrong and what to do
}

// String returns the finding as one line: where, what and what to do.
func (f TemplateFinding) String() string {
	if f.Receiver == "" {
		return f.Field + ": " + f.Message
	}
	return fmt.Sprintf("receiver %q: %s.%s: %s", f.Receiver, f.Integration, f.Field, f.Message)
}

// CheckTemplates renders each template of each receiver with a sample alert,
// firing and resolved, in a child process for templates of TemplateKind.
// Alertmanager's own templates need none. A nil configuration has no templates.
func CheckTemplates(ctx context.Context, p *render.Process, c *config.Config, externalURL *url.URL) ([]TemplateFinding, error) {
	if c == nil {
		return nil, nil
	}
	k := &templateCheck{config: c, secrets: collectSecrets(c)}
	var custom []place
	k.each(func(p place) {
		if len(c.Templates) > 0 || p.text != p.fallback {
			custom = append(custom, p)
		}
	})
	if len(custom) == 0 && len(c.Templates) == 0 {
		return nil, nil // Alertmanager's own are not parsed for it: this is part of every start.
	}
	var err error
	if k.tmpl, k.set, err = newTemplate(c.Templates, externalURL); err != nil {
		return nil, fmt.Errorf("parsing templates: %w", err)
	}
	k.files()
	if err := k.dynamic(ctx, p, slices.DeleteFunc(custom, k.static)); err != nil {
		return nil, fmt.Errorf("rendering templates: %w", err)
	}
	return k.findings, nil
}

// brokenTemplates returns the templates of a generation that fail for every
// alert. It renders none of them.
func brokenTemplates(g *generation) []TemplateFinding {
	k := &templateCheck{config: g.config, tmpl: g.template, set: g.texts, secrets: g.secrets}
	k.files()
	k.each(func(p place) { k.static(p) })
	return k.findings
}

type templateCheck struct {
	config   *config.Config
	tmpl     *template.Template
	set      *tmpltext.Template // its text templates
	secrets  *secrets
	findings []TemplateFinding
}

// place is a template and where it is.
type place struct {
	field
	receiver, integration string
	resolved              bool // resolved alerts are sent, too
	fallback              string
}

func (k *templateCheck) each(do func(place)) {
	for _, r := range k.config.Receivers {
		v := reflect.ValueOf(r)
		for i := range v.NumField() {
			kind, ok := strings.CutSuffix(yamlName(v.Type().Field(i)), "_configs")
			for n := 0; ok && n < v.Field(i).Len(); n++ {
				c := v.Field(i).Index(n)
				sender, _ := reflect.TypeAssert[notify.ResolvedSender](c)
				fields, defaults := fieldsOf(kind, c), defaultsOf(kind, c)
				for _, f := range fields {
					// Alertmanager copies addresses to the header of a mail.
					if kind == "email" && slices.ContainsFunc(fields, func(a field) bool {
						return a.text == f.text && strings.EqualFold("headers."+a.path, f.path)
					}) {
						continue
					}
					if strings.Contains(f.text, "{{") {
						do(place{f, r.Name, fmt.Sprintf("%s_configs[%d]", kind, n), sender != nil && sender.SendResolved(), defaults[f.path]})
					}
				}
			}
		}
	}
}

func (k *templateCheck) report(p place, wrong bool, message string) {
	if p.secret {
		message = "the template fails; its text is a secret: correct the template"
	}
	k.findings = append(k.findings, TemplateFinding{
		Receiver: p.receiver, Integration: p.integration, Field: p.path, Wrong: wrong, Message: k.secrets.scrub(message),
	})
}

// files reports the patterns of template files that match none.
func (k *templateCheck) files() {
	for i, pattern := range k.config.Templates {
		if found, err := filepath.Glob(pattern); err == nil && len(found) == 0 {
			k.findings = append(k.findings, TemplateFinding{
				Field: fmt.Sprintf("templates[%d]", i), Message: "no files match " + pattern + ": correct the path",
			})
		}
	}
}

// static reports what is wrong whatever the alerts are: the syntax, functions
// and templates that are not defined. It returns whether something is.
func (k *templateCheck) static(p place) bool {
	set, err := k.set.Clone()
	if err != nil {
		return false
	}
	t, err := set.New("").Parse(p.text)
	if err != nil {
		k.report(p, true, explainSyntax(err.Error()))
		return true
	}
	missing := undefined(t, t.Root, "", map[string]bool{})
	for _, m := range missing {
		k.report(p, true, m+": define it in a file that templates names, or correct the name")
	}
	return len(missing) > 0
}

// undefined returns what a template calls that is not defined, itself or by
// what it calls.
func undefined(t *tmpltext.Template, n parse.Node, caller string, seen map[string]bool) (missing []string) {
	inside := func(lists ...*parse.ListNode) {
		for _, l := range lists {
			if l != nil {
				missing = append(missing, undefined(t, l, caller, seen)...)
			}
		}
	}
	switch n := n.(type) {
	case *parse.ListNode:
		for _, child := range n.Nodes {
			missing = append(missing, undefined(t, child, caller, seen)...)
		}
	case *parse.IfNode:
		inside(n.List, n.ElseList)
	case *parse.RangeNode:
		inside(n.List, n.ElseList)
	case *parse.WithNode:
		inside(n.List, n.ElseList)
	case *parse.TemplateNode:
		if seen[n.Name] {
			return nil
		}
		seen[n.Name] = true
		called := t.Lookup(n.Name)
		switch {
		case called != nil && called.Tree != nil:
			return undefined(t, called.Root, n.Name, seen)
		case caller != "":
			return []string{fmt.Sprintf("template %q calls the template %q, which is not defined", caller, n.Name)}
		default:
			return []string{fmt.Sprintf("template %q is not defined", n.Name)}
		}
	}
	return missing
}

// dynamic renders templates with samples and reports the first failure of each.
func (k *templateCheck) dynamic(ctx context.Context, p *render.Process, places []place) error {
	type try struct {
		place int
		of    string
	}
	var tries []try
	var jobs []render.Job
	for i, at := range places {
		for _, s := range k.samples(at) {
			t, err := newTemplateJob(k.config.Templates, k.tmpl.ExternalURL, at.field, s.data)
			if err != nil {
				return err
			}
			tries, jobs = append(tries, try{i, s.of}), append(jobs, t)
		}
	}
	failed := map[int]bool{}
	for len(jobs) > 0 {
		results, err := p.Render(ctx, jobs, nil)
		for i, r := range results {
			t := tries[i]
			if r.Err == "" || failed[t.place] || dependsRE.MatchString(r.Err) {
				continue
			}
			failed[t.place] = true
			message := explainFailure(r.Err)
			if t.of != "" {
				message = t.of + ": " + message
			}
			k.report(places[t.place], false, message)
		}
		exceeded, ok := errors.AsType[*render.BoundError](err)
		if !ok {
			return err
		}
		at := tries[exceeded.Job].place
		k.report(places[at], true, exceeded.Bound)
		k.findings[len(k.findings)-1].Exceeded = true
		next := exceeded.Job + 1
		for next < len(tries) && tries[next].place == at {
			next++
		}
		tries, jobs = tries[next:], jobs[next:]
	}
	return nil
}

// dependsRE matches failures of functions for which the value of a label or an
// annotation must have a form that the sample's cannot have.
var dependsRE = regexp.MustCompile(`error calling (mustToDate|tz|base64decode|urlUnescape|slice):`)

// sample is notification data to try a template with.
type sample struct {
	of   string // "" for the ordinary case
	data *template.Data
}

// nameRE finds the labels and annotations that a template uses.
var nameRE = regexp.MustCompile(`\.(?:Common|Group)?(Labels|Annotations)(?:\.(\w+)|\s+"([^"]+)")`)

// samples are one firing alert and, where resolved ones are sent, one resolved
// alert, and both. They have each label and annotation that the templates use.
func (k *templateCheck) samples(p place) []sample {
	firing := &alert.Alert{Alert: model.Alert{
		Labels: model.LabelSet{
			"alertname": "HighRequestLatency", "severity": "critical", "instance": "10.0.0.5:9100", "job": "node", "cluster": "main",
			"namespace": "shop", "pod": "cart-5d9c7b", "service": "cart", "team": "payments",
		},
		Annotations: model.LabelSet{
			"summary": "Requests are slow", "description": "The p95 of the latency is 1.2 s.\nMore than 5 % of the requests are affected.",
			"runbook_url": "https://example.org/runbooks/HighRequestLatency", "dashboard_url": "https://example.org/d/1",
		},
		StartsAt: time.Now().Add(-10 * time.Minute), EndsAt: time.Now().Add(time.Hour),
		GeneratorURL: "http://example.org/graph?g0.expr=up",
	}}
	texts := []string{p.text}
	for _, pattern := range k.config.Templates {
		files, err := filepath.Glob(pattern)
		if err != nil {
			continue // FromGlobs has read it
		}
		for _, name := range files {
			if text, err := os.ReadFile(name); err == nil {
				texts = append(texts, string(text))
			}
		}
	}
	for _, m := range nameRE.FindAllStringSubmatch(strings.Join(texts, "\n"), -1) {
		set := firing.Labels
		if m[1] == "Annotations" {
			set = firing.Annotations
		}
		if name := model.LabelName(m[2] + m[3]); set[name] == "" {
			set[name] = "sample value"
		}
	}
	resolved := &alert.Alert{Alert: firing.Alert}
	resolved.Labels = firing.Labels.Clone()
	resolved.Labels["instance"] = "10.0.0.6:9100"
	resolved.EndsAt = time.Now().Add(-time.Minute)
	data := func(reason notify.NotifyReason, alerts ...*alert.Alert) *template.Data {
		return k.tmpl.Data(p.receiver, firing.Labels, nil, reason.String(), alerts...)
	}
	samples := []sample{{"", data(notify.ReasonFirstNotification, firing)}}
	if p.resolved {
		samples = append(samples,
			sample{"with a resolved alert", data(notify.ReasonAllAlertsResolved, resolved)},
			sample{"with a firing and a resolved alert", data(notify.ReasonFirstNotification, firing, resolved)})
	}
	return samples
}

// warnOfTemplates logs the templates that fail for every alert. The
// configuration works all the same: defaults are sent for them.
func (a *Alertmanager) warnOfTemplates(g *generation) {
	for _, f := range brokenTemplates(g) {
		if f.Receiver == "" {
			a.log.Warn("no template files found", "field", f.Field, "err", f.Message)
			continue
		}
		a.log.Warn("invalid notification template", "receiver", f.Receiver, "integration", f.Integration,
			"field", f.Field, "err", f.Message)
	}
}
