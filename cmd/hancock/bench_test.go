package main

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/cmd/hancock/internal/demo"
	"github.com/cyberviser/hancock/tsdb"
	"github.com/cyberviser/hancock/ui"
)

// BenchmarkPanels asks the page's ten queries, as the page asks them, over the
// six hours of a demonstration.
func BenchmarkPanels(b *testing.B) {
	opts := tsdb.DefaultOptions()
	opts.Path = b.TempDir()
	h := demo.DefaultHistoryOptions()
	h.Dir, h.Instance = opts.Path, opts.Instance
	require.NoError(b, demo.WriteHistory(b.Context(), h))
	db, err := tsdb.Open(opts, http.NotFoundHandler(), prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	require.NoError(b, err)
	defer db.Close()
	api := db.NewAPI(tsdb.APIOptions{ListenAddress: opts.Instance})
	api.Warm()
	board, err := ui.Dashboard()
	require.NoError(b, err)

	end := h.Now.Add(-time.Second)
	var requests []*http.Request
	for _, panel := range board.Panels {
		q := url.Values{
			"query": {panel.Query}, "step": {"60"},
			"start": {strconv.FormatInt(end.Add(-h.Duration).Unix(), 10)}, "end": {strconv.FormatInt(end.Unix(), 10)},
		}
		requests = append(requests, httptest.NewRequest(http.MethodGet, "/api/v1/query_range?"+q.Encode(), http.NoBody))
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, r := range requests {
			w := httptest.NewRecorder()
			api.ServeHTTP(w, r)
			if w.Code != http.StatusOK || w.Body.Len() < 1000 {
				b.Fatalf("%s: %d %s", r.URL, w.Code, w.Body)
			}
		}
	}
}
