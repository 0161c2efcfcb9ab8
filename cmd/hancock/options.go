package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/cyberviser/hancock/agent"
	"github.com/cyberviser/hancock/agent/health"
	"github.com/cyberviser/hancock/agent/llm"
	"github.com/cyberviser/hancock/agent/requestlog"
	"github.com/cyberviser/hancock/alerting"
	"github.com/cyberviser/hancock/alerting/alertmanager"
	"github.com/cyberviser/hancock/alerting/external"
	"github.com/cyberviser/hancock/cmd/hancock/internal/config"
	"github.com/cyberviser/hancock/tsdb"
	"github.com/cyberviser/hancock/web"
)

// options are those of all packages, composed from one configuration.
type options struct {
	logLevel slog.Level
	log      requestlog.Options
	// stopParts is how long all parts together may take to stop.
	stopParts time.Duration
	web       web.Options
	llm       llm.Options
	agent     agent.Options
	health    health.Options
	tsdb      tsdb.Options
	alerting  alerting.Options
	// alertmanager tells people within the process, external passes alerts on
	// to Alertmanagers elsewhere.
	alertmanager alertmanager.Options
	external     external.Options
	// api says what Prometheus' HTTP API allows; apiOptions completes it.
	api tsdb.APIOptions
}

// defaultConfig writes the defaults of all packages down as a configuration.
func defaultConfig() config.Config {
	w, l, a, h := web.DefaultOptions(), llm.DefaultOptions(), agent.DefaultOptions(), health.DefaultOptions()
	t, r, f := tsdb.DefaultOptions(), alerting.DefaultOptions(), requestlog.DefaultOptions()
	models := func(e llm.Endpoint) config.Endpoint {
		return config.Endpoint{BaseURL: e.BaseURL, Model: e.Model, CoderModel: e.CoderModel}
	}
	return config.Config{
		Web: config.Web{
			ListenAddress:   w.ListenAddress,
			ShutdownTimeout: config.Duration(w.ShutdownTimeout),
			AllowedOrigins:  []string{},
			MaxConnections:  w.MaxConnections, MaxConnectionsPerClient: w.MaxConnectionsPerClient,
		},
		Agent: config.Agent{
			LogLevel: "INFO", Backend: l.Backend, Egress: l.Egress,
			Timeout: config.Duration(l.Timeout), ConnectTimeout: config.Duration(l.ConnectTimeout),
			MaxRetries: l.MaxRetries, RetryWait: config.Duration(l.RetryWait), MaxInFlight: l.MaxInFlight,
			RateLimit: a.RateLimit, MaxBody: config.Bytes(a.MaxBodyBytes),
			Prices: map[string]config.Price{},
			Ollama: models(l.Ollama), NVIDIA: models(l.NVIDIA), OpenAI: models(l.OpenAI),
			Health: config.Health{
				CacheTTL: config.Duration(h.CacheTTL), MetricAge: config.Duration(h.MetricAge),
				Timeout: config.Duration(h.Timeout), TrafficAge: config.Duration(h.TrafficAge),
				MinMemory: config.Bytes(h.MinMemoryBytes), MinDisk: config.Bytes(h.MinDiskBytes),
			},
			Log: config.Log{MaxFileSize: config.Bytes(f.MaxSizeBytes), MaxTotalSize: config.Bytes(f.MaxTotalBytes)},
		},
		Storage: config.Storage{
			Path:           t.Path,
			Retention:      config.Retention{Time: config.Duration(t.Retention), Size: config.Bytes(t.RetentionSize)},
			ScrapeInterval: config.Duration(t.ScrapeInterval), ScrapeTimeout: config.Duration(t.ScrapeTimeout),
			Query: config.Query{
				Timeout: config.Duration(t.QueryTimeout), MaxSamples: t.QueryMaxSamples,
				MaxConcurrency: t.QueryConcurrency, LookbackDelta: config.Duration(t.QueryLookback),
			},
		},
		Alerting: config.Alerting{
			BuiltinRules: r.BuiltinRules, Disabled: []string{}, Severity: map[string]string{}, TrafficHours: config.Hours{},
			EvaluationInterval: config.Duration(r.EvaluationInterval),
			Retention:          config.Duration(alertmanager.DefaultOptions().Retention),
		},
	}
}

