package outgoing_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cyberviser/hancock/alerting/outgoing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// section is a configuration with these external labels and alert_relabel_configs, and one Alertmanager.
func section(t testing.TB, external, relabel string) *config.Config {
	t.Helper()
	cfg, err := config.Load("global: {external_labels: {"+external+"}}\nalerting:\n  alertmanagers: [{static_configs: [{targets: ['am:9093']}]}]\n"+
		"  alert_relabel_configs: ["+relabel+"]\n", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return cfg
}

func relabeling(cfg *config.Config) *outgoing.Relabeling {
	return outgoing.New(cfg.GlobalConfig.ExternalLabels, cfg.AlertingConfig.AlertRelabelConfigs)
}

// posted is what an Alertmanager gets.
type posted struct {
	Labels, Annotations map[string]string
	StartsAt, EndsAt    time.Time
	GeneratorURL        string
}

// byPrometheus lets Prometheus' own notifier send the alerts, and returns what arrives.
func byPrometheus(t *testing.T, cfg *config.Config, alerts []*notifier.Alert) []posted {
	t.Helper()
	got := make(chan []posted, 1)
	m := notifier.NewManager(&notifier.Options{
		QueueCapacity: 100, Registerer: prometheus.NewRegistry(), DrainOnShutdown: true,
		Do: func(_ context.Context, _ *http.Client, req *http.Request) (*http.Response, error) {
			var all []posted
			err := json.NewDecoder(req.Body).Decode(&all)
			got <- all
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(""))}, err
		},
	}, model.UTF8Validation, slog.New(slog.DiscardHandler))
	require.NoError(t, m.ApplyConfig(cfg))
	sets := make(chan map[string][]*targetgroup.Group)
	var running sync.WaitGroup
	running.Go(func() { m.Run(sets) })
	defer running.Wait()
	defer m.Stop()
	// Twice: who takes it once more is done with it.
	for range 2 {
		sets <- map[string][]*targetgroup.Group{"config-0": {{Targets: []model.LabelSet{{model.AddressLabel: "am:9093"}}}}}
	}
	require.Len(t, m.Alertmanagers(), 1)
	m.Send(alerts...)
	select {
	case all := <-got:
		return all
	case <-time.After(time.Minute):
		require.FailNow(t, "nothing arrived")
		return nil
	}
}

// receiver keeps what it is sent.
type receiver struct {
	mtx sync.Mutex
	all []*notifier.Alert
}

func (r *receiver) Send(alerts ...*notifier.Alert) {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	r.all = append(r.all, alerts...)
}

// take returns what came since the last call: the labels, with a mark for what is resolved.
func (r *receiver) take() []string {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	out := []string{}
	for _, a := range r.all {
		text := a.Labels.String()
		if a.Resolved() {
			text += " resolved"
		}
		out = append(out, text)
	}
	r.all = nil
	return out
}

func fires(pairs ...string) *notifier.Alert {
	now := time.Now()
	return &notifier.Alert{
		Labels: labels.FromStrings(pairs...), Annotations: labels.FromStrings("summary", "it is so"),
		StartsAt: now.Add(-time.Minute), EndsAt: now.Add(4 * time.Minute), GeneratorURL: "http://hancock.example/graph?g0.expr=up",
	}
}

func ends(pairs ...string) *notifier.Alert {
	a := fires(pairs...)
	a.EndsAt = time.Now().Add(-time.Second)
	return a
}

