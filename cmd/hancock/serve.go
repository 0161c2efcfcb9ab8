package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/version"

	"github.com/cyberviser/hancock/agent"
	"github.com/cyberviser/hancock/agent/llm"
	"github.com/cyberviser/hancock/cmd/hancock/internal/config"
	"github.com/cyberviser/hancock/internal/redact"
	"github.com/cyberviser/hancock/tsdb"
	"github.com/cyberviser/hancock/web"
)

// serve runs the whole of Hancock until ctx is done:
//
//	client ──▶ web ──▶ agent ──▶ LLM backend
//	            │        │ counts
//	            │        ▼
//	            │     registry ──scrape──▶ tsdb ──PromQL──▶ alerting
//	            │                           │                 ├──▶ receivers
//	            └── /metrics, page          └──── /api/v1 ────┘
//
// Everything that is opened is closed by the defer on the next line, so that
// stopping is starting backwards: HTTP drained, rules, scraping, storage. With
// a demonstration, that stands for the model, the clients and the past.
func serve(ctx context.Context, inv invocation, demo *demonstration, stdout, stderr io.Writer) (err error) {
	opts, err := inv.options(ctx)
	if err != nil {
		return err
	}
	hangups := notifyHangups()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	parts := &background{fail: fail}
	parts.patience.Store(int64(opts.stopParts))

	s := services{opts: opts, level: new(slog.LevelVar), reg: newRegistry(), parts: parts}
	s.begin(inv, stderr)

	// Nothing is touched before the port is ours.
	ln, err := web.Listen(ctx, opts.web)
	if err != nil {
		return err
	}
	defer ln.Close() // Serve closes it; this one is for an error on the way there.
	s.at = addressOf(opts.web.ConfigFile, ln.Addr())
	s.opts.reachedAt(s.at)

	if err := createKeys(inv.config); err != nil {
		return err
	}
	if demo == nil {
		err = refuseGenerated(opts.tsdb.Path)
	} else {
		defer closing(&err, "simulated backend", demo.close)
		err = demo.prepare(ctx, &s.opts, s.log)
	}
	if err != nil {
		return err
	}

	self := promhttp.HandlerFor(redact.Gatherer(s.reg), promhttp.HandlerOpts{DisableCompression: true})
	if s.db, err = tsdb.Open(s.opts.tsdb, self, s.reg, s.quiet.With("component", "tsdb")); err != nil {
		return fmt.Errorf("opening storage: %w", err)
	}
	defer closing(&err, "storage", s.db.Close)

	// After the storage, whose lock says that the folder is ours.
	if err := s.logs.Open(s.opts.log, s.reg); err != nil {
		return err
	}
	defer closing(&err, "log", s.logs.Close)
	if err := s.openEvents(); err != nil {
		return err
	}
	defer s.stopped(ctx)

	if s.notification, err = openNotification(s); err != nil {
		return err
	}
	defer closing(&err, "notification", s.notification.Close)
	if s.rules, err = newRules(s); err != nil {
		return fmt.Errorf("loading rules: %w", err)
	}
	defer closing(&err, "rules", s.rules.Close)

	if s.backend, err = llm.New(s.opts.llm, s.log.With("component", "llm")); err != nil {
		return fmt.Errorf("preparing the backend: %w", err)
	}
	defer closing(&err, "backend", s.backend.Close)
	if s.agent, err = agent.New(s.opts.agent, s.backend, s.reg, s.log.With("component", "agent")); err != nil {
		return fmt.Errorf("preparing the agent: %w", err)
	}
	defer s.closeAgent()
	if s.health, err = newChecker(s); err != nil {
		return fmt.Errorf("preparing the health checks: %w", err)
	}
	defer closing(&err, "health checks", s.health.Close)

	reload := newReloader(inv, s, demo, hangups)
	s.api = s.db.NewAPI(apiOptions(s, s.opts, reload))
	if s.server, err = newServer(ctx, s, reload, demo != nil); err != nil {
		return err
	}
	reload.parts = s.reloadables(reload)

	defer parts.start("scraping", s.db.Run)(&err)
	defer parts.start("notification", s.notification.outside.Run)(&err)
	defer parts.start("rules", s.rules.Run)(&err)
	defer parts.start("reload", reload.run)(&err)
	go s.api.Warm() // It holds nothing open: a stop that comes meanwhile does not wait for it.
	if demo != nil {
		defer parts.start("demo traffic", demo.traffic(s.at.reach, reload.key))(&err)
	}

	greet(stdout, inv, s.opts, s.at.reach.String(), demo != nil)
	s.log.Info("ready", "event", "ready", "url", s.at.reach.String(), "version", version.Version, "demo", demo != nil,
		"unwatched_seconds", int(s.db.Gap().Seconds()))
	defer context.AfterFunc(ctx, func() {
		s.log.Info("stopping", "event", "stopping", "cause", context.Cause(ctx))
		s.agent.Stopping()
		s.logs.EndStreams()
	})()
	return withPart(ctx, s.server.Serve(ctx, ln))
}

// withPart adds the error of a part that ended the process.
func withPart(ctx context.Context, err error) error {
	if failure := (partError{}); errors.As(context.Cause(ctx), &failure) {
		return errors.Join(failure, err)
	}
	return err
}

// notifyHangups returns a channel of SIGHUPs. One without a listener would end the process, also while it starts or stops.
// So the channel is never given up: signal.Ignore has a moment without a listener in which nothing is ignored yet.
func notifyHangups() <-chan os.Signal {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	return hangups
}

// createKeys writes the keys whose files do not exist.
func createKeys(c config.Config) error {
	for _, k := range c.NewKeys {
		if err := k.Create(); err != nil {
			return usageError{err}
		}
	}
	return nil
}
