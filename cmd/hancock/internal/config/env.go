package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/prometheus/common/config"
)

// variable is one variable of the environment.
type variable struct {
	name string
	set  func(*Config, string) error
}

// variables are all that are read, under the names of the REST contract.
func variables() []variable {
	text := func(field func(*Config) *string) func(*Config, string) error {
		return func(c *Config, v string) error { *field(c) = v; return nil }
	}
	secret := func(field func(*Config) *config.Secret) func(*Config, string) error {
		return func(c *Config, v string) error { *field(c) = config.Secret(v); return nil }
	}
	return []variable{
		{"HANCOCK_LLM_BACKEND", func(c *Config, v string) error { c.Agent.Backend = strings.ToLower(v); return nil }},
		{"OLLAMA_BASE_URL", text(func(c *Config) *string { return &c.Agent.Ollama.BaseURL })},
		{"OLLAMA_MODEL", text(func(c *Config) *string { return &c.Agent.Ollama.Model })},
		{"OLLAMA_CODER_MODEL", text(func(c *Config) *string { return &c.Agent.Ollama.CoderModel })},
		{"NVIDIA_BASE_URL", text(func(c *Config) *string { return &c.Agent.NVIDIA.BaseURL })},
		{"NVIDIA_API_KEY", secret(func(c *Config) *config.Secret { return &c.Agent.NVIDIA.APIKey })},
		{"HANCOCK_MODEL", text(func(c *Config) *string { return &c.Agent.NVIDIA.Model })},
		{"HANCOCK_CODER_MODEL", text(func(c *Config) *string { return &c.Agent.NVIDIA.CoderModel })},
		{"OPENAI_BASE_URL", text(func(c *Config) *string { return &c.Agent.OpenAI.BaseURL })},
		{"OPENAI_API_KEY", secret(func(c *Config) *config.Secret { return &c.Agent.OpenAI.APIKey })},
		{"OPENAI_ORG_ID", text(func(c *Config) *string { return &c.Agent.OpenAI.Organization })},
		{"OPENAI_MODEL", text(func(c *Config) *string { return &c.Agent.OpenAI.Model })},
		{"OPENAI_CODER_MODEL", text(func(c *Config) *string { return &c.Agent.OpenAI.CoderModel })},
		{"HANCOCK_PORT", setPort},
		{"HANCOCK_API_KEY", secret(func(c *Config) *config.Secret { return &c.Web.APIKey })},
		{"HANCOCK_RATE_LIMIT", setRateLimit},
		{"HANCOCK_WEBHOOK_SECRET", secret(func(c *Config) *config.Secret { return &c.Agent.Webhook.Secret })},
		{"HANCOCK_SLACK_WEBHOOK", secret(func(c *Config) *config.Secret { return &c.Agent.Webhook.SlackURL })},
		{"HANCOCK_TEAMS_WEBHOOK", secret(func(c *Config) *config.Secret { return &c.Agent.Webhook.TeamsURL })},
		{"HANCOCK_ENABLE_INTERNAL_DIAGNOSTICS", setDiagnostics},
		{"LOG_LEVEL", text(func(c *Config) *string { return &c.Agent.LogLevel })},
		{"SHUTDOWN_TIMEOUT", func(c *Config, v string) error { return c.Web.ShutdownTimeout.seconds(v) }},
	}
}

// ApplyEnvironment lays the variables that getenv knows over the
// configuration. An empty variable is one that is not set.
func (c *Config) ApplyEnvironment(getenv func(string) string) error {
	for _, v := range variables() {
		value := strings.TrimSpace(getenv(v.name))
		if value == "" {
			continue
		}
		if err := v.set(c, value); err != nil {
			return fmt.Errorf("environment variable %s: %w", v.name, err)
		}
	}
	return nil
}

func setPort(c *Config, v string) error {
	port, err := strconv.ParseUint(v, 10, 16)
	if err != nil {
		return fmt.Errorf("%q is not a port (0 to 65535)", v)
	}
	host, _, err := net.SplitHostPort(c.Web.ListenAddress)
	if err != nil {
		return fmt.Errorf("web.listen_address %q has no port to replace", c.Web.ListenAddress)
	}
	c.Web.ListenAddress = net.JoinHostPort(host, strconv.FormatUint(port, 10))
	return nil
}

// setDiagnostics takes the words for yes that the original service took;
// everything else is no.
func setDiagnostics(c *Config, v string) error {
	switch strings.ToLower(v) {
	case "1", "true", "yes", "on":
		c.Agent.EnableDiagnostics = true
	default:
		c.Agent.EnableDiagnostics = false
	}
	return nil
}

func setRateLimit(c *Config, v string) error {
	n, err := strconv.Atoi(v)
	if err != nil {
		return fmt.Errorf("%q is not a number of requests a minute", v)
	}
	c.Agent.RateLimit = n
	return nil
}
