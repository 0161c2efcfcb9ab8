package alerting_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cyberviser/hancock/alerting"
	"github.com/cyberviser/hancock/alerting/ruletemplate"
	"github.com/cyberviser/hancock/internal/amcompat"
	"github.com/cyberviser/hancock/internal/render"
)

// TestMain makes the test binary a template process if it was started as one, and initializes the syntax of matchers
// before any test loads a configuration.
func TestMain(m *testing.M) {
	render.Child(ruletemplate.Kind())
	amcompat.Init()
	goleak.VerifyTestMain(m)
}

func logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// moment is what is expected of an alert at a time after the first sample.
type moment struct {
	at    time.Duration
	state rules.AlertState
	// texts must stand in the summary or the description of each alert that is active.
	texts []string
}

// quiet, pending and firing are moments.
func quiet(at time.Duration) moment { return moment{at: at, state: rules.StateInactive} }

func pending(at time.Duration) moment { return moment{at: at, state: rules.StatePending} }

func firing(at time.Duration, texts ...string) moment {
	return moment{at: at, state: rules.StateFiring, texts: texts}
}

// always is one moment of the state at each minute up to the end.
func always(m func(time.Duration) moment, end time.Duration) []moment {
	var all []moment
	for at := time.Duration(0); at <= end; at += 15 * time.Second {
		all = append(all, m(at))
	}
	return all
}

const (
	second = time.Second
	minute = time.Minute
	self   = `{job="hancock", instance="a:5000"}`
)

// series writes one line of promqltest's load notation.
func series(name, values string) string { return "  " + name + self + " " + values + "\n" }

