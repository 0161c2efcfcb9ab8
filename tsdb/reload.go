package tsdb

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage/remote"
	"go.yaml.in/yaml/v3"
)

// Reload applies options; Path, Instance and ReserveBytes do not change. All checks come first, and a failure after them
// is rolled back: after an error nothing has changed. Unchanged jobs and queues are not interrupted. Queries in progress
// finish with the previous options.
//
// Series of removed jobs are marked stale, which Prometheus does not do.
func (db *DB) Reload(o Options) error {
	db.reloading.Lock()
	defer db.reloading.Unlock()
	before := db.now.Load()
	o.Path, o.Instance, o.ReserveBytes = before.opts.Path, before.opts.Instance, before.opts.ReserveBytes
	next, err := newSettings(o)
	if err != nil {
		return err
	}
	if err := errors.Join(checkJobs(next.cfg), checkRemote(next.cfg)); err != nil {
		return err
	}
	log, err := openQueryLog(next.cfg)
	if err != nil {
		return err
	}
	if err := db.apply(before.cfg, next.cfg); err != nil {
		err = errors.Join(err, db.apply(next.cfg, before.cfg))
		if log != nil {
			err = errors.Join(err, log.Close())
		}
		return err
	}
	db.useEngine(next, log)
	db.now.Store(next)
	return nil
}

// apply replaces one configuration by another in the running components.
func (db *DB) apply(before, next *config.Config) error {
	if err := db.writable.ApplyConfig(next); err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	if !sameRemote(before, next) {
		// What the queues that end have not read by then, they never send.
		db.settleRemote()
		if err := db.remote.ApplyConfig(next); err != nil {
			return fmt.Errorf("remote storage: %w", err)
		}
	}
	if !db.discover.began() {
		return nil
	}
	gone := db.targetsOfOthers(next)
	// Prometheus replaces the configuration of a job without a lock that scrapes in progress hold.
	db.writable.settle()
	if err := db.manager.ApplyConfig(next); err != nil {
		return fmt.Errorf("applying scrape configuration: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), staleWait)
	defer cancel()
	if err := db.markStale(ctx, gone, time.Now()); err != nil {
		db.logger.Error("writing stale markers", "error", err)
	}
	return db.applyDiscovery(next)
}

// began reports whether jobs are scraped.
func (d *discoverer) began() bool {
	d.mtx.Lock()
	defer d.mtx.Unlock()
	return d.ctx != nil
}

// targetsOfOthers returns the labels of active targets whose jobs are not in cfg.
func (db *DB) targetsOfOthers(cfg *config.Config) []labels.Labels {
	stays := make(map[string]bool, len(cfg.ScrapeConfigs))
	for _, job := range cfg.ScrapeConfigs {
		stays[job.JobName] = true
	}
	return db.activeTargets(func(job string) bool { return !stays[job] })
}

// sameRemote reports whether remote storage needs no change. Files with secrets are read for each request in any case.
func sameRemote(a, b *config.Config) bool {
	return labels.Equal(a.GlobalConfig.ExternalLabels, b.GlobalConfig.ExternalLabels) &&
		reflect.DeepEqual(a.RemoteWriteConfigs, b.RemoteWriteConfigs) &&
		reflect.DeepEqual(a.RemoteReadConfigs, b.RemoteReadConfigs)
}

// checkJobs returns the error of the first job whose HTTP client cannot be created. Scraping reports it only for jobs that
// have found targets already.
func checkJobs(cfg *config.Config) error {
	for _, job := range cfg.ScrapeConfigs {
		client, err := commonconfig.NewClientFromConfig(job.HTTPClientConfig, job.JobName)
		if err != nil {
			return fmt.Errorf("applying scrape configuration: job %q: %w", job.JobName, err)
		}
		client.CloseIdleConnections()
	}
	return nil
}

// checkRemote returns the errors that ApplyConfig of the remote storage would return: it creates the clients and finds
// duplicates. A failing ApplyConfig loses queues.
func checkRemote(cfg *config.Config) error {
	seen := make(map[string]bool)
	once := func(section string, c any) error {
		text, err := yaml.Marshal(c)
		if err == nil && seen[section+string(text)] {
			err = errors.New("two entries are the same")
		}
		seen[section+string(text)] = true
		return err
	}
	for _, rw := range cfg.RemoteWriteConfigs {
		_, err := remote.NewWriteClient("check", &remote.ClientConfig{
			URL: rw.URL, WriteProtoMsg: rw.ProtobufMessage, Timeout: rw.RemoteTimeout, HTTPClientConfig: rw.HTTPClientConfig,
			SigV4Config: rw.SigV4Config, AzureADConfig: rw.AzureADConfig, GoogleIAMConfig: rw.GoogleIAMConfig, Headers: rw.Headers,
			RetryOnRateLimit: rw.QueueConfig.RetryOnRateLimit, RoundRobinDNS: rw.RoundRobinDNS,
		})
		if err := errors.Join(err, once("remote_write", rw)); err != nil {
			return fmt.Errorf("remote_write: %w", err)
		}
	}
	for _, rr := range cfg.RemoteReadConfigs {
		_, err := remote.NewReadClient("check", &remote.ClientConfig{
			URL: rr.URL, Timeout: rr.RemoteTimeout, ChunkedReadLimit: rr.ChunkedReadLimit, HTTPClientConfig: rr.HTTPClientConfig,
			Headers: rr.Headers,
		})
		if err := errors.Join(err, once("remote_read", rr)); err != nil {
			return fmt.Errorf("remote_read: %w", err)
		}
	}
	return nil
}
