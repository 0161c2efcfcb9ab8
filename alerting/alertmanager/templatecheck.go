package alertmanager

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	runtimemetrics "runtime/metrics"
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
)

const (
	// renderTimeout and maxRenderBytes bound a template that is checked. One
	// that runs cannot be interrupted, so the check ends with it.
	renderTimeout  = 5 * time.Second
	maxRenderBytes = 256 << 20
	renderTick     = 5 * time.Millisecond
)

var (
	errEndlessTemplate = fmt.Errorf("does not end within %s and cannot be interrupted, so the templates after it were not checked: "+
		"shorten its loops", renderTimeout)
	errHugeTemplate = fmt.Errorf("needs more than %d MiB of memory and cannot be interrupted, so the templates after it were not checked: "+
		"shorten its text", maxRenderBytes>>20)
)

// TemplateFinding is a template of a receiver that fails, or a list of template
// files without files.
type TemplateFinding struct {
	Receiver    string
	Integration string // slack_configs[0]
	Field       string // as in the file
	// Wrong is true when the template fails for every alert.
	Wrong   bool
	Message string // what is wrong and what to do
}

// String returns the finding as one line: where, what and what to do.
func (f TemplateFinding) String() string {
	if f.Receiver == "" {
		return f.Field + ": " + f.Message
	}
	return fmt.Sprintf("receiver %q: %s.%s: %s", f.Receiver, f.Integration, f.Field, f.Message)
}

// CheckTemplates renders each template of each receiver with a sample alert,
// firing and resolved. It takes up to seconds if one of them does not end, and
// that one goes on afterwards. A nil configuration has no templates.
func CheckTemplates(c *config.Config, externalURL *url.URL) []TemplateFinding {
	if c == nil {
		return nil
	}
	k := &templateCheck{config: c, secrets: collectSecrets(c)}
	var err error
	if k.tmpl, k.set, err = newTemplate(c.Templates, externalURL); err != nil { // Check says it
		return nil
	}
	k.files()
	k.each(func(p place) bool {
		if k.static(p) {
			return true
		}
		return k.dynamic(p)
	})
	return k.findings
}

// brokenTemplates returns the templates of a generation that fail for every
// alert. It renders none of them.
func brokenTemplates(g *generation) []TemplateFinding {
	k := &templateCheck{config: g.config, tmpl: g.template, set: g.texts, secrets: g.secrets}
	k.files()
	k.each(func(p place) bool { k.static(p); return true })
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
}

func (k *templateCheck) each(do func(place) bool) {
	for _, r := range k.config.Receivers {
		v := reflect.ValueOf(r)
		for i := range v.NumField() {
			kind, ok := strings.CutSuffix(yamlName(v.Type().Field(i)), "_configs")
			for n := 0; ok && n < v.Field(i).Len(); n++ {
				c := v.Field(i).Index(n)
				sender, _ := reflect.TypeAssert[notify.ResolvedSender](c)
				fields := fieldsOf(kind, c)
				for _, f := range fields {
					// Alertmanager copies addresses to the header of a mail.
					if kind == "email" && slices.ContainsFunc(fields, func(a field) bool {
						return a.text == f.text && strings.EqualFold("headers."+a.path, f.path)
					}) {
						continue
					}
					p := place{f, r.Name, fmt.Sprintf("%s_configs[%d]", kind, n), sender != nil && sender.SendResolved()}
					if strings.Contains(f.text, "{{") && !do(p) {
						return
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
	k.findings = append(k.findings, TemplateFinding{p.receiver, p.integration, p.path, wrong, k.secrets.scrub(message)})
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

// dynamic renders a template with samples and reports what fails. It returns
// false when the template does not end.
func (k *templateCheck) dynamic(p place) bool {
	samples := k.samples(p)
	for _, s := range samples {
		err := bounded(func() error {
			r := rendering{field: p.field, tmpl: k.tmpl, source: p.text}
			_, err := r.render(s.data)
			return err
		})
		switch {
		case err == nil, dependsRE.MatchString(err.Error()):
			continue
		case errors.Is(err, errEndlessTemplate), errors.Is(err, errHugeTemplate):
			k.report(p, true, err.Error())
			return false
		default:
			message := explainFailure(err.Error())
			if s.of != "" {
				message = s.of + ": " + message
			}
			k.report(p, false, message)
			return true
		}
	}
	return true
}

// dependsRE matches failures of functions for which the value of a label or an
// annotation must have a form that the sample's cannot have.
var dependsRE = regexp.MustCompile(`error calling (mustToDate|tz|base64decode|urlUnescape|slice):`)

// bounded runs a template until it ends or takes too much.
func bounded(render func() error) error {
	before := heapBytes()
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("the template panicked: %v", p)
			}
		}()
		done <- render()
	}()
	deadline, tick := time.NewTimer(renderTimeout), time.NewTicker(renderTick)
	defer deadline.Stop()
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-deadline.C:
			return errEndlessTemplate
		case <-tick.C:
			if heapBytes() > before+maxRenderBytes {
				return errHugeTemplate
			}
		}
	}
}

func heapBytes() uint64 {
	s := []runtimemetrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	runtimemetrics.Read(s)
	return s[0].Value.Uint64()
}

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
