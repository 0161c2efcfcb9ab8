package alerting_test

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/rules"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting"
	"github.com/cyberviser/hancock/alerting/internal/bubble"
	"github.com/cyberviser/hancock/alerting/outgoing"
)

// interval is that of scrapes and evaluations.
const interval = 30 * time.Second

// keeping is a group whose alert goes on for half an hour.
const keeping = `
groups:
  - name: g
    rules:
      - alert: Flap
        expr: flap == 1
        keep_firing_for: 30m
        labels: {severity: page}
        annotations: {summary: 'is {{ $value }}'}
`

// of are options with the rules of a file alone.
func of(file string) func(*alerting.Options) {
	return func(o *alerting.Options) {
		o.BuiltinRules, o.RuleFiles, o.EvaluationInterval = false, []string{file}, interval
	}
}

// over starts rules of a file over the storage in dir.
func over(t *testing.T, dir, file string) *house {
	t.Helper()
	h := enter(t, dir, of(file))
	close(h.ready)
	return h
}

// feed lets time go by, in which the metric flap is scraped at each interval.
func (h *house) feed(d time.Duration, flap float64) {
	h.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		app := h.db.Appender(h.t.Context())
		_, err := app.Append(0, labels.FromStrings(model.MetricNameLabel, "flap", "instance", "a:1"), time.Now().UnixMilli(), flap)
		require.NoError(h.t, err)
		require.NoError(h.t, app.Commit())
		time.Sleep(interval) // Test time.
		synctest.Wait()
	}
}

// ends are the distinct ends of what was sent as resolved since the last call, by alert name, severity and team.
func (h *house) ends() map[string]time.Time {
	h.t.Helper()
	ends := map[string]time.Time{}
	h.sent.mtx.Lock()
	log := h.sent.log
	h.sent.alerts, h.sent.log = nil, nil
	h.sent.mtx.Unlock()
	for _, a := range log {
		key := strings.TrimRight(a.Name()+"/"+a.Labels.Get("severity")+"/"+a.Labels.Get("team"), "/")
		if !a.Labels.Has("instance") {
			key += " of others"
		}
		end, known := ends[key]
		switch {
		case a.EndsAt.After(a.at):
			require.False(h.t, known, "%s fires again after it was resolved", key)
		case known:
			require.Equal(h.t, end, a.EndsAt, "resolved once")
		default:
			ends[key] = a.EndsAt
		}
	}
	return ends
}

func write(t *testing.T, file, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
}

// changed is text with the first of each pair replaced by the second.
func changed(text string, pairs ...string) string { return strings.NewReplacer(pairs...).Replace(text) }

