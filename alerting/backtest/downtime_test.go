package backtest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/backtest"
)

// What the process slept through is noted, since the manager saw nothing of it.
func TestDowntimeIsNoted(t *testing.T) {
	t.Parallel()
	const up = `up{job="hancock",instance="a"}`
	for name, tt := range map[string]struct {
		history history
		minutes int
		want    string
	}{
		"it ran":                   {history{up: during(1, 1)}, 120, ""},
		"a pause of four minutes":  {history{up: only(1, [2]int{0, 30}, [2]int{34, 120})}, 120, ""},
		"two gaps":                 {history{up: only(1, [2]int{0, 30}, [2]int{40, 60}, [2]int{90, 120})}, 120, "For 40m in 2 gaps, the longest from 2026-11-02 07:00:00 to 2026-11-02 07:30:00"},
		"it stopped":               {history{up: only(1, [2]int{0, 30}), "load": during(1, 1)}, 60, "For 30m in 1 gap, the longest from 2026-11-02 06:30:00 to 2026-11-02 07:00:00"},
		"it was another instance":  {history{up: only(1, [2]int{0, 30}), `up{job="hancock",instance="b"}`: only(1, [2]int{30, 60})}, 60, ""},
		"it began later":           {history{up: only(1, [2]int{30, 60}), "load": during(1, 1)}, 60, ""},
		"history from elsewhere":   {history{`up{job="node"}`: only(1, [2]int{0, 30})}, 60, ""},
		"samples each ten minutes": {history{up: func(i int) (float64, bool) { return 1, i%40 == 0 }}, 120, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := openDB(t)
			d := time.Duration(tt.minutes) * time.Minute
			put(t, db, tt.history.samples(t, d))
			report, err := backtest.Run(t.Context(), backtest.Storage{Queryable: db, Engine: newEngine(), Oldest: backtest.StartTime(db)}, backtest.Request{
				Files: files("groups: [{name: a, rules: [{alert: A, expr: 'up == 0'}]}]"), From: t0(), To: t0().Add(d),
			}, nil)
			require.NoError(t, err)
			notes := strings.Join(report.Notes, "\n")
			if tt.want == "" {
				require.NotContains(t, notes, "did not run")
				return
			}
			require.Contains(t, notes, tt.want)
		})
	}
}
