package ui

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

// guide is the monitoring guide's table of panels, as it stands there.
const guide = `
| Request Rate | Time series | rate(hancock_requests_total[2m]) |
| Error Rate % | Time series | rate(hancock_errors_total[2m]) / rate(hancock_requests_total[2m]) * 100 |
| Requests by Endpoint | Time series | hancock_requests_by_endpoint |
| Requests by Mode | Time series | hancock_requests_by_mode |
| Memory Usage | Time series | hancock_memory_usage_bytes |
| Active Connections | Time series | hancock_active_connections |
| Total Requests (stat) | Stat | hancock_requests_total |
| Total Errors (stat) | Stat | hancock_errors_total |
| Current Memory (stat) | Stat | hancock_memory_usage_bytes |
| Active Connections (stat) | Stat | hancock_active_connections |
`

func TestDashboardIsTheGuides(t *testing.T) {
	board, err := Dashboard()
	require.NoError(t, err)
	require.Equal(t, "30s", board.Refresh)

	kinds := map[string]string{"Time series": KindTimeSeries, "Stat": KindStat}
	rows := strings.Split(strings.TrimSpace(guide), "\n")
	require.Len(t, board.Panels, len(rows))
	for i, row := range rows {
		cells := strings.Split(strings.Trim(row, "| "), " | ")
		require.Len(t, cells, 3)
		require.Equal(t, cells[0], board.Panels[i].Name)
		require.Equal(t, kinds[cells[1]], board.Panels[i].Kind, cells[0])
		require.Equal(t, cells[2], board.Panels[i].Query, cells[0])
	}
}

func TestDashboardQueriesParse(t *testing.T) {
	board, err := Dashboard()
	require.NoError(t, err)
	for _, p := range board.Panels {
		_, err := parser.NewParser(parser.Options{}).ParseExpr(p.Query)
		require.NoError(t, err, p.Name)
	}
}

func TestParseBoard(t *testing.T) {
	bad, err := filepath.Glob("testdata/*.bad.json")
	require.NoError(t, err)
	require.NotEmpty(t, bad)
	for _, file := range bad {
		t.Run(filepath.Base(file), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			require.NoError(t, err)
			// The first line is the message that the rest of the file must give.
			want, rest, found := bytes.Cut(raw, []byte("\n"))
			require.True(t, found)
			_, err = parseBoard(rest)
			require.ErrorContains(t, err, string(want))
		})
	}
	t.Run("least.good.json", func(t *testing.T) {
		raw, err := os.ReadFile("testdata/least.good.json")
		require.NoError(t, err)
		board, err := parseBoard(raw)
		require.NoError(t, err)
		require.Equal(t, "up", board.Panels[0].Query)
	})
}

func FuzzParseBoard(f *testing.F) {
	raw, err := files.ReadFile("dashboard.json")
	require.NoError(f, err)
	f.Add(raw)
	f.Add([]byte(`{"panels":[{"legend":"{{a}}{{"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		board, err := parseBoard(raw)
		if err != nil {
			return
		}
		// What was accepted can be written, read again, and handed to Grafana.
		again, err := json.Marshal(board)
		require.NoError(t, err)
		second, err := parseBoard(again)
		require.NoError(t, err)
		require.Equal(t, board, second)
		require.Len(t, board.grafana().Panels, len(board.Panels))
	})
}

func TestGrafana(t *testing.T) {
	got, err := Grafana()
	require.NoError(t, err)
	const golden = "testdata/grafana.golden.json"
	if *update {
		require.NoError(t, os.WriteFile(golden, got, 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

// TestGrafanaImports holds the export to what Grafana's import asks of a file, whatever the golden says.
func TestGrafanaImports(t *testing.T) {
	raw, err := Grafana()
	require.NoError(t, err)
	var got struct {
		Inputs []struct {
			Name, Type, PluginID string
		} `json:"__inputs"`
		ID            any
		Refresh       string
		SchemaVersion int
		Panels        []struct {
			ID          int
			Type, Title string
			GridPos     struct{ H, W, X, Y int }
			FieldConfig struct{ Defaults struct{ Unit string } }
			Datasource  struct{ Type, UID string }
			Targets     []struct {
				Expr       string
				Datasource struct{ Type, UID string }
			}
		}
	}
	require.NoError(t, json.Unmarshal(raw, &got))
	require.Len(t, got.Inputs, 1)
	require.Equal(t, "DS_PROMETHEUS", got.Inputs[0].Name)
	require.Equal(t, "datasource", got.Inputs[0].Type)
	require.Equal(t, "prometheus", got.Inputs[0].PluginID)
	require.Nil(t, got.ID)
	require.Equal(t, "30s", got.Refresh)

	board, err := Dashboard()
	require.NoError(t, err)
	require.Len(t, got.Panels, len(board.Panels))
	taken := map[[2]int]string{}
	for i, p := range got.Panels {
		want := board.Panels[i]
		require.Equal(t, i+1, p.ID)
		require.Equal(t, want.Name, p.Title)
		require.Equal(t, want.Kind, p.Type)
		require.Equal(t, want.Unit, p.FieldConfig.Defaults.Unit)
		require.Equal(t, "${DS_PROMETHEUS}", p.Datasource.UID)
		require.Len(t, p.Targets, 1)
		require.Equal(t, want.Query, p.Targets[0].Expr)
		require.Equal(t, "${DS_PROMETHEUS}", p.Targets[0].Datasource.UID)
		require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, grafanaColumns, p.Title)
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				require.Empty(t, taken[[2]int{x, y}], "%s lies on another panel", p.Title)
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}

func TestGridPlacesAnyNumberOfStats(t *testing.T) {
	for stats := range 15 {
		board := Board{}
		for range stats {
			board.Panels = append(board.Panels, Panel{Kind: KindStat})
		}
		board.Panels = append(board.Panels, Panel{Kind: KindTimeSeries})
		bottom := 0
		for _, p := range board.grafana().Panels {
			require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, grafanaColumns)
			if p.Type == KindStat {
				bottom = max(bottom, p.GridPos.Y+p.GridPos.H)
			} else {
				require.Equal(t, bottom, p.GridPos.Y, "%d stats", stats)
			}
		}
	}
}

// TestPaletteHasEveryColor: both themes define the colours that a panel may name, and the page knows how many.
func TestPaletteHasEveryColor(t *testing.T) {
	css, err := files.ReadFile("page/style.css")
	require.NoError(t, err)
	found := regexp.MustCompile(`(?m)^\s+--series-[0-9]+: #`).FindAll(css, -1)
	require.Len(t, found, 2*seriesColors)
	js, err := files.ReadFile("page/plot.js")
	require.NoError(t, err)
	require.Contains(t, string(js), "export const colors = 8;")
}
