package external

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestQuiet(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(quiet{slog.NewTextHandler(&out, nil)}).With("alertmanager", "http://a")
	log.Warn(notDrained, "count", 0)
	require.Empty(t, out.String())
	log.Warn(notDrained, "count", 2)
	require.NotEmpty(t, out.String())
}
