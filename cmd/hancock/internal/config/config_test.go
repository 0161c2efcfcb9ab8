package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// defaults are not those of the product, which the packages that use them know.
func defaults() Config {
	return Config{
		Web:      Web{ListenAddress: "127.0.0.1:5000", ShutdownTimeout: Duration(30 * time.Second)},
		Agent:    Agent{Backend: "ollama", RateLimit: 60, MaxBody: 1 << 20},
		Storage:  Storage{Path: "data", ScrapeInterval: Duration(15 * time.Second), ScrapeTimeout: Duration(10 * time.Second)},
		Alerting: Alerting{BuiltinRules: true, EvaluationInterval: Duration(15 * time.Second)},
	}
}

// write puts text, without the margin that it has here, into a file.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(text, "\t", "")), 0o600))
	return path
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "prometheus.yml", "rule_files: [more.yml]\nscrape_configs: [{job_name: node, static_configs: [{targets: ['localhost:9100']}]}]\n")
	path := write(t, dir, "hancock.yml", `
		web:
		  listen_address: 127.0.0.1:6000
		agent:
		  ollama: {model: mistral}
		  max_body: 2MiB
		storage:
		  path: store
		  retention: {time: 30d, size: 5GB}
		alerting:
		  builtin_rules: false
		prometheus: prometheus.yml
	`)
	c, err := Load(path, defaults())
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:6000", c.Web.ListenAddress)
	require.Equal(t, Duration(30*time.Second), c.Web.ShutdownTimeout, "what is not written keeps its default")
	require.Equal(t, "mistral", c.Agent.Ollama.Model)
	require.Equal(t, Bytes(2<<20), c.Agent.MaxBody)
	require.Equal(t, filepath.Join(dir, "store"), c.Storage.Path)
	require.Equal(t, Retention{Time: Duration(30 * 24 * time.Hour), Size: 5 << 30}, c.Storage.Retention)
	require.False(t, c.Alerting.BuiltinRules)
	require.Equal(t, []string{filepath.Join(dir, "more.yml")}, c.RuleFiles)
	require.Len(t, c.Prometheus.ScrapeConfigs, 1)
	require.Equal(t, Duration(15*time.Second), c.Storage.ScrapeInterval)
	require.Empty(t, c.Warnings)
}

func TestLoadInlinePrometheus(t *testing.T) {
	path := write(t, t.TempDir(), "hancock.yml", `
		storage: {retention: {size: 1GB}}
		prometheus:
		  # a comment
		# and one without margin
		  global:
		    scrape_interval: 5s
		    evaluation_interval: 7s
		  tracing: {endpoint: "localhost:4317"}
		alerting:
		  evaluation_interval: 3s
	`)
	c, err := Load(path, defaults())
	require.NoError(t, err)
	require.Equal(t, Duration(5*time.Second), c.Storage.ScrapeInterval, "written in prometheus.global")
	require.Equal(t, Duration(5*time.Second), c.Storage.ScrapeTimeout, "no longer than the interval")
	require.Equal(t, Duration(3*time.Second), c.Alerting.EvaluationInterval, "Hancock's own section counts more")
	require.Len(t, c.Warnings, 1)
	require.Equal(t, path+":9: warning: prometheus.tracing: no effect: Hancock sends no traces", c.Warnings[0].String())
}

// TestSecretsInAddresses warns of those that Prometheus' own pages show.
func TestSecretsInAddresses(t *testing.T) {
	c, err := parse([]byte(`prometheus:
  remote_write: [{url: 'http://influx.example/write?db=prometheus&u=me&p=sesame'}, {url: 'http://u:sesame@other.example/write?db=x'}]
  remote_read: [{url: 'http://mimir.example/read?api_token=sesame'}]
`), "hancock.yml", Config{})
	require.NoError(t, err)
	require.Len(t, c.Warnings, 2)
	require.Contains(t, c.Warnings[0].String(),
		`hancock.yml:2: warning: prometheus.remote_write[0].url: /metrics and /api/v1/status/config show the parameter "p" of the address of influx.example`)
	require.Contains(t, c.Warnings[1].String(), `:3: warning: prometheus.remote_read[0].url: `)
	require.Contains(t, c.Warnings[1].String(), `"api_token" of the address of mimir.example`)
	require.NotContains(t, c.Warnings[0].String()+c.Warnings[1].String(), "sesame")
}

