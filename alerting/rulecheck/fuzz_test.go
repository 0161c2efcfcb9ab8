package rulecheck_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/rulecheck"
)

// FuzzExpr checks arbitrary expressions, with and without a store: it ends, and does not panic.
func FuzzExpr(f *testing.F) {
	for _, expr := range []string{
		`histogram_quantile(0.9, sum by (le) (rate(hancock_request_duration_seconds_bucket[5m])))`,
		`a or b unless on (job) group_left (x) c{d=~"e|f"}`, `absent({__name__=~"x.*", le!="1"})`, `info(up, {a="b"})`,
		`count_values("v", label_replace(up, "a", "$1", "b", "c"))`, `topk(3, ALERTS{alertname="Tested"} offset 5m)`,
		`histogram_quantiles(up, "q", 0.1)`, `up[5m:1m]`, `-(("text"))`, `{"a b", "c"="d"}`, `a + fill(1) b`, `up[step()]`,
	} {
		f.Add(expr)
	}
	closed, open := house(f), house(f)
	open.Open = true
	open.Exists = func(_ context.Context, ms ...*labels.Matcher) (bool, error) { return len(ms[0].Value)%2 == 0, nil }
	f.Fuzz(func(t *testing.T, expr string) {
		for _, k := range []rulecheck.Known{closed, open} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			got, err := rulecheck.Check(ctx, []rulecheck.File{ruleFile(expr)}, k)
			require.NoError(t, ctx.Err())
			cancel()
			for _, finding := range got {
				require.NoError(t, err)
				require.NotEmpty(t, finding.Message)
				require.NotEmpty(t, finding.Severity)
			}
		}
	})
}

// FuzzContract reads lists of metrics; what it takes is what was written.
func FuzzContract(f *testing.F) {
	f.Add("a{} COUNTER\n    Help.\nb{x,y} HISTOGRAM\n")
	f.Add("a{,,x} SUMMARY\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		metrics, err := rulecheck.ParseContract(strings.NewReader(text))
		if err != nil {
			require.Nil(t, metrics)
			return
		}
		for name, m := range metrics {
			require.Contains(t, text, name+"{")
			for _, l := range m.Labels {
				require.Contains(t, text, l)
			}
		}
	})
}
