package main

import (
	"context"
	_ "embed"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/cyberviser/hancock/alerting"
	"github.com/cyberviser/hancock/alerting/alertmanager"
	"github.com/cyberviser/hancock/alerting/rulecheck"
	"github.com/cyberviser/hancock/cmd/hancock/internal/config"
	"github.com/cyberviser/hancock/cmd/hancock/internal/lint"
	"github.com/cyberviser/hancock/tsdb"
)

// exposed are the metrics of a Hancock that runs, held true by a test.
//
//go:embed testdata/metrics.golden
var exposed string

// knownMetrics are those that this process emits. The registry has what the list of our own metrics leaves out.
func knownMetrics(c config.Config, reg prometheus.Gatherer) (rulecheck.Known, error) {
	known := rulecheck.DefaultKnown()
	ours, err := rulecheck.ParseContract(strings.NewReader(exposed))
	if err != nil {
		return known, fmt.Errorf("reading the list of our own metrics: %w", err)
	}
	known.Add(ours)
	families, err := reg.Gather()
	if err != nil {
		return known, fmt.Errorf("reading our own metrics: %w", err)
	}
	known.AddFamilies(families)
	known.Open, known.Later = hasOthers(c), emittedLater(c)
	if others := lint.JobLabels(c); others != nil || len(lint.Jobs(c)) == 0 {
		known.Jobs = append(others, tsdb.JobName) // Where there are others, the store has the last word.
	}
	if p := c.Prometheus; p != nil {
		p.GlobalConfig.ExternalLabels.Range(func(l labels.Label) {
			known.ExternalLabels = append(known.ExternalLabels, l.Name)
		})
	}
	return known, nil
}

func ruleTexts(files []alerting.File) []rulecheck.File {
	texts := make([]rulecheck.File, len(files))
	for i, f := range files {
		texts[i] = rulecheck.File{Name: f.Name, Content: []byte(f.Text)}
	}
	return texts
}

// impossibleRules returns the rules that cannot fire because nothing emits their metrics. The store, if there is one,
// has what others emit.
func impossibleRules(ctx context.Context, files []alerting.File, c config.Config, reg prometheus.Gatherer, store storage.Queryable) ([]rulecheck.Finding, error) {
	known, err := knownMetrics(c, reg)
	if err != nil {
		return nil, err
	}
	if store != nil {
		known.Exists = func(ctx context.Context, matchers ...*labels.Matcher) (bool, error) {
			return hasSeries(ctx, store, matchers)
		}
	}
	return rulecheck.Check(ctx, ruleTexts(files), known)
}

// hasOthers says that the store has metrics of others, too.
func hasOthers(c config.Config) bool {
	p := c.Prometheus
	return c.Web.EnableRemoteWrite || c.Web.EnableOTLP ||
		p != nil && len(p.ScrapeConfigs)+len(p.ScrapeConfigFiles)+len(p.RemoteReadConfigs) > 0
}

// emittedLater are prefixes of our own metrics that are not in the list, as they
// come with a section of the configuration, some of them with its first use.
func emittedLater(c config.Config) (prefixes []string) {
	if len(c.Agent.Prices) > 0 {
		prefixes = append(prefixes, "hancock_llm_cost_total")
	}
	if p := c.Prometheus; p != nil && len(p.RemoteWriteConfigs) > 0 {
		prefixes = append(prefixes, "prometheus_remote_storage_")
	}
	if p := c.Prometheus; p != nil && len(p.AlertingConfig.AlertmanagerConfigs) > 0 {
		prefixes = append(prefixes, "prometheus_notifications_", "prometheus_sd_")
	}
	return prefixes
}

// settling is how long after a start the store may not have the metrics of
// others yet; 0 where there are none.
func settling(c config.Config) time.Duration {
	if !hasOthers(c) {
		return 0
	}
	patience := 5 * time.Minute
	if c.Prometheus != nil {
		for _, s := range c.Prometheus.ScrapeConfigs {
			patience = max(patience, 2*time.Duration(s.ScrapeInterval))
		}
	}
	return patience
}

// settleTime is how long after a start a rule may lack samples: a rate needs two
// of a scrape. What others write has no interval.
func settleTime(c config.Config) time.Duration {
	settled := 2 * time.Duration(c.Storage.ScrapeInterval)
	if c.Prometheus != nil {
		for _, s := range c.Prometheus.ScrapeConfigs {
			settled = max(settled, 2*time.Duration(s.ScrapeInterval))
		}
	}
	if c.Web.EnableRemoteWrite || c.Web.EnableOTLP {
		settled = max(settled, alertmanager.DefaultOptions().RestoreGrace)
	}
	return settled
}

// memory is how far back a series may lie that is expected to come back.
const memory = 30 * 24 * time.Hour

func hasSeries(ctx context.Context, store storage.Queryable, matchers []*labels.Matcher) (bool, error) {
	querier, err := store.Querier(time.Now().Add(-memory).UnixMilli(), math.MaxInt64)
	if err != nil {
		return false, err
	}
	defer querier.Close()
	// Only whether there is one; no samples are read.
	set := querier.Select(ctx, false, &storage.SelectHints{Func: "series"}, matchers...)
	return set.Next(), set.Err()
}

// warnOfRules logs what the loaded rules ask for in vain. Before the metrics of
// others have settled, the store is not asked.
func warnOfRules(ctx context.Context, s services, c config.Config, settled bool) {
	log := s.log.With("component", "alerting")
	var store storage.Queryable
	if settled {
		store = s.db.Queryable()
	}
	findings, err := impossibleRules(ctx, s.rules.Files(), c, s.reg, store)
	if err != nil && ctx.Err() == nil {
		log.Warn("rules could not be compared with the metrics that exist", "error", err)
	}
	// The gravest first: of many, the last ones are left out.
	slices.SortStableFunc(findings, func(a, b rulecheck.Finding) int { return strings.Compare(string(b.Severity), string(a.Severity)) })
	const most = 50
	for i, f := range findings {
		if i == most {
			log.Warn("further rules have findings; hancock check lists them", "event", "rule_findings", "count", len(findings)-most)
			break
		}
		log := log.With("event", "rule_finding", "file", f.File, "line", f.Line,
			"group", f.Group, "rule", f.Rule, "detail", f.Message, "suggestion", f.Suggestion)
		if f.Severity == rulecheck.Hint {
			log.Info("rule may not mean what it says")
		} else {
			log.Warn("rule may never fire")
		}
	}
}
