package external

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/notifier"
)

const (
	// look is how often a stop looks whether everything was sent.
	look = 5 * time.Millisecond
	// settled is how long after the last alerts were queued, or the last request ended, nothing may have happened to say
	// so: a sender that has taken alerts from its queue is seen nowhere until it sends them, and on a busy machine it may
	// have to wait for its turn.
	settled = time.Second
)

// pipeline is discovery and sending by one configuration.
type pipeline struct {
	notifier *notifier.Manager
	discover *discovery.Manager
	requests *requests
	// metrics are those of this pipeline, so that the next one can have the same.
	metrics *prometheus.Registry
	reg     prometheus.Registerer

	cancel    context.CancelFunc // Ends the discovery.
	discovers sync.WaitGroup
	sends     sync.WaitGroup
}

// newPipeline starts discovery and sending. It calls found when the Alertmanagers are known for the first time.
func newPipeline(o Options, reg prometheus.Registerer, logger *slog.Logger, found func(*notifier.Manager)) (*pipeline, error) {
	p := &pipeline{requests: newRequests(), metrics: prometheus.NewRegistry(), reg: reg}
	p.notifier = notifier.NewManager(&notifier.Options{
		QueueCapacity: o.QueueCapacity,
		Registerer:    p.metrics,
		Do:            p.requests.do,
	}, model.UTF8Validation, logger)
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	if err := p.configure(ctx, o, logger); err != nil {
		cancel()
		return nil, err
	}
	if err := reg.Register(p.metrics); err != nil {
		cancel()
		return nil, fmt.Errorf("metrics of the forwarding of alerts: %w", err)
	}
	sets := make(chan map[string][]*targetgroup.Group)
	p.sends.Go(func() { p.notifier.Run(sets) })
	p.discovers.Go(func() { _ = p.discover.Run() }) // It returns nothing but the error of ctx.
	p.discovers.Go(func() {
		relay(ctx, p.discover.SyncCh(), sets, func() { found(p.notifier) })
	})
	return p, nil
}

func (p *pipeline) configure(ctx context.Context, o Options, logger *slog.Logger) error {
	cfg := effective(o)
	if err := p.notifier.ApplyConfig(cfg); err != nil {
		return fmt.Errorf("alerting.alertmanagers: %w", err)
	}
	// Those of the mechanisms are registered by the discovery of what is scraped, if at all.
	mechanisms, err := discovery.CreateAndRegisterSDMetrics(prometheus.NewRegistry())
	if err != nil {
		return fmt.Errorf("service discovery metrics: %w", err)
	}
	p.discover = discovery.NewManager(ctx, logger, p.metrics, mechanisms, discovery.Name("notify"))
	if p.discover == nil {
		return errors.New("service discovery of Alertmanagers could not be set up")
	}
	mechanismsOf := make(map[string]discovery.Configs, len(cfg.AlertingConfig.AlertmanagerConfigs))
	for name, am := range cfg.AlertingConfig.AlertmanagerConfigs.ToMap() {
		mechanismsOf[name] = am.ServiceDiscoveryConfigs
	}
	if err := p.discover.ApplyConfig(mechanismsOf); err != nil {
		return fmt.Errorf("service discovery of Alertmanagers: %w", err)
	}
	return nil
}

// effective is the section with what we add to it. Alerts come with their external labels, and relabeled.
func effective(o Options) *promconfig.Config {
	cfg := &promconfig.Config{GlobalConfig: promconfig.DefaultGlobalConfig}
	cfg.GlobalConfig.MetricNameValidationScheme = model.UTF8Validation
	for _, given := range o.Config.AlertmanagerConfigs {
		am := *given
		am.RelabelConfigs = withoutCredentials(given.RelabelConfigs)
		cfg.AlertingConfig.AlertmanagerConfigs = append(cfg.AlertingConfig.AlertmanagerConfigs, &am)
	}
	return cfg
}

// relay passes sets on until ctx ends, and calls first when the first one has been taken in.
func relay(ctx context.Context, from <-chan map[string][]*targetgroup.Group,
	to chan<- map[string][]*targetgroup.Group, first func(),
) {
	defer close(to)
	for {
		select {
		case <-ctx.Done():
			return
		case set, ok := <-from:
			if !ok {
				return
			}
			times := 1
			if first != nil {
				times = 2 // Who takes it once more is done with it.
			}
			for range times {
				select {
				case to <- set:
				case <-ctx.Done():
					return
				}
			}
			if first != nil {
				first()
				first = nil
			}
		}
	}
}

// endDiscovery leaves the Alertmanagers as they are known now.
func (p *pipeline) endDiscovery() {
	p.cancel()
	p.discovers.Wait()
}

// drain waits until what is queued, the last of it at the time queued, was sent, for timeout at the most, and ends the
// sending. Nobody may send any more.
func (p *pipeline) drain(queued time.Time, timeout time.Duration) {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for over := false; !over && (time.Since(queued) < settled || !p.requests.settled() || p.waiting() > 0); {
		select {
		case <-tick.C:
		case <-deadline.C:
			over = true
		}
	}
	p.notifier.Stop()
	p.requests.end()
	p.sends.Wait()
	p.reg.Unregister(p.metrics)
}

// waiting is how many alerts are in queues.
func (p *pipeline) waiting() float64 {
	families, err := p.metrics.Gather()
	if err != nil {
		return 0
	}
	var n float64
	for _, mf := range families {
		if mf.GetName() == "prometheus_notifications_queue_length" {
			for _, m := range mf.GetMetric() {
				n += m.GetGauge().GetValue()
			}
		}
	}
	return n
}
