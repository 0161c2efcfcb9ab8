package rulecheck

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// call finds functions on metrics of a type that they are not for.
func (c *checker) call(e *parser.Call) []problem {
	switch e.Func.Name {
	case "histogram_quantile", "histogram_fraction":
		return c.histogram(e, len(e.Args)-1, true)
	case "histogram_quantiles":
		return c.histogram(e, 0, true)
	case "histogram_count", "histogram_sum", "histogram_avg", "histogram_stddev", "histogram_stdvar":
		return c.histogram(e, 0, false)
	case "rate", "irate", "increase":
		return c.counted(e, model.MetricTypeGauge, "a gauge, which may fall: rate, irate and increase take that for a restart; delta or deriv may be meant")
	case "delta", "idelta":
		return c.counted(e, model.MetricTypeCounter, "a counter, which begins anew at a restart; increase may be meant")
	}
	return nil
}

// counted is a hint on a function over a metric of a type that it is not for.
func (c *checker) counted(e *parser.Call, wrong model.MetricType, why string) []problem {
	if len(e.Args) != 1 {
		return nil
	}
	matrix, ok := unwrap(e.Args[0]).(*parser.MatrixSelector)
	if !ok {
		return nil
	}
	vs, ok := matrix.VectorSelector.(*parser.VectorSelector)
	if !ok {
		return nil
	}
	name := metricName(vs)
	s, ok := c.series[name]
	if !ok || s.any || s.typ != wrong {
		return nil
	}
	return []problem{{Finding: Finding{
		Severity: Hint, Metric: name, Message: fmt.Sprintf("%s over %s: it is %s", e.Func.Name, name, why),
	}}}
}

func unwrap(e parser.Expr) parser.Expr {
	for {
		switch inner := e.(type) {
		case *parser.ParenExpr:
			e = inner.Expr
		case *parser.StepInvariantExpr:
			e = inner.Expr
		default:
			return e
		}
	}
}

// histogram finds what keeps a function for histograms from having any. classic says that it takes buckets, too.
func (c *checker) histogram(e *parser.Call, arg int, classic bool) []problem {
	if arg < 0 || arg >= len(e.Args) {
		return nil
	}
	vs, keepsLe := source(e.Args[arg])
	if vs == nil {
		return nil
	}
	name := metricName(vs)
	f := Finding{Severity: Warning, Metric: name}
	s, known := c.series[name]
	base, isBucket := strings.CutSuffix(name, "_bucket")
	isHistogram := s.typ == model.MetricTypeHistogram || s.typ == model.MetricTypeGaugeHistogram
	switch {
	case isBucket && !classic && known && isHistogram:
		f.Message = fmt.Sprintf("%s takes native histograms, and %s is buckets of a classic one", e.Func.Name, name)
		f.Suggestion = base
	case isBucket && classic && !keepsLe && (!known || isHistogram):
		f.Label = model.BucketLabel
		f.Message = fmt.Sprintf("%s needs the label le of %s, which is aggregated away: keep it with by (le)", e.Func.Name, name)
	case !known || s.any || s.labels[model.BucketLabel] || isHistogram && name == s.family:
		return nil
	case isHistogram:
		f.Message = fmt.Sprintf("%s needs a histogram, and %s is not one but a part of it", e.Func.Name, name)
		f.Suggestion = s.family
		if classic {
			f.Suggestion += "_bucket"
		}
	default:
		f.Message = fmt.Sprintf("%s needs a histogram, and %s is a %s", e.Func.Name, s.family, s.typ)
	}
	return []problem{{Finding: f}}
}

// source is the one selector whose values an expression has, through functions and aggregations, and whether the
// label le comes through. It is nil when there are several, or none.
func source(e parser.Expr) (vs *parser.VectorSelector, keepsLe bool) {
	keepsLe = true
	for {
		switch inner := unwrap(e).(type) {
		case *parser.VectorSelector:
			return inner, keepsLe
		case *parser.MatrixSelector:
			e = inner.VectorSelector
		case *parser.SubqueryExpr:
			e = inner.Expr
		case *parser.AggregateExpr:
			picks := slices.Contains([]parser.ItemType{parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO}, inner.Op)
			if !picks && slices.Contains(inner.Grouping, model.BucketLabel) == inner.Without {
				keepsLe = false
			}
			e = inner.Expr
		case *parser.Call:
			if strings.HasPrefix(inner.Func.Name, "label_") {
				return nil, false // le may come from elsewhere.
			}
			var vectors []parser.Expr
			for _, arg := range inner.Args {
				if t := arg.Type(); t == parser.ValueTypeVector || t == parser.ValueTypeMatrix {
					vectors = append(vectors, arg)
				}
			}
			if len(vectors) != 1 {
				return nil, false
			}
			e = vectors[0]
		default:
			return nil, false
		}
	}
}
