package requestlog_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent/requestlog"
)

// BenchmarkSearch looks for little in 512 MB of log, which is made once.
func BenchmarkSearch(b *testing.B) {
	const total, perFile = 512 << 20, 64 << 20
	dir := b.TempDir()
	n := 0
	for number := 1; number <= total/perFile; number++ {
		file, err := os.Create(filepath.Join(dir, fmt.Sprintf("hancock-%08d.log", number)))
		require.NoError(b, err)
		w := bufio.NewWriterSize(file, 1<<20)
		for size := 0; size < perFile-1000; n++ {
			written, err := w.WriteString(started(n) + completed(n))
			require.NoError(b, err)
			size += written
		}
		require.NoError(b, w.Flush())
		require.NoError(b, file.Close())
	}
	l := requestlog.NewLog(io.Discard, slog.LevelInfo)
	o := requestlog.DefaultOptions()
	o.Dir = dir
	require.NoError(b, l.Open(o, prometheus.NewRegistry()))
	defer l.Close()
	for _, bc := range []struct {
		name  string
		query requestlog.Query
		found int
	}{
		{"id of the oldest", requestlog.Query{ID: "req-000000"}, 1},
		{"text in any case", requestlog.Query{Text: "No Such Text"}, 0},
		{"status that is not there", requestlog.Query{MinStatus: 503, MaxStatus: 599}, 0},
		{"mode and model that are not there", requestlog.Query{Mode: "yara", Model: "gpt-4o"}, 0},
		{"mode that is, status that is not", requestlog.Query{Mode: "soc", MinStatus: 401, MaxStatus: 501}, 0},
		{"oldest minute", requestlog.Query{To: start().Add(59 * time.Second)}, 60},
		{"newest page", requestlog.Query{}, 100},
	} {
		b.Run(bc.name, func(b *testing.B) {
			b.SetBytes(total)
			b.ReportAllocs()
			for b.Loop() {
				page, err := l.Records(b.Context(), bc.query)
				require.NoError(b, err)
				require.Len(b, page.Items, bc.found)
			}
		})
	}
}

// BenchmarkRequest is the cost of one request's two lines, written to a file.
func BenchmarkRequest(b *testing.B) {
	l := openLog(b, b.TempDir(), io.Discard)
	e := echo.New()
	e.Use(requestlog.Middleware(l.Logger(slog.LevelInfo)))
	e.GET("/v1/x", func(c echo.Context) error {
		requestlog.Add(c.Request().Context(), requestlog.Mode("soc"), requestlog.Model("m"), requestlog.Backend("ollama"))
		return c.NoContent(http.StatusNoContent)
	})
	r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/v1/x", nil)
	b.ReportAllocs()
	for b.Loop() {
		e.ServeHTTP(httptest.NewRecorder(), r)
	}
}
