package alerting

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/timeinterval"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v2"
)

// TestHoursExpr has the expression and Alertmanager agree about each interval at times of ten years, those around a
// change of the clock among them.
func TestHoursExpr(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1000, Timeout: time.Minute, Parser: parser.NewParser(parser.Options{})})
	nothing := storage.QueryableFunc(func(int64, int64) (storage.Querier, error) { return storage.NoopQuerier(), nil })
	for name, text := range map[string]string{
		"office hours in UTC":     `[{times: [{start_time: "08:00", end_time: "18:00"}], weekdays: ["monday:friday"]}]`,
		"office hours in Berlin":  `[{times: [{start_time: "08:00", end_time: "18:00"}], weekdays: ["monday:friday"], location: Europe/Berlin}]`,
		"a night in New York":     `[{times: [{start_time: "22:15", end_time: "24:00"}, {start_time: "00:00", end_time: "02:30"}], location: America/New_York}]`,
		"half an hour of change":  `[{times: [{start_time: "01:45", end_time: "03:10"}], location: Australia/Lord_Howe}]`,
		"a location without DST":  `[{weekdays: [saturday, sunday], location: Asia/Kathmandu}]`,
		"far in the east":         `[{weekdays: ["sunday:sunday", "wednesday:saturday"], location: Pacific/Kiritimati}]`,
		"far in the west":         `[{weekdays: [thursday], times: [{start_time: "00:00", end_time: "24:00"}], location: Pacific/Pago_Pago}]`,
		"days of a month":         `[{days_of_month: ["1:5", "15", "29:31"], location: Asia/Tokyo}]`, // Alertmanager counts 30 days in a month of 31 days less an hour.
		"days before its end":     `[{days_of_month: ["-1", "-10:-8", "1:-25"]}]`,
		"months":                  `[{months: ["march:may", "december"], location: America/Sao_Paulo}]`,
		"years":                   `[{years: ["2026", "2029:2031"], location: Asia/Tokyo}]`,
		"all of it":               `[{times: [{start_time: "06:00", end_time: "21:00"}], weekdays: ["monday:saturday"], days_of_month: ["3:-3"], months: ["2:11"], years: ["2025:2035"]}]`,
		"one interval or another": `[{weekdays: [monday], location: Europe/Berlin}, {times: [{start_time: "10:00", end_time: "11:00"}], location: America/Santiago}]`,
		"never":                   `[{times: []}]`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var intervals []timeinterval.TimeInterval
			require.NoError(t, yaml.UnmarshalStrict([]byte(text), &intervals))
			expr := hoursExpr(intervals, now)
			begin := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
			var times []time.Time
			random := rand.New(rand.NewPCG(1, 2))
			for range 500 {
				times = append(times, begin.Add(time.Duration(random.Int64N(int64(11*365*24*time.Hour))).Truncate(time.Second)))
			}
			for _, ti := range intervals {
				if ti.Location == nil {
					continue
				}
				for at := begin.In(ti.Location.Location); ; {
					_, at = at.ZoneBounds()
					if at.IsZero() || at.Year() > 2035 {
						break
					}
					for minutes := -90; minutes <= 90; minutes += 30 {
						times = append(times, at.Add(time.Duration(minutes)*time.Minute), at.Add(time.Duration(minutes)*time.Minute-time.Second))
					}
				}
			}
			inside := 0
			for _, at := range times {
				want := false
				for _, ti := range intervals {
					want = want || ti.ContainsTime(at.UTC())
				}
				if want {
					inside++
				}
				q, err := engine.NewInstantQuery(t.Context(), nothing, nil, expr, at)
				require.NoError(t, err, expr)
				result := q.Exec(t.Context())
				require.NoError(t, result.Err, expr)
				vector, err := result.Vector()
				require.NoError(t, err)
				require.Len(t, vector, map[bool]int{true: 1, false: 0}[want], "%s\n%s", at, expr)
				q.Close()
			}
			require.Less(t, inside, len(times))
			require.Equal(t, name == "never", inside == 0)
		})
	}
	require.Empty(t, hoursExpr(nil, now))
	require.Empty(t, hoursExpr([]timeinterval.TimeInterval{{}}, now), "an empty interval is always")
}

// TestHoursExprBefore has rule tests, whose time begins in 1970, see the hours, too.
func TestHoursExprBefore(t *testing.T) {
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1000, Timeout: time.Minute, Parser: parser.NewParser(parser.Options{})})
	nothing := storage.QueryableFunc(func(int64, int64) (storage.Querier, error) { return storage.NoopQuerier(), nil })
	ti := timeinterval.TimeInterval{
		Times:    []timeinterval.TimeRange{{StartMinute: 8 * 60, EndMinute: 18 * 60}},
		Weekdays: []timeinterval.WeekdayRange{{InclusiveRange: timeinterval.InclusiveRange{Begin: 1, End: 5}}},
	}
	expr := hoursExpr([]timeinterval.TimeInterval{ti}, time.Now())
	for minutes := 0; minutes < 14*24*60; minutes += 30 {
		at := time.Unix(int64(minutes*60), 0).UTC()
		q, err := engine.NewInstantQuery(t.Context(), nothing, nil, expr, at)
		require.NoError(t, err)
		vector, err := q.Exec(t.Context()).Vector()
		require.NoError(t, err)
		require.Equal(t, ti.ContainsTime(at), len(vector) == 1, fmt.Sprint(at))
		q.Close()
	}
}
