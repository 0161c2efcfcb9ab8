package requestlog_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cyberviser/hancock/agent/requestlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lines decodes a log and insists that it is one JSON object a line.
func lines(t *testing.T, log *bytes.Buffer) []map[string]any {
	t.Helper()
	var out []map[string]any
	for line := range strings.Lines(log.String()) {
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &m), line)
		out = append(out, m)
	}
	return out
}

func TestLines(t *testing.T) {
	var buf bytes.Buffer
	log := requestlog.New(&buf, slog.LevelDebug)
	log.Debug("a\nb", "time", "noon", "error", errors.New("no disk"))
	log.Info("c", "level", "high")
	log.With("component", "tsdb").Warn("d")
	log.Error("e")

	got := lines(t, &buf)
	require.Len(t, got, 4)
	for i, want := range []string{"DEBUG", "INFO", "WARNING", "ERROR"} {
		if i != 1 {
			require.Equal(t, want, got[i]["level"])
		}
		stamp, err := time.Parse("2006-01-02T15:04:05.000Z", got[i]["timestamp"].(string))
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), stamp, time.Minute)
		require.NotContains(t, got[i], "request_id")
		require.NotContains(t, got[i], "msg")
	}
	require.Equal(t, "a\nb", got[0]["message"])
	require.Equal(t, "noon", got[0]["time"])
	require.Equal(t, "no disk", got[0]["error"])
	require.Equal(t, "tsdb", got[2]["component"])
	require.Contains(t, buf.String(), `"level":"INFO"`)
}

func TestLevelCanChange(t *testing.T) {
	var buf bytes.Buffer
	level := new(slog.LevelVar)
	log := requestlog.New(&buf, level)
	log.Debug("no")
	level.Set(slog.LevelDebug)
	log.Debug("yes")
	require.Len(t, lines(t, &buf), 1)
}

func TestParseLevel(t *testing.T) {
	for in, want := range map[string]slog.Level{
		"DEBUG": slog.LevelDebug, "info": slog.LevelInfo, "Warning": slog.LevelWarn, "ERROR": slog.LevelError,
	} {
		got, err := requestlog.ParseLevel(in)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, in := range []string{"", "WARN+1", "verbose", " INFO"} {
		_, err := requestlog.ParseLevel(in)
		require.ErrorContains(t, err, "valid: DEBUG, INFO, WARNING, ERROR")
	}
}