// TestScrapeTimeout says which of three places counts.
func TestScrapeTimeout(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"storage: {scrape_timeout: 3s}\nprometheus: {global: {scrape_interval: 5s, scrape_timeout: 4s}}\n": 3 * time.Second,
		"prometheus: {global: {scrape_interval: 5s, scrape_timeout: 4s}}\n":                                4 * time.Second,
		"prometheus: {global: {scrape_interval: 0s, scrape_timeout: 0s, evaluation_interval: 0s}}\n":       10 * time.Second,
		"prometheus: {global: {scrape_interval: 5s}}\n":                                                    5 * time.Second,
		"storage: {scrape_interval: 1m}\n":                                                                 10 * time.Second,
	} {
		c, err := Load(write(t, t.TempDir(), "hancock.yml", text), defaults())
		require.NoError(t, err)
		require.Equal(t, Duration(want), c.Storage.ScrapeTimeout, text)
	}
}

func TestLoadOfNothing(t *testing.T) {
	for _, text := range []string{"", "# only a comment\n", "web:\nagent:\nprometheus:\nalertmanager: null\n"} {
		c, err := Load(write(t, t.TempDir(), "hancock.yml", text), defaults())
		require.NoError(t, err)
		c.Sources = nil
		require.Equal(t, defaults(), c)
	}
}

func TestLoadErrors(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       string // after the path of the file
	}{
		{"unknown section", "wbe: {}\n", `:1: unknown field "wbe"`},
		{"unknown field", "web:\n  listen_address: a:1\n  prot: 1\n", `:3: unknown field "prot"`},
		{"wrong duration", "storage:\n  retention:\n    time: 15 days\n", `:3: "15 days" is not a duration such as 30s, 5m or 15d`},
		{"wrong size", "storage: {retention: {size: big}}\n", `:1: "big" is not a size such as 512MiB or 10GiB`},
		{"list for a duration", "web:\n  shutdown_timeout: [1s]\n", `:2: a single value is wanted here`},
		{"text for a number", "agent:\n  rate_limit: many\n", ":2: a str `many` where a int is wanted"},
		{"mapping for a secret", "web:\n  api_key: {a: b}\n", ":2: a map where a string is wanted"},
		{"not YAML", "web:\n  - {\n", ":2: did not find expected node content"},
		{"two documents", "web: {}\n---\nweb: {}\n", ": more than one YAML document"},
		{"flow style", "web: {}\nprometheus: {global: {scrape_intervall: 5s}}\n", `:2: prometheus: unknown field "scrape_intervall"`},
		{"empty path", "web: {}\nprometheus: ''\n", `:2: a mapping or the path of a file is wanted here`},
		{"section of the wrong kind", "prometheus: [1]\n", `:1: a mapping or the path of a file is wanted here`},
		{"missing file", "web: {}\nprometheus: nowhere.yml\n", `:2: open `},
		{"unknown field of Prometheus", "web: {}\nprometheus:\n  global:\n    scrape_intervall: 5s\n", `:4: prometheus: unknown field "scrape_intervall"`},
		{"wrong scrape config", "prometheus:\n  scrape_configs:\n    - job_name: a\n    - job_name: a\n", `prometheus: found multiple scrape configs with job name "a"`},
		{"discovery that is not built in", "prometheus:\n  scrape_configs:\n    - job_name: a\n      kubernetes_sd_configs: [{role: pod}]\n", `unknown field "kubernetes_sd_configs"`},
		{"unknown field of Alertmanager", "alertmanager:\n  rout: {}\n", `:2: alertmanager: unknown field "rout"`},
		{"route without receiver", "alertmanager:\n  route: {group_by: [alertname]}\n  receivers: []\n", `alertmanager: root route must specify a default receiver`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := write(t, t.TempDir(), "hancock.yml", tc.text)
			_, err := Load(path, defaults())
			require.ErrorContains(t, err, tc.want)
			require.True(t, strings.HasPrefix(err.Error(), path+":"), err.Error())
			require.NotContains(t, err.Error(), "\n")
		})
	}
	_, err := Load(filepath.Join(t.TempDir(), "missing.yml"), defaults())
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestWrongAddressesAreNotShown writes addresses that cannot be parsed and that
// have secrets in them.
func TestWrongAddressesAreNotShown(t *testing.T) {
	for _, tc := range []struct{ name, address, want string }{
		{"escape", "https://hooks.example.org/services/sesame%zz", `parse "https://hooks.example.org/...": invalid URL escape "%zz"`},
		{"control character", `http://localhost:9\x7f/sesame?token=sesame`, `parse "...": net/url: invalid control character in URL`},
		{"port", "http://user:sesame@localhost:x/", `parse "...": invalid port after host`},
		{"password with a slash", "http://user:sesame/x@localhost/%zz", `parse "...": invalid port after host`},
		{"no scheme", "_sesame:hooks", `parse "...": first path segment in URL cannot contain colon`},
		{"password with a space", "http://user:se same\\\"sesame@localhost/", `parse "...": net/url: invalid userinfo`},
	} {
		for _, section := range []string{
			"alertmanager:\n  route: {receiver: a}\n  receivers: [{name: a, webhook_configs: [{url: \"%s\"}]}]\n",
			"prometheus:\n  remote_write: [{url: \"%s\"}]\n",
		} {
			t.Run(tc.name, func(t *testing.T) {
				_, err := Load(write(t, t.TempDir(), "hancock.yml", fmt.Sprintf(section, tc.address)), defaults())
				require.ErrorContains(t, err, tc.want)
				require.NotContains(t, err.Error(), "sesame")
			})
		}
	}
}

