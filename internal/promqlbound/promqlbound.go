// Package promqlbound bounds the size and the nesting of PromQL expressions
// before they are parsed. Prometheus' parser and formatter take quadratic time
// and more in the depth of an expression, and nothing can interrupt them.
package promqlbound

import (
	"fmt"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/parser/posrange"
)

const (
	// MaxBytes is the size of the largest expression.
	MaxBytes = 64 << 10
	// MaxDepth is how deep an expression may be nested. Each pair of
	// parentheses, call, operator, subquery, offset and @ is a level; a chain of
	// operators is as deep as it is long.
	MaxDepth = 1000
	// MaxFormatDepth is MaxDepth for the formatter, which copies the text of each
	// level several times.
	MaxFormatDepth = 100
	// MaxSelectors is the number of series selectors in one request.
	MaxSelectors = 1000
)

// NewParser returns a parser that refuses expressions beyond the bounds with a
// parse error. It may be used concurrently.
func NewParser(o parser.Options) parser.Parser { return bounded{parser.NewParser(o)} }

type bounded struct{ parser.Parser }

// ParseExpr parses an expression within the bounds.
func (b bounded) ParseExpr(input string) (parser.Expr, error) {
	if err := Check(input, MaxDepth); err != nil {
		return nil, err
	}
	return b.Parser.ParseExpr(input)
}

// ParseMetric parses the text of a series within the bounds.
func (b bounded) ParseMetric(input string) (labels.Labels, error) {
	if err := Check(input, MaxDepth); err != nil {
		return labels.EmptyLabels(), err
	}
	return b.Parser.ParseMetric(input)
}

// ParseMetricSelector parses a series selector within the bounds.
func (b bounded) ParseMetricSelector(input string) ([]*labels.Matcher, error) {
	if err := Check(input, MaxDepth); err != nil {
		return nil, err
	}
	return b.Parser.ParseMetricSelector(input)
}

// ParseMetricSelectors parses series selectors, whose number and total size are
// bounded too.
func (b bounded) ParseMetricSelectors(inputs []string) ([][]*labels.Matcher, error) {
	if len(inputs) > MaxSelectors {
		return nil, fmt.Errorf("%d series selectors, the limit is %d: use fewer match[] parameters", len(inputs), MaxSelectors)
	}
	total := 0
	for _, input := range inputs {
		if total += len(input); total > MaxBytes {
			return nil, fmt.Errorf("series selectors of more than %d bytes together: use fewer or shorter match[] parameters", MaxBytes)
		}
		if err := Check(input, MaxDepth); err != nil {
			return nil, err
		}
	}
	return b.Parser.ParseMetricSelectors(inputs)
}

// Check returns a parse error if an expression is larger than MaxBytes or may be
// nested deeper than depth. It takes linear time. It does not check the syntax.
func Check(input string, depth int) error {
	if len(input) > MaxBytes {
		return fail(input, 0, fmt.Errorf("expression of %d bytes, the limit is %d: shorten it or split it with recording rules", len(input), MaxBytes))
	}
	if at, ok := within(input, depth); !ok {
		return fail(input, at, fmt.Errorf("expression is nested deeper than %d levels: split it with recording rules", depth))
	}
	return nil
}

// level is an open pair of parentheses, braces or brackets, or the whole.
type level struct {
	operators int // of the argument that is being read
	inner     int // height of the highest group in it
	argument  int // height of the highest argument before it
}

// height is an upper bound: a path from the root to a leaf passes each operator
// of the level at most, and one group.
func (l level) height() int { return max(l.argument, l.operators+l.inner) }

// within reports whether an expression is at most so deep for certain, and
// where it may become deeper.
func within(input string, depth int) (at posrange.Pos, ok bool) {
	levels := []level{{}}
	above := 0 // operators of the levels around the one that is being read
	lexer := parser.Lex(input)
	for item := (parser.Item{}); ; {
		lexer.NextItem(&item)
		top := &levels[len(levels)-1]
		switch t := item.Typ; {
		case t == parser.EOF, t == parser.ERROR:
			return 0, true
		case t == parser.LEFT_PAREN, t == parser.LEFT_BRACE, t == parser.LEFT_BRACKET:
			if t == parser.LEFT_BRACKET { // A subquery contains what is before it.
				top.operators++
			}
			above += top.operators
			levels = append(levels, level{})
		case t == parser.RIGHT_PAREN, t == parser.RIGHT_BRACE, t == parser.RIGHT_BRACKET:
			if len(levels) > 1 {
				closed := top.height()
				levels = levels[:len(levels)-1]
				top = &levels[len(levels)-1]
				above -= top.operators
				top.inner = max(top.inner, closed+1)
			}
		case t == parser.COMMA:
			*top = level{argument: top.height()}
		case t.IsOperator(), t == parser.EQL, t == parser.OFFSET, t == parser.AT, t == parser.ANCHORED, t == parser.SMOOTHED:
			top.operators++
		}
		if len(levels)-1+above+levels[len(levels)-1].height() > depth {
			return item.Pos, false
		}
	}
}

func fail(input string, at posrange.Pos, err error) error {
	end := posrange.Pos(len(input))
	if len(input) > MaxBytes {
		input = "" // The error quotes its line.
	}
	return parser.ParseErrors{{PositionRange: posrange.PositionRange{Start: at, End: min(at+1, end)}, Err: err, Query: input}}
}
