package lint_test

import "testing"

func TestRouting(t *testing.T) {
	const inhibit = "alertmanager:\n" + both + receivers + "  inhibit_rules:\n"
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"nothing", "alertmanager:\n" + both + receivers, nil},

		// Times.
		{"repeat_interval and retention", "alertmanager:\n  route:\n    receiver: w\n    repeat_interval: 30d\n    routes:\n    - {matchers: [a=b], receiver: x}\n    - {matchers: [a=c], receiver: x, repeat_interval: 6d}\n    - {matchers: [a=d], receiver: x, repeat_interval: 5d}\n" + receivers, []string{
			"hancock.yml:4: warning: alertmanager.route.repeat_interval: 30d is longer than alerting.retention (5d)",
			"hancock.yml:7: warning: alertmanager.route.routes[1].repeat_interval: 6d is longer than alerting.retention (5d)",
		}},
		{"repeat_interval and group_interval", "alertmanager:\n  route:\n    receiver: w\n    group_interval: 5m\n    repeat_interval: 5m\n    routes:\n    - {matchers: [a=b], receiver: x, group_interval: 10m}\n    - {matchers: [a=c], receiver: x, repeat_interval: 1m}\n    - {matchers: [a=d], receiver: x, repeat_interval: 1m, group_interval: 30s}\n" + receivers, []string{
			"hancock.yml:7: warning: alertmanager.route.routes[0].repeat_interval: 5m is shorter than group_interval (10m)",
			"hancock.yml:8: warning: alertmanager.route.routes[1].repeat_interval: 1m is shorter than group_interval (5m)",
		}},

		// Routes and receivers.
		{
			"after a route without matchers", "alertmanager:\n  route:\n    receiver: w\n    routes:\n    - {receiver: w}\n    - {matchers: [a=b], receiver: x}\n" + receivers,
			[]string{"hancock.yml:6: warning: alertmanager.route.routes[1]: never reached, as every alert that it matches is taken by the route before it (hancock.yml:5)"},
		},
		{"after a route that continues", "alertmanager:\n  route: {receiver: w, routes: [{receiver: w, continue: true}, {matchers: [a=b], receiver: x}]}\n" + receivers, nil},
		{"after a wider route", "alertmanager:\n  route:\n    receiver: w\n    routes:\n    - {matchers: ['a=~\"b|c\"', 'd!=e'], receiver: w}\n    - {matchers: [a=b, d=f], receiver: x}\n    - {matchers: [a=b], receiver: x}\n    - {matchers: [d=f], receiver: x}\n    - {match: {a: c, d: g}, receiver: x}\n" + receivers, []string{
			"hancock.yml:6: warning: alertmanager.route.routes[1]: never reached", "hancock.yml:9: warning: alertmanager.route.routes[4]: never reached",
		}},
		{
			"the same matchers twice", "alertmanager:\n  route: {receiver: w, routes: [{matchers: ['a!~b'], receiver: w}, {matchers: ['a!~b', c=d], receiver: x}]}\n" + receivers,
			[]string{"hancock.yml:2: warning: alertmanager.route.routes[1]: never reached"},
		},
		{"below a route that it contradicts", "alertmanager:\n  route:\n    receiver: w\n    routes:\n    - matchers: [severity=critical]\n      routes: [{matchers: ['severity=~\"warning|info\"']}, {matchers: [severity=warning], receiver: x}]\n" + receivers, []string{
			`hancock.yml:6: warning: alertmanager.route.routes[0].routes[0]: no alert matches both severity="critical" and severity=~"warning|info"`,
			`hancock.yml:6: warning: alertmanager.route.routes[0].routes[1]: no alert matches both severity="critical" and severity="warning"`,
		}},
		{"receiver without a route", "alertmanager:\n  route: {receiver: w}\n" + receivers, []string{`hancock.yml:3: warning: alertmanager.receivers[1]: receiver "x" is not used by any route`}},

		// Names of alerts.
		{"names of alerts", "alertmanager:\n  route:\n    receiver: w\n    routes:\n    - {matchers: [alertname=HighErorRate], receiver: x}\n    - {matchers: ['alertname=~\"HighErrorRate|SlowAnswer\"'], receiver: x}\n    - {matchers: ['alertname!=\"HighErrorRates\"', a=b], receiver: x}\n    - {matchers: ['alertname=~\"High.*\"', a=c], receiver: x}\n    - {matchers: ['alertname=NodeDown', 'b=c'], receiver: x}\n    - {match_re: {alertname: '(SlowAnswers|HighErrorRat)', c: d}, receiver: x}\n" + receivers, []string{
			"hancock.yml:5: warning: alertmanager.route.routes[0]: no rule has an alert named HighErorRate: did you mean HighErrorRate?",
			"hancock.yml:6: warning: alertmanager.route.routes[1]: no rule has an alert named SlowAnswer: did you mean SlowAnswers?",
			"hancock.yml:7: warning: alertmanager.route.routes[2]: no rule has an alert named HighErrorRates: did you mean HighErrorRate?",
			"hancock.yml:10: warning: alertmanager.route.routes[5]: no rule has an alert named HighErrorRat: did you mean HighErrorRate?",
			"hancock.yml:9: hint: alertmanager.route.routes[4]: no rule has an alert named NodeDown: correct the name unless another sender has such alerts",
		}},
		{"names after relabelling", "prometheus: {alerting: {alert_relabel_configs: [{target_label: alertname, replacement: HighErorRate}]}}\nalertmanager:\n  route: {receiver: w, routes: [{matchers: [alertname=HighErorRate], receiver: x}]}\n" + receivers, nil},

		// Inhibition.
		{"labels that neither side has", inhibit + "  - {source_matchers: [severity=critical], target_matchers: [severity=warning], equal: [job, cluster, team, namespace]}\n", []string{
			"hancock.yml:5: warning: alertmanager.inhibit_rules[0].equal[1]: no alert that matches the source or the target has the label cluster, and two missing labels are equal",
			"hancock.yml:5: warning: alertmanager.inhibit_rules[0].equal[3]: no alert that matches the source or the target has the label namespace",
		}},
		{"alerts of other senders", inhibit + "  - {source_matchers: [severity=page], target_matchers: [severity=ticket], equal: [cluster]}\n", nil},
		{"without equal", inhibit + "  - {source_matchers: [severity=critical], target_matchers: ['severity=~\"warning|info\"']}\n  - {source_match: {severity: critical}, target_match: {severity: warning}}\n  - {source_matchers: [alertname=HighErrorRate], target_matchers: [severity=warning]}\n", []string{
			"hancock.yml:5: warning: alertmanager.inhibit_rules[0]: without equal, one alert that matches the source mutes every alert that matches the target",
			"hancock.yml:6: warning: alertmanager.inhibit_rules[1]: without equal",
		}},
		{"nothing to inhibit", inhibit + "  - {source_matchers: [severity=critical, severity=warning], target_matchers: [alertname=SlowAnswer], equal: [job]}\n", []string{
			"hancock.yml:5: warning: alertmanager.inhibit_rules[0]: no rule has an alert named SlowAnswer: did you mean SlowAnswers?",
			"hancock.yml:5: warning: alertmanager.inhibit_rules[0]: no alert matches both severity=\"critical\" and severity=\"warning\", so nothing is inhibited",
		}},

		// Time intervals.
		{"time intervals", `alertmanager:
  route: {receiver: w, routes: [{matchers: [a=b], receiver: x, mute_time_intervals: [night, past, never], active_time_intervals: [leap, later]}]}
  time_intervals:
  - {name: night, time_intervals: [{times: [{start_time: '22:00', end_time: '24:00'}], location: Europe/Berlin}]}
  - {name: unused, time_intervals: [{weekdays: [monday]}]}
  - {name: past, time_intervals: [{weekdays: [monday]}, {years: ['2020:2029']}]}
  - name: never
    time_intervals:
    - {months: ['february'], days_of_month: ['30:31']}
    - {months: ['april'], days_of_month: ['31']}
  - {name: leap, time_intervals: [{months: [february], days_of_month: ['29'], weekdays: [sunday]}]}
  - {name: later, time_intervals: [{years: ['2090'], weekdays: [friday], days_of_month: ['13']}]}
` + receivers, []string{
			`hancock.yml:5: warning: alertmanager.time_intervals[1]: no route uses the time interval "unused"`,
			"hancock.yml:6: warning: alertmanager.time_intervals[2].time_intervals[1]: no time from now on is in this interval",
			"hancock.yml:9: warning: alertmanager.time_intervals[3].time_intervals[0]: no time from now on is in this interval",
			"hancock.yml:10: warning: alertmanager.time_intervals[3].time_intervals[1]: no time from now on",
		}},
		{"older section of time intervals", "alertmanager:\n" + both + receivers + "  mute_time_intervals: [{name: n, time_intervals: [{years: ['2000']}]}]\n", []string{
			`hancock.yml:4: warning: alertmanager.mute_time_intervals[0]: no route uses the time interval "n"`, "hancock.yml:4: warning: alertmanager.mute_time_intervals[0].time_intervals[0]: no time",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) { requireFindings(t, tc.want, find(t, tc.text, nil)) })
	}
}