func TestKeepFiringForSurvivesRestart(t *testing.T) {
	for _, tt := range []struct {
		name   string
		rules  string
		after  string        // The rules of the start; empty are the same.
		since  time.Duration // How long it is false before the stop.
		stops  int
		down   time.Duration
		ends   time.Duration // How long after it became false the alert is resolved.
		within time.Duration
	}{
		{"kept alert", keeping, "", 5 * time.Minute, 1, time.Minute, 30 * time.Minute, 2 * interval},
		{"several restarts", keeping, "", 5 * time.Minute, 3, time.Minute, 30 * time.Minute, 2 * interval},
		{"true before the stop, false after the start", keeping, "", 0, 1, 10 * time.Minute, 40 * time.Minute, 3 * interval},
		{"downtime longer than keep_firing_for", keeping, "", 5 * time.Minute, 1, 40 * time.Minute, 45 * time.Minute, 3 * interval},
		{"with for", changed(keeping, "keep_firing_for", "for: 2m\n        keep_firing_for"), "", 5 * time.Minute, 1, time.Minute, 30 * time.Minute, 2 * interval},
		{
			"labels of templates", changed(keeping, "severity: page", `severity: '{{ if gt $value 0.5 }}page{{ end }}', host: '{{ $labels.instance | reReplaceAll ":.*" "" }}'`), "",
			5 * time.Minute, 1, time.Minute, 30 * time.Minute, 2 * interval,
		},
		{
			"on a recording rule", changed(keeping, "      - alert", "      - record: recorded\n        expr: flap * 2\n      - alert", "flap == 1", "recorded == 2"), "",
			5 * time.Minute, 1, time.Minute, 30 * time.Minute, 2 * interval,
		},
		{"query offset", changed(keeping, "    rules", "    query_offset: 1m\n    rules"), "", 5 * time.Minute, 1, time.Minute, 31 * time.Minute, 2 * interval},
		{"another annotation", keeping, changed(keeping, "is {{", "was {{"), 5 * time.Minute, 1, time.Minute, 30 * time.Minute, 2 * interval},
		{"another expression", keeping, changed(keeping, "flap == 1", "flap > 0.5"), 5 * time.Minute, 1, time.Minute, 30 * time.Minute, 2 * interval},
		{"longer keep_firing_for", keeping, changed(keeping, "30m", "50m"), 5 * time.Minute, 1, time.Minute, 50 * time.Minute, 2 * interval},
		{"without keep_firing_for", keeping, changed(keeping, "keep_firing_for: 30m", "for: 1s"), 5 * time.Minute, 1, time.Minute, 6 * time.Minute, 3 * interval},
		{
			// It cannot be restored, as its rule would make another label out of it.
			"label made of itself", changed(keeping, "severity: page", `severity: page, instance: 'x-{{ $labels.instance }}'`), "",
			5 * time.Minute, 1, time.Minute, 6 * time.Minute, 3 * interval,
		},
		{"another group", keeping, changed(keeping, "name: g", "name: other"), 5 * time.Minute, 1, time.Minute, 30 * time.Minute, 2 * interval},
		{
			"rule of the same name before it", keeping, changed(keeping, "      - alert", "      - {alert: Flap, expr: flap == 7, keep_firing_for: 9h, labels: {severity: page}}\n      - alert"),
			5 * time.Minute, 1, time.Minute, 30 * time.Minute, 2 * interval,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				dir, file := t.TempDir(), filepath.Join(t.TempDir(), "rules.yml")
				write(t, file, tt.rules)
				h := over(t, dir, file)
				defer func() { h.stop() }()
				h.feed(5*time.Minute, 1)
				before := time.Now()
				h.feed(tt.since, 0)
				was := *h.active("Flap")
				require.Equal(t, rules.StateFiring, was.State)
				require.Empty(t, h.ends())
				if tt.after != "" {
					write(t, file, tt.after)
				}
				for range tt.stops {
					h.stop()
					time.Sleep(tt.down) // Test time.
					h = over(t, dir, file)
					if tt.ends > 30*time.Minute-interval && time.Since(before) < 25*time.Minute {
						h.feed(interval+time.Second, 0)
						var now *rules.Alert
						for _, r := range h.m.AlertingRules() {
							for _, a := range r.ActiveAlerts() {
								require.Nil(t, now, "one rule has it")
								now = a
							}
						}
						require.NotNil(t, now)
						require.Equal(t, rules.StateFiring, now.State, "from the first evaluation on")
						require.WithinDuration(t, was.ActiveAt, now.ActiveAt, time.Second) // `for` is stored in seconds.
						require.True(t, was.FiredAt.Equal(now.FiredAt))
						require.Equal(t, was.Labels, now.Labels)
						require.InDelta(t, was.Value, now.Value, 0)
						if tt.since > 0 {
							require.True(t, was.KeepFiringSince.Equal(now.KeepFiringSince), "%s, not %s", was.KeepFiringSince, now.KeepFiringSince)
						}
					}
				}
				h.feed(time.Hour, 0)
				ends := h.ends()
				require.Len(t, ends, 1)
				for _, end := range ends {
					require.InDelta(t, tt.ends.Seconds(), end.Sub(before).Seconds(), tt.within.Seconds())
				}
			})
		})
	}
}

// TestTrueAgainAfterRestart has a kept alert whose expression is true again: the time of keep_firing_for starts over.
func TestTrueAgainAfterRestart(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		dir, file := t.TempDir(), filepath.Join(t.TempDir(), "rules.yml")
		write(t, file, keeping)
		h := over(t, dir, file)
		defer func() { h.stop() }()
		h.feed(5*time.Minute, 1)
		h.feed(20*time.Minute, 0)
		h.stop()
		h = over(t, dir, file)
		h.feed(5*time.Minute, 1)
		require.True(t, h.active("Flap").KeepFiringSince.IsZero())
		before := time.Now()
		h.feed(29*time.Minute, 0)
		require.Empty(t, h.ends())
		h.feed(5*time.Minute, 0)
		require.InDelta(t, (30 * time.Minute).Seconds(), h.ends()["Flap/page"].Sub(before).Seconds(), 30)
	})
}

