package tsdb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
)

// discoverer finds the targets of all jobs but our own. Its manager is made when there is a first such job.
type discoverer struct {
	mtx     sync.Mutex
	ctx     context.Context // That of Run; nil before it.
	ended   bool
	manager *discovery.Manager
	running sync.WaitGroup
	// found gets the channel of the manager's targets, once.
	found chan (<-chan targetSets)
}

func newDiscoverer() discoverer { return discoverer{found: make(chan (<-chan targetSets), 1)} }

// begin lets managers run until ctx ends.
func (d *discoverer) begin(ctx context.Context) {
	d.mtx.Lock()
	defer d.mtx.Unlock()
	d.ctx = ctx
}

// wait returns when the manager has ended, which it does with the context of begin. None begins any more.
func (d *discoverer) wait() {
	d.mtx.Lock()
	d.ended = true
	d.mtx.Unlock()
	d.running.Wait()
}

// applyDiscovery looks for the targets of the jobs in cfg from now on.
func (db *DB) applyDiscovery(cfg *config.Config) error {
	found := make(map[string]discovery.Configs, len(cfg.ScrapeConfigs))
	for _, job := range cfg.ScrapeConfigs {
		if job.JobName != JobName {
			found[job.JobName] = job.ServiceDiscoveryConfigs
		}
	}
	d := &db.discover
	d.mtx.Lock()
	defer d.mtx.Unlock()
	switch {
	case d.ctx == nil:
		return nil // Run does it.
	case d.ended:
		return errClosed
	case d.manager == nil && len(found) == 0:
		return nil
	}
	begins := d.manager == nil
	if begins {
		metrics, err := discovery.CreateAndRegisterSDMetrics(db.registry)
		if err != nil {
			return fmt.Errorf("service discovery metrics: %w", err)
		}
		d.manager = discovery.NewManager(d.ctx, db.logger, db.registry, metrics,
			discovery.Name("scrape"), discovery.FeatureRegistry(db.features))
		if d.manager == nil {
			return errors.New("service discovery could not be set up")
		}
	}
	if err := d.manager.ApplyConfig(found); err != nil {
		return fmt.Errorf("service discovery: %w", err)
	}
	if begins {
		d.running.Go(func() { _ = d.manager.Run() }) // It returns nothing but the error of ctx.
		d.found <- d.manager.SyncCh()
	}
	return nil
}

// relayTargets sends own at once and from then on each discovered set with own added, until ctx ends.
func relayTargets(ctx context.Context, own targetSets, found <-chan (<-chan targetSets), to chan<- targetSets) {
	to <- own
	var discovered <-chan targetSets // nil until there is something to discover.
	var next targetSets
	var out chan<- targetSets // nil while there is nothing to send.
	for {
		select {
		case discovered = <-found:
		case out <- next:
			out = nil
		case sets, ok := <-discovered:
			if !ok {
				discovered = nil
				continue
			}
			next, out = make(targetSets, len(sets)+len(own)), to
			maps.Copy(next, sets)
			maps.Copy(next, own)
		case <-ctx.Done():
			return
		}
	}
}
