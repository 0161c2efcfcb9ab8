package alerting

import (
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/timeinterval"
)

const (
	minute = 60
	day    = 24 * 60 * minute
	week   = 7 * day
	// hoursAhead is for how many years after the start the changes between
	// summer and winter time are part of an expression.
	hoursAhead = 10
)

// hoursExpr is a PromQL expression that has a result in the intervals, and none
// outside of them. It is empty when the intervals are always.
//
// PromQL knows UTC only, so the expression contains the changes of the offset
// of each location, from the beginning of the year before now until hoursAhead
// years after it. Evaluation, backtests, rule tests and an external Prometheus
// thus agree about any time within these years, whatever else they know.
func hoursExpr(intervals []timeinterval.TimeInterval, now time.Time) string {
	var alternatives []string
	for _, ti := range intervals {
		conditions := intervalExpr(ti, now)
		if len(conditions) == 0 {
			return ""
		}
		alternatives = append(alternatives, strings.Join(conditions, "\nand "))
	}
	return strings.Join(alternatives, "\nor ")
}

// intervalExpr are the conditions of an interval, all of which hold in it. Those
// of a list, of which one has to hold, are in parentheses.
func intervalExpr(ti timeinterval.TimeInterval, now time.Time) (all []string) {
	local := "time()"
	if ti.Location != nil {
		local = localTime(ti.Location.Location, now)
	}
	add := func(set bool, ranges []string) {
		switch {
		case !set:
		case len(ranges) == 0:
			all = append(all, "vector(0) > 0") // An empty list is never.
		default:
			all = append(all, "("+strings.Join(ranges, " or ")+")")
		}
	}
	within := func(function string, begin, end int) string {
		value := function + "(vector(" + local + "))"
		if begin == end {
			return fmt.Sprintf("%s == %d", value, begin)
		}
		return fmt.Sprintf("%s >= %d and %s <= %d", value, begin, value, end)
	}
	var ranges []string
	for _, r := range ti.Times {
		// Seconds since the beginning of the range. The week keeps the dividend positive.
		ranges = append(ranges, fmt.Sprintf("vector((%s + %d) %% %d) < %d", local, week-r.StartMinute*minute, day, (r.EndMinute-r.StartMinute)*minute))
	}
	add(ti.Times != nil, ranges)
	ranges = nil
	for _, r := range ti.Weekdays {
		// The first day of 1970 was a Thursday.
		ranges = append(ranges, fmt.Sprintf("vector((%s + %d) %% %d) < %d", local, week+(int(time.Thursday)-r.Begin)*day, week, (r.End-r.Begin+1)*day))
	}
	add(ti.Weekdays != nil, ranges)
	ranges = nil
	for _, r := range ti.DaysOfMonth {
		if r.Begin == r.End {
			ranges = append(ranges, monthDay(local, "==", r.Begin))
			continue
		}
		ranges = append(ranges, monthDay(local, ">=", r.Begin)+" and "+monthDay(local, "<=", r.End))
	}
	add(ti.DaysOfMonth != nil, ranges)
	ranges = nil
	for _, r := range ti.Months {
		ranges = append(ranges, within("month", r.Begin, r.End))
	}
	add(ti.Months != nil, ranges)
	ranges = nil
	for _, r := range ti.Years {
		ranges = append(ranges, within("year", r.Begin, r.End))
	}
	add(ti.Years != nil, ranges)
	return all
}

// monthDay compares the day of the month with n, which counts from the end of
// the month when it is negative.
func monthDay(local, operator string, n int) string {
	date := "day_of_month(vector(" + local + "))"
	if n < 0 {
		date += " - days_in_month(vector(" + local + "))"
		n++
	}
	return fmt.Sprintf("%s %s %d", date, operator, n)
}

// localTime is a PromQL expression of the time at a location, in seconds.
func localTime(loc *time.Location, now time.Time) string {
	t := time.Date(now.Year()-1, time.January, 1, 0, 0, 0, 0, time.UTC).In(loc)
	until := time.Date(now.Year()+hoursAhead, time.December, 31, 0, 0, 0, 0, time.UTC)
	_, offset := t.Zone()
	expr := "time()"
	if offset != 0 {
		expr += fmt.Sprintf(" %+d", offset)
	}
	for {
		_, change := t.ZoneBounds()
		if change.IsZero() || change.After(until) {
			return "(" + expr + ")"
		}
		if _, next := change.Zone(); next != offset {
			expr += fmt.Sprintf(" %+d * (time() >= bool %d)", next-offset, change.Unix())
			offset = next
		}
		t = change
	}
}
