package health

import (
	"fmt"
	"time"
)

// Options are the thresholds of the checks.
type Options struct {
	// CacheTTL is how long a result is given out before the next look.
	CacheTTL time.Duration
	// MetricAge is how old the result behind the metrics may be. An older one
	// makes a scrape start a look, so that an alert has something to go by where
	// nobody asks for /health. 0 means that scrapes never do.
	MetricAge time.Duration
	// Timeout bounds one look.
	Timeout time.Duration
	// TrafficAge is how long the outcome of real traffic to a backend is
	// trusted more than a look at it.
	TrafficAge time.Duration
	// MinMemoryBytes and MinDiskBytes are the bytes of available memory and of free
	// disk below which the status is degraded.
	MinMemoryBytes, MinDiskBytes uint64
	// ScrapeInterval is how long the first of our own samples is waited for.
	ScrapeInterval time.Duration
	// MaxSampleAge is how old the newest of our own samples may be. A few
	// scrape intervals.
	MaxSampleAge time.Duration
	// DataDir is the folder on the disk that is checked.
	DataDir string
	// Model, Modes and Endpoints are part of the answer.
	Model            string
	Modes, Endpoints []string
	// Destinations are the hosts that data are sent to.
	Destinations []Destination
}

// Destination is a host outside this process, and what is sent there.
type Destination struct {
	Purpose string `json:"purpose"`
	Host    string `json:"host"`
}

// DefaultOptions are the guide's thresholds, for a scrape interval of 15 s.
func DefaultOptions() Options {
	return Options{
		CacheTTL:       30 * time.Second,
		MetricAge:      time.Minute,
		Timeout:        5 * time.Second,
		TrafficAge:     2 * time.Minute,
		MinMemoryBytes: 512 << 20,
		MinDiskBytes:   1 << 30,
		ScrapeInterval: 15 * time.Second,
		MaxSampleAge:   time.Minute,
		DataDir:        "data",
	}
}

// Validate reports the first setting that no checker can be made from. The
// names in its errors are those of the configuration file.
func (o Options) Validate() error {
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"cache_ttl", o.CacheTTL},
		{"timeout", o.Timeout},
		{"traffic_age", o.TrafficAge},
		{"max_sample_age", o.MaxSampleAge},
	} {
		if d.value <= 0 {
			return fmt.Errorf("agent.health.%s: must be longer than 0, is %s", d.name, d.value)
		}
	}
	if o.MetricAge < 0 {
		return fmt.Errorf("agent.health.metric_age: must not be negative, is %s", o.MetricAge)
	}
	return nil
}
