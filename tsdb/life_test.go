package tsdb_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/tsdb"
)

// sample of a float series as it is stored, stale markers too.
type sample struct {
	t int64
	v float64
}

// stored reads the raw samples of the one series that has the name and the further labels.
func stored(t testing.TB, db *tsdb.DB, name string, more ...string) []sample {
	t.Helper()
	q, err := db.Queryable().Querier(math.MinInt64, math.MaxInt64)
	require.NoError(t, err)
	defer func() { require.NoError(t, q.Close()) }()
	ms := []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name)}
	for i := 0; i+1 < len(more); i += 2 {
		ms = append(ms, labels.MustNewMatcher(labels.MatchEqual, more[i], more[i+1]))
	}
	set := q.Select(t.Context(), false, nil, ms...)
	var out []sample
	for set.Next() {
		require.Empty(t, out, "more than one series")
		it := set.At().Iterator(nil)
		for it.Next() == chunkenc.ValFloat {
			ts, v := it.At()
			out = append(out, sample{ts, v})
		}
	}
	require.NoError(t, set.Err())
	return out
}

func TestStopEndsSeries(t *testing.T) {
	o := options(t)
	s := open(t, o)
	s.duration.Observe(1)
	s.run() // One scrape, then the markers.

	// What rules write has the labels of the target, and must live on.
	app := s.Appendable().Appender(t.Context())
	_, err := app.Append(0, labels.FromStrings(model.MetricNameLabel, "ALERTS_FOR_STATE", "alertname", "A",
		"job", tsdb.JobName, "instance", o.Instance), time.Now().UnixMilli(), 1)
	require.NoError(t, err)
	require.NoError(t, app.Commit())
	s.stop()

	got := stored(t, s.DB, "hancock_requests_total")
	require.Len(t, got, 2)
	require.True(t, value.IsStaleNaN(got[1].v))
	got = stored(t, s.DB, "up")
	require.Len(t, got, 2)
	require.True(t, value.IsStaleNaN(got[1].v))
	require.Len(t, stored(t, s.DB, "ALERTS_FOR_STATE"), 1)

	for query, want := range map[string]int{
		`{job="hancock",__name__!~"ALERTS.*"}`:          0,
		`ALERTS_FOR_STATE`:                              1,
		`last_over_time(hancock_requests_total[5m])`:    1,
		`{__name__="hancock_request_duration_seconds"}`: 0, // A native histogram.
	} {
		v, err := s.QueryFunc()(t.Context(), query, time.Now())
		require.NoError(t, err)
		require.Len(t, v, want, query)
	}

	// Stopping twice, the second time with nothing left to mark, writes nothing more.
	s.close()
	s = open(t, o)
	require.Len(t, stored(t, s.DB, "up"), 2)
}

func TestReopenKeepsSamples(t *testing.T) {
	o := options(t)
	s := open(t, o)
	s.requests.Add(7)
	s.run()
	first := s.LastScrape()
	s.close()

	s = open(t, o)
	require.True(t, s.LastScrape().IsZero(), "samples of an earlier life are not ours")
	got := stored(t, s.DB, "hancock_requests_total")
	require.Equal(t, sample{first.UnixMilli(), 7}, got[0])
	s.run()
	require.Greater(t, len(stored(t, s.DB, "hancock_requests_total")), len(got))
}

func TestLife(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, s *store)
	}{
		{"closed without running", func(*testing.T, *store) {}},
		{"closed twice", func(t *testing.T, s *store) { require.NoError(t, s.Close()) }},
		{"stopped before it began", func(t *testing.T, s *store) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			require.NoError(t, s.Run(ctx))
		}},
		{"run twice", func(t *testing.T, s *store) {
			s.run()
			require.ErrorContains(t, s.Run(t.Context()), "only once")
		}},
		{"run after close", func(t *testing.T, s *store) {
			require.NoError(t, s.Close())
			require.ErrorContains(t, s.Run(t.Context()), "only once")
		}},
		{"closed while running", func(t *testing.T, s *store) {
			s.run()
			require.NoError(t, s.Close())
		}},
		{"closed while a query runs", func(t *testing.T, s *store) {
			s.run()
			done := make(chan error, 1)
			running := make(chan struct{})
			go func() {
				close(running)
				// Without an end it would go on for minutes.
				_, err := s.QueryFunc()(t.Context(), `max_over_time((sum(rate(up[1m])))[50d:1s])`, time.Now())
				done <- err
			}()
			<-running
			require.NoError(t, s.Close())
			require.Error(t, <-done)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, options(t))
			start := time.Now()
			tt.do(t, s)
			s.close()
			require.Less(t, time.Since(start), time.Minute)
		})
	}
}

// failing opens a store that cannot be opened, and checks that the error is one line and nothing is left behind.
func failing(t *testing.T, o tsdb.Options, want ...string) {
	t.Helper()
	_, err := tsdb.Open(o, http.NotFoundHandler(), prometheus.NewRegistry(), logger(t))
	require.Error(t, err)
	for _, w := range want {
		require.ErrorContains(t, err, w)
	}
	require.NotContains(t, err.Error(), "\n")
}