func TestReloadKeepsAlerts(t *testing.T) {
	var second string
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, file string, o *alerting.Options)
	}{
		{"another rule beside it", func(t *testing.T, file string, _ *alerting.Options) {
			write(t, file, keeping+"      - {alert: Other, expr: flap == 3}\n")
		}},
		{"another annotation", func(t *testing.T, file string, _ *alerting.Options) {
			write(t, file, changed(keeping, "is {{", "was {{"))
		}},
		{"another external URL", func(_ *testing.T, _ string, o *alerting.Options) {
			o.ExternalURL = &url.URL{Scheme: "https", Host: "other.example"}
		}},
		{"another name of the group", func(t *testing.T, file string, _ *alerting.Options) {
			write(t, file, changed(keeping, "name: g", "name: other"))
		}},
		{"another file", func(t *testing.T, file string, o *alerting.Options) {
			write(t, second, keeping)
			write(t, file, "groups: []")
			o.RuleFiles = append(o.RuleFiles, second)
		}},
		{"another name of the file", func(t *testing.T, _ string, o *alerting.Options) {
			write(t, second, keeping)
			o.RuleFiles = []string{second}
		}},
		{"a group that exists", func(t *testing.T, file string, _ *alerting.Options) {
			write(t, file, changed(keeping, "  - name: g", "  - name: first\n    rules: [{alert: Other, expr: flap == 3}]\n  - name: second"))
		}},
		{"a copy in another group", func(t *testing.T, _ string, o *alerting.Options) {
			write(t, second, keeping)
			o.RuleFiles = append(o.RuleFiles, second)
		}},
	} {
		for kind, rule := range map[string]string{
			"kept": keeping, "firing": changed(keeping, "keep_firing_for: 30m", "for: 10m"), "pending": changed(keeping, "keep_firing_for: 30m", "for: 40m"),
		} {
			t.Run(tt.name+", "+kind, func(t *testing.T) {
				bubble.Test(t, func(t *testing.T) {
					file := filepath.Join(t.TempDir(), "rules.yml")
					second = filepath.Join(t.TempDir(), "second.yml")
					as := func(text string) string {
						return changed(text, "keep_firing_for: 30m", strings.TrimSpace(strings.Split(strings.Split(rule, "expr: flap == 1\n")[1], "\n")[0]))
					}
					write(t, file, rule)
					h := over(t, t.TempDir(), file)
					defer func() { h.stop() }()
					h.feed(20*time.Minute, 1)
					flap := 1.0
					if kind == "kept" {
						flap = 0
					}
					h.feed(10*time.Minute, flap)
					was := *h.active("Flap")
					require.NoError(t, h.reload(func(o *alerting.Options) {
						tt.change(t, file, o)
						for _, f := range o.RuleFiles { // The texts above are of a rule that is kept.
							text, err := os.ReadFile(f)
							require.NoError(t, err)
							write(t, f, as(string(text)))
						}
					}))
					h.feed(5*time.Minute, flap)
					require.Empty(t, h.ends())
					alerts := activeOf(h, "Flap")
					require.NotEmpty(t, alerts)
					for _, now := range alerts {
						if tt.name == "a copy in another group" && !now.ActiveAt.Equal(was.ActiveAt) {
							continue // The copy has alerts of its own.
						}
						require.Equal(t, was.State, now.State)
						require.Equal(t, was.ActiveAt, now.ActiveAt)
						require.Equal(t, was.KeepFiringSince, now.KeepFiringSince)
						require.Equal(t, was.FiredAt, now.FiredAt)
					}
				})
			})
		}
	}
}

// activeOf are the active alerts of all rules of a name.
func activeOf(h *house, name string) (all []*rules.Alert) {
	for _, r := range h.m.AlertingRules() {
		if r.Name() == name {
			all = append(all, r.ActiveAlerts()...)
		}
	}
	return all
}

// plain is a group whose alert fires as long as its expression is true.
var plain = changed(keeping, "        keep_firing_for: 30m\n", "")

