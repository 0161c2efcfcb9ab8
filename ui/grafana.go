package ui

import (
	"encoding/json"
	"fmt"
)

// What Grafana 12 writes itself. Older ones read it as well: since Grafana 10, all that we use of it
// has kept its meaning.
const (
	grafanaSchema  = 42
	grafanaVersion = "12.0.0"
	grafanaSource  = "DS_PROMETHEUS"
	grafanaColumns = 24
)

type grafanaBoard struct {
	Inputs        []grafanaInput   `json:"__inputs"`
	Requires      []grafanaRequire `json:"__requires"`
	ID            *int             `json:"id"` // null: Grafana gives one at import
	UID           string           `json:"uid"`
	Title         string           `json:"title"`
	Description   string           `json:"description"`
	Tags          []string         `json:"tags"`
	Timezone      string           `json:"timezone"`
	Editable      bool             `json:"editable"`
	GraphTooltip  int              `json:"graphTooltip"` // 1: one crosshair over all panels
	Refresh       string           `json:"refresh"`
	SchemaVersion int              `json:"schemaVersion"`
	Version       int              `json:"version"`
	Time          grafanaTime      `json:"time"`
	Templating    grafanaList      `json:"templating"`
	Annotations   grafanaList      `json:"annotations"`
	Links         []any            `json:"links"`
	Panels        []grafanaPanel   `json:"panels"`
}

type grafanaList struct {
	List []any `json:"list"`
}

type grafanaTime struct {
	From string `json:"from"`
	To   string `json:"to"`
}

type grafanaInput struct {
	Name        string `json:"name"`
	Label       string `json:"label"`
	Description string `json:"description"`
	Type        string `json:"type"`
	PluginID    string `json:"pluginId"`
	PluginName  string `json:"pluginName"`
}

type grafanaRequire struct {
	Type    string `json:"type"`
	ID      string `json:"id"`
	Name    string `json:"name"`
	Version string `json:"version"`
}

type grafanaPanel struct {
	ID          int             `json:"id"`
	Type        string          `json:"type"`
	Title       string          `json:"title"`
	Description string          `json:"description"`
	Datasource  grafanaRef      `json:"datasource"`
	GridPos     grafanaGrid     `json:"gridPos"`
	FieldConfig grafanaFields   `json:"fieldConfig"`
	Options     map[string]any  `json:"options"`
	Targets     []grafanaTarget `json:"targets"`
}

type grafanaRef struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type grafanaGrid struct {
	H int `json:"h"`
	W int `json:"w"`
	X int `json:"x"`
	Y int `json:"y"`
}

type grafanaFields struct {
	Defaults  grafanaDefaults `json:"defaults"`
	Overrides []any           `json:"overrides"`
}

type grafanaDefaults struct {
	Unit       string            `json:"unit"`
	Min        float64           `json:"min"`
	Color      map[string]any    `json:"color"`
	Custom     map[string]any    `json:"custom,omitempty"`
	Thresholds grafanaThresholds `json:"thresholds"`
}

type grafanaThresholds struct {
	Mode  string        `json:"mode"`
	Steps []grafanaStep `json:"steps"`
}

type grafanaStep struct {
	Color string   `json:"color"`
	Value *float64 `json:"value"` // null for the first
}

type grafanaTarget struct {
	RefID        string     `json:"refId"`
	Datasource   grafanaRef `json:"datasource"`
	Expr         string     `json:"expr"`
	LegendFormat string     `json:"legendFormat"`
	EditorMode   string     `json:"editorMode"`
	Range        bool       `json:"range"`
	Instant      bool       `json:"instant"`
}

// Grafana returns the built-in board as the JSON that Grafana's "Import dashboard" takes. Grafana asks
// for the Prometheus data source at import. Names, kinds, queries and their order are the board's; the
// numbers stand in a row above the charts, as on the page.
func Grafana() ([]byte, error) {
	board, err := Dashboard()
	if err != nil {
		return nil, err
	}
	out, err := json.MarshalIndent(board.grafana(), "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the grafana dashboard: %w", err)
	}
	return append(out, '\n'), nil
}

