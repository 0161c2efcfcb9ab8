// Package tsdb is the store of the house: it scrapes the registry, and other targets if told to, keeps the
// samples on disk, and answers PromQL to alerting and to the page. It is Prometheus' own storage, scrape manager,
// remote storage, query engine and HTTP API, put together for one process that mostly watches itself.
package tsdb

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/prometheus/prometheus/config"
)

// JobName is the job label of the samples that the process takes from itself.
const JobName = "hancock"

// Options of a DB. The zero value is not usable; start from DefaultOptions.
type Options struct {
	// Path of the data folder. It is made when missing. One process at a time can have it open.
	Path string
	// Retention is how long samples are kept, 0 for as long as the bound of the size allows.
	Retention time.Duration
	// RetentionSize bounds the bytes of the blocks on disk, 0 for no bound. The write-ahead log comes on top.
	RetentionSize int64
	// ReserveBytes is the room on disk below which no samples are stored, as a disk that is really full damages what
	// is stored later.
	ReserveBytes uint64

	// OutOfOrderWindow is how much older than the newest sample of its series one may be, where Prometheus says nothing
	// of it; 0 for not at all. It is what a clock that is set back costs.
	OutOfOrderWindow time.Duration

	// ScrapeInterval and ScrapeTimeout are those of the process' own job. Other jobs have theirs in Prometheus.
	ScrapeInterval time.Duration
	ScrapeTimeout  time.Duration
	// Instance is the instance label of the process' own samples: what an outside Prometheus would give,
	// host:port.
	Instance string

	// MaxExemplars bounds the exemplars that are kept, all of them in memory, allocated at once.
	MaxExemplars int64

	// Prometheus is an optional parsed prometheus.yml: its global section, scrape_configs, remote_write,
	// remote_read and storage apply. It must come from config.Load or config.LoadFile and is not modified.
	// Its exemplars win over MaxExemplars where it says something of them. Of its retention only a percentage counts,
	// where there is no RetentionSize.
	Prometheus *config.Config

	// FlushTimeout is how long Close waits for remote_write to send what it has queued. It has to fit into the time
	// that the process has to stop.
	FlushTimeout time.Duration

	// DrainTimeout is how long Close waits for the queries that it has cancelled. It has to fit into that time, too.
	DrainTimeout time.Duration

	// QueryTimeout bounds one query, QueryMaxSamples what it may hold in memory (16 bytes each, at least),
	// QueryConcurrency how many run at once (the rest wait; one is reserved for rules), and QueryLookback is how old a
	// sample may be and still count as the present one. 0 samples are as many as fit the memory, a concurrency of 0 is 4.
	QueryTimeout     time.Duration
	QueryMaxSamples  int
	QueryConcurrency int
	QueryLookback    time.Duration
}

// DefaultOptions are Prometheus' defaults, except for the scrape interval, which is 15 seconds as the guide has
// it, and for the exemplars, which are a tenth: their memory is taken at once.
func DefaultOptions() Options {
	return Options{
		Path:         "data",
		Retention:    15 * 24 * time.Hour,
		ReserveBytes: 8 << 20,

		OutOfOrderWindow: 2 * time.Hour,

		ScrapeInterval: 15 * time.Second,
		ScrapeTimeout:  10 * time.Second,
		Instance:       "127.0.0.1:5000",
		MaxExemplars:   10_000,
		DrainTimeout:   5 * time.Second,
		FlushTimeout:   10 * time.Second,
		QueryTimeout:   2 * time.Minute,
		QueryLookback:  5 * time.Minute,
	}
}

// Validate reports every option that cannot work. The names are those of the configuration file, where it has them.
func (o Options) Validate() error {
	positive := func(name string, d time.Duration) error {
		if d < time.Millisecond {
			return fmt.Errorf("%s: must be at least 1ms, is %s", name, d)
		}
		return nil
	}
	notNegative := func(name string, n int64) error {
		if n < 0 {
			return fmt.Errorf("%s: must be at least 1, or 0 for a value that fits the memory, is %d", name, n)
		}
		return nil
	}
	errs := []error{
		o.checkRetention(),
		notNegative("out-of-order window", int64(o.OutOfOrderWindow)),
		positive("storage.scrape_interval", o.ScrapeInterval),
		positive("storage.scrape_timeout", o.ScrapeTimeout),
		positive("drain timeout", o.DrainTimeout),
		positive("flush timeout", o.FlushTimeout),
		positive("storage.query.timeout", o.QueryTimeout),
		positive("storage.query.lookback_delta", o.QueryLookback),
		notNegative("storage.query.max_samples", int64(o.QueryMaxSamples)),
		notNegative("storage.query.max_concurrency", int64(o.QueryConcurrency)),
	}
	if o.Path == "" {
		errs = append(errs, errors.New("storage.path: is empty"))
	}
	if o.Instance == "" || !utf8.ValidString(o.Instance) {
		errs = append(errs, fmt.Errorf("instance %q is not a label value", o.Instance))
	}
	if o.ScrapeTimeout > o.ScrapeInterval {
		errs = append(errs, fmt.Errorf("storage.scrape_timeout: %s is longer than the scrape interval %s",
			o.ScrapeTimeout, o.ScrapeInterval))
	}
	if o.RetentionSize < 0 {
		errs = append(errs, fmt.Errorf("storage.retention.size: must not be negative, is %d", o.RetentionSize))
	}
	if o.MaxExemplars < 0 {
		errs = append(errs, fmt.Errorf("max exemplars must not be negative, is %d", o.MaxExemplars))
	}
	if o.Prometheus != nil {
		_, err := o.Prometheus.GetScrapeConfigs()
		errs = append(errs, err, o.checkJobs())
	}
	return errors.Join(errs...)
}

// checkRetention refuses samples that are kept for ever.
func (o Options) checkRetention() error {
	if o.Retention >= time.Millisecond || o.Retention == 0 && (o.RetentionSize > 0 || o.percentage() > 0) {
		return nil
	}
	return fmt.Errorf("storage.retention.time: must be at least 1ms (or 0, with a bound of the size), is %s", o.Retention)
}

// percentage is the part of the disk that the Prometheus section allows, 0 for no such bound.
func (o Options) percentage() float64 {
	if o.Prometheus == nil || o.Prometheus.StorageConfig.TSDBConfig == nil ||
		o.Prometheus.StorageConfig.TSDBConfig.Retention == nil {
		return 0
	}
	return o.Prometheus.StorageConfig.TSDBConfig.Retention.Percentage
}

// checkJobs refuses a job of the name that the process gives itself: its series would mix with ours.
func (o Options) checkJobs() error {
	scs, err := o.Prometheus.GetScrapeConfigs()
	if err != nil {
		return nil //nolint:nilerr // Validate has reported it already.
	}
	for _, sc := range scs {
		if sc.JobName == JobName {
			return fmt.Errorf("scrape_configs: the job name %q is taken: the process scrapes itself under it; "+
				"remove that job or rename it", JobName)
		}
	}
	return nil
}

// maxBlock is how far blocks are merged: a tenth of the retention, as Prometheus does it, so that what is deleted
// at its end is never much more than what is due.
func maxBlock(retention time.Duration) time.Duration {
	const shortest, longest = 2 * time.Hour, 31 * 24 * time.Hour
	if retention == 0 {
		return longest // Bounded by size alone.
	}
	return min(max(retention/10, shortest), longest)
}