// ruleChanges are changes of the rules after which no rule has the alert any more, and when that is known.
func ruleChanges() []ruleChange {
	return []ruleChange{
		{"renamed", changed(plain, "alert: Flap", "alert: Other"), 0},
		{"removed", "groups: [{name: g, rules: [{alert: Other, expr: flap == 3}]}]", 0},
		{"group removed", "groups: []", 0},
		{"another severity", changed(plain, "severity: page", "severity: info"), 0},
		{"a label more", changed(plain, "severity: page", "severity: page, team: a"), 0},
		{"severity of a template", changed(plain, "severity: page", "severity: '{{ if gt $value 5.0 }}page{{ else }}info{{ end }}'"), interval},
		{"another threshold", changed(plain, "flap == 1", "flap > 1"), interval},
		{"other series", changed(plain, "flap == 1", "max by (job) (flap) == 1"), interval},
		{"another group and threshold", changed(plain, "name: g", "name: other", "flap == 1", "flap > 1"), interval},
	}
}

type ruleChange struct {
	name, rules string
	within      time.Duration
}

func TestReloadResolves(t *testing.T) {
	for _, tt := range append(ruleChanges(),
		ruleChange{"longer for", changed(plain, "flap == 1", "flap == 1\n        for: 1h"), interval},
		ruleChange{"kept and renamed", changed(keeping, "alert: Flap", "alert: Other"), 0},
	) {
		t.Run(tt.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				file := filepath.Join(t.TempDir(), "rules.yml")
				write(t, file, plain)
				if strings.HasPrefix(tt.name, "kept") {
					write(t, file, keeping)
				}
				h := over(t, t.TempDir(), file)
				defer func() { h.stop() }()
				h.feed(5*time.Minute, 1)
				was := h.active("Flap")
				if strings.HasPrefix(tt.name, "kept") {
					h.feed(5*time.Minute, 0)
				}
				require.Empty(t, h.ends())
				write(t, file, tt.rules)
				at := time.Now()
				require.NoError(t, h.reload(func(*alerting.Options) {}))
				if tt.within == 0 {
					sent := h.sent.take()
					require.Len(t, sent, 1, "at once")
					require.Equal(t, at, sent[0].EndsAt)
					require.Equal(t, was.FiredAt, sent[0].StartsAt)
					require.Equal(t, was.Labels, sent[0].Labels)
					require.Equal(t, "is 1", sent[0].Annotations.Get("summary"))
					require.Contains(t, sent[0].GeneratorURL, "http://hancock.example/graph?g0.expr=flap")
				} else {
					h.feed(tt.within+time.Second, 1)
					ends := h.ends()
					require.Contains(t, ends, "Flap/page")
					require.WithinDuration(t, at, ends["Flap/page"], tt.within)
				}
				h.feed(5*time.Minute, 1)
				for _, a := range h.sent.log {
					require.False(t, a.EndsAt.After(a.at) && labels.Equal(a.Labels, was.Labels), "it does not fire any more")
				}
				v, err := h.query(`ALERTS{alertname="Flap", severity="page", team="", instance="a:1", alertstate="firing"}`)
				require.NoError(t, err)
				require.Empty(t, v, "its series has ended")
			})
		})
	}
}

// TestReloadRelabeled has an alert that loses its severity when it is sent: with another one it is the same alert to an
// Alertmanager, and is not resolved before the new one fires.
func TestReloadRelabeled(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "rules.yml")
		write(t, file, plain)
		h := over(t, t.TempDir(), file)
		defer func() { h.stop() }()
		h.sender.Reload(outgoing.New(labels.EmptyLabels(), []*relabel.Config{
			{Action: relabel.LabelDrop, Regex: relabel.MustNewRegexp("severity")},
		}))
		h.feed(5*time.Minute, 1)
		require.Empty(t, h.ends())
		write(t, file, changed(plain, "severity: page", "severity: info"))
		require.NoError(t, h.reload(func(*alerting.Options) {}))
		require.Empty(t, h.sent.log)
		h.feed(5*time.Minute, 1)
		require.NotEmpty(t, h.sent.log)
		require.Empty(t, h.ends())
		write(t, file, "groups: []")
		require.NoError(t, h.reload(func(*alerting.Options) {}))
		require.Contains(t, h.ends(), "Flap")
	})
}

