package alerting_test

import (
	"log/slog"
	"maps"
	"net/url"
	"strings"
	"testing"

	"github.com/prometheus/alertmanager/timeinterval"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v2"

	"github.com/cyberviser/hancock/alerting"
)

const officeHours = `[{times: [{start_time: "08:00", end_time: "18:00"}], weekdays: ["monday:friday"], location: Europe/Berlin}]`

func hours(t *testing.T, text string) (intervals []timeinterval.TimeInterval) {
	t.Helper()
	require.NoError(t, yaml.UnmarshalStrict([]byte(text), &intervals))
	return intervals
}

// parsed are the rules of a text by their names.
func parsed(t *testing.T, text string) map[string]rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.Parse([]byte(text), false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	require.Empty(t, errs, text)
	rules := map[string]rulefmt.Rule{}
	for _, g := range groups.Groups {
		require.NotEmpty(t, g.Rules, g.Name)
		for _, r := range g.Rules {
			rules[r.Alert] = r
		}
	}
	return rules
}

// TestChoice changes what it names, and nothing else.
func TestChoice(t *testing.T) {
	all := parsed(t, alerting.Builtin())
	var names []string
	for name := range all {
		names = append(names, name)
	}
	for name, tt := range map[string]struct {
		choice   alerting.Choice
		gone     []string
		severity map[string]string
		hours    bool
	}{
		"nothing":                       {},
		"one of a group":                {choice: alerting.Choice{Disabled: []string{"HancockSlowModel"}}, gone: []string{"HancockSlowModel"}},
		"the first of a group":          {choice: alerting.Choice{Disabled: []string{"HancockMemoryGrowth"}}, gone: []string{"HancockMemoryGrowth"}},
		"the last of all":               {choice: alerting.Choice{Disabled: []string{"Watchdog"}}, gone: []string{"Watchdog"}},
		"a whole group":                 {choice: alerting.Choice{Disabled: []string{"HancockHighMemoryUsage", "HancockMemoryGrowth"}}, gone: []string{"HancockMemoryGrowth", "HancockHighMemoryUsage"}},
		"the first group":               {choice: alerting.Choice{Disabled: []string{"HancockHighErrorRate"}}, gone: []string{"HancockHighErrorRate"}},
		"one twice":                     {choice: alerting.Choice{Disabled: []string{"HancockTooBusy", "HancockTooBusy"}}, gone: []string{"HancockTooBusy"}},
		"all":                           {choice: alerting.Choice{Disabled: names}, gone: names},
		"a severity":                    {choice: alerting.Choice{Severity: map[string]string{"HancockNoTraffic": "warning"}}, severity: map[string]string{"HancockNoTraffic": "warning"}},
		"severities that want quotes":   {choice: alerting.Choice{Severity: map[string]string{"HancockTooBusy": "yes", "HancockSlowModel": `a: "b" # é`}}, severity: map[string]string{"HancockTooBusy": "yes", "HancockSlowModel": `a: "b" # é`}},
		"traffic hours":                 {choice: alerting.Choice{TrafficHours: hours(t, officeHours)}, hours: true},
		"traffic hours that are always": {choice: alerting.Choice{TrafficHours: hours(t, "[{}]")}},
		"everything at once": {
			choice: alerting.Choice{
				Disabled: []string{"HancockHighErrorRate"}, Severity: map[string]string{"HancockNoTraffic": "warning", "HancockHighErrorRate": "info"},
				TrafficHours: hours(t, officeHours),
			},
			gone: []string{"HancockHighErrorRate"}, severity: map[string]string{"HancockNoTraffic": "warning"}, hours: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := alerting.DefaultOptions()
			o.Choice = tt.choice
			text, err := o.Rules()
			require.NoError(t, err)
			got := parsed(t, text)
			want := map[string]rulefmt.Rule{}
			maps.Copy(want, all)
			for _, name := range tt.gone {
				delete(want, name)
				require.NotContains(t, text, "alert: "+name+"\n")
			}
			for name, severity := range tt.severity {
				r := want[name]
				r.Labels = map[string]string{"severity": severity}
				want[name] = r
			}
			if tt.hours {
				r := want["HancockNoTraffic"]
				inner, _, found := strings.Cut(got["HancockNoTraffic"].Expr, "\n)\nand on () (\n")
				require.True(t, found)
				require.Equal(t, strings.Fields("( "+r.Expr), strings.Fields(inner))
				r.Expr = got["HancockNoTraffic"].Expr
				want["HancockNoTraffic"] = r
			}
			require.Equal(t, want, got)
			if name == "nothing" {
				require.Equal(t, alerting.Builtin(), text)
			}
			require.Contains(t, text, "# The rules that", "comments stay")
			if len(tt.gone) == len(all) {
				return
			}

			// What is evaluated, listed and replayed is this text.
			m, err := alerting.New(o, alerting.Storage{}, nil, prometheus.NewRegistry(), logger(t))
			require.NoError(t, err)
			defer m.Close()
			require.Equal(t, []alerting.File{{Name: alerting.BuiltinFile, Text: text}}, m.Files())
			require.Len(t, m.AlertingRules(), len(want))
			for _, r := range m.AlertingRules() {
				require.Equal(t, want[r.Name()].Labels["severity"], r.Labels().Get("severity"))
			}
		})
	}
}

