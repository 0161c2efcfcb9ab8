package ui

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
)

// Kinds of panels, in the words of Grafana.
const (
	KindTimeSeries = "timeseries"
	KindStat       = "stat"
)

// seriesColors is the number of colours in the page's palette, --series-1 and up in page/style.css.
const seriesColors = 8

// Board is the dashboard: what the page draws and what Grafana imports.
type Board struct {
	Title   string  `json:"title"`
	Refresh string  `json:"refresh"` // between two refreshes: 30s, 1m
	Range   string  `json:"range"`   // shown when nothing else is chosen: 15m, 1h, 7d
	Panels  []Panel `json:"panels"`  // in the order of the monitoring guide
}

// Panel is one chart or one number.
type Panel struct {
	Name        string      `json:"name"` // unique on a board
	Kind        string      `json:"kind"` // KindTimeSeries or KindStat
	Query       string      `json:"query"`
	Unit        string      `json:"unit"`                 // Grafana's name of the unit: short, bytes, percent (0 to 100), reqps
	Legend      string      `json:"legend"`               // name of a series; {{label}} stands for that label's value
	Description string      `json:"description"`          // one or two sentences for someone who has never seen the panel
	Empty       string      `json:"empty,omitempty"`      // said instead of the usual words when the query gives nothing
	Color       int         `json:"color,omitempty"`      // colour of the first series, 1 to 8; 0 is 1
	Thresholds  []Threshold `json:"thresholds,omitempty"` // ascending
}

// Threshold is a value from which on an alert of that severity is about to come.
type Threshold struct {
	Value    float64 `json:"value"` // in the panel's unit
	Severity string  `json:"severity"`
}

var (
	refreshRE = regexp.MustCompile(`^[1-9][0-9]{0,3}[sm]$`)
	rangeRE   = regexp.MustCompile(`^[1-9][0-9]{0,3}[mhd]$`)
	legendRE  = regexp.MustCompile(`^[^{}]*(\{\{[a-zA-Z_][a-zA-Z0-9_]*\}\}[^{}]*)*$`)
)

// Dashboard returns the board that is built in. The caller owns what it gets.
func Dashboard() (Board, error) {
	raw, err := files.ReadFile("dashboard.json")
	if err != nil {
		return Board{}, fmt.Errorf("reading dashboard.json: %w", err)
	}
	board, err := parseBoard(raw)
	if err != nil {
		return Board{}, fmt.Errorf("reading dashboard.json: %w", err)
	}
	return board, nil
}

// parseBoard reads a board and holds it to the rules of the types above. An unknown field is an
// error: a misspelt one would otherwise be dropped on the way to Grafana without a word.
func parseBoard(raw []byte) (Board, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	var board Board
	if err := dec.Decode(&board); err != nil {
		return Board{}, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Board{}, errors.New("something follows the dashboard")
	}
	if err := board.validate(); err != nil {
		return Board{}, err
	}
	return board, nil
}

func (b Board) validate() error {
	if b.Title == "" {
		return errors.New("title is empty")
	}
	if !refreshRE.MatchString(b.Refresh) {
		return fmt.Errorf("refresh %q is not a number of seconds or minutes, such as 30s", b.Refresh)
	}
	if !rangeRE.MatchString(b.Range) {
		return fmt.Errorf("range %q is not a number of minutes, hours or days, such as 1h", b.Range)
	}
	if len(b.Panels) == 0 {
		return errors.New("there are no panels")
	}
	seen := make(map[string]bool, len(b.Panels))
	for i, p := range b.Panels {
		if err := p.validate(); err != nil {
			return fmt.Errorf("panel %d (%q): %w", i+1, p.Name, err)
		}
		if seen[p.Name] {
			return fmt.Errorf("panel %d (%q): the name is taken by another panel", i+1, p.Name)
		}
		seen[p.Name] = true
	}
	return nil
}

func (p Panel) validate() error {
	for _, f := range []struct{ name, value string }{
		{"name", p.Name}, {"query", p.Query}, {"legend", p.Legend}, {"description", p.Description},
	} {
		if f.value == "" {
			return fmt.Errorf("%s is empty", f.name)
		}
	}
	if p.Kind != KindTimeSeries && p.Kind != KindStat {
		return fmt.Errorf("kind %q is neither %s nor %s", p.Kind, KindTimeSeries, KindStat)
	}
	if units := []string{"short", "bytes", "percent", "reqps"}; !slices.Contains(units, p.Unit) {
		return fmt.Errorf("unit %q is none of %v", p.Unit, units)
	}
	if !legendRE.MatchString(p.Legend) {
		return fmt.Errorf("legend %q: braces are for {{label}} only", p.Legend)
	}
	if p.Color < 0 || p.Color > seriesColors {
		return fmt.Errorf("color %d is not in 1 to %d", p.Color, seriesColors)
	}
	last := math.Inf(-1)
	for _, t := range p.Thresholds {
		if t.Value <= last {
			return fmt.Errorf("threshold %g does not follow %g: they ascend", t.Value, last)
		}
		if t.Severity != "warning" && t.Severity != "critical" {
			return fmt.Errorf("threshold %g: severity %q is neither warning nor critical", t.Value, t.Severity)
		}
		last = t.Value
	}
	return nil
}
