package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/cyberviser/hancock/agent"
	"github.com/cyberviser/hancock/alerting"
	"github.com/cyberviser/hancock/alerting/alertmanager"
	"github.com/cyberviser/hancock/cmd/hancock/internal/config"
)

// defaultConfigFile is read when it stands in the working directory and
// --config.file names no other.
const defaultConfigFile = "hancock.yml"

// invocation is one command line, understood.
type invocation struct {
	// command is the command's words; empty when the command line asked for
	// help, which has been given.
	command string
	// configFile is the file that was read, empty when there was none.
	configFile string
	config     config.Config
	// flags are all flags with their values, for /api/v1/status/flags.
	flags map[string]string
	// url is the address of the running Hancock that a command asks, empty for
	// the configured one.
	url string
	// caFile has the authorities that the certificate at url may be of, empty for those of the system.
	caFile string
	// What the commands were given that are not serve or demo.
	question  question
	strict    bool
	ruleTests ruleTests
	testAlert alertmanager.TestRequest
	backtest  backtestCommand
	// again reads the command line, the environment and the file once more.
	again func() (invocation, error)
}

// parseCommandLine reads the command line over the environment over the file
// over the defaults. It reads the flags twice, as the place of the file is one
// of them.
func parseCommandLine(args []string, lookup func(string) (string, bool), out io.Writer) (invocation, error) {
	first, err := parseFlags(args, defaultConfig(), out)
	if err != nil {
		return invocation{}, err
	}
	switch first.command {
	case "", "version", "dashboard":
		return first, nil // they need no configuration
	}
	cfg := defaultConfig()
	path := first.configFile
	if _, err := os.Stat(defaultConfigFile); path == "" && err == nil {
		path = defaultConfigFile
	}
	if path != "" {
		if cfg, err = config.Load(path, cfg); err != nil {
			return invocation{}, err
		}
	}
	if first.command == "demo" {
		// Generated samples never go where the file keeps the real ones.
		demoDefaults(&cfg)
	}
	if err := cfg.ApplyEnvironment(lookup); err != nil {
		return invocation{}, err
	}
	inv, err := parseFlags(args, cfg, out)
	inv.configFile = path
	if err == nil {
		err = inv.readSecrets()
	}
	inv.config.Warnings = append(inv.config.Warnings, shortKeys(inv.config)...)
	if first.command != "demo" { // which asks a model of its own
		inv.config.Warnings = append(inv.config.Warnings, append(missingKey(inv.config), unusedFallback(inv.config)...)...)
	}
	return inv, err
}

// readSecrets reads the secrets that are in files, as far as the command uses them.
func (inv *invocation) readSecrets() error {
	switch inv.command {
	case "serve", "demo", "check":
		return inv.config.ReadSecrets(true)
	case "ask", "healthcheck", "alert test", "backtest":
		return inv.config.ReadSecrets(false)
	}
	return nil
}

