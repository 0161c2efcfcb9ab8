package alertmanager

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
	"github.com/stretchr/testify/require"
)

// TestDropsAreNamed: drops are counted and logged by the name of the alert, of which there are only so many.
func TestDropsAreNamed(t *testing.T) {
	reg, out := prometheus.NewRegistry(), &bytes.Buffer{}
	m := newMetrics(reg)
	b := newInbox(1, m, slog.New(slog.NewTextHandler(out, nil)))
	require.Equal(t, 2, testutil.CollectAndCount(m.dropped), "rate() sees the first drop of names beyond the bound")
	add := func(name string) {
		b.add(fromRules(&notifier.Alert{Labels: labels.FromStrings("alertname", name, "team", "core"), GeneratorURL: "http://x/graph?g0.expr=up"}, time.Now()))
	}
	add("taken in")
	for range 3 {
		add("Köln 🔥")
	}
	require.InDelta(t, 3, testutil.ToFloat64(m.dropped.WithLabelValues(dropFull, "Köln 🔥")), 0)
	require.Equal(t, 1, strings.Count(out.String(), "alert dropped"), "each name once a minute")
	require.Contains(t, out.String(), `alertname="Köln 🔥" labels="{alertname=\"Köln 🔥\", team=\"core\"}" generator_url="http://x/graph?g0.expr=up"`)
	b.add(fromRules(&notifier.Alert{Labels: labels.FromStrings("alertname", strings.Repeat("é", 500), "", "x")}, time.Now()))
	require.Equal(t, 2, strings.Count(out.String(), "alert dropped"), "another name is not held up")
	require.Contains(t, out.String(), "invalid name")
	for i := range 200 {
		add(fmt.Sprint("Alert", i))
	}
	add("Köln 🔥")
	b.add(fromRules(&notifier.Alert{Labels: labels.EmptyLabels()}, time.Now()))
	require.LessOrEqual(t, testutil.CollectAndCount(m.dropped), maxNamed+2)
	require.InDelta(t, 200-(maxNamed-2), testutil.ToFloat64(m.dropped.WithLabelValues(dropFull, otherAlerts)), 0)
	require.InDelta(t, 4, testutil.ToFloat64(m.dropped.WithLabelValues(dropFull, "Köln 🔥")), 0)
	require.InDelta(t, 1, testutil.ToFloat64(m.dropped.WithLabelValues(dropInvalid, otherAlerts)), 0)
	require.Contains(t, out.String(), "at least one label pair required")
}
