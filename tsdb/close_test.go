package tsdb_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/tsdb"
)

// Who still reads the storage is waited for, too, as long as queries are: a block waits for its readers without a bound.
func TestCloseWaitsForReaders(t *testing.T) {
	o := options(t)
	o.DrainTimeout = 50 * time.Millisecond
	db, err := tsdb.Open(o, http.NotFoundHandler(), prometheus.NewRegistry(), logger(t))
	require.NoError(t, err)
	q, err := db.Queryable().Querier(0, time.Now().UnixMilli())
	require.NoError(t, err)
	require.ErrorContains(t, db.Close(), "queries that do not end within 50ms")
	failing(t, o, "in use by another process")
	_, err = db.Queryable().Querier(0, time.Now().UnixMilli())
	require.ErrorContains(t, err, "storage is closed")
	require.NoError(t, q.Close())
	opensAgain(t, o)
}

// A request that ignores its end does not hold up Close, and keeps the storage until it has ended.
func TestCloseIsBounded(t *testing.T) {
	o := options(t)
	o.DrainTimeout = 50 * time.Millisecond
	db, err := tsdb.Open(o, http.NotFoundHandler(), prometheus.NewRegistry(), logger(t))
	require.NoError(t, err)
	api := db.NewAPI(tsdb.APIOptions{ListenAddress: "127.0.0.1:5000"})
	body, client := io.Pipe()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/v1/query", body)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		api.ServeHTTP(httptest.NewRecorder(), request)
	}()
	_, err = client.Write([]byte("query=")) // returns when it is read
	require.NoError(t, err)

	for range 2 {
		require.ErrorContains(t, db.Close(), "closing storage: queries that do not end within 50ms of being cancelled: 1; ")
	}
	failing(t, o, "in use by another process")
	require.NoError(t, client.Close())
	<-answered
	opensAgain(t, o)
}

// opensAgain waits until the storage has let go of its folder.
func opensAgain(t *testing.T, o tsdb.Options) {
	t.Helper()
	eventually(t, "the folder is free", func() bool {
		db, err := tsdb.Open(o, http.NotFoundHandler(), prometheus.NewRegistry(), logger(t))
		if err == nil {
			require.NoError(t, db.Close())
		}
		return err == nil
	})
}
