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
	// secret is the setting of a secret: name_FILE names a file with it.
	secret func(*Config) (value *config.Secret, file *string)
	// protects names what is open to everybody without the variable's value; empty for nothing.
	protects string
}

// variables are all that are read, under the names of the REST contract.
func variables() []variable {
	text := func(field func(*Config) *string) func(*Config, string) error {
		return func(c *Config, v string) error { *field(c) = v; return nil }
	}
	endpoint := func(field func(*Config) *Endpoint) func(*Config) (*config.Secret, *string) {
		return func(c *Config) (*config.Secret, *string) { e := field(c); return &e.APIKey, &e.APIKeyFile }
	}
	return []variable{
		{name: "HANCOCK_LLM_BACKEND", set: func(c *Config, v string) error { c.Agent.Backend = strings.ToLower(v); return nil }},
		{name: "OLLAMA_BASE_URL", set: text(func(c *Config) *string { return &c.Agent.Ollama.BaseURL })},
		{name: "OLLAMA_MODEL", set: text(func(c *Config) *string { return &c.Agent.Ollama.Model })},
		{name: "OLLAMA_CODER_MODEL", set: text(func(c *Config) *string { return &c.Agent.Ollama.CoderModel })},
		{name: "NVIDIA_BASE_URL", set: text(func(c *Config) *string { return &c.Agent.NVIDIA.BaseURL })},
		{name: "NVIDIA_API_KEY", secret: endpoint(func(c *Config) *Endpoint { return &c.Agent.NVIDIA })},
		{name: "HANCOCK_MODEL", set: text(func(c *Config) *string { return &c.Agent.NVIDIA.Model })},
		{name: "HANCOCK_CODER_MODEL", set: text(func(c *Config) *string { return &c.Agent.NVIDIA.CoderModel })},
		{name: "OPENAI_BASE_URL", set: text(func(c *Config) *string { return &c.Agent.OpenAI.BaseURL })},
		{name: "OPENAI_API_KEY", secret: endpoint(func(c *Config) *Endpoint { return &c.Agent.OpenAI })},
		{name: "OPENAI_ORG_ID", set: text(func(c *Config) *string { return &c.Agent.OpenAI.Organization })},
		{name: "OPENAI_MODEL", set: text(func(c *Config) *string { return &c.Agent.OpenAI.Model })},
		{name: "OPENAI_CODER_MODEL", set: text(func(c *Config) *string { return &c.Agent.OpenAI.CoderModel })},
		{name: "HANCOCK_PORT", set: setPort},
		{name: "HANCOCK_API_KEY", secret: func(c *Config) (*config.Secret, *string) { return &c.Web.APIKey, &c.Web.APIKeyFile }, protects: "the server"},
		{name: "HANCOCK_READ_ONLY_KEY", secret: func(c *Config) (*config.Secret, *string) { return &c.Web.ReadOnlyKey, &c.Web.ReadOnlyKeyFile }},
		{name: "HANCOCK_RATE_LIMIT", set: setRateLimit},
		{name: "HANCOCK_WEBHOOK_SECRET", secret: func(c *Config) (*config.Secret, *string) { return &c.Agent.Webhook.Secret, &c.Agent.Webhook.SecretFile }, protects: "/v1/webhook"},
		{name: "HANCOCK_SLACK_WEBHOOK", secret: func(c *Config) (*config.Secret, *string) {
			return &c.Agent.Webhook.SlackURL, &c.Agent.Webhook.SlackURLFile
		}},
		{name: "HANCOCK_TEAMS_WEBHOOK", secret: func(c *Config) (*config.Secret, *string) {
			return &c.Agent.Webhook.TeamsURL, &c.Agent.Webhook.TeamsURLFile
		}},
		{name: "HANCOCK_ENABLE_INTERNAL_DIAGNOSTICS", set: setDiagnostics},
		{name: "LOG_LEVEL", set: text(func(c *Config) *string { return &c.Agent.LogLevel })},
		{name: "SHUTDOWN_TIMEOUT", set: func(c *Config, v string) error { return c.Web.ShutdownTimeout.seconds(v) }},
	}
}

// ApplyEnvironment lays the variables that lookup knows over the
// configuration. An empty variable is one that is not set, unless it protects
// something: a mistake in a script or in a secret store must not open it. A
// secret may be in a file that NAME_FILE names instead.
func (c *Config) ApplyEnvironment(lookup func(string) (string, bool)) error {
	for _, v := range variables() {
		value, err := v.value(v.name, lookup)
		if err != nil {
			return err
		}
		if v.secret == nil {
			if value == "" {
				continue
			}
			if err := v.set(c, value); err != nil {
				return fmt.Errorf("environment variable %s: %w", v.name, err)
			}
			continue
		}
		name, err := v.value(v.name+"_FILE", lookup)
		if err != nil {
			return err
		}
		if value != "" && name != "" {
			return fmt.Errorf("environment variables %s and %[1]s_FILE: both are set: keep one", v.name)
		}
		if value != "" || name != "" {
			secret, file := v.secret(c)
			*secret, *file = config.Secret(value), name
		}
	}
	return nil
}

// value returns the value of an environment variable without the space around it.
func (v variable) value(name string, lookup func(string) (string, bool)) (string, error) {
	value, set := lookup(name)
	if !set {
		return "", nil
	}
	if value = strings.TrimSpace(value); value == "" && v.protects != "" {
		return "", fmt.Errorf("environment variable %s: set, but blank, which would leave %s without protection: "+
			"give it a value, or remove the variable if that is intended", name, v.protects)
	}
	return value, nil
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