func TestBuiltinRules(t *testing.T) {
	const mib = 1 << 20
	for _, tt := range []struct {
		name, alert string
		load        string // With a sample each 15 s.
		want        []moment
	}{
		{
			"a tenth fails", "HancockHighErrorRate",
			series("hancock_requests_total", "0+10x60") + series("hancock_errors_total", "0+1x60"),
			[]moment{quiet(0), pending(30 * second), pending(5 * minute), firing(5*minute+30*second, "10% of the requests", "to a:5000")},
		},
		{
			"exactly a twentieth fails", "HancockHighErrorRate",
			series("hancock_requests_total", "0+20x60") + series("hancock_errors_total", "0+1x60"),
			always(quiet, 15*minute),
		},
		{
			"just over a twentieth fails", "HancockHighErrorRate",
			series("hancock_requests_total", "0+199x60") + series("hancock_errors_total", "0+10x60"),
			[]moment{firing(6*minute, "5.025% of the requests")},
		},
		{
			"no traffic is no failure", "HancockHighErrorRate",
			series("hancock_requests_total", "7x60") + series("hancock_errors_total", "7x60"),
			always(quiet, 15*minute),
		},
		{
			"one failure on a quiet day", "HancockHighErrorRate",
			series("hancock_requests_total", "0x3 1x60") + series("hancock_errors_total", "0x3 1x60"),
			[]moment{quiet(30 * second), pending(2 * minute), pending(5 * minute), quiet(6 * minute), quiet(15 * minute)},
		},
		{
			"failures end", "HancockHighErrorRate",
			series("hancock_requests_total", "0+10x100") + series("hancock_errors_total", "0+5x40 200x60"),
			[]moment{firing(8*minute, "50%"), firing(12 * minute), quiet(16 * minute)},
		},
		{
			"a restart is no failure", "HancockHighErrorRate",
			series("hancock_requests_total", "0+10x40 0+10x40") + series("hancock_errors_total", "0x40 0x40"),
			always(quiet, 15*minute),
		},
		{
			"counters absent", "HancockHighErrorRate",
			series("up", "1x60"),
			always(quiet, 15*minute),
		},

		{
			"just started, nobody asks", "HancockNoTraffic",
			series("hancock_requests_total", "0x60"),
			append(always(quiet, 4*minute+45*second), firing(5*minute, "has reached a:5000 in the last 5 minutes"), firing(15*minute)),
		},
		{
			"the last request is five minutes ago", "HancockNoTraffic",
			series("hancock_requests_total", "0+1x40 40x60"), // The last increase is seen at 10m.
			[]moment{quiet(5 * minute), quiet(10 * minute), quiet(14*minute + 30*second), firing(14*minute + 45*second), firing(20 * minute)},
		},
		{
			"a request every four minutes", "HancockNoTraffic",
			series("hancock_requests_total", "0x15 1x15 2x15 3x15 4x15 5x15"),
			always(quiet, 22*minute),
		},
		{
			"requests come back", "HancockNoTraffic",
			series("hancock_requests_total", "0x40 1x40"),
			[]moment{firing(10 * minute), quiet(10*minute + 15*second), quiet(14*minute + 45*second), firing(15 * minute)},
		},
		{
			"counter never there", "HancockNoTraffic",
			series("up", "1x60"),
			append(always(quiet, 4*minute+45*second), firing(5*minute, "no sample of hancock_requests_total")),
		},
		{
			"nothing is there at all", "HancockNoTraffic",
			"  other 1x60\n",
			always(quiet, 15*minute),
		},
		{
			"counter goes away", "HancockNoTraffic",
			series("up", "1x100") + series("hancock_requests_total", "0+1x40 stale _x60"),
			[]moment{quiet(10 * minute), quiet(14 * minute), firing(15*minute, "no sample of hancock_requests_total")},
		},
		{
			"a restart in traffic", "HancockNoTraffic",
			series("up", "1x100") + series("hancock_requests_total", "0+1x40 0+1x40"),
			always(quiet, 20*minute),
		},
		{
			"a restart whose first sample has requests already", "HancockNoTraffic",
			series("hancock_requests_total", "9x20 3x19"),
			[]moment{quiet(5*minute + 15*second), quiet(9 * minute), quiet(9*minute + 45*second)},
		},
		{
			"a restart changes nothing about the silence", "HancockNoTraffic",
			series("hancock_requests_total", "9x40 stale _x4 0x40"),
			[]moment{firing(10 * minute), firing(11*minute + 30*second), firing(15 * minute)},
		},
		{
			// The process starts anew at 17m15s. What is older than five minutes is of the one before.
			"a start after seven minutes of nothing", "HancockNoTraffic",
			series("hancock_requests_total", "0+1x40 _x28 0x60") + series("process_start_time_seconds", "0x40 _x28 1035x60"),
			[]moment{quiet(10 * minute), quiet(17*minute + 30*second), quiet(22 * minute), firing(22*minute + 30*second)},
		},
		{
			"a gap of twenty minutes", "HancockNoTraffic",
			series("hancock_requests_total", "0+1x40 stale _x79 0x60"), // Back at 30m15s.
			append([]moment{quiet(10 * minute), quiet(30*minute + 15*second), quiet(34 * minute)}, firing(35*minute+30*second)),
		},

		{
			"sixty MiB a minute", "HancockMemoryGrowth",
			series("hancock_memory_usage_bytes", fmt.Sprintf("0+%dx80", 15*mib)),
			[]moment{quiet(5 * minute), quiet(9*minute + 45*second), pending(10 * minute), pending(10*minute + 45*second), firing(11*minute, "60MiB a minute", "memory of a:5000")},
		},
		{
			"exactly fifty MiB a minute", "HancockMemoryGrowth",
			series("hancock_memory_usage_bytes", fmt.Sprintf("%d+%dx80", 100*mib, 50*mib/4)),
			always(quiet, 20*minute),
		},
		{
			"just over fifty MiB a minute", "HancockMemoryGrowth",
			series("hancock_memory_usage_bytes", fmt.Sprintf("%d+%dx80", 100*mib, 50*mib/4+1000)),
			[]moment{firing(11 * minute)},
		},
		{
			"growth at the start only", "HancockMemoryGrowth",
			series("hancock_memory_usage_bytes", fmt.Sprintf("%d+%dx4 %dx80", 20*mib, 100*mib, 500*mib)),
			always(quiet, 20*minute),
		},
		{
			"one step", "HancockMemoryGrowth",
			series("hancock_memory_usage_bytes", fmt.Sprintf("%dx60 %dx60", 50*mib, 350*mib)),
			always(quiet, 30*minute),
		},
		{
			"growth ends", "HancockMemoryGrowth",
			series("hancock_memory_usage_bytes", fmt.Sprintf("0+%dx60 %dx60", 20*mib, 1200*mib)),
			[]moment{firing(14*minute, "80MiB"), firing(17 * minute), quiet(25 * minute)},
		},
		{
			"a restart gives it back", "HancockMemoryGrowth",
			series("hancock_memory_usage_bytes", fmt.Sprintf("0+%dx60 stale _x4 %dx60", 20*mib, 30*mib)),
			[]moment{firing(14 * minute), quiet(17 * minute), quiet(25 * minute)},
		},
		{
			"a new process after a gap is no growth", "HancockMemoryGrowth",
			series("hancock_memory_usage_bytes", fmt.Sprintf("%dx40 stale _x30 %dx60", 30*mib, 400*mib)),
			always(quiet, 30*minute),
		},
		{
			"gauge absent", "HancockMemoryGrowth",
			series("up", "1x60"),
			always(quiet, 15*minute),
		},

		{
			"exactly one GiB", "HancockHighMemoryUsage",
			series("hancock_memory_usage_bytes", fmt.Sprintf("%dx60", 1024*mib)),
			always(quiet, 15*minute),
		},
		{
			"a byte more", "HancockHighMemoryUsage",
			series("hancock_memory_usage_bytes", fmt.Sprintf("%dx60", 1024*mib+1)),
			[]moment{pending(0), pending(45 * second), firing(minute, "Memory is at 1GiB", "a:5000 holds 1GiB")},
		},
		{
			"a peak", "HancockHighMemoryUsage",
			series("hancock_memory_usage_bytes", fmt.Sprintf("%dx10 %dx2 %dx60", mib, 1500*mib, mib)),
			append([]moment{quiet(2 * minute), pending(3 * minute)}, quiet(4*minute)),
		},
	} {
		t.Run(tt.alert+"/"+tt.name, func(t *testing.T) { expect(t, tt.alert, tt.load, tt.want) })
	}
}

