package tsdb

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/storage"
	promtsdb "github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/features"
	"github.com/prometheus/prometheus/util/notifications"
	v1 "github.com/prometheus/prometheus/web/api/v1"
)

// Prometheus' own defaults for answering remote reads and live notifications.
const (
	remoteReadFrameBytes = 1 << 20
	maxSubscribers       = 16
)

// newV1 makes Prometheus' API, whose own metrics go to reg. This is the only place that knows the arguments of its
// constructor.
func (db *DB) newV1(b *builtAPI, notices *notifications.Notifications, reg prometheus.Registerer) *v1.API {
	o := b.opts
	var appendable storage.Appendable
	var appendableV2 storage.AppendableV2
	if o.EnableRemoteWrite || o.EnableOTLP {
		appendable, appendableV2 = db.fanout, db.fanout
	}
	build := o.Build
	if build.GoVersion == "" {
		build.GoVersion = runtime.Version()
	}
	db.features.Set(features.API, "admin", o.EnableAdmin)
	db.features.Set(features.API, "remote_write_receiver", o.EnableRemoteWrite)
	db.features.Set(features.API, "otlp_write_receiver", o.EnableOTLP)

	return v1.NewAPI(
		&db.answers, db.fanout, appendable, appendableV2, db.local,
		retriever[v1.ScrapePoolsRetriever](db.manager),
		retriever[v1.TargetRetriever](db.manager),
		retriever(o.Alertmanagers),
		func() config.Config { return db.now.Load().shown },
		maskedFlags(o.Flags),
		v1.GlobalURLOptions{ListenAddress: o.ListenAddress, Host: o.ExternalURL.Host, Scheme: o.ExternalURL.Scheme},
		func(h http.HandlerFunc) http.HandlerFunc { return h }, // API.ServeHTTP has asked already.
		adminStats{db},
		db.now.Load().opts.Path,
		o.EnableAdmin,
		false, 0, // No search API, and no cap on what it would return.
		db.logger,
		retriever(o.Rules),
		b.samples, b.concurrency, remoteReadFrameBytes,
		false,                            // Not an agent.
		relabel.MustNewRegexp("").Regexp, // No origin but our own may read.
		func() (v1.RuntimeInfo, error) { return db.runtimeInfo(o) },
		&build,
		notices.Get, notices.Sub,
		db.registry, reg,
		nil, // Statistics of a query in the default form.
		o.EnableRemoteWrite,
		remoteapi.MessageTypes{remoteapi.WriteV1MessageType, remoteapi.WriteV2MessageType},
		o.EnableOTLP, false, false, // OTLP deltas are refused.
		false, // No zero samples at start timestamps.
		b.lookback,
		false, false, // No type and unit labels, no metadata in the write-ahead log.
		nil,
		db.features,
		// A prefix that no path has: the description is left out here and built when somebody asks for it.
		v1.OpenAPIOptions{IncludePaths: []string{"-"}},
		db.parser,
	)
}

// runtimeInfo is what /status/runtimeinfo shows.
func (db *DB) runtimeInfo(o APIOptions) (v1.RuntimeInfo, error) {
	success, at := o.Reloaded()
	info := v1.RuntimeInfo{
		StartTime:           db.opened.UTC(),
		ServerTime:          time.Now().UTC(),
		ReloadConfigSuccess: success,
		LastConfigTime:      at.UTC(),
		GoroutineCount:      runtime.NumGoroutine(),
		GOMAXPROCS:          runtime.GOMAXPROCS(0),
		GOMEMLIMIT:          debug.SetMemoryLimit(-1),
		GOGC:                os.Getenv("GOGC"),
		GODEBUG:             os.Getenv("GODEBUG"),
		StorageRetention:    retentionText(db.now.Load().cfg.StorageConfig.TSDBConfig.Retention),
	}
	var err error
	if info.CWD, err = os.Getwd(); err != nil {
		return info, fmt.Errorf("working directory: %w", err)
	}
	if info.Hostname, err = os.Hostname(); err != nil {
		return info, fmt.Errorf("host name: %w", err)
	}
	families, err := db.registry.Gather()
	if err != nil {
		return info, fmt.Errorf("gathering runtime status: %w", err)
	}
	for _, family := range families {
		if family.GetName() == "prometheus_tsdb_wal_corruptions_total" {
			info.CorruptionCount = int64(family.GetMetric()[0].GetCounter().GetValue())
		}
	}
	return info, nil
}

// retentionText names all bounds: what is beyond one of them goes.
func retentionText(r *config.TSDBRetentionConfig) string {
	var bounds []string
	if r.Time > 0 {
		bounds = append(bounds, r.Time.String())
	}
	if r.Size > 0 {
		bounds = append(bounds, r.Size.String())
	}
	if r.Percentage > 0 {
		bounds = append(bounds, fmt.Sprintf("%g%%", r.Percentage))
	}
	return strings.Join(bounds, " or ")
}

// adminStats is the storage as the API asks for it.
type adminStats struct{ db *DB }

// CleanTombstones rewrites blocks without what was deleted.
func (a adminStats) CleanTombstones() error { return a.db.local.CleanTombstones() }

// Delete marks samples between two times, in milliseconds, as deleted.
func (a adminStats) Delete(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) error {
	return a.db.local.Delete(ctx, mint, maxt, ms...)
}

// Snapshot links or writes all blocks into dir.
func (a adminStats) Snapshot(dir string, withHead bool) error {
	return a.db.local.Snapshot(dir, withHead)
}

// Stats counts the series in memory by labels.
func (a adminStats) Stats(byLabel string, limit int) (*promtsdb.Stats, error) {
	return a.db.local.Head().Stats(byLabel, limit), nil
}

// WALReplayStatus is how far the replay at the start has come.
func (a adminStats) WALReplayStatus() (promtsdb.WALReplayStatus, error) {
	return a.db.stats.Head.WALReplayStatus.GetWALReplayStatus(), nil
}

// BlockMetas describes the blocks on disk.
func (a adminStats) BlockMetas() ([]promtsdb.BlockMeta, error) { return a.db.local.BlockMetas(), nil }