// TestReloadFailingRule has a rule whose evaluation fails from a reload on: that resolves nothing before it succeeds.
func TestReloadFailingRule(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "rules.yml")
		write(t, file, plain)
		h := over(t, t.TempDir(), file)
		defer func() { h.stop() }()
		h.feed(5*time.Minute, 1)
		failing := changed(plain, "name: g", "name: other", "flap == 1", `flap + on (instance) (flap or label_replace(flap, "x", "y", "", ""))`)
		write(t, file, failing)
		require.NoError(t, h.reload(func(*alerting.Options) {}))
		h.feed(5*time.Minute, 1)
		require.Equal(t, rules.HealthBad, find(t, h.m, "Flap").Health())
		require.Empty(t, h.ends())
		write(t, file, changed(plain, "name: g", "name: other", "flap == 1", "flap == 2"))
		require.NoError(t, h.reload(func(*alerting.Options) {}))
		h.feed(interval+time.Second, 1)
		require.Contains(t, h.ends(), "Flap/page")
	})
}

// TestReloadBackAgain has a rule that is removed and added again: its alert fires again, and that it was resolved is not
// sent again.
func TestReloadBackAgain(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "rules.yml")
		write(t, file, plain)
		h := over(t, t.TempDir(), file)
		defer func() { h.stop() }()
		h.feed(5*time.Minute, 1)
		require.Empty(t, h.ends())
		write(t, file, "groups: [{name: g, rules: [{alert: Other, expr: flap == 3}]}]")
		require.NoError(t, h.reload(func(*alerting.Options) {}))
		h.feed(time.Minute, 1)
		require.Contains(t, h.ends(), "Flap/page")
		write(t, file, plain)
		require.NoError(t, h.reload(func(*alerting.Options) {}))
		h.feed(5*time.Minute, 1)
		require.Equal(t, rules.StateFiring, h.active("Flap").State)
		require.Empty(t, h.ends())
	})
}

// TestKilledAfterReload has a process that ends right after a reload that removed a rule: the next one resolves its
// alert again, with the same end.
func TestKilledAfterReload(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		dir, file := t.TempDir(), filepath.Join(t.TempDir(), "rules.yml")
		write(t, file, plain)
		h := over(t, dir, file)
		defer func() { h.stop() }()
		h.feed(5*time.Minute, 1)
		require.Empty(t, h.ends())
		write(t, file, "groups: []")
		require.NoError(t, h.reload(func(*alerting.Options) {}))
		end := h.ends()["Flap/page"]
		require.Equal(t, time.Now(), end)
		h.stop()
		time.Sleep(time.Minute) // Test time.
		h = over(t, dir, file)
		h.feed(time.Minute, 1)
		require.True(t, end.Equal(h.ends()["Flap/page"]))
		v, err := h.query(`ALERTS{alertname="Flap"}`)
		require.NoError(t, err)
		require.Empty(t, v, "its series has ended")
		h.stop()
		write(t, file, plain)
		h = over(t, dir, file)
		h.feed(10*time.Minute, 1)
		require.Empty(t, h.ends(), "it fires again")
		require.Equal(t, rules.StateFiring, h.active("Flap").State)
	})
}

// TestReloadAfterStart has a reload before the rules of the start have got their `for` state back.
func TestReloadAfterStart(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(string) string
		after  time.Duration
	}{
		"before the first evaluation": {func(text string) string { return changed(text, "is {{", "was {{") }, 0},
		"after the first evaluation":  {func(text string) string { return changed(text, "is {{", "was {{") }, interval},
		"another name of the group":   {func(text string) string { return changed(text, "name: g", "name: other") }, interval},
		"nothing changes":             {func(text string) string { return text }, interval},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				dir, file := t.TempDir(), filepath.Join(t.TempDir(), "rules.yml")
				text := changed(plain, "flap == 1", "flap == 1\n        for: 20m")
				write(t, file, text)
				h := over(t, dir, file)
				defer func() { h.stop() }()
				h.feed(18*time.Minute, 1)
				was := h.active("Flap")
				require.Equal(t, rules.StatePending, was.State)
				h.stop()
				h = over(t, dir, file)
				h.feed(tt.after, 1)
				synctest.Wait()
				write(t, file, tt.change(text))
				require.NoError(t, h.reload(func(*alerting.Options) {}))
				h.feed(2*time.Minute, 1)
				require.WithinDuration(t, was.ActiveAt, h.active("Flap").ActiveAt, 2*time.Minute)
				h.feed(2*time.Minute, 1)
				require.Equal(t, rules.StateFiring, h.active("Flap").State)
				require.Empty(t, h.ends())
			})
		})
	}
}