// TestAsPrometheus compares labels, times, annotations and addresses with what Prometheus' notifier sends.
func TestAsPrometheus(t *testing.T) {
	for name, tt := range map[string]struct{ external, relabel string }{
		"nothing":                {"", ""},
		"external labels":        {"site: home, severity: not this one", ""},
		"build a routing key":    {"", "{source_labels: [product, ip], separator: ';', regex: '(.*);(.*)', target_label: routing_key, replacement: '${1}__${2}'}"},
		"drop a label":           {"site: home", "{action: labeldrop, regex: 'replica|site'}"},
		"keep few labels":        {"site: home", "{action: labelkeep, regex: 'alertname|site'}"},
		"drop an alert":          {"", "{source_labels: [env], regex: test, action: drop}"},
		"keep by external label": {"site: home", "{source_labels: [site], regex: home, action: keep}, {source_labels: [env], regex: '', action: keep}"},
		"keep equal":             {"", "{source_labels: [product], target_label: twin, action: keepequal}"},
		"drop equal":             {"", "{source_labels: [env], target_label: twin, action: dropequal}"},
		"rename the alert":       {"", "{source_labels: [alertname, product], separator: '-', target_label: alertname}"},
		"remove a label":         {"", "{target_label: severity, replacement: ''}"},
		"remove every label":     {"site: home", "{action: labeldrop, regex: '.*'}"},
		"letters":                {"", "{source_labels: [product], target_label: product, action: uppercase}, {source_labels: [alertname], target_label: lower, action: lowercase}"},
		"hash":                   {"", "{source_labels: [ip], target_label: shard, modulus: 4, action: hashmod}"},
		"map":                    {"", "{regex: '(.+)uct', replacement: 'mapped_$1', action: labelmap}"},
		"temporary labels":       {"", "{source_labels: [product], target_label: __tmp}, {source_labels: [__tmp], target_label: team}"},
		"UTF-8 names":            {"'k8s.cluster': eu", "{source_labels: ['service.name'], target_label: städte}, {regex: 'service\\.(.+)', replacement: '🔥.$1', action: labelmap}"},
		"a bad name as result":   {"", "{source_labels: [product], target_label: '$1'}, {source_labels: [nothing], target_label: '${1}'}"},
		"one after the other":    {"", "{target_label: env, replacement: test}, {source_labels: [env, alertname], regex: 'test;X', action: drop}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := section(t, tt.external, tt.relabel)
			alerts := []*notifier.Alert{
				ends("alertname", "Z", "product", "db", "twin", "db"), // First: nothing fires yet with which it could collide.
				fires("alertname", "X", "product", "db", "twin", "db", "ip", "10.0.0.1", "replica", "a", "severity", "warning", "service.name", "shop"),
				fires("alertname", "Unwanted", "env", "test", "twin", "test"),
				fires("alertname", "Y", "product", "web", "twin", "db"),
				fires("alertname", "kept", "product", "x", "twin", "x"),
			}
			before := make([]notifier.Alert, len(alerts))
			for i, a := range alerts {
				before[i] = *a
				before[i].Labels = a.Labels.Copy()
			}
			to := &receiver{}
			sender := outgoing.NewSender(relabeling(cfg), to)
			for _, a := range alerts {
				sender.Send(a)
			}
			var got []posted
			for _, a := range to.all {
				got = append(got, posted{a.Labels.Map(), a.Annotations.Map(), a.StartsAt, a.EndsAt, a.GeneratorURL})
			}
			want := byPrometheus(t, cfg, alerts)
			require.Len(t, got, len(want))
			for i := range want {
				require.Equal(t, want[i].Labels, got[i].Labels)
				require.Equal(t, want[i].Annotations, got[i].Annotations)
				require.WithinDuration(t, want[i].StartsAt, got[i].StartsAt, time.Millisecond)
				require.WithinDuration(t, want[i].EndsAt, got[i].EndsAt, time.Millisecond)
				require.Equal(t, want[i].GeneratorURL, got[i].GeneratorURL)
			}
			for i, a := range alerts {
				require.Equal(t, before[i], *a, "the caller's alerts are left alone")
			}
		})
	}
}

// TestWithoutValidation: configurations that nobody has loaded have no scheme of names.
func TestWithoutValidation(t *testing.T) {
	cfg := section(t, "", "{source_labels: [a], target_label: 'b.$1', regex: '(.+)'}")
	for _, c := range cfg.AlertingConfig.AlertRelabelConfigs {
		c.NameValidationScheme = model.UnsetValidation
	}
	sent, keep := relabeling(cfg).Labels(labels.FromStrings("a", "x"))
	require.True(t, keep)
	require.Equal(t, labels.FromStrings("a", "x", "b.x", "x"), sent)
	sent, keep = (*outgoing.Relabeling)(nil).Labels(labels.FromStrings("a", "x"))
	require.True(t, keep)
	require.Equal(t, labels.FromStrings("a", "x"), sent)
}

// TestCollisions: alerts that become one are resolved only when none of them fires.
func TestCollisions(t *testing.T) {
	a, b := []string{"alertname", "X", "replica", "a"}, []string{"alertname", "X", "replica", "b"}
	const x, over = `{alertname="X"}`, `{alertname="X"} resolved`
	expired := func(pairs ...string) *notifier.Alert {
		alert := fires(pairs...)
		alert.EndsAt = time.Now().Add(50 * time.Millisecond)
		return alert
	}
	for name, tt := range map[string]struct {
		sends [][]*notifier.Alert
		want  [][]string
	}{
		"one ends, one fires on": {
			[][]*notifier.Alert{{fires(a...), fires(b...)}, {ends(b...)}, {fires(a...), ends(b...)}, {ends(a...)}, {ends(b...)}},
			[][]string{{x, x}, {}, {x}, {over}, {over}},
		},
		"the end comes first in the batch": {
			[][]*notifier.Alert{{fires(b...)}, {ends(b...), fires(a...)}, {ends(a...)}},
			[][]string{{x}, {x}, {over}},
		},
		"both end at once": {
			[][]*notifier.Alert{{fires(a...), fires(b...)}, {ends(a...), ends(b...)}},
			[][]string{{x, x}, {over}},
		},
		"it fires again": {
			[][]*notifier.Alert{{fires(a...)}, {ends(a...)}, {fires(a...), fires(b...)}, {ends(a...)}, {ends(b...)}},
			[][]string{{x}, {over}, {x, x}, {}, {over}},
		},
		"alone": {
			[][]*notifier.Alert{{fires(a...)}, {ends(a...)}, {ends(b...)}},
			[][]string{{x}, {over}, {over}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			to := &receiver{}
			sender := outgoing.NewSender(relabeling(section(t, "", "{action: labeldrop, regex: replica}")), to)
			for i, alerts := range tt.sends {
				sender.Send(alerts...)
				require.Equal(t, tt.want[i], to.take(), "batch %d", i)
			}
		})
	}
	t.Run("one is not sent any more", func(t *testing.T) {
		to := &receiver{}
		sender := outgoing.NewSender(relabeling(section(t, "", "{action: labeldrop, regex: replica}")), to)
		lost := expired(a...)
		sender.Send(lost, fires(b...))
		require.Len(t, to.take(), 2)
		require.Eventually(t, func() bool { return lost.Resolved() }, time.Minute, time.Millisecond)
		sender.Send(ends(b...))
		require.Equal(t, []string{over}, to.take(), "an Alertmanager takes the other one for resolved")
	})
	t.Run("external labels collide, too", func(t *testing.T) {
		to := &receiver{}
		sender := outgoing.NewSender(relabeling(section(t, "site: home", "")), to)
		sender.Send(fires("alertname", "X"), fires("alertname", "X", "site", "home"))
		require.Len(t, to.take(), 2)
		sender.Send(ends("alertname", "X"))
		require.Empty(t, to.take())
	})
}

