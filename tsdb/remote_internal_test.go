package tsdb

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/stretchr/testify/require"
)

// asleep is what wakes up nobody.
type asleep struct{}

func (asleep) Notify() {}

// TestCloseWakesUpTheSending has readers of the log that were not told of what was written last, as it happens when they
// are still busy with what came before.
func TestCloseWakesUpTheSending(t *testing.T) {
	var newest atomic.Int64
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, err := remote.DecodeWriteRequest(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		for _, series := range got.Timeseries {
			for _, sample := range series.Samples {
				newest.Store(int64(sample.Value))
			}
		}
	}))
	defer far.Close()
	o := DefaultOptions()
	o.Path = t.TempDir()
	var err error
	o.Prometheus, err = config.Load(
		"remote_write: [{url: '"+far.URL+"', queue_config: {batch_send_deadline: 50ms}, metadata_config: {send: false}}]",
		promslog.NewNopLogger())
	require.NoError(t, err)
	db, err := Open(o, http.NotFoundHandler(), prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	write := func(value int64) {
		app := db.Appendable().Appender(t.Context())
		_, err := app.Append(0, labels.FromStrings("__name__", "x"), time.Now().UnixMilli(), float64(value))
		require.NoError(t, err)
		require.NoError(t, app.Commit())
	}
	// The readers skip what is older than they are, and they begin in the background.
	for value, end := int64(1), time.Now().Add(time.Minute); newest.Load() == 0 && time.Now().Before(end); value++ {
		write(value)
		<-time.After(20 * time.Millisecond)
	}
	require.Positive(t, newest.Load())
	db.local.SetWriteNotified(asleep{})
	write(1_000_000)
	require.NoError(t, db.Close())
	require.EqualValues(t, 1_000_000, newest.Load())
}