// TestReloadOfOneNameTwice has two rules of one name and the same labels. Of the first, which goes, Prometheus gives
// the alerts to the second, and forgets those of the second.
func TestReloadOfOneNameTwice(t *testing.T) {
	lasting := changed(plain, "flap == 1", "flap == 1\n        for: 4m")
	two := changed(lasting, "      - alert", "      - {alert: Flap, expr: vector(1), for: 1m, labels: {severity: page}}\n      - alert")
	for name, tt := range map[string]struct{ gone, end string }{
		"first":  {lasting, "Flap/page of others"},
		"second": {two[:strings.Index(two, "      - alert: Flap")], "Flap/page"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				file := filepath.Join(t.TempDir(), "rules.yml")
				write(t, file, two)
				h := over(t, t.TempDir(), file)
				defer func() { h.stop() }()
				h.feed(6*time.Minute, 1)
				require.Empty(t, h.ends())
				write(t, file, tt.gone)
				require.NoError(t, h.reload(func(*alerting.Options) {}))
				h.feed(2*interval, 1)
				ends := h.ends()
				require.Len(t, ends, 1)
				require.Contains(t, ends, tt.end)
				require.Equal(t, rules.StateFiring, h.active("Flap").State)
			})
		})
	}
}

// TestReloadTwice replaces a group before it was evaluated.
func TestReloadTwice(t *testing.T) {
	for _, tt := range []struct {
		name, last string
		end        string
	}{
		{"moved back", keeping, ""},
		{"moved on", changed(keeping, "name: g", "name: third"), ""},
		{"removed", "groups: []", "Flap/page"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				file := filepath.Join(t.TempDir(), "rules.yml")
				write(t, file, keeping)
				h := over(t, t.TempDir(), file)
				defer func() { h.stop() }()
				h.feed(5*time.Minute, 1)
				h.feed(5*time.Minute, 0)
				require.Empty(t, h.ends())
				for _, text := range []string{changed(keeping, "name: g", "name: second"), tt.last} {
					write(t, file, text)
					require.NoError(t, h.reload(func(*alerting.Options) {}))
				}
				h.feed(10*time.Minute, 0)
				if tt.end == "" {
					require.Empty(t, h.ends())
					require.False(t, h.active("Flap").KeepFiringSince.IsZero())
				} else {
					require.Contains(t, h.ends(), tt.end)
				}
			})
		})
	}
}

func TestStartResolves(t *testing.T) {
	for _, tt := range append(ruleChanges(), ruleChange{"false meanwhile", plain, interval}) {
		t.Run(tt.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				dir, file := t.TempDir(), filepath.Join(t.TempDir(), "rules.yml")
				write(t, file, plain)
				h := over(t, dir, file)
				defer func() { h.stop() }()
				h.feed(5*time.Minute, 1)
				require.Empty(t, h.ends())
				h.stop()
				time.Sleep(time.Minute) // Test time.
				write(t, file, tt.rules)
				flap := 1.0
				if tt.name == "false meanwhile" {
					flap = 0
				}
				start := time.Now()
				h = enter(t, dir, of(file), func(o *alerting.Options) { o.SettleTime = 2 * time.Minute })
				h.feed(time.Minute, flap)
				require.Empty(t, h.sent.take(), "not before the first samples")
				close(h.ready)
				ready, within := time.Now(), tt.within
				if within > 0 {
					h.feed(2*time.Minute-interval, flap)
					require.Empty(t, h.ends(), "samples may be missing so long")
					within += 2 * time.Minute
				}
				h.feed(2*interval, flap)
				ends := h.ends()
				require.Contains(t, ends, "Flap/page")
				require.WithinDuration(t, ready, ends["Flap/page"], within)
				require.True(t, ends["Flap/page"].After(start))
				v, err := h.query(`ALERTS{alertname="Flap", severity="page", team="", instance="a:1", alertstate="firing"}`)
				require.NoError(t, err)
				require.Empty(t, v, "its series has ended")
				h.feed(20*time.Minute, flap)
				again := h.ends()
				if tt.name == "group removed" {
					require.Empty(t, again, "nothing is evaluated")
				} else {
					require.Equal(t, ends["Flap/page"], again["Flap/page"], "sent again for a while, as Prometheus does")
				}
				h.feed(5*time.Minute, flap)
				require.NotContains(t, h.ends(), "Flap/page")
			})
		})
	}
}