// compose turns a configuration into valid options of all packages. Its errors
// are errors of usage.
func compose(c config.Config) (options, error) {
	o := options{
		web: web.DefaultOptions(), llm: llm.DefaultOptions(), agent: agent.DefaultOptions(),
		health: health.DefaultOptions(), tsdb: tsdb.DefaultOptions(), alerting: alerting.DefaultOptions(),
		log: requestlog.DefaultOptions(), alertmanager: alertmanager.DefaultOptions(), external: external.DefaultOptions(),
	}
	var errs []error
	fail := func(name string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	var err error
	o.logLevel, err = requestlog.ParseLevel(c.Agent.LogLevel)
	fail("agent.log_level", err)

	o.web.ListenAddress, o.web.ConfigFile, o.web.APIKey = c.Web.ListenAddress, c.Web.ConfigFile, string(c.Web.APIKey)
	o.web.ReadOnlyKey = string(c.Web.ReadOnlyKey)
	o.web.AllowUnauthenticated, o.web.ProtectMetrics = c.Web.AllowUnauthenticated, c.Web.ProtectMetrics
	// Most of the time to stop is for requests in flight; see background for the rest.
	stop := time.Duration(c.Web.ShutdownTimeout)
	// Half for the requests; the rest is what the parts need one after the other.
	o.web.ShutdownTimeout, o.stopParts = stop/2, stop/8
	o.agent.Notify.DrainTimeout = min(o.agent.Notify.DrainTimeout, stop/12)
	o.tsdb.FlushTimeout, o.tsdb.DrainTimeout = min(o.tsdb.FlushTimeout, stop/12), min(o.tsdb.DrainTimeout, stop/24)
	if c.Web.ExternalURL != "" { // links append a path to it
		o.web.ExternalURL, err = url.Parse(strings.TrimRight(c.Web.ExternalURL, "/"))
		fail("web.external_url", unwrapURL(err)) // the address may hold a password
	}

	o.llm.Backend, o.llm.Egress = c.Agent.Backend, c.Agent.Egress
	o.llm.Timeout, o.llm.ConnectTimeout = time.Duration(c.Agent.Timeout), time.Duration(c.Agent.ConnectTimeout)
	o.llm.Ollama, o.llm.NVIDIA, o.llm.OpenAI = endpoint(c.Agent.Ollama), endpoint(c.Agent.NVIDIA), endpoint(c.Agent.OpenAI)
	o.llm.MaxRetries, o.llm.RetryWait, o.llm.MaxInFlight = c.Agent.MaxRetries, time.Duration(c.Agent.RetryWait), c.Agent.MaxInFlight
	composeAgent(&o, c)
	for _, s := range c.Web.TrustedProxies {
		prefix, err := parsePrefix(s)
		fail("web.trusted_proxies", err)
		o.agent.TrustedProxies = append(o.agent.TrustedProxies, prefix)
	}
	o.web.TrustedProxies, o.web.AllowedOrigins = o.agent.TrustedProxies, c.Web.AllowedOrigins
	o.web.MaxConnections, o.web.MaxConnectionsPerClient = c.Web.MaxConnections, c.Web.MaxConnectionsPerClient
	o.health.CacheTTL, o.health.MetricAge = time.Duration(c.Agent.Health.CacheTTL), time.Duration(c.Agent.Health.MetricAge)
	o.health.Timeout, o.health.TrafficAge = time.Duration(c.Agent.Health.Timeout), time.Duration(c.Agent.Health.TrafficAge)
	o.health.MinMemoryBytes, o.health.MinDiskBytes = uint64(c.Agent.Health.MinMemory), uint64(c.Agent.Health.MinDisk)

	o.tsdb.Path, o.tsdb.Prometheus = c.Storage.Path, c.Prometheus
	o.tsdb.Retention, o.tsdb.RetentionSize = time.Duration(c.Storage.Retention.Time), int64(c.Storage.Retention.Size)
	o.tsdb.ScrapeInterval, o.tsdb.ScrapeTimeout = time.Duration(c.Storage.ScrapeInterval), time.Duration(c.Storage.ScrapeTimeout)
	if c.Storage.ScrapeTimeout == defaultConfig().Storage.ScrapeTimeout {
		o.tsdb.ScrapeTimeout = min(o.tsdb.ScrapeTimeout, o.tsdb.ScrapeInterval) // A short interval needs no second setting.
	}
	o.tsdb.QueryTimeout, o.tsdb.QueryMaxSamples = time.Duration(c.Storage.Query.Timeout), c.Storage.Query.MaxSamples
	o.tsdb.QueryConcurrency, o.tsdb.QueryLookback = c.Storage.Query.MaxConcurrency, time.Duration(c.Storage.Query.LookbackDelta)

	if _, written := c.Sources.Place(config.Path{"prometheus", "storage", "tsdb", "out_of_order_time_window"}); written {
		o.tsdb.OutOfOrderWindow = 0 // The section says it, if only that there is none.
	}

	o.log.Dir = filepath.Join(o.tsdb.Path, "log")
	o.log.MaxSizeBytes, o.log.MaxTotalBytes = int64(c.Agent.Log.MaxFileSize), int64(c.Agent.Log.MaxTotalSize)
	o.health.DataDir = o.tsdb.Path
	o.health.ScrapeInterval = o.tsdb.ScrapeInterval
	o.health.MaxSampleAge = max(4*o.tsdb.ScrapeInterval, o.health.MaxSampleAge)

	o.api.EnableAdmin, o.api.EnableRemoteWrite, o.api.EnableOTLP = c.Web.EnableAdminAPI, c.Web.EnableRemoteWrite, c.Web.EnableOTLP

	o.alerting.BuiltinRules, o.alerting.RuleFiles = c.Alerting.BuiltinRules, c.RuleFiles
	o.alerting.Choice = alerting.Choice{Disabled: c.Alerting.Disabled, Severity: c.Alerting.Severity, TrafficHours: c.Alerting.TrafficHours}
	o.alerting.EvaluationInterval = time.Duration(c.Alerting.EvaluationInterval)
	o.alerting.StateFile, o.alerting.SettleTime = filepath.Join(o.tsdb.Path, "alerting", "state.json"), settleTime(c)
	if c.Prometheus != nil {
		o.alerting.ExternalLabels = c.Prometheus.GlobalConfig.ExternalLabels
		o.alerting.QueryOffset = time.Duration(c.Prometheus.GlobalConfig.RuleQueryOffset)
		o.external.Config = &c.Prometheus.AlertingConfig
	}
	o.alertmanager.Path, o.alertmanager.Config = filepath.Join(o.tsdb.Path, "alertmanager"), c.Alertmanager
	o.alertmanager.Retention = time.Duration(c.Alerting.Retention)
	o.alertmanager.CloseTimeout, o.external.DrainTimeout = min(o.alertmanager.CloseTimeout, stop/12), min(o.external.DrainTimeout, stop/12)

	errs = append(errs, blankSecrets(c), placed(c, o.alerting.Choice.Validate()))
	if err := errors.Join(errs...); err != nil {
		return o, err
	}
	return o, errors.Join(o.log.Validate(), o.web.Validate(), o.llm.Validate(), o.agent.Validate(), o.health.Validate(), o.tsdb.Validate(), o.alerting.Validate(),
		o.alertmanager.Validate(), o.external.Validate())
}

// blankSecrets returns an error for a secret of white space, which protects as little as none.
func blankSecrets(c config.Config) error {
	var errs []error
	for _, s := range []struct{ name, value string }{
		{"web.api_key", string(c.Web.APIKey)}, {"web.read_only_key", string(c.Web.ReadOnlyKey)}, {"agent.webhook.secret", string(c.Agent.Webhook.Secret)},
	} {
		if s.value != "" && strings.TrimSpace(s.value) == "" {
			errs = append(errs, fmt.Errorf("%s: is blank: give it a value, or remove the setting", s.name))
		}
	}
	return errors.Join(errs...)
}

// placed puts the file and the line of the setting before each of the errors in err, which begin with its name.
func placed(c config.Config, err error) error {
	all, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	errs := slices.Clone(all.Unwrap())
	for i, err := range errs {
		name, _, _ := strings.Cut(err.Error(), ":")
		path := config.Path{}
		for step := range strings.SplitSeq(name, ".") {
			path = path.At(step)
		}
		if place, found := c.Sources.Place(path); found {
			errs[i] = fmt.Errorf("%s: %w", place, err)
		}
	}
	return errors.Join(errs...)
}

// options are those of the invocation, see composeAndCheck. Templates that exceed their limits are an error of usage.
func (inv invocation) options(ctx context.Context) (options, error) {
	opts, err := composeAndCheck(inv.config)
	if err == nil {
		if _, err = checkTemplates(ctx, inv.config, opts); err != nil {
			err = usageError{err}
		}
	}
	opts.api.Flags = inv.flags
	return opts, err
}

// composeAgent sets the options of the agent itself.
func composeAgent(o *options, c config.Config) {
	o.agent.RateLimit, o.agent.MaxBodyBytes = c.Agent.RateLimit, int64(c.Agent.MaxBody)
	o.agent.WebhookSecret = string(c.Agent.Webhook.Secret)
	o.agent.Notify.SlackURL, o.agent.Notify.TeamsURL = string(c.Agent.Webhook.SlackURL), string(c.Agent.Webhook.TeamsURL)
	o.agent.Diagnostics, o.agent.AuthEnabled = c.Agent.EnableDiagnostics, c.Web.APIKey != ""
	o.agent.Prices = make(map[string]agent.Price, len(c.Agent.Prices))
	for model, p := range c.Agent.Prices {
		o.agent.Prices[model] = agent.Price{Input: p.Input, Output: p.Output}
	}
}

// endpoint is e with its secret in the open, as the package that sends it wants it.
func endpoint(e config.Endpoint) llm.Endpoint {
	return llm.Endpoint{
		BaseURL: e.BaseURL, APIKey: string(e.APIKey), Organization: e.Organization,
		Model: e.Model, CoderModel: e.CoderModel,
	}
}

// missingKey warns of a service that answers nobody without a key, and none is set. Other servers with its API may need none.
func missingKey(c config.Config) []config.Finding {
	a, defaults := c.Agent, llm.DefaultOptions()
	for _, service := range []struct {
		name, url, variable string
		set                 config.Endpoint
	}{
		{llm.NVIDIA, defaults.NVIDIA.BaseURL, "NVIDIA_API_KEY", a.NVIDIA},
		{llm.OpenAI, defaults.OpenAI.BaseURL, "OPENAI_API_KEY", a.OpenAI},
	} {
		if a.Backend == service.name && service.set.BaseURL == service.url && service.set.APIKey == "" {
			return []config.Finding{c.Finding(config.Warning, config.Path{"agent", service.name, "api_key"},
				"not set, and "+service.url+" refuses every request without", "set "+service.variable)}
		}
	}
	return nil
}

// shortKeys warns of keys that are easy to guess. Where other machines can reach the server they are errors.
func shortKeys(c config.Config) (findings []config.Finding) {
	for _, key := range []struct{ name, value string }{{"api_key", string(c.Web.APIKey)}, {"read_only_key", string(c.Web.ReadOnlyKey)}} {
		if key.value != "" && utf8.RuneCountInString(key.value) < web.MinKeyLength {
			findings = append(findings, c.Finding(config.Warning, config.Path{"web", key.name},
				fmt.Sprintf("has fewer than %d characters", web.MinKeyLength), `use a longer one, such as the output of "openssl rand -hex 32"`))
		}
	}
	return findings
}

// parsePrefix reads an address range, or a single address.
func parsePrefix(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		return netip.ParsePrefix(s)
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return addr.Prefix(addr.BitLen())
}

// address is the bound address of the process. It does not change.
type address struct {
	// listen is host:port as it was bound, reach what leads there, and instance
	// the label of the process' own samples.
	listen, instance string
	reach            *url.URL
}

// addressOf returns the address of a bound listener: port 0 has become a port, and
// a wildcard address is named after this machine.
func addressOf(configFile string, addr net.Addr) address {
	host, port, _ := net.SplitHostPort(addr.String())
	reachHost, instance := host, host
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		reachHost = "localhost"
		name, _ := os.Hostname()
		instance = cmp.Or(name, "localhost")
	}
	scheme := "http"
	if tlsEnabled(configFile) {
		scheme = "https"
	}
	return address{
		listen: addr.String(), instance: net.JoinHostPort(instance, port),
		reach: &url.URL{Scheme: scheme, Host: net.JoinHostPort(reachHost, port)},
	}
}

// reachedAt completes the options by the address that was bound.
func (o *options) reachedAt(at address) {
	o.tsdb.Instance = at.instance
	o.alerting.ExternalURL = cmp.Or(o.web.ExternalURL, at.reach)
	o.alertmanager.ExternalURL = o.alerting.ExternalURL
}

// tlsEnabled tells whether the web configuration file, which is valid, turns
// TLS on. No file does not.
func tlsEnabled(path string) bool {
	if path == "" {
		return false
	}
	var file struct {
		TLS *struct{} `yaml:"tls_server_config"`
	}
	src, err := os.ReadFile(path)
	return err == nil && yaml.Unmarshal(src, &file) == nil && file.TLS != nil
}