// TestChoiceErrors names the setting, the alert and those that were probably meant.
func TestChoiceErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		choice alerting.Choice
		want   string
	}{
		"a typing error":        {alerting.Choice{Disabled: []string{"HancockNoTrafic"}}, `alerting.disabled: no built-in alert is named "HancockNoTrafic": did you mean HancockNoTraffic?`},
		"without its prefix":    {alerting.Choice{Disabled: []string{"noTraffic"}}, `alerting.disabled: no built-in alert is named "noTraffic": did you mean HancockNoTraffic?`},
		"several are near":      {alerting.Choice{Severity: map[string]string{"HancockDiskFull": "info"}}, "HancockDiskFilling"},
		"a name like no other":  {alerting.Choice{Disabled: []string{"KubePodCrashLooping"}}, "see hancock rules"},
		"an empty name":         {alerting.Choice{Disabled: []string{""}}, `no built-in alert is named ""`},
		"an empty severity":     {alerting.Choice{Severity: map[string]string{"HancockTooBusy": " "}}, "alerting.severity: the severity of HancockTooBusy is empty: set one, such as warning"},
		"of an unknown alert":   {alerting.Choice{Severity: map[string]string{"HancockToBusy": "info"}}, `alerting.severity: no built-in alert is named "HancockToBusy": did you mean HancockTooBusy?`},
		"of the heartbeat":      {alerting.Choice{Severity: map[string]string{"Watchdog": "critical"}}, "alerting.severity: Watchdog is the heartbeat"},
		"in the wrong alphabet": {alerting.Choice{Disabled: []string{"ХанкокНет"}}, "see hancock rules"},
	} {
		t.Run(name, func(t *testing.T) {
			o := alerting.DefaultOptions()
			o.Choice = tt.choice
			require.ErrorContains(t, o.Validate(), tt.want)
			_, err := o.Rules()
			require.ErrorContains(t, err, tt.want)
			_, err = alerting.New(o, alerting.Storage{}, nil, prometheus.NewRegistry(), logger(t))
			require.ErrorContains(t, err, tt.want)
		})
	}
}

// TestExport has links lead to this server, and is empty without built-in rules.
func TestExport(t *testing.T) {
	o := alerting.DefaultOptions()
	o.ExternalURL = &url.URL{Scheme: "https", Host: "hancock.example", Path: "/"}
	text, err := o.Export()
	require.NoError(t, err)
	require.NotContains(t, text, "externalURL")
	for name, r := range parsed(t, text) {
		require.Contains(t, r.Annotations["runbook_url"], name)
		require.True(t, strings.HasPrefix(r.Annotations["runbook_url"], "https://"), name)
	}
	o.BuiltinRules = false
	text, err = o.Export()
	require.NoError(t, err)
	require.Empty(t, parsed(t, text))
}
