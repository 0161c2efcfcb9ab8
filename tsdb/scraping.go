package tsdb

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
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
	db.scraped = newObservedAppendable(db.fanout, db.unwritten, db.now.Load().opts.Instance)
	var err error
	db.manager, err = scrape.NewManager(&scrape.Options{
		// The default spreads scrapes over the interval. This takes our own interval off each target's share, so
		// that we and all targets of no longer interval are scraped at once, and slower ones are still spread.
		InitialScrapeOffset:      -db.now.Load().opts.ScrapeInterval,
		DiscoveryReloadOnStartup: true,
		DiscoveryReloadInterval:  discoveryInterval, // Also while there is nothing to discover: a reload may bring it.
		HTTPClientOptions:        []config_util.HTTPClientOption{config_util.WithDialContextFunc(db.self.Dial)},
		FeatureRegistry:          db.features,
	}, db.logger, logging.NewJSONFileLogger, nil, db.scraped, db.registry)
	if err != nil {
		return fmt.Errorf("scrape manager: %w", err)
	}
	return nil
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
	if err := db.beginScraping(ctx); err != nil {
		return err
	}
	defer db.discover.wait()

	sets := make(chan targetSets)
	var running sync.WaitGroup
	running.Go(func() { relayTargets(ctx, db.ownTargets(), db.discover.found, sets) })
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

// beginScraping lets the jobs of the configuration begin, and those of reloads from then on.
func (db *DB) beginScraping(ctx context.Context) error {
	db.reloading.Lock()
	defer db.reloading.Unlock()
	cfg := db.now.Load().cfg
	// The manager asks the resolver for the name of this host here, which can take its time: not in Open.
	if err := db.manager.ApplyConfig(cfg); err != nil {
		return fmt.Errorf("applying scrape configuration: %w", err)
	}
	db.discover.begin(ctx)
	return db.applyDiscovery(cfg)
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
	targets := db.activeTargets(func(string) bool { return true })
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
	return targetSets{JobName: {selfGroup(db.now.Load().opts)}}
}
