package promqlbound

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
)

func options() parser.Options {
	return parser.Options{ExperimentalDurationExpr: true, EnableExperimentalFunctions: true, EnableExtendedRangeSelectors: true}
}

// shapes are expressions that are n levels deep.
var shapes = map[string]func(n int) string{
	"parentheses":         around("(", "1", ")"),
	"minus":               around("-", "1", ""),
	"plus and minus":      around("+-", "1", ""),
	"calls":               around("abs(", "a", ")"),
	"aggregations":        around("sum(", "a", ")"),
	"aggregations by":     around("sum by (a) (", "a", ")"),
	"additions":           around("", "1", "+1"),
	"powers":              around("", "1", "^1"),
	"or":                  around("", "a", " or a"),
	"and on":              around("", "a", " and on (a) a"),
	"comparisons":         around("", "a", " > a"),
	"atan2":               around("", "a", " atan2 a"),
	"signs":               around("", "1", "+-1"),
	"calls of subqueries": around("max_over_time(", "a", "[5m:])"),
	"to the left":         around("(", "1", "+1+1+1+1)"),
	"to the right":        around("(1+1+1+1+", "1", ")"),
	"minus in calls":      around("abs(----", "a", ")"),
	"durations":           around("", "a[5m", "+5m").in("", "]"),
	"signed durations":    around("-", "5m", "").in("a[", "]"),
	"nested durations":    around("(", "5m", ")").in("a[", "]"),
	"second argument":     around("round(a, scalar(", "a", "))"),
}

type shape func(n int) string

func around(before, inner, after string) shape {
	return func(n int) string { return strings.Repeat(before, n) + inner + strings.Repeat(after, n) }
}

func (s shape) in(before, after string) shape {
	return func(n int) string { return before + s(n) + after }
}

// TestDepth holds that what is 1,000 levels deep passes if it is not deeper by our count, and that 64 KiB of each shape
// are refused.
func TestDepth(t *testing.T) {
	p := NewParser(options())
	for name, of := range shapes {
		t.Run(name, func(t *testing.T) {
			_, err := p.ParseExpr(of(100))
			require.NoError(t, err)
			n := 1
			for len(of(2*n)) <= MaxBytes {
				n *= 2
			}
			_, err = p.ParseExpr(of(n))
			require.ErrorContains(t, err, "nested deeper than 1000 levels")
			_, err = p.ParseExpr(strings.TrimRight(of(n), ")]"))
			require.ErrorContains(t, err, "nested deeper than 1000 levels")
			_, err = p.ParseExpr(of(n * 100))
			require.ErrorContains(t, err, "the limit is 65536")
			require.Less(t, len(err.Error()), 200)
		})
	}
}

// TestOrdinary holds that long expressions of people and generators pass.
func TestOrdinary(t *testing.T) {
	p := NewParser(options())
	for name, query := range map[string]string{
		"sum of rates": "rate(a[5m])" + strings.Repeat(" + rate(a{b=\"c\"}[5m] offset 1h)", 900),
		"long regexp":  `a{b=~"` + strings.Repeat("node-1|", 5000) + `x"}`,
		"many labels":  "sum by (" + strings.Repeat("label, ", 2000) + "b) (a)",
		"matchers":     "{" + strings.Repeat(`a!="b", `, 2000) + `a="c"}`,
		"deep":         strings.Repeat("sum(", 400) + "a" + strings.Repeat(")", 400),
		"strings":      `a{b="` + strings.Repeat("((((----", 5000) + `"}`,
		"comments":     "a # " + strings.Repeat("((((----", 5000) + "\n + b",
		"sort":         strings.Repeat("label_replace(", 200) + "a" + strings.Repeat(`, "a", "$1", "b", "(.*)")`, 200),
	} {
		_, err := p.ParseExpr(query)
		require.NoError(t, err, name)
	}
	for _, query := range []string{"", "a +", "a[", "a{", "a{b=", ")", "]}", `"`, "a[5m", "\xff", "a @", "sum by"} {
		_, err := p.ParseExpr(query)
		require.Error(t, err, query)
		require.NotContains(t, err.Error(), "levels")
	}
}

func TestSelectors(t *testing.T) {
	p := NewParser(options())
	got, err := p.ParseMetricSelectors([]string{"a", `{b="c"}`})
	require.NoError(t, err)
	require.Len(t, got, 2)
	_, err = p.ParseMetricSelectors(make([]string, MaxSelectors+1))
	require.ErrorContains(t, err, "1001 series selectors, the limit is 1000")
	_, err = p.ParseMetricSelectors([]string{`{a="` + strings.Repeat("b", MaxBytes/2) + `"}`, `{a="` + strings.Repeat("b", MaxBytes/2) + `"}`})
	require.ErrorContains(t, err, "more than 65536 bytes together")
	long := `{a="` + strings.Repeat("b", MaxBytes) + `"}`
	_, err = p.ParseMetricSelector(long)
	require.ErrorContains(t, err, "the limit is 65536")
	_, err = p.ParseMetric("a" + long)
	require.ErrorContains(t, err, "the limit is 65536")
}

// height is how deep an expression really is.
func height(n parser.Node) (h int) {
	for child := range parser.ChildrenIter(n) {
		h = max(h, height(child))
	}
	return h + 1
}

// FuzzCheck holds that nothing that passes is deeper than the bound, and that no shape takes long.
func FuzzCheck(f *testing.F) {
	for _, of := range shapes {
		f.Add(of(3))
		f.Add(of(40))
	}
	f.Add(`a{b="(",c=~"["}[5m:1m] @ end() offset -5m # (`)
	f.Add(`{{schema:1 buckets:[1 2]}} + 1`)
	p := parser.NewParser(options())
	f.Fuzz(func(t *testing.T, query string) {
		const depth = 20
		if len(query) > 4096 || Check(query, depth) != nil {
			return
		}
		expr, err := p.ParseExpr(query)
		if err != nil {
			return
		}
		// A selector of a range and one with an offset are one node each.
		require.LessOrEqual(t, height(expr), depth+2, query)
	})
}

// BenchmarkWorst parses the largest expressions that pass.
func BenchmarkWorst(b *testing.B) {
	p := NewParser(options())
	for name, of := range shapes {
		n := 1
		for Check(of(n+1), MaxDepth) == nil && len(of(n+1)) <= MaxBytes {
			n++
		}
		b.Run(fmt.Sprintf("parse/%s/%d", name, n), func(b *testing.B) {
			for b.Loop() {
				_, _ = p.ParseExpr(of(n))
			}
		})
		n = 1
		for Check(of(n+1), MaxFormatDepth) == nil {
			n++
		}
		expr, err := p.ParseExpr(of(n))
		if err != nil {
			continue
		}
		b.Run(fmt.Sprintf("format/%s/%d", name, n), func(b *testing.B) {
			for b.Loop() {
				start := time.Now()
				_ = expr.Pretty(0)
				if time.Since(start) > 10*time.Second {
					b.Fatal("too slow")
				}
			}
		})
	}
}
