package tsdb_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/tsdb"
)

// BenchmarkOpen is the way from nothing to a storage that answers, on an empty folder, and back.
func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		o := options(b)
		b.StartTimer()
		db, err := tsdb.Open(o, http.NotFoundHandler(), prometheus.NewRegistry(), logger(b))
		require.NoError(b, err)
		b.StopTimer()
		require.NoError(b, db.Close())
		b.StartTimer()
	}
}

// BenchmarkFirstScrape is the time from Run to the first sample that can be queried.
func BenchmarkFirstScrape(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		o := options(b)
		o.ScrapeInterval = time.Hour
		s := open(b, o)
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan error, 1)
		b.StartTimer()
		go func() { done <- s.Run(ctx) }()
		<-s.FirstScrape()
		b.StopTimer()
		cancel()
		require.NoError(b, <-done)
		s.close()
		b.StartTimer()
	}
}

// BenchmarkNewAPI is what the first request to the API, or Warm, pays for.
func BenchmarkNewAPI(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		s := open(b, options(b))
		api := s.NewAPI(apiOptions())
		b.StartTimer()
		code, _ := ask(b, api, "GET", "query?query=1", nil)
		require.Equal(b, http.StatusOK, code)
		b.StopTimer()
		s.close()
		b.StartTimer()
	}
}

// BenchmarkQuery is one instant query through the API.
func BenchmarkQuery(b *testing.B) {
	s := open(b, options(b)).run()
	api := s.NewAPI(apiOptions())
	api.Warm()
	for b.Loop() {
		code, _ := ask(b, api, "GET", "query?query=rate(hancock_requests_total[5m])", nil)
		require.Equal(b, http.StatusOK, code)
	}
}
