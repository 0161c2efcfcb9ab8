package tsdb_test

import (
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/tsdb"
)

// TestFullDisk has a disk without room: nothing is stored, which is told once a scrape, and what was stored before and
// is stored after that is whole.
func TestFullDisk(t *testing.T) {
	o := options(t)
	s := open(t, o)
	s.requests.Add(5)
	s.run().close()
	wal := func() (size int64) {
		segments, err := filepath.Glob(filepath.Join(o.Path, "wal", "0*"))
		require.NoError(t, err)
		for _, name := range segments {
			info, err := os.Stat(name)
			require.NoError(t, err)
			size += info.Size()
		}
		return size
	}
	before := wal()

	o.ReserveBytes = math.MaxInt64
	reg, log := prometheus.NewRegistry(), new(lockedBuffer)
	db, err := tsdb.Open(o, promhttp.HandlerFor(reg, promhttp.HandlerOpts{}), reg, slog.New(slog.NewTextHandler(log, nil)))
	require.NoError(t, err)
	full := (&store{DB: db, t: t, reg: reg}).run() // Whoever waits for the first scrape does not wait for room.
	require.True(t, full.LastScrape().IsZero())
	app := full.Appendable().Appender(t.Context())
	_, err = app.Append(0, labels.FromStrings(model.MetricNameLabel, "x"), time.Now().UnixMilli(), 1)
	require.NoError(t, err)
	require.NoError(t, app.Commit())
	require.Len(t, stored(t, full.DB, "x"), 1, "what cannot be written is read from memory")
	require.NotEmpty(t, stored(t, full.DB, "up"))
	require.Equal(t, 1, strings.Count(log.String(), "samples cannot be written to disk and are kept in memory only"))
	require.Contains(t, log.String(), "the disk of "+o.Path+" is full: ")
	full.close()
	require.Equal(t, before, wal())

	o.ReserveBytes = 0
	s = open(t, o)
	s.requests.Add(7)
	s.run()
	got := stored(t, s.DB, "hancock_requests_total")
	require.InDelta(t, 5, got[0].v, 0)
	require.InDelta(t, 7, got[len(got)-1].v, 0)
	require.Zero(t, s.count("x"))
	s.close()
}
