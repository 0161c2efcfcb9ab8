package tsdb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/util/logging"
)

const (
	// firstScrapeWait bounds how long a stop that comes right after the start waits for the scrape that is on its
	// way.
	firstScrapeWait = 2 * time.Second
	// discoveryInterval is the least time between two changes of the targets.
	discoveryInterval = model.Duration(time.Second)
	// staleWait bounds the writing of stale markers.
	staleWait = 5 * time.Second
)

// targetSets is what goes from discovery to scraping: the target groups of each job.
type targetSets = map[string][]*targetgroup.Group

// scraping is the state of Run. The zero value is one that has not begun.
type scraping struct {
	mtx     sync.Mutex
	begun   bool
	stopped bool
	cancel  context.CancelFunc
	done    chan struct{}
}

// begin is called once by Run; end must be called when it has ended.
func (s *scraping) begin(ctx context.Context) (_ context.Context, end func(), err error) {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	if s.begun || s.stopped {
		return nil, nil, errors.New("scraping can run only once")
	}
	s.begun = true
	s.done = make(chan struct{})
	ctx, s.cancel = context.WithCancel(ctx)
	return ctx, func() { s.cancel(); close(s.done) }, nil
}

// stop ends a Run and waits for it. One that never began does not begin any more.
func (s *scraping) stop() {
	s.mtx.Lock()
	s.stopped = true
	cancel, done := s.cancel, s.done
	s.mtx.Unlock()
	if cancel == nil {
		return
	}
	cancel()
	<-done
}

func (db *DB) openScraping(self http.Handler) error {
	db.self = newSelfServer(self, db.logger)
	db.scraped = newObservedAppendable(db.fanout, db.opts.Instance)
	var err error
	db.manager, err = scrape.NewManager(&scrape.Options{
		// The default spreads scrapes over the interval. This takes our own interval off each target's share, so
		// that we and all targets of no longer interval are scraped at once, and slower ones are still spread.
		InitialScrapeOffset:      -db.opts.ScrapeInterval,
		DiscoveryReloadOnStartup: true,
		DiscoveryReloadInterval:  db.reloadInterval(),
		HTTPClientOptions:        []config_util.HTTPClientOption{config_util.WithDialContextFunc(db.self.Dial)},
		FeatureRegistry:          db.features,
	}, db.logger, logging.NewJSONFileLogger, nil, db.scraped, db.registry)
	if err != nil {
		return fmt.Errorf("scrape manager: %w", err)
	}
	return nil
}

// reloadInterval is short only where there is something to discover: a ticker is a wakeup.
func (db *DB) reloadInterval() model.Duration {
	if len(db.cfg.ScrapeConfigs) == 1 && len(db.cfg.ScrapeConfigFiles) == 0 {
		return model.Duration(time.Hour)
	}
	return discoveryInterval
}

// Run scrapes until ctx ends or the DB is closed: this process at once and then at its interval, and the jobs of
// the Prometheus section. At its end it writes stale markers, so that nothing that was scraped seems to live on,
// and returns nil. It can be called once.
func (db *DB) Run(ctx context.Context) error {
	ctx, end, err := db.scraping.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if ctx.Err() != nil {
		return nil
	}
	// The manager asks the resolver for the name of this host here, which can take its time: not in Open.
	if err := db.manager.ApplyConfig(db.cfg); err != nil {
		return fmt.Errorf("applying scrape configuration: %w", err)
	}
	discovered, wait, err := db.discover(ctx)
	if err != nil {
		return err
	}
	defer wait()

	sets := make(chan targetSets)
	var running sync.WaitGroup
	running.Go(func() { relayTargets(ctx, db.ownTargets(), discovered, sets) })
	managed := make(chan error, 1)
	running.Go(func() { managed <- db.manager.Run(sets) })

	select {
	case <-ctx.Done():
	case err = <-managed:
	}
	db.stopScraping()
	running.Wait()
	if ctx.Err() == nil {
		return fmt.Errorf("scraping ended by itself: %w", errors.Join(err, errClosed))
	}
	return nil
}

// stopScraping stops the manager and marks what it scraped as ended.
func (db *DB) stopScraping() {
	// The manager starts loops in a goroutine that its Stop does not wait for. Once we were scraped that is over.
	timeout := time.NewTimer(firstScrapeWait)
	defer timeout.Stop()
	select {
	case <-db.scraped.first:
	case <-timeout.C:
	}
	targets := db.activeTargets()
	db.manager.Stop()
	db.scraped.stop()
	ctx, cancel := context.WithTimeout(context.Background(), staleWait)
	defer cancel()
	if err := db.markStale(ctx, targets, time.Now()); err != nil {
		db.logger.Error("writing stale markers", "error", err)
	}
}

// ownTargets is the target set of our own job. It goes to the manager past discovery, which thinks for 100 ms
// before it says the first word.
func (db *DB) ownTargets() targetSets {
	return targetSets{JobName: {selfGroup(db.opts)}}
}

// discover starts the discovery of the other jobs' targets, if there are other jobs. wait returns when it has
// ended, which it does with ctx.
func (db *DB) discover(ctx context.Context) (_ <-chan targetSets, wait func(), err error) {
	jobs, err := db.cfg.GetScrapeConfigs()
	if err != nil {
		return nil, nil, fmt.Errorf("scrape configuration: %w", err)
	}
	found := make(map[string]discovery.Configs, len(jobs))
	for _, job := range jobs {
		if job.JobName != JobName {
			found[job.JobName] = job.ServiceDiscoveryConfigs
		}
	}
	if len(found) == 0 {
		return nil, func() {}, nil
	}
	metrics, err := discovery.CreateAndRegisterSDMetrics(db.registry)
	if err != nil {
		return nil, nil, fmt.Errorf("service discovery metrics: %w", err)
	}
	manager := discovery.NewManager(ctx, db.logger, db.registry, metrics,
		discovery.Name("scrape"), discovery.FeatureRegistry(db.features))
	if manager == nil {
		return nil, nil, errors.New("service discovery could not be set up")
	}
	if err := manager.ApplyConfig(found); err != nil {
		return nil, nil, fmt.Errorf("service discovery: %w", err)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = manager.Run() }) // It returns nothing but the error of ctx.
	return manager.SyncCh(), running.Wait, nil
}

// relayTargets sends own at once and from then on each discovered set with own added, until ctx ends.
func relayTargets(ctx context.Context, own targetSets, discovered <-chan targetSets, to chan<- targetSets) {
	to <- own
	var next targetSets
	var out chan<- targetSets // nil while there is nothing to send.
	for {
		select {
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
