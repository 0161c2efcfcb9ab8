package loglimit

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// newLogger returns a logger whose time the test sets.
func newLogger(out *bytes.Buffer) (*slog.Logger, *time.Time) {
	clock := time.Unix(1_000_000, 0)
	h := NewHandler(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})).(*handler)
	h.counts.now = func() time.Time { return clock }
	return slog.New(h), &clock
}

func TestRepeatedLines(t *testing.T) {
	var out bytes.Buffer
	root, clock := newLogger(&out)
	log := root.With("component", "tsdb")
	for i := range 15_000 {
		log.Error("failed to read file", "n", i)
	}
	require.Equal(t, burst, strings.Count(out.String(), "failed to read file"))
	for range 2 * burst {
		log.Debug("step")
	}
	// Others are not affected: another message, level, component.
	log.Error("failed to do something else")
	log.Warn("failed to read file", "other", "level")
	root.With("component", "web").WithGroup("g").Error("failed to read file", "other", "component")
	require.Equal(t, 2*burst, strings.Count(out.String(), "msg=step"))
	require.Contains(t, out.String(), "something else")
	require.Contains(t, out.String(), "other=level")
	require.Contains(t, out.String(), "g.other=component")

	*clock = clock.Add(window - time.Second)
	log.Error("failed to read file")
	require.NotContains(t, out.String(), "suppressed")
	*clock = clock.Add(time.Second)
	out.Reset()
	root.Info("any line")
	require.Equal(t, `level=ERROR msg="suppressed repeated log lines" event=log_lines_suppressed component=tsdb repeated="failed to read file" count=14981
level=INFO msg="any line"
`, out.String())
	out.Reset()
	log.Error("failed to read file")
	require.Equal(t, "level=ERROR msg=\"failed to read file\" component=tsdb\n", out.String(), "it is passed on again")
}

func TestManyMessages(t *testing.T) {
	var out bytes.Buffer
	log, clock := newLogger(&out)
	for i := range 3 * maxKeys {
		require.NoError(t, log.Handler().Handle(t.Context(), slog.NewRecord(time.Now(), slog.LevelInfo, fmt.Sprint("message ", i), 0)))
	}
	require.Equal(t, maxKeys+burst, strings.Count(out.String(), "message "))
	*clock = clock.Add(window)
	log.Info("later")
	require.Contains(t, out.String(), fmt.Sprintf(`repeated="" count=%d`, 2*maxKeys-burst))
	require.Contains(t, out.String(), "later")
}

func TestConcurrentLines(t *testing.T) {
	var out bytes.Buffer
	log, _ := newLogger(&out)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				log.With("component", "x").Error("again")
			}
		})
	}
	all.Wait()
	require.Equal(t, burst, strings.Count(out.String(), "again"))
}
