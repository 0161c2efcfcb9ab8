package health_test

import (
	"bytes"
	"context"
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

// gather returns the values of all gauges by name and then by check, which the
// figures have none of.
func gather(t *testing.T, reg *prometheus.Registry) map[string]map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	values := map[string]map[string]float64{}
	for _, family := range families {
		of := map[string]float64{}
		for _, m := range family.GetMetric() {
			check := ""
			for _, label := range m.GetLabel() {
				check = label.GetValue()
			}
			of[check] = m.GetGauge().GetValue()
		}
		values[family.GetName()] = of
	}
	return values
}

// scrape returns the statuses by check.
func scrape(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	return gather(t, reg)["hancock_health_check_status"]
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

// The figures behind the checks are there once they are known, are those of the
// newest look, and go away with it. No scrape waits for them.
func TestFigures(t *testing.T) {
	type figures map[string]map[string]float64
	figure := func(value uint64, err error) func() (uint64, error) {
		return func() (uint64, error) { return value, err }
	}
	var forever chan struct{}
	well, full, broken := figure(42<<30, nil), figure(0, nil), figure(0, errors.New("input/output error"))
	hangs := func() (uint64, error) { <-forever; return 42 << 30, nil }
	for _, tc := range []struct {
		name         string
		disk, memory func() (uint64, error)
		want         figures
	}{
		{"known", well, figure(3<<30, nil), figures{"hancock_disk_free_bytes": {"": 42 << 30}, "hancock_memory_available_bytes": {"": 3 << 30}}},
		{"below the limit", figure(1<<20, nil), figure(7, nil), figures{"hancock_disk_free_bytes": {"": 1 << 20}, "hancock_memory_available_bytes": {"": 7}}},
		{"full is 0", full, full, figures{"hancock_disk_free_bytes": {"": 0}, "hancock_memory_available_bytes": {"": 0}}},
		{"disk cannot be read", broken, well, figures{"hancock_memory_available_bytes": {"": 42 << 30}}},
		{"memory cannot be read", well, broken, figures{"hancock_disk_free_bytes": {"": 42 << 30}}},
		{"the file system hangs", hangs, well, figures{"hancock_memory_available_bytes": {"": 42 << 30}}},
		{"nothing is known", hangs, broken, figures{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				forever = make(chan struct{})
				disk, memory := figure(5<<30, nil), figure(5<<30, nil)
				d := healthy()
				reg := prometheus.NewRegistry()
				d.LastSample, d.Now, d.Metrics = nil, time.Now, reg
				d.Disk = func(context.Context, string) (uint64, error) { return disk() }
				d.Memory = func(context.Context) (uint64, error) { return memory() }
				c, err := health.New(health.DefaultOptions(), d)
				require.NoError(t, err)
				next := func() figures {
					before := time.Now()
					got := gather(t, reg)
					require.Equal(t, before, time.Now(), "the scrape has waited")
					require.Contains(t, got, "hancock_health_check_status")
					delete(got, "hancock_health_check_status")
					time.Sleep(2 * time.Minute) // of the bubble's clock: the look ends, and grows old
					synctest.Wait()
					return got
				}
				require.Empty(t, next(), "before the first look")
				earlier := figures{"hancock_disk_free_bytes": {"": 5 << 30}, "hancock_memory_available_bytes": {"": 5 << 30}}
				disk, memory = tc.disk, tc.memory
				require.Equal(t, earlier, next())
				require.Equal(t, tc.want, next())
				close(forever)
				synctest.Wait()
				disk, memory = well, well
				next()
				require.Equal(t, figures{"hancock_disk_free_bytes": {"": 42 << 30}, "hancock_memory_available_bytes": {"": 42 << 30}}, next())
				require.NoError(t, c.Close())
			})
		})
	}
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
	require.ErrorContains(t, err, "registering the health checks' metrics")
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
