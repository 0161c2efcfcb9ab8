package ruletest

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// inputSeries is a series that is filled while time goes by.
type inputSeries struct {
	labels labels.Labels
	values []parser.SequenceValue
	next   int // The first value that is not stored yet.
}

// parseSeries parses the input series of t. promtool writes them into one text, line by line, and ends at the first
// line that is empty or a comment; where that loses something, there is a warning. Of two definitions of the same
// series the second one holds.
func parseSeries(p parser.Parser, t *test, limit int) (all []*inputSeries, warning string, err error) {
	byLabels := map[string]*inputSeries{}
	var text strings.Builder
	for _, s := range t.InputSeries {
		text.WriteString(s.Series + " " + s.Values + "\n")
	}
	lines := strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
	for i, line := range lines {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			if strings.TrimSpace(strings.Join(lines[i+1:], "")) != "" {
				warning = "input_series: what follows the first empty line or comment in a series or its values is left out, " +
					"as promtool does: " + strconv.Quote(lines[i+1])
			}
			break
		}
		s, cost, err := parseLine(p, line, limit)
		if err != nil {
			return nil, "", fmt.Errorf("input_series: %s: %w", shorten(line), err)
		}
		limit -= cost
		key := string(s.labels.Bytes(nil))
		if before, ok := byLabels[key]; ok {
			*before = *s
			continue
		}
		byLabels[key] = s
		all = append(all, s)
	}
	return all, warning, nil
}

// shorten cuts a line for a message.
func shorten(line string) string {
	const most = 80
	if len(line) <= most {
		return strconv.Quote(line)
	}
	return strconv.Quote(line[:most]) + "..."
}

// parseLine parses a series and its values. The parser of Prometheus writes repetitions out before anybody can ask
// how many there are, so they are counted first.
func parseLine(p parser.Parser, line string, limit int) (s *inputSeries, cost int, err error) {
	metric, values := splitLine(line)
	if strings.HasSuffix(metric, "@st") {
		return nil, 0, errors.New("start timestamps (@st) are not supported in rule tests")
	}
	if _, err := p.ParseMetric(metric); err != nil {
		return nil, 0, err
	}
	if cost, err = sequenceCost(values, limit); err != nil {
		return nil, 0, err
	}
	found, sequence, err := p.ParseSeriesDesc(metric + " " + values)
	if err != nil {
		return nil, 0, err
	}
	return &inputSeries{labels: found, values: sequence}, cost, nil
}

// splitLine cuts a line at the first space that is outside of braces and strings.
func splitLine(line string) (metric, values string) {
	var quote byte
	depth := 0
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quote != 0:
			switch {
			case c == '\\' && quote != '`':
				i++
			case c == quote:
				quote = 0
			}
		case c == '"' || c == '\'' || c == '`':
			quote = c
		case c == '{':
			depth++
		case c == '}':
			depth--
		case depth <= 0 && (c == ' ' || c == '\t' || c == '\r'):
			return line[:i], strings.TrimSpace(line[i:])
		}
	}
	return line, ""
}

// sequenceCost is about how many samples a sequence of values has once its repetitions are written out. A histogram
// costs more, by the length of its text.
func sequenceCost(values string, limit int) (int, error) {
	const textOfOne = 32 // Bytes that a plain value with its repetition may take.
	cost, begin := len(values)/2+1, 0
	for i := 0; i < len(values); i++ {
		if values[i] != 'x' {
			continue
		}
		end := i + 1
		for end < len(values) && values[end] >= '0' && values[end] <= '9' {
			end++
		}
		if end == i+1 {
			continue
		}
		times, err := strconv.Atoi(values[i+1 : end])
		if err != nil || times > limit {
			return 0, fmt.Errorf("%s repeats a value too often: a test may have %d samples", values[i:end], limit)
		}
		cost += (times + 1) * (1 + (i-begin)/textOfOne)
		begin, i = end, end-1
		if cost > limit {
			break
		}
	}
	if cost > limit {
		return 0, fmt.Errorf("the values of this test are more than %d samples", limit)
	}
	return cost, nil
}

// due are the values of s up to at and their times, taken out of s. Values follow each other by interval from start.
func (s *inputSeries) due(start, at time.Time, interval time.Duration, take func(t int64, v parser.SequenceValue) error) error {
	for ; s.next < len(s.values); s.next++ {
		if time.Duration(s.next) > math.MaxInt64/interval {
			return nil // Later than any time that a test can ask for.
		}
		t := start.Add(time.Duration(s.next) * interval).UnixMilli()
		if t > at.UnixMilli() {
			return nil
		}
		if v := s.values[s.next]; !v.Omitted {
			if err := take(t, v); err != nil {
				return err
			}
		}
	}
	return nil
}