func (b Board) grafana() grafanaBoard {
	out := grafanaBoard{
		Inputs: []grafanaInput{{
			Name: grafanaSource, Label: "Prometheus", Description: "Where Hancock's metrics are stored",
			Type: "datasource", PluginID: "prometheus", PluginName: "Prometheus",
		}},
		Requires: []grafanaRequire{
			{Type: "grafana", ID: "grafana", Name: "Grafana", Version: grafanaVersion},
			{Type: "datasource", ID: "prometheus", Name: "Prometheus", Version: "1.0.0"},
			{Type: "panel", ID: KindStat, Name: "Stat"},
			{Type: "panel", ID: KindTimeSeries, Name: "Time series"},
		},
		UID:           "hancock",
		Title:         b.Title,
		Description:   "Requests, errors, memory and connections of Hancock, the security assistant.",
		Tags:          []string{"hancock"},
		Timezone:      "browser",
		Editable:      true,
		GraphTooltip:  1,
		Refresh:       b.Refresh,
		SchemaVersion: grafanaSchema,
		Version:       1,
		Time:          grafanaTime{From: "now-" + b.Range, To: "now"},
		Templating:    grafanaList{List: []any{}},
		Annotations:   grafanaList{List: []any{}},
		Links:         []any{},
	}
	grid := newGrid(b)
	for i, p := range b.Panels {
		out.Panels = append(out.Panels, p.grafana(i+1, grid.next(p.Kind)))
	}
	return out
}

func (p Panel) grafana(id int, pos grafanaGrid) grafanaPanel {
	source := grafanaRef{Type: "prometheus", UID: "${" + grafanaSource + "}"}
	steps := []grafanaStep{{Color: "green"}}
	for _, t := range p.Thresholds {
		color := "orange"
		if t.Severity == "critical" {
			color = "red"
		}
		steps = append(steps, grafanaStep{Color: color, Value: &t.Value})
	}
	out := grafanaPanel{
		ID:          id,
		Type:        p.Kind,
		Title:       p.Name,
		Description: p.Description,
		Datasource:  source,
		GridPos:     pos,
		FieldConfig: grafanaFields{
			Defaults: grafanaDefaults{
				Unit:       p.Unit,
				Thresholds: grafanaThresholds{Mode: "absolute", Steps: steps},
			},
			Overrides: []any{},
		},
		Targets: []grafanaTarget{{
			RefID: "A", Datasource: source, Expr: p.Query, LegendFormat: p.Legend, EditorMode: "code", Range: true,
		}},
	}
	switch p.Kind {
	case KindStat:
		out.FieldConfig.Defaults.Color = map[string]any{"mode": "thresholds"}
		out.Options = map[string]any{
			"colorMode": "value", "graphMode": "area", "justifyMode": "auto", "orientation": "auto", "textMode": "auto",
			"reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
		}
	default:
		style := "off"
		if len(p.Thresholds) > 0 {
			style = "dashed"
		}
		out.FieldConfig.Defaults.Color = map[string]any{"mode": "palette-classic"}
		out.FieldConfig.Defaults.Custom = map[string]any{
			"drawStyle": "line", "lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": false,
			"thresholdsStyle": map[string]any{"mode": style},
		}
		out.Options = map[string]any{
			"legend":  map[string]any{"displayMode": "table", "placement": "bottom", "showLegend": true, "calcs": []string{"lastNotNull"}},
			"tooltip": map[string]any{"mode": "multi", "sort": "desc"},
		}
	}
	return out
}

// grid hands out places: one row of numbers on top, below it the charts, two in a row.
type grid struct {
	stats, charts int // placed so far
	statWidth     int
	chartsTop     int
}

const (
	statHeight  = 4
	chartHeight = 8
	chartWidth  = grafanaColumns / 2
	statsInRow  = 6 // more would be too narrow to read
)

func newGrid(b Board) *grid {
	stats := 0
	for _, p := range b.Panels {
		if p.Kind == KindStat {
			stats++
		}
	}
	if stats == 0 {
		return &grid{}
	}
	inRow := min(stats, statsInRow)
	rows := (stats + inRow - 1) / inRow
	return &grid{statWidth: grafanaColumns / inRow, chartsTop: rows * statHeight}
}

func (g *grid) next(kind string) grafanaGrid {
	if kind == KindStat {
		inRow := grafanaColumns / g.statWidth
		pos := grafanaGrid{H: statHeight, W: g.statWidth, X: g.stats % inRow * g.statWidth, Y: g.stats / inRow * statHeight}
		g.stats++
		return pos
	}
	pos := grafanaGrid{H: chartHeight, W: chartWidth, X: g.charts % 2 * chartWidth, Y: g.chartsTop + g.charts/2*chartHeight}
	g.charts++
	return pos
}