// expect evaluates the built-in rules over load each 15 s and compares the alert with want.
func expect(t *testing.T, alert, load string, want []moment) {
	t.Helper()
	store := promqltest.LoadedStorage(t, "load 15s\n"+load)
	defer func() { require.NoError(t, store.Close()) }()
	engine := promqltest.NewTestEngine(t, false, 5*time.Minute, 1e6)
	m, err := alerting.New(alerting.DefaultOptions(), alerting.Storage{
		Queryable: store, Appendable: discard{store}, Query: rules.EngineQueryFunc(engine, store),
	}, nil, prometheus.NewRegistry(), logger(t))
	require.NoError(t, err)
	defer m.Close()

	expected := map[time.Duration]moment{}
	var end time.Duration
	for _, w := range want {
		expected[w.at], end = w, max(end, w.at)
	}
	for at := time.Duration(0); at <= end; at += 15 * second {
		groupOf(t, m, alert).Eval(t.Context(), time.UnixMilli(0).Add(at))
		w, ok := expected[at]
		if !ok {
			continue
		}
		rule := find(t, m, alert)
		require.NoError(t, rule.LastError())
		require.Equal(t, w.state.String(), rule.State().String(), "after %s: %v", at, rule.ActiveAlerts())
		delete(expected, at)
		for _, a := range rule.ActiveAlerts() {
			text := a.Annotations.Get("summary") + "\n" + a.Annotations.Get("description")
			for _, bad := range []string{"NaN", "<no value>", "<error", "  ", "{{"} {
				require.NotContains(t, text, bad)
			}
			for _, s := range w.texts {
				require.Contains(t, text, s)
			}
		}
	}
	require.Empty(t, expected, "times that no evaluation meets")
}

func find(t testing.TB, m *alerting.Manager, alert string) *rules.AlertingRule {
	t.Helper()
	for _, r := range m.AlertingRules() {
		if r.Name() == alert {
			return r
		}
	}
	require.FailNow(t, "no alert "+alert)
	return nil
}

// groupOf is the group of an alert.
func groupOf(t testing.TB, m *alerting.Manager, alert string) *rules.Group {
	t.Helper()
	for _, g := range m.RuleGroups() {
		for _, r := range g.Rules() {
			if r.Name() == alert {
				return g
			}
		}
	}
	require.FailNow(t, "no alert "+alert)
	return nil
}

func TestEachInstanceForItself(t *testing.T) {
	store := promqltest.LoadedStorage(t, `load 15s
  hancock_requests_total{job="hancock", instance="good"} 0+10x40
  hancock_errors_total{job="hancock", instance="good"} 0x40
  hancock_requests_total{job="hancock", instance="bad"} 0+10x40
  hancock_errors_total{job="hancock", instance="bad"} 0+10x40
`)
	defer func() { require.NoError(t, store.Close()) }()
	engine := promqltest.NewTestEngine(t, false, 5*time.Minute, 1e6)
	m, err := alerting.New(alerting.DefaultOptions(), alerting.Storage{
		Queryable: store, Appendable: discard{store}, Query: rules.EngineQueryFunc(engine, store),
	}, nil, prometheus.NewRegistry(), logger(t))
	require.NoError(t, err)
	defer m.Close()
	for at := time.Duration(0); at <= 10*minute; at += 15 * second {
		groupOf(t, m, "HancockHighErrorRate").Eval(t.Context(), time.UnixMilli(0).Add(at))
	}
	rule := find(t, m, "HancockHighErrorRate")
	require.Len(t, rule.ActiveAlerts(), 1)
	require.Equal(t, "bad", rule.ActiveAlerts()[0].Labels.Get("instance"))
}
