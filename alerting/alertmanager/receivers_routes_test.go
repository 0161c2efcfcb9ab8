package alertmanager_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/alertmanager"
)

// The dialect of routes as people have it in their files: old and new matchers,
// nesting, continue, grouping by all labels, inhibition, time intervals,
// templates of a file.
func TestReceiversDialect(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "ours.tmpl"),
		[]byte(`{{ define "ours.text" }}{{ .GroupLabels.team | toUpper }} has {{ len .Alerts }}{{ end }}`), 0o600))
	hooks := map[string]*receiver{}
	receivers := []string{"receivers:", "- name: nobody", "- name: probe"}
	for _, name := range []string{"rest", "old", "pattern", "new", "nested", "inhibited", "night", "always", "file", "control"} {
		hooks[name] = newReceiver(t)
		receivers = append(receivers, "- name: "+name, "  webhook_configs:", "  - url: "+hooks[name].URL)
		if name == "file" {
			receivers = append(receivers, `    payload: {text: '{{ template "ours.text" . }}'}`)
		}
	}
	s := newStation(t, lines(
		"templates: ["+filepath.Join(folder, "*.tmpl")+"]",
		"route:",
		"  receiver: nobody", quickly,
		"  routes:",
		"  - "+probeRoute,
		// Told again with each turn: when it has been told a few times, all others have had theirs.
		"  - {receiver: control, continue: true, group_by: [job], repeat_interval: 50ms}",
		"  - {receiver: old, match: {team: one}}",
		"  - {receiver: pattern, match_re: {team: two|three}}",
		"  - receiver: new",
		`    matchers: [team =~ "four|five", severity != info]`,
		"    group_by: ['...']",
		"    routes:",
		"    - {receiver: nested, matchers: [team = five]}",
		"  - {receiver: inhibited, matchers: [team = six]}",
		"  - {receiver: night, matchers: [team = seven], mute_time_intervals: [ever], continue: true}",
		"  - {receiver: night, matchers: [team = seven], active_time_intervals: [never], continue: true}",
		"  - {receiver: always, matchers: [team = seven], active_time_intervals: [ever], mute_time_intervals: [never]}",
		"  - {receiver: file, matchers: ['team = eight'], group_by: [team]}",
		"  - {receiver: rest}",
		"inhibit_rules:",
		"- {source_matchers: [team = one], target_matchers: [team = six], equal: [job]}",
		"time_intervals:",
		"- {name: ever, time_intervals: [{years: ['2000:2999']}]}",
		"- {name: never, time_intervals: [{years: ['1990:1999']}]}",
		lines(receivers...),
	))
	of := func(team, severity string) {
		alert := alertOf("HancockDown", severity)
		alert.Labels = labels.NewBuilder(alert.Labels).Set("team", team).Labels()
		s.Send(alert)
	}
	of("one", "critical")
	require.Equal(t, map[string]any{"alertname": "HancockDown"}, hooks["old"].next(t).decode(t)["groupLabels"])
	untilInhibited(t, s.Alertmanager, map[string]string{"team": "six", "job": "hancock"})
	for _, team := range []string{"two", "four", "five", "six", "seven", "eight", "nine"} {
		of(team, "critical")
	}
	of("four", "info") // no matcher takes it
	hooks["pattern"].next(t)
	require.Len(t, hooks["new"].next(t).decode(t)["groupLabels"], 5, "grouped by all labels")
	hooks["nested"].next(t)
	hooks["always"].next(t)
	require.Equal(t, "EIGHT has 1", hooks["file"].next(t).decode(t)["text"])
	told := map[any]bool{}
	for len(told) < 2 {
		for _, a := range hooks["rest"].next(t).decode(t)["alerts"].([]any) {
			told[a.(map[string]any)["labels"].(map[string]any)["team"]] = true
		}
	}
	require.Equal(t, map[any]bool{"nine": true, "four": true}, told)
	for alerts := 0; alerts < 8; { // all but the inhibited one
		alerts = len(hooks["control"].next(t).decode(t)["alerts"].([]any))
	}
	for range 3 {
		hooks["control"].next(t)
	}
	hooks["inhibited"].quiet(t)
	hooks["night"].quiet(t)
}

// A silence holds messages back as long as it lasts, and no longer.
func TestReceiversSilence(t *testing.T) {
	t.Parallel()
	hook, control := newReceiver(t), newReceiver(t)
	s := newStation(t, lines(
		"route:",
		"  receiver: hook", quickly,
		"  routes: [{receiver: control, matchers: [alertname = Other], repeat_interval: 50ms}]",
		"receivers:",
		"- name: hook",
		"  webhook_configs: [{url: "+hook.URL+"}]",
		"- name: control",
		"  webhook_configs: [{url: "+control.URL+"}]",
	))
	api := serve(t, s)
	code, body := ask(t, http.MethodPost, api+"/api/v2/silences", `{"matchers":[{"name":"alertname","value":"Hancock.*","isRegex":true}],`+
		`"startsAt":"`+time.Now().UTC().Format(time.RFC3339Nano)+`","endsAt":"`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano)+
		`","createdBy":"test","comment":"known"}`)
	require.Equal(t, http.StatusOK, code, "%s", body)
	var made struct{ SilenceID string }
	require.NoError(t, json.Unmarshal([]byte(body), &made))
	s.Send(alertOf("HancockDown", "critical"), alertOf("Other", "critical"))
	for range 4 {
		control.next(t)
	}
	hook.quiet(t)
	code, _ = ask(t, http.MethodDelete, api+"/api/v2/silence/"+made.SilenceID, "")
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, "firing", hook.next(t).decode(t)["status"])
}

// A receiver that hangs keeps no new configuration from taking effect; what it
// was not told, its successor is.
func TestReceiversReloadPastOneThatHangs(t *testing.T) {
	t.Parallel()
	address, accepted := silent(t)
	s := newStation(t, oneReceiver(once, "  webhook_configs: [{url: URL}]", "http://"+address), func(o *alertmanager.Options) {
		o.CloseTimeout, o.AttemptTimeout = 100*time.Millisecond, 5*time.Minute
	})
	s.Send(alertOf("HancockDown", "critical"))
	next(t, accepted)
	hook := newReceiver(t)
	c, err := config.Load(oneReceiver(once, "  webhook_configs: [{url: URL}]", hook.URL))
	require.NoError(t, err)
	start := time.Now()
	require.NoError(t, reload(s.Alertmanager, c))
	require.Less(t, time.Since(start), patience, "the try would go on for five minutes")
	require.Equal(t, "firing", hook.next(t).decode(t)["status"])
	// The try that was under way is told, too, though perhaps after that of its successor.
	s.attempt(t, "the try that was given up", func(a alertmanager.Attempt) bool { return a.Outcome == "failed" })
}