// TestReload changes the labels of alerts that fire.
func TestReload(t *testing.T) {
	first := relabeling(section(t, "site: home", "{action: labeldrop, regex: replica}"))
	for name, tt := range map[string]struct {
		external, relabel string
		want              []string // At once.
		then              []string // When all end.
	}{
		"nothing changes": {
			"site: home", "{action: labeldrop, regex: 'repl.ca'}",
			[]string{},
			[]string{`{alertname="X", site="home"} resolved`, `{alertname="Y", site="home"} resolved`},
		},
		"other labels": {
			"site: office", "{action: labeldrop, regex: replica}",
			[]string{
				`{alertname="X", site="office"}`, `{alertname="X", site="office"}`, `{alertname="Y", site="office"}`,
				`{alertname="X", site="home"} resolved`, `{alertname="Y", site="home"} resolved`,
			},
			[]string{`{alertname="X", site="office"} resolved`, `{alertname="Y", site="office"} resolved`},
		},
		"no relabeling any more": {
			"site: home", "",
			[]string{`{alertname="X", replica="a", site="home"}`, `{alertname="X", replica="b", site="home"}`, `{alertname="X", site="home"} resolved`},
			[]string{`{alertname="X", replica="a", site="home"} resolved`, `{alertname="X", replica="b", site="home"} resolved`, `{alertname="Y", site="home"} resolved`},
		},
		"one is dropped": {
			"site: home", "{action: labeldrop, regex: replica}, {source_labels: [alertname], regex: Y, action: drop}",
			[]string{`{alertname="Y", site="home"} resolved`},
			[]string{`{alertname="X", site="home"} resolved`},
		},
		"one of two is dropped": {
			"site: home", "{source_labels: [replica], regex: a, action: drop}, {action: labeldrop, regex: replica}",
			[]string{},
			[]string{`{alertname="X", site="home"} resolved`, `{alertname="Y", site="home"} resolved`},
		},
		"another takes the name": {
			"site: home", "{action: labeldrop, regex: replica}, {source_labels: [alertname], regex: X, target_label: alertname, replacement: Y}",
			[]string{`{alertname="Y", site="home"}`, `{alertname="Y", site="home"}`, `{alertname="X", site="home"} resolved`},
			[]string{`{alertname="Y", site="home"} resolved`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			to := &receiver{}
			sender := outgoing.NewSender(first, to)
			x, y, z := []string{"alertname", "X", "replica", "a"}, []string{"alertname", "X", "replica", "b"}, []string{"alertname", "Y"}
			sender.Send(fires(x...), fires(y...), fires(z...))
			sender.Send(fires("alertname", "Gone"))
			sender.Send(ends("alertname", "Gone"))
			to.take()
			sender.Reload(relabeling(section(t, tt.external, tt.relabel)))
			require.ElementsMatch(t, tt.want, to.take())
			sender.Send(ends(x...), ends(y...), ends(z...))
			require.ElementsMatch(t, tt.then, to.take())
		})
	}
	t.Run("while alerts are sent", func(t *testing.T) {
		to := &receiver{}
		sender := outgoing.NewSender(first, to)
		second := relabeling(section(t, "site: office", ""))
		var busy sync.WaitGroup
		for range 4 {
			busy.Go(func() {
				for range 200 {
					sender.Send(fires("alertname", "A"), ends("alertname", "B"))
					sender.Labels(labels.FromStrings("alertname", "A"))
				}
			})
		}
		for range 20 {
			sender.Reload(second)
			sender.Reload(first)
		}
		busy.Wait()
		to.take()
		sender.Send(fires("alertname", "A"))
		require.Equal(t, []string{`{alertname="A", site="home"}`}, to.take())
	})
}
