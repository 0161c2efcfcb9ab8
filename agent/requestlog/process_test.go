package requestlog_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent/requestlog"
)

// kept are the lines in the files of a folder, which are readable by nobody
// else.
func kept(t *testing.T, dir string) []map[string]any {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.log"))
	require.NoError(t, err)
	var all bytes.Buffer
	for _, name := range names {
		info, err := os.Stat(name)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		src, err := os.ReadFile(name)
		require.NoError(t, err)
		all.Write(src)
	}
	return lines(t, &all)
}

func TestWhereLinesGo(t *testing.T) {
	var stderr bytes.Buffer
	level := new(slog.LevelVar)
	level.Set(slog.LevelWarn)
	l := requestlog.NewLog(&stderr, level)
	log, quiet := l.Logger(slog.LevelDebug), l.Logger(slog.LevelWarn).With("component", "tsdb")
	log.Error("before there are files")

	reg := prometheus.NewRegistry()
	o := requestlog.DefaultOptions()
	o.Dir = filepath.Join(t.TempDir(), "a", "log")
	require.NoError(t, l.Open(o, reg))
	log.Debug("d")
	log.Info("i")
	log.Warn("w")
	quiet.Info("qi")
	quiet.Warn("qw")
	level.Set(slog.LevelDebug)
	log.Debug("D")
	quiet.WithGroup("g").Debug("QD")

	require.Len(t, kept(t, o.Dir), 4, "i, w, qw, D")
	require.Len(t, lines(t, &stderr), 4, "before, w, qw, D")
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP hancock_log_lines_lost_total Lines that could not be written to the log's files.
# TYPE hancock_log_lines_lost_total counter
hancock_log_lines_lost_total 0
# HELP hancock_log_lines_total Lines logged, by level.
# TYPE hancock_log_lines_total counter
hancock_log_lines_total{level="DEBUG"} 1
hancock_log_lines_total{level="ERROR"} 1
hancock_log_lines_total{level="INFO"} 1
hancock_log_lines_total{level="WARNING"} 2
`)))
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	log.Warn("after")
	require.Contains(t, stderr.String(), "after")
	require.Len(t, kept(t, o.Dir), 4)
}

func TestNoFolder(t *testing.T) {
	l := requestlog.NewLog(io.Discard, slog.LevelInfo)
	reg := prometheus.NewRegistry()
	require.NoError(t, l.Open(requestlog.Options{}, reg))
	require.Error(t, l.Open(requestlog.Options{}, reg), "metrics twice")
	require.NoError(t, l.Close())
}

func TestFolderThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	o := requestlog.DefaultOptions()
	o.Dir = filepath.Join(file, "log")
	require.ErrorContains(t, requestlog.NewLog(io.Discard, slog.LevelInfo).Open(o, prometheus.NewRegistry()), "opening the log's files")
}

func TestOptions(t *testing.T) {
	for name, change := range map[string]func(*requestlog.Options){
		"agent.log.max_file_size":                   func(o *requestlog.Options) { o.MaxSizeBytes = 0 },
		"max_total_size: must be at least":          func(o *requestlog.Options) { o.MaxTotalBytes = o.MaxSizeBytes },
		"agent.log.max_total_size: must be at most": func(o *requestlog.Options) { o.MaxTotalBytes = 1 << 40 },
	} {
		o := requestlog.DefaultOptions()
		o.Dir = t.TempDir()
		require.NoError(t, o.Validate())
		change(&o)
		require.ErrorContains(t, o.Validate(), name)
		require.Error(t, requestlog.NewLog(io.Discard, slog.LevelInfo).Open(o, prometheus.NewRegistry()))
	}
}

// The files never hold more than their bound, whatever is written by whom, and
// what they hold are whole lines.
func TestBound(t *testing.T) {
	dir := t.TempDir()
	o := requestlog.Options{Dir: dir, MaxSizeBytes: 256 << 10, MaxTotalBytes: 1 << 20}
	for range 2 { // the second one goes on where the first one stopped
		l := requestlog.NewLog(io.Discard, slog.LevelInfo)
		require.NoError(t, l.Open(o, prometheus.NewRegistry()))
		var wg sync.WaitGroup
		for i := range 4 {
			log := l.Logger(slog.LevelInfo)
			wg.Go(func() {
				for n := range 300 {
					log.Info("line", "from", i, "number", n, "padding", strings.Repeat("x", n*10))
				}
			})
		}
		wg.Wait()
		require.NoError(t, l.Close())
	}
	var total int64
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		require.LessOrEqual(t, info.Size(), o.MaxSizeBytes)
		total += info.Size()
	}
	require.LessOrEqual(t, total, o.MaxTotalBytes)
	require.Greater(t, total, o.MaxTotalBytes/2)
	require.NotEmpty(t, kept(t, dir))
}

// A crash leaves half a line, and a foreign file is none of ours.
func TestGoesOnAfterACrash(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "hancock-00000007.log"), []byte(completed(1)+`{"timest`), 0o644))
	for _, foreign := range []string{"hancock-9.log", "hancock-00000009.log.gz", "notes", "hancock-0000000x.log"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, foreign), []byte("foreign"), 0o600))
	}
	l := openLog(t, dir, io.Discard)
	l.Logger(slog.LevelInfo).Info("after")
	src, err := os.ReadFile(filepath.Join(dir, "hancock-00000007.log"))
	require.NoError(t, err)
	require.Contains(t, string(src), "{\"timest\n{\"timestamp\"")
	page, err := l.Lines(t.Context(), requestlog.Query{})
	require.NoError(t, err)
	require.Len(t, page.Items, 2)
}

func TestLongLine(t *testing.T) {
	dir := t.TempDir()
	var stderr bytes.Buffer
	l := openLog(t, dir, &stderr)
	l.Logger(slog.LevelInfo).Warn("long", "padding", strings.Repeat("x", 200<<10))
	require.Len(t, lines(t, &stderr)[0]["padding"], 200<<10)
	got := kept(t, dir)
	require.Len(t, got, 1)
	require.Equal(t, "WARNING", got[0]["level"])
	require.Equal(t, "line too long, see standard error", got[0]["message"])
	require.Greater(t, got[0]["bytes"], 200.0*1024)
}

// Lines that cannot be kept are counted and told, once, where they can be.
func TestFilesThatFail(t *testing.T) {
	dir := t.TempDir()
	var stderr bytes.Buffer
	l := requestlog.NewLog(&stderr, slog.LevelInfo)
	reg := prometheus.NewRegistry()
	require.NoError(t, l.Open(requestlog.Options{Dir: dir, MaxSizeBytes: 256 << 10, MaxTotalBytes: 1 << 20}, reg))
	defer l.Close()
	require.NoError(t, os.RemoveAll(dir))
	log := l.Logger(slog.LevelInfo)
	for range 5 {
		log.Info("line", "padding", strings.Repeat("x", 100<<10))
	}
	require.Equal(t, 1, strings.Count(stderr.String(), "log file cannot be written"))
	require.Len(t, lines(t, &stderr), 6)
	families, err := reg.Gather()
	require.NoError(t, err)
	require.Equal(t, "hancock_log_lines_lost_total", families[0].GetName())
	require.InDelta(t, 3, families[0].GetMetric()[0].GetCounter().GetValue(), 0, fmt.Sprint(families))
}