// TestStartKeeps has rules that have their alerts still: nothing is resolved at the start.
func TestStartKeeps(t *testing.T) {
	for name, texts := range map[string][2]string{
		"same rule":       {plain, plain},
		"moved":           {plain, changed(plain, "name: g", "name: other")},
		"with for":        {changed(plain, "flap == 1", "flap == 1\n        for: 4m"), changed(plain, "flap == 1", "flap == 1\n        for: 4m")},
		"moved, with for": {changed(plain, "flap == 1", "flap == 1\n        for: 4m"), changed(plain, "name: g", "name: other", "flap == 1", "flap == 1\n        for: 4m")},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				dir, file := t.TempDir(), filepath.Join(t.TempDir(), "rules.yml")
				write(t, file, texts[0])
				h := over(t, dir, file)
				defer func() { h.stop() }()
				h.feed(6*time.Minute, 1)
				require.Equal(t, rules.StateFiring, h.active("Flap").State)
				h.stop()
				write(t, file, texts[1])
				h = over(t, dir, file)
				h.feed(5*interval, 1)
				require.Equal(t, rules.StateFiring, h.active("Flap").State)
				h.feed(5*time.Minute, 1)
				require.Empty(t, h.ends())
			})
		})
	}
}

// TestStateFile has files that are not as they were written.
func TestStateFile(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, path string)
		kept  bool
	}{
		{"whole", func(*testing.T, string) {}, true},
		{"gone", func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) }, false},
		{"empty", func(t *testing.T, path string) { write(t, path, "") }, false},
		{"cut", func(t *testing.T, path string) {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			write(t, path, string(text[:len(text)/2]))
		}, false},
		{"of a later version", func(t *testing.T, path string) {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			write(t, path, changed(string(text), `"version":1`, `"version":2`))
		}, false},
		{"half of the next one left", func(t *testing.T, path string) { write(t, path+".tmp", "{") }, true},
		{"saved by a clock ahead", func(t *testing.T, path string) {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			ahead := strings.ReplaceAll(string(text), `"2000-`, `"2001-`)
			require.NotEqual(t, string(text), ahead)
			write(t, path, ahead)
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				dir, file := t.TempDir(), filepath.Join(t.TempDir(), "rules.yml")
				write(t, file, keeping)
				h := over(t, dir, file)
				defer func() { h.stop() }()
				h.feed(5*time.Minute, 1)
				h.feed(5*time.Minute, 0)
				h.stop()
				tt.spoil(t, h.options.StateFile)
				h = over(t, dir, file)
				h.feed(time.Minute, 0)
				if !tt.kept {
					require.Empty(t, find(t, h.m, "Flap").ActiveAlerts())
					return
				}
				require.Equal(t, rules.StateFiring, h.active("Flap").State)
				h.feed(30*time.Minute, 0)
				require.Contains(t, h.ends(), "Flap/page")
			})
		})
	}
}

// TestStateOfValues has values that JSON has no number for, and labels that are no valid text.
func TestStateOfValues(t *testing.T) {
	for name, expr := range map[string]string{
		"NaN":           "flap == 1 and flap * NaN",
		"infinite":      "(flap == 1) / 0",
		"label of text": `label_replace(flap == 1, "x", "a\"b\\c\n\t é", "", "")`,
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				dir, file := t.TempDir(), filepath.Join(t.TempDir(), "rules.yml")
				write(t, file, strings.Replace(keeping, "flap == 1", fmt.Sprintf("%q", expr), 1))
				h := over(t, dir, file)
				defer func() { h.stop() }()
				h.feed(5*time.Minute, 1)
				h.feed(5*time.Minute, 0)
				was := *h.active("Flap")
				h.stop()
				h = over(t, dir, file)
				h.feed(time.Minute, 0)
				require.Equal(t, was.Labels, h.active("Flap").Labels)
				require.True(t, was.KeepFiringSince.Equal(h.active("Flap").KeepFiringSince))
			})
		})
	}
}