func TestRuleFilesThatAreNotThere(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.rules.yml", "groups: []\n")
	path := write(t, dir, "hancock.yml", "prometheus: {rule_files: ['*.rules.yml', 'ruels/*.yml']}\n")
	c, err := Load(path, defaults())
	require.NoError(t, err)
	require.Equal(t, []Finding{{
		Warning, path + ":1", "prometheus.rule_files[1]", "no files match " + filepath.Join(dir, "ruels/*.yml"),
		"correct the pattern or create a file",
	}}, c.Warnings)
}

func TestEnvironment(t *testing.T) {
	for _, tc := range []struct {
		name, variable, value string
		get                   func(*Config) any
		want                  any
		err                   string
	}{
		{"port", "HANCOCK_PORT", "6001", func(c *Config) any { return c.Web.ListenAddress }, "127.0.0.1:6001", ""},
		{"not a port", "HANCOCK_PORT", "65536", nil, nil, `environment variable HANCOCK_PORT: "65536" is not a port`},
		{"seconds", "SHUTDOWN_TIMEOUT", "2.5", func(c *Config) any { return time.Duration(c.Web.ShutdownTimeout) }, 2500 * time.Millisecond, ""},
		{"a duration", "SHUTDOWN_TIMEOUT", "1m", func(c *Config) any { return time.Duration(c.Web.ShutdownTimeout) }, time.Minute, ""},
		{"no time", "SHUTDOWN_TIMEOUT", "0", nil, nil, "SHUTDOWN_TIMEOUT"},
		{"not a time", "SHUTDOWN_TIMEOUT", "NaN", nil, nil, "SHUTDOWN_TIMEOUT"},
		{"secret", "HANCOCK_API_KEY", "sesame", func(c *Config) any { return string(c.Web.APIKey) }, "sesame", ""},
		{"model of NIM", "HANCOCK_MODEL", "m", func(c *Config) any { return c.Agent.NVIDIA.Model }, "m", ""},
		{"backend in any case", "HANCOCK_LLM_BACKEND", "OpenAI", func(c *Config) any { return c.Agent.Backend }, "openai", ""},
		{"not a number", "HANCOCK_RATE_LIMIT", "lots", nil, nil, "HANCOCK_RATE_LIMIT"},
		{
			"blank secret of webhooks", "HANCOCK_WEBHOOK_SECRET", "", nil, nil,
			"environment variable HANCOCK_WEBHOOK_SECRET: set, but blank, which would leave /v1/webhook without protection: give it a value, or remove the variable",
		},
		{"secret of spaces", "HANCOCK_WEBHOOK_SECRET", " \t\n", nil, nil, "remove the variable"},
		{"blank API key", "HANCOCK_API_KEY", "", nil, nil, "environment variable HANCOCK_API_KEY: set, but blank"},
		{"API key of spaces", "HANCOCK_API_KEY", "  ", nil, nil, "leave the server without protection"},
		{"blank key of a backend protects nothing", "OPENAI_API_KEY", "", func(c *Config) any { return string(c.Agent.OpenAI.APIKey) }, "", ""},
		{"empty is not set", "HANCOCK_PORT", " ", func(c *Config) any { return c.Web.ListenAddress }, "127.0.0.1:5000", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := defaults()
			err := c.ApplyEnvironment(func(name string) (string, bool) { return tc.value, name == tc.variable })
			if tc.err != "" {
				require.ErrorContains(t, err, tc.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.want, tc.get(&c))
		})
	}
}