// parseFlags lays the flags over cfg, whose values are their defaults.
func parseFlags(args []string, cfg config.Config, out io.Writer) (invocation, error) {
	inv := invocation{config: cfg}
	c := &inv.config
	help := false
	app := kingpin.New("hancock", "A security assistant behind a REST API that stores, watches and draws its own metrics. One process, one port.")
	app.HelpFlag.Short('h')
	app.UsageTemplate(usageTemplate).UsageWriter(out).ErrorWriter(io.Discard).Terminate(func(int) { help = true })

	app.Flag("config.file", "Configuration file. ./"+defaultConfigFile+" is read when it exists.").PlaceHolder("FILE").StringVar(&inv.configFile)

	app.Flag("web.listen-address", "Address to listen on ($HANCOCK_PORT sets the port alone).").Default(c.Web.ListenAddress).StringVar(&c.Web.ListenAddress)
	app.Flag("web.external-url", "Address under which people reach the server, for links.").Default(c.Web.ExternalURL).StringVar(&c.Web.ExternalURL)
	app.Flag("web.config.file", "File in exporter-toolkit's format that turns on TLS or basic authentication.").Default(c.Web.ConfigFile).StringVar(&c.Web.ConfigFile)
	boolFlag(app, "web.allow-unauthenticated", "Listen on an address other than loopback without HANCOCK_API_KEY.", &c.Web.AllowUnauthenticated)
	boolFlag(app, "web.enable-admin-api", "Enable the calls of /api/v1/admin, which delete data.", &c.Web.EnableAdminAPI)
	boolFlag(app, "web.enable-remote-write-receiver", "Accept samples from other Prometheus servers at /api/v1/write.", &c.Web.EnableRemoteWrite)
	boolFlag(app, "web.enable-otlp-receiver", "Accept OpenTelemetry metrics at /api/v1/otlp.", &c.Web.EnableOTLP)
	app.Flag("web.max-connections", "Open client connections at most.").Default(strconv.Itoa(c.Web.MaxConnections)).IntVar(&c.Web.MaxConnections)
	valueFlag(app, "web.shutdown-timeout", "How long a stop may take, half of it for requests in flight ($SHUTDOWN_TIMEOUT, in seconds).", &c.Web.ShutdownTimeout)

	app.Flag("agent.backend", "Language model backend: ollama, nvidia or openai ($HANCOCK_LLM_BACKEND).").Default(c.Agent.Backend).StringVar(&c.Agent.Backend)
	valueFlag(app, "agent.timeout", "How long a model may take to answer.", &c.Agent.Timeout)

	app.Flag("storage.path", "Folder of the time series database.").Default(c.Storage.Path).StringVar(&c.Storage.Path)
	valueFlag(app, "storage.retention.time", "How long samples are kept.", &c.Storage.Retention.Time)
	valueFlag(app, "storage.retention.size", "How much disk samples may take; 0 for no bound.", &c.Storage.Retention.Size)
	valueFlag(app, "storage.scrape-interval", "How often the process reads its own metrics.", &c.Storage.ScrapeInterval)

	boolFlag(app, "alerting.builtin-rules", "Evaluate the built-in alert rules.", &c.Alerting.BuiltinRules)
	valueFlag(app, "alerting.evaluation-interval", "How often alert rules are evaluated.", &c.Alerting.EvaluationInterval)

	app.Flag("log.level", "DEBUG, INFO, WARNING or ERROR ($LOG_LEVEL).").Default(c.Agent.LogLevel).StringVar(&c.Agent.LogLevel)

	app.Command("serve", "Run Hancock. This is what happens without a command, too.").Default()
	app.Command("demo", "Run Hancock with a simulated model, generated traffic and six hours of generated history.")
	askCommand := app.Command("ask", "Ask a running Hancock. What is piped into it is part of the question.")
	words := askCommand.Arg("question", "The question.").Strings()
	askCommand.Flag("mode", "Specialist mode: "+strings.Join(agent.Modes(), ", ")+".").Default(agent.DefaultMode).EnumVar(&inv.question.mode, agent.Modes()...)
	askCommand.Flag("stream", "Print the answer piece by piece.").BoolVar(&inv.question.stream)
	urlFlag(askCommand, &inv)
	urlFlag(app.Command("healthcheck", "Ask a running Hancock for its health. Exit status 0 while it can answer, 1 otherwise; for containers."), &inv)
	checkCommand := app.Command("check", "Check the configuration, the rules and the Alertmanager section without starting.")
	checkCommand.Flag("strict", "Also fail on warnings.").BoolVar(&inv.strict)
	alertingCommands(app, &inv)
	app.Command("dashboard", "Print the dashboard for Grafana.")
	app.Command("version", "Print the version.")

	name, err := app.Parse(args)
	if help {
		return invocation{}, nil
	}
	if err != nil {
		return invocation{}, fmt.Errorf("%w%s; see hancock --help", err, suggestion(err, args, app.Model()))
	}
	inv.command = name
	inv.question.text = strings.Join(*words, " ")
	inv.flags = make(map[string]string)
	for _, f := range app.Model().Flags {
		if !f.Hidden && f.Name != "help" {
			inv.flags[f.Name] = f.Value.String()
		}
	}
	return inv, nil
}

