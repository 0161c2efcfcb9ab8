// Package config reads what the operator decided: hancock.yml, the
// environment and the defaults below both. It knows the names of the settings
// and turns them into values; what they mean is checked by the packages that
// use them.
package config

import (
	amconfig "github.com/prometheus/alertmanager/config"
	"github.com/prometheus/common/config"
	promconfig "github.com/prometheus/prometheus/config"
)

// Config is the configuration file. Four sections are Hancock's own; the
// sections prometheus and alertmanager are in their owners' syntax, either
// written out or the path of an existing file.
type Config struct {
	Web      Web
	Agent    Agent
	Storage  Storage
	Alerting Alerting
	// Prometheus is what stands in a prometheus.yml; nil without the section.
	Prometheus *promconfig.Config
	// Alertmanager is what stands in an alertmanager.yml; nil without the section.
	Alertmanager *amconfig.Config
	// RuleFiles are the patterns of prometheus.rule_files, made absolute.
	RuleFiles []string
	// Warnings are of settings that are valid but have no effect, or one that is not wanted.
	Warnings []Finding
	// NewKeys are the keys of files that do not exist yet; Create writes them.
	NewKeys []NewKey
	// Sources know the lines of the settings; nil without a file.
	Sources *Sources
}

// Web are the settings of the HTTP server.
type Web struct {
	ListenAddress        string        `yaml:"listen_address"`
	ExternalURL          string        `yaml:"external_url"`
	ConfigFile           string        `yaml:"config_file"`
	APIKey               config.Secret `yaml:"api_key"`
	APIKeyFile           string        `yaml:"api_key_file"`
	ReadOnlyKey          config.Secret `yaml:"read_only_key"`
	ReadOnlyKeyFile      string        `yaml:"read_only_key_file"`
	AllowUnauthenticated bool          `yaml:"allow_unauthenticated"`
	ProtectMetrics       bool          `yaml:"protect_metrics"`
	EnableAdminAPI       bool          `yaml:"enable_admin_api"`
	EnableRemoteWrite    bool          `yaml:"enable_remote_write_receiver"`
	EnableOTLP           bool          `yaml:"enable_otlp_receiver"`
	TrustedProxies       []string      `yaml:"trusted_proxies"`
	ShutdownTimeout      Duration      `yaml:"shutdown_timeout"`

	AllowedOrigins          []string `yaml:"allowed_origins"`
	MaxConnections          int      `yaml:"max_connections"`
	MaxConnectionsPerClient int      `yaml:"max_connections_per_client"`
}

// Agent are the settings of the agent and of the backends it asks.
type Agent struct {
	LogLevel       string   `yaml:"log_level"`
	Backend        string   `yaml:"backend"`
	Egress         string   `yaml:"egress"`
	Timeout        Duration `yaml:"timeout"`
	ConnectTimeout Duration `yaml:"connect_timeout"`
	MaxRetries     int      `yaml:"max_retries"`
	RetryWait      Duration `yaml:"retry_wait"`
	MaxInFlight    int      `yaml:"max_in_flight"`
	RateLimit      int      `yaml:"rate_limit"`
	MaxBody        Bytes    `yaml:"max_body"`
	Ollama         Endpoint `yaml:"ollama"`
	NVIDIA         Endpoint `yaml:"nvidia"`
	OpenAI         Endpoint `yaml:"openai"`
	// Prices are in any currency for a million tokens, by model.
	Prices            map[string]Price `yaml:"prices"`
	Webhook           Webhook          `yaml:"webhook"`
	EnableDiagnostics bool             `yaml:"enable_diagnostics"`
	Health            Health           `yaml:"health"`
	Log               Log              `yaml:"log"`
}

// Price is what a million tokens of a model cost.
type Price struct {
	Input  float64 `yaml:"input"`
	Output float64 `yaml:"output"`
}

// Webhook says who may send alerts to /v1/webhook and who is told of their triage.
type Webhook struct {
	Secret       config.Secret `yaml:"secret"`
	SecretFile   string        `yaml:"secret_file"`
	SlackURL     config.Secret `yaml:"slack_url"`
	SlackURLFile string        `yaml:"slack_url_file"`
	TeamsURL     config.Secret `yaml:"teams_url"`
	TeamsURLFile string        `yaml:"teams_url_file"`
}

// Log bounds the files of the log.
type Log struct {
	MaxFileSize  Bytes `yaml:"max_file_size"`
	MaxTotalSize Bytes `yaml:"max_total_size"`
}

// Endpoint is one OpenAI-compatible backend.
type Endpoint struct {
	BaseURL      string        `yaml:"base_url"`
	APIKey       config.Secret `yaml:"api_key"`
	APIKeyFile   string        `yaml:"api_key_file"`
	Organization string        `yaml:"organization"`
	Model        string        `yaml:"model"`
	CoderModel   string        `yaml:"coder_model"`
}

// Health are the thresholds below which /health says degraded, and how it looks.
type Health struct {
	CacheTTL   Duration `yaml:"cache_ttl"`
	MetricAge  Duration `yaml:"metric_age"`
	Timeout    Duration `yaml:"timeout"`
	TrafficAge Duration `yaml:"traffic_age"`
	MinMemory  Bytes    `yaml:"min_memory"`
	MinDisk    Bytes    `yaml:"min_disk"`
}

// Storage are the settings of the embedded time series database and of the
// scraping of the process itself.
type Storage struct {
	Path           string    `yaml:"path"`
	Retention      Retention `yaml:"retention"`
	ScrapeInterval Duration  `yaml:"scrape_interval"`
	ScrapeTimeout  Duration  `yaml:"scrape_timeout"`
	Query          Query     `yaml:"query"`
}

// Retention bounds what is kept: by age and by size, 0 for no such bound.
type Retention struct {
	Time Duration `yaml:"time"`
	Size Bytes    `yaml:"size"`
}

// Query bounds what one query may take.
type Query struct {
	Timeout        Duration `yaml:"timeout"`
	MaxSamples     int      `yaml:"max_samples"`
	MaxConcurrency int      `yaml:"max_concurrency"`
	LookbackDelta  Duration `yaml:"lookback_delta"`
}

// Alerting are the settings of rule evaluation and of the Alertmanager.
type Alerting struct {
	BuiltinRules bool `yaml:"builtin_rules"`
	// Disabled and Severity name built-in alerts.
	Disabled []string          `yaml:"disabled"`
	Severity map[string]string `yaml:"severity"`
	// TrafficHours are when requests are expected; always without any.
	TrafficHours       Hours    `yaml:"traffic_hours"`
	EvaluationInterval Duration `yaml:"evaluation_interval"`
	// Retention is how long silences that have ended, and what was notified,
	// are remembered.
	Retention Duration `yaml:"retention"`
}