func TestFolderInUse(t *testing.T) {
	o := options(t)
	s := open(t, o).run()
	failing(t, o, o.Path, "in use by another process")
	// The one that has it goes on.
	_, err := s.QueryFunc()(t.Context(), "up", time.Now())
	require.NoError(t, err)
	s.close()
	open(t, o).close()
}

func TestFolderUnusable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for name, path := range map[string]string{
		"a file":              file,
		"below a file":        filepath.Join(file, "data"),
		"where nothing grows": "/proc/hancock/data",
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t)
			o.Path = path
			failing(t, o, "data folder", path)
		})
	}
}

func TestTornLog(t *testing.T) {
	for name, tear := range map[string]func(t *testing.T, segment string){
		"cut": func(t *testing.T, segment string) {
			info, err := os.Stat(segment)
			require.NoError(t, err)
			require.NoError(t, os.Truncate(segment, info.Size()-10))
		},
		"rubbish at the end": func(t *testing.T, segment string) {
			f, err := os.OpenFile(segment, os.O_APPEND|os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = f.WriteString(strings.Repeat("rubbish", 10_000))
			require.NoError(t, err)
			require.NoError(t, f.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t)
			s := open(t, o)
			s.requests.Add(5)
			s.run().close()
			segments, err := filepath.Glob(filepath.Join(o.Path, "wal", "0*"))
			require.NoError(t, err)
			tear(t, segments[len(segments)-1])

			s = open(t, o)
			require.InDelta(t, 5, stored(t, s.DB, "hancock_requests_total")[0].v, 0)
			s.run()
			got := stored(t, s.DB, "hancock_requests_total")
			require.InDelta(t, 0, got[len(got)-1].v, 0, "it takes samples again")
			s.close()
			open(t, o).close() // And is whole.
		})
	}
}

func TestFailedScrape(t *testing.T) {
	reg := prometheus.NewRegistry()
	db, err := tsdb.Open(options(t), http.NotFoundHandler(), reg, logger(t))
	require.NoError(t, err)
	s := (&store{DB: db, t: t, reg: reg}).run()
	defer s.close()
	require.Equal(t, 1, s.count(`up == 0`))
	require.True(t, s.LastScrape().IsZero())
}

// TestClockBehind has stored samples that are ahead of the clock. Within the out-of-order window new ones are stored, beyond
// it they are kept in memory: scrapes and queries go on, and the problem says what to move.
func TestClockBehind(t *testing.T) {
	for name, tt := range map[string]struct {
		ahead  time.Duration
		window time.Duration
		stored bool
	}{
		"half an hour":                    {30 * time.Minute, 2 * time.Hour, true},
		"half an hour, without a window":  {30 * time.Minute, 0, false},
		"two days":                        {48 * time.Hour, 2 * time.Hour, false},
		"a year, with a window of a year": {365 * 24 * time.Hour, 370 * 24 * time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t)
			o.OutOfOrderWindow = tt.window
			s := open(t, o)
			app := s.Appendable().Appender(t.Context())
			_, err := app.Append(0, labels.FromStrings(model.MetricNameLabel, "up", "job", tsdb.JobName, "instance", o.Instance),
				time.Now().Add(tt.ahead).UnixMilli(), 1)
			require.NoError(t, err)
			require.NoError(t, app.Commit())
			s.close()

			log := new(lockedBuffer)
			reg := prometheus.NewRegistry()
			db, err := tsdb.Open(o, promhttp.HandlerFor(reg, promhttp.HandlerOpts{}), reg,
				slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})))
			require.NoError(t, err)
			require.Contains(t, log.String(), "stored samples are ahead of the clock")
			require.Contains(t, log.String(), "move the directories wal, wbl and chunks_head out of the data directory")
			s = (&store{DB: db, t: t, reg: reg}).run() // Whoever waits for the first scrape does not wait for the clock.
			require.Equal(t, tt.stored, !s.LastScrape().IsZero())
			require.Equal(t, tt.stored, db.Fresh())
			switch {
			case tt.window == 0: // Then it is as if two processes wrote the same series, and the older one loses.
			case tt.stored:
				require.Equal(t, 1, s.count(`up{job="hancock"} == 1`))
				require.Empty(t, db.Problem())
			default:
				require.Equal(t, 1, s.count(`up{job="hancock"} == 1`), "queries have what is in memory")
				require.Contains(t, db.Problem(), "stored samples are ahead of the clock, the newest by ")
				require.NotContains(t, db.Problem(), o.Path)
			}
			s.close()
		})
	}
}