// alertingCommands declares the commands that try rules and routes.
func alertingCommands(app *kingpin.Application, inv *invocation) {
	app.Command("rules", "Print the built-in alert rules in effect, for an external Prometheus.")
	rules := app.Command("test", "Try rules on series of your own.").Command("rules", "Run files in promtool's format of rule tests.")
	rules.Arg("file", "A file of tests. The rule file "+alerting.BuiltinFile+" is that of the built-in rules.").Required().StringsVar(&inv.ruleTests.files)
	rules.Flag("run", "Only tests whose name matches this expression.").PlaceHolder("REGEXP").StringsVar(&inv.ruleTests.run)

	inv.testAlert.Labels, inv.testAlert.Annotations = make(map[string]string), make(map[string]string)
	alert := app.Command("alert", "Try who is told.").Command("test", "Send a test alert through the routing of a running Hancock.")
	alert.Flag("label", "A label of the alert, such as severity=critical.").PlaceHolder("NAME=VALUE").SetValue(pairs(inv.testAlert.Labels))
	alert.Flag("annotation", "An annotation of the alert.").PlaceHolder("NAME=VALUE").SetValue(pairs(inv.testAlert.Annotations))
	alert.Flag("resolve", "Tell that it is resolved, too.").Default("true").BoolVar(&inv.testAlert.Resolve)
	urlFlag(alert, inv)

	backtest := app.Command("backtest", "Replay rules over the stored history of a running Hancock: what would have fired, and who would have been told.")
	backtest.Arg("rule-file", "Rules to replay. Default: those that are loaded there.").StringVar(&inv.backtest.file)
	backtest.Flag("from", "Where to begin: how long ago, such as 7d, or a time.").Default("1d").StringVar(&inv.backtest.request.From)
	backtest.Flag("to", "Where to end. Default: now.").StringVar(&inv.backtest.request.To)
	urlFlag(backtest, inv)
}

// urlFlag declares the flags of a command that asks a server.
func urlFlag(command *kingpin.CmdClause, inv *invocation) {
	command.Flag("url", "Address of the running Hancock, such as https://user:password@host:5000. Default: the configured listen address.").PlaceHolder("URL").StringVar(&inv.url)
	command.Flag("tls.ca-file", "Certificate authorities for an https --url. Default: those of the system.").PlaceHolder("FILE").StringVar(&inv.caFile)
}

// boolFlag declares a flag that the command line can set and, as --no-name, unset.
func boolFlag(app *kingpin.Application, name, help string, value *bool) {
	app.Flag(name, help).Default(strconv.FormatBool(*value)).BoolVar(value)
}

// valueFlag declares a flag whose value is what it is without it. Its errors name it.
func valueFlag(app *kingpin.Application, name, help string, value kingpin.Value) {
	app.Flag(name, help).Default(value.String()).SetValue(namedValue{value, name})
}

// namedValue is the value of a flag.
type namedValue struct {
	kingpin.Value
	name string
}

// Set parses s.
func (v namedValue) Set(s string) error {
	if err := v.Value.Set(s); err != nil {
		return fmt.Errorf("--%s: %w", v.name, err)
	}
	return nil
}

// oneLine makes err, which may be several, fit the single line of standard error that it gets.
func oneLine(err error) string {
	var lines []string
	for line := range strings.Lines(err.Error()) {
		if words := strings.Fields(line); len(words) > 0 {
			lines = append(lines, strings.Join(words, " "))
		}
	}
	return strings.ReplaceAll(strings.Join(lines, "; "), ":; ", ": ")
}

// usageError marks an error of the command line or the configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// exitStatus is 2 for an error of usage or configuration, 1 for any other.
func exitStatus(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.As(err, new(usageError)):
		return 2
	default:
		return 1
	}
}
