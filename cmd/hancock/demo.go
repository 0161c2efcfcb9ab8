package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/cyberviser/hancock/agent/llm"
	"github.com/cyberviser/hancock/cmd/hancock/internal/config"
	"github.com/cyberviser/hancock/cmd/hancock/internal/demo"
	"github.com/cyberviser/hancock/tsdb"
)

// demoRateLimit leaves room for the generated traffic, which comes from one
// address, and for a person who tries the API beside it.
const demoRateLimit = 600

// demoDefaults are the defaults that differ in a demonstration: a data folder
// of its own, a log that leaves the printed address visible, and nobody outside
// who is told of what is generated.
func demoDefaults(c *config.Config) {
	if c.Alertmanager != nil || c.Prometheus != nil && len(c.Prometheus.AlertingConfig.AlertmanagerConfigs) > 0 {
		c.Warnings = append(c.Warnings, config.Finding{
			Severity: config.Warning, Setting: "alertmanager, prometheus.alerting", Problem: "no effect", Remedy: "a demonstration sends no notifications",
		})
	}
	c.Alertmanager = nil
	if c.Prometheus != nil {
		c.Prometheus.AlertingConfig.AlertmanagerConfigs = nil
	}
	c.Storage.Path = "demo-data"
	c.Agent.LogLevel = "WARNING"
	c.Agent.RateLimit = demoRateLimit
}

// demonstration stands for the model, the clients and the past.
type demonstration struct {
	backend *demo.Backend
	log     *slog.Logger
}

func runDemo(ctx context.Context, inv invocation, stdout, stderr io.Writer) error {
	host, _, err := net.SplitHostPort(inv.config.Web.ListenAddress)
	if ip, parseErr := netip.ParseAddr(host); err == nil && parseErr == nil && !ip.IsLoopback() && !ip.IsUnspecified() {
		return usageError{fmt.Errorf("web.listen_address: a demonstration calls itself over loopback, so it cannot listen on %s alone; take 127.0.0.1 or 0.0.0.0", host)}
	}
	return serve(ctx, inv, &demonstration{}, stdout, stderr)
}

// refuseGenerated keeps a real process off the folder of a demonstration, whose
// samples are made up.
func refuseGenerated(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, demo.MarkerFile)); err == nil {
		return fmt.Errorf("data folder %s holds the generated samples of a demonstration; choose another one with --storage.path", dir)
	}
	return nil
}

// prepare starts the simulated backend, makes it the only one there is, and
// writes the history into a data folder that has none.
func (d *demonstration) prepare(ctx context.Context, opts *options, log *slog.Logger) (err error) {
	d.log = log.With("component", "demo")
	d.log.Warn("this is a demonstration: the model is simulated, the traffic and its history are generated", "event", "demo")
	if d.backend, err = demo.NewBackend(demo.DefaultBackendOptions(), d.log); err != nil {
		return err
	}
	if opts.tsdb.Prometheus != nil {
		d.log.Warn("the prometheus section is left out: a demonstration asks nobody and sends its samples nowhere")
	}
	d.simulate(opts)

	h := demo.DefaultHistoryOptions()
	h.Dir, h.Instance, h.Interval, h.Logger = opts.tsdb.Path, opts.tsdb.Instance, opts.tsdb.ScrapeInterval, d.log
	h.Now = time.Now()
	if err := demo.WriteHistory(ctx, h); err != nil {
		return fmt.Errorf("writing the demonstration's history: %w", err)
	}
	return nil
}

// simulate makes the simulated backend the only destination of the options.
func (d *demonstration) simulate(opts *options) {
	simulated := llm.Endpoint{BaseURL: d.backend.URL(), Model: demo.Model, CoderModel: demo.CoderModel}
	opts.llm.Backend, opts.llm.Ollama = llm.Ollama, simulated
	opts.llm.NVIDIA, opts.llm.OpenAI = llm.Endpoint{}, llm.Endpoint{}
	// Made-up triages are for nobody's channel, and the README's webhook call is unsigned.
	opts.agent.Notify.SlackURL, opts.agent.Notify.TeamsURL, opts.agent.WebhookSecret = "", "", ""
	if opts.tsdb.Prometheus != nil {
		opts.tsdb.Prometheus = nil
		if opts.tsdb.Retention == 0 && opts.tsdb.RetentionSize == 0 {
			opts.tsdb.Retention = tsdb.DefaultOptions().Retention // it was bounded by that section alone
		}
	}
}

func (d *demonstration) close() error {
	if d.backend == nil {
		return nil
	}
	return d.backend.Close()
}

// traffic calls the API at the address that was bound.
func (d *demonstration) traffic(reach *url.URL, key func() string) func(context.Context) error {
	return func(ctx context.Context) error {
		o := demo.DefaultTrafficOptions()
		o.APIKey = key
		o.TLS = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // It is this process, over loopback.
		t, err := demo.NewTraffic(reach.String(), o)
		if err != nil {
			return err
		}
		return t.Run(ctx)
	}
}