// TestKilled runs a store in a process of its own, kills it in the middle of its work and opens what it left.
func TestKilled(t *testing.T) {
	const folder = "HANCOCK_TEST_FOLDER"
	if path := os.Getenv(folder); path != "" {
		o := options(t)
		o.Path, o.ScrapeInterval, o.ScrapeTimeout = path, 50*time.Millisecond, 50*time.Millisecond
		s := open(t, o)
		s.requests.Add(1)
		s.run()
		var at time.Time
		tick := time.Tick(time.Millisecond) // Who does nothing but count leaves the scrapes no time.
		for {                               // Until killed: each line is a promise that the sample can be found later.
			for s.LastScrape().Equal(at) { // A scrape that was not in time, the first one too, promises nothing.
				s.requests.Inc()
				<-tick
			}
			at = s.LastScrape()
			fmt.Printf("\nscraped %d\n", at.UnixMilli())
		}
	}
	path := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestKilled$")
	cmd.Env = append(os.Environ(), folder+"="+path)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var promised int64
	lines := bufio.NewScanner(out)
	for n := 0; n < 20 && lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), "scraped %d", &promised); err == nil {
			n++
		}
	}
	require.NoError(t, cmd.Process.Kill())
	for lines.Scan() {
		_, _ = fmt.Sscanf(lines.Text(), "scraped %d", &promised)
	}
	require.Error(t, cmd.Wait())
	require.NotZero(t, promised)

	o := options(t)
	o.Path = path
	s := open(t, o)
	got := stored(t, s.DB, "hancock_requests_total")
	require.GreaterOrEqual(t, got[len(got)-1].t, promised)
	require.GreaterOrEqual(t, len(got), 20)
	s.run()
}

func TestOptionsValidate(t *testing.T) {
	require.NoError(t, tsdb.DefaultOptions().Validate())
	for want, spoil := range map[string]func(*tsdb.Options){
		"storage.path: is empty":                            func(o *tsdb.Options) { o.Path = "" },
		"storage.retention.time: must be at least":          func(o *tsdb.Options) { o.Retention = 0 },
		"with a bound of the size":                          func(o *tsdb.Options) { o.Retention = -time.Hour },
		"storage.retention.size: must not be negative":      func(o *tsdb.Options) { o.RetentionSize = -1 },
		"storage.scrape_interval: must be at least":         func(o *tsdb.Options) { o.ScrapeInterval = 0 },
		"storage.scrape_timeout: must be at least":          func(o *tsdb.Options) { o.ScrapeTimeout = -1 },
		"longer than the scrape interval":                   func(o *tsdb.Options) { o.ScrapeTimeout = time.Hour },
		"instance \"\"":                                     func(o *tsdb.Options) { o.Instance = "" },
		"instance \"\\xff\"":                                func(o *tsdb.Options) { o.Instance = "\xff" },
		"max exemplars must not be negative":                func(o *tsdb.Options) { o.MaxExemplars = -1 },
		"drain timeout: must be at least":                   func(o *tsdb.Options) { o.DrainTimeout = 0 },
		"flush timeout: must be at least":                   func(o *tsdb.Options) { o.FlushTimeout = 0 },
		"storage.query.timeout: must be at least":           func(o *tsdb.Options) { o.QueryTimeout = 0 },
		"storage.query.max_samples: must be at least 1":     func(o *tsdb.Options) { o.QueryMaxSamples = -1 },
		"storage.query.max_concurrency: must be at least 1": func(o *tsdb.Options) { o.QueryConcurrency = -1 },
		"storage.query.lookback_delta: must be at least":    func(o *tsdb.Options) { o.QueryLookback = 0 },
		`the job name "hancock" is taken`: func(o *tsdb.Options) {
			o.Prometheus = section(t, "scrape_configs: [{job_name: hancock}]")
		},
		"main config was not validated": func(o *tsdb.Options) { o.Prometheus = &config.Config{} },
	} {
		t.Run(want, func(t *testing.T) {
			o := tsdb.DefaultOptions()
			spoil(&o)
			require.ErrorContains(t, o.Validate(), want)
		})
	}
}

// Hancock's own retention counts more than that of the Prometheus section,
// which adds a percentage where nothing else bounds the size.
func TestRetention(t *testing.T) {
	const written = "storage: {tsdb: {retention: {time: 1h, size: 1GB, percentage: 5}}}"
	for _, tc := range []struct {
		name, section string
		time          time.Duration
		size          int64
		want          string
	}{
		{"time", "", time.Hour, 0, "1h"},
		{"time and size", "", time.Hour, 1 << 30, "1h or 1GiB"},
		{"size", "", 0, 1 << 30, "1GiB"},
		{"more than the section", written, 48 * time.Hour, 2 << 30, "2d or 2GiB"},
		{"percentage", written, 48 * time.Hour, 0, "2d or 5%"},
		{"percentage alone", written, 0, 0, "5%"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := options(t)
			o.Retention, o.RetentionSize = tc.time, tc.size
			if tc.section != "" {
				o.Prometheus = section(t, tc.section)
			}
			s := open(t, o)
			code, got := ask(t, s.NewAPI(tsdb.APIOptions{ListenAddress: "127.0.0.1:5000"}), http.MethodGet, "status/runtimeinfo", nil)
			require.Equal(t, http.StatusOK, code)
			require.Contains(t, string(got.Data), `"storageRetention":"`+tc.want+`"`)
			s.close()
		})
	}
}