// TestEveryFieldIsWritten holds the example configuration to the fields that exist.
func TestEveryFieldIsWritten(t *testing.T) {
	src, err := os.ReadFile("../../../../docs/hancock.example.yml")
	require.NoError(t, err)
	var written map[string]any
	require.NoError(t, yaml.Unmarshal(src, &written))
	var missing func(prefix string, typ reflect.Type, values map[string]any)
	missing = func(prefix string, typ reflect.Type, values map[string]any) {
		for field := range typ.Fields() {
			name := field.Tag.Get("yaml")
			require.Contains(t, values, name, "%s%s is not in the example configuration", prefix, name)
			if nested, ok := values[name].(map[string]any); ok && field.Type.Kind() == reflect.Struct {
				missing(prefix+name+".", field.Type, nested)
			}
		}
	}
	for name, typ := range map[string]reflect.Type{
		"web": reflect.TypeFor[Web](), "agent": reflect.TypeFor[Agent](),
		"storage": reflect.TypeFor[Storage](), "alerting": reflect.TypeFor[Alerting](),
	} {
		missing(name+".", typ, written[name].(map[string]any))
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"web: {listen_address: ':1'}\n", "prometheus:\n  global: {scrape_interval: 5s}\n", "prometheus: {global: {}}\n",
		"alertmanager:\n  route: {receiver: a}\n  receivers: [{name: a}]\n", "storage: {path: [x]}\n", "a: &a [*a]\n",
	} {
		f.Add([]byte(seed))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, src []byte) {
		c, err := parse(src, filepath.Join(dir, "hancock.yml"), defaults())
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			return
		}
		require.NotEmpty(t, c.Storage.Path)
	})
}

// TestAlertmanagerPaths makes the paths of the section relative to the file
// that it stands in.
func TestAlertmanagerPaths(t *testing.T) {
	const section = `
		  templates: [page/*.tmpl]
		  route: {receiver: team}
		  receivers:
		    - name: team
		      webhook_configs:
		        - url: http://localhost:9/
		          http_config: {authorization: {credentials_file: key}}
		        - url_file: address
		          http_config: {http_headers: {X-Key: {files: [header]}}, tls_config: {ca_file: ca}}
	`
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "am"), 0o700))
	write(t, dir, "am/alertmanager.yml", strings.ReplaceAll(section, "\n\t\t  ", "\n"))
	for text, from := range map[string]string{
		"alertmanager:" + section:             dir,
		"alertmanager: am/alertmanager.yml\n": filepath.Join(dir, "am"),
	} {
		c, err := Load(write(t, dir, "hancock.yml", text), defaults())
		require.NoError(t, err)
		require.Empty(t, c.Warnings)
		require.Equal(t, []string{filepath.Join(from, "page/*.tmpl")}, c.Alertmanager.Templates)
		require.Equal(t, filepath.Join(from, "key"),
			c.Alertmanager.Receivers[0].WebhookConfigs[0].HTTPConfig.Authorization.CredentialsFile)
		second := c.Alertmanager.Receivers[0].WebhookConfigs[1]
		require.Equal(t, filepath.Join(from, "address"), second.URLFile)
		require.Equal(t, filepath.Join(from, "ca"), second.HTTPConfig.TLSConfig.CAFile)
		require.Equal(t, []string{filepath.Join(from, "header")}, second.HTTPConfig.HTTPHeaders.Headers["X-Key"].Files)
	}
}
