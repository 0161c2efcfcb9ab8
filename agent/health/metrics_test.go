package health_test

import (
	"bytes"
	"errors"
	"log/slog"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent/health"
)

// scrape returns the gauge's values by check.
func scrape(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	require.Len(t, families, 1)
	require.Equal(t, "hancock_health_check_status", families[0].GetName())
	values := map[string]float64{}
	for _, m := range families[0].GetMetric() {
		values[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
	}
	return values
}

func TestMetric(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{name: "ollama", model: "m", ids: []string{"m"}}
		d := healthy()
		reg := prometheus.NewRegistry()
		d.Backends = []health.Backend{b, &backend{name: "openai", err: errors.New("down")}}
		d.LastSample, d.Now, d.Metrics = func() time.Time { return time.Now().Add(-time.Hour) }, time.Now, reg
		c, err := health.New(health.DefaultOptions(), d)
		require.NoError(t, err)

		first := scrape(t, reg)
		require.Len(t, first, 5)
		for name, value := range first {
			require.True(t, math.IsNaN(value), name)
		}
		synctest.Wait()
		want := map[string]float64{"ollama": 1, "openai": 0, "memory": 1, "disk": 1, "prometheus": 0.5}
		require.Equal(t, want, scrape(t, reg))

		// Four scrapes a minute make one look a minute, and none where
		// somebody asks for /health.
		b.ids = nil
		for range 40 {
			time.Sleep(15 * time.Second) // of the bubble's clock
			scrape(t, reg)
			synctest.Wait()
		}
		require.Equal(t, 1+10, b.asked)
		want["ollama"] = 0
		require.Equal(t, want, scrape(t, reg))
		c.Report()
		before := b.asked
		time.Sleep(30 * time.Second)
		c.Report()
		time.Sleep(45 * time.Second)
		scrape(t, reg)
		require.Equal(t, before+1, b.asked)
		require.NoError(t, c.Close())
		time.Sleep(time.Hour)
		scrape(t, reg)
		synctest.Wait()
		require.Equal(t, before+1, b.asked)
	})
}

// A scrape does not wait for a backend that hangs, and starts no second look;
// Close does not wait for it either.
func TestMetricOfABackendThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{name: "ollama", model: "m", hang: true}
		d := healthy()
		reg := prometheus.NewRegistry()
		d.Backends, d.Metrics = []health.Backend{b}, reg
		c, err := health.New(health.DefaultOptions(), d)
		require.NoError(t, err)
		begin := time.Now()
		for range 5 {
			require.True(t, math.IsNaN(scrape(t, reg)["ollama"]))
			synctest.Wait()
		}
		require.Equal(t, 1, b.asked)
		require.NoError(t, c.Close())
		require.Equal(t, begin, time.Now())
	})
}

func TestMetricWithoutLooks(t *testing.T) {
	b := &backend{name: "ollama", model: "m", ids: []string{"m"}}
	d := healthy()
	reg := prometheus.NewRegistry()
	d.Backends, d.Metrics = []health.Backend{b}, reg
	o := health.DefaultOptions()
	o.MetricAge = 0
	c, err := health.New(o, d)
	require.NoError(t, err)
	require.True(t, math.IsNaN(scrape(t, reg)["ollama"]))
	require.NoError(t, c.Close())
	require.Zero(t, b.asked)
	_, err = health.New(o, d)
	require.ErrorContains(t, err, "registering the health checks' metric")
}

func TestChangesAreLogged(t *testing.T) {
	var log bytes.Buffer
	now := clock()
	b := &backend{name: "ollama", model: "m", err: errors.New("down")}
	d := healthy()
	d.Backends, d.Now = []health.Backend{b}, func() time.Time { return now }
	d.LastSample = nil
	d.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	c, err := health.New(health.DefaultOptions(), d)
	require.NoError(t, err)
	for _, step := range []struct {
		ids  []string
		err  error
		want string
	}{
		{err: errors.New("down"), want: `level=WARN msg="health has changed" event=health_changed check=ollama from=ok to=error detail="down; is it running? start it with: ollama serve"` + "\n"},
		{err: errors.New("down")},
		{ids: []string{"m"}, want: `level=INFO msg="health has changed" event=health_changed check=ollama from=error to=ok detail=""` + "\n"},
		{ids: []string{"m"}},
	} {
		log.Reset()
		b.ids, b.err = step.ids, step.err
		c.Report()
		require.Equal(t, step.want, log.String())
		now = now.Add(time.Minute)
	}
	require.NoError(t, c.Close())
}
