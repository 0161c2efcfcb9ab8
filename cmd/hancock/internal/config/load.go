package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	amconfig "github.com/prometheus/alertmanager/config"
	"github.com/prometheus/common/config"
	"github.com/prometheus/common/promslog"
	promconfig "github.com/prometheus/prometheus/config"
	"go.yaml.in/yaml/v3"

	"github.com/cyberviser/hancock/internal/amcompat"
)

// unset and unsetSize mark a setting that the file does not write.
const (
	unset     Duration = -1
	unsetSize Bytes    = -1
)

// file is the document on disk.
type file struct {
	Web          Web       `yaml:"web"`
	Agent        Agent     `yaml:"agent"`
	Storage      Storage   `yaml:"storage"`
	Alerting     Alerting  `yaml:"alerting"`
	Prometheus   yaml.Node `yaml:"prometheus"`
	Alertmanager yaml.Node `yaml:"alertmanager"`
}

// Load reads the file at path over the defaults. Relative paths in it mean
// paths relative to it. An error is one line that begins with the place.
func Load(path string, defaults Config) (Config, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("reading the configuration: %w", err)
	}
	return parse(src, path, defaults)
}

func parse(src []byte, path string, defaults Config) (Config, error) {
	cfg := defaults
	doc := file{Web: cfg.Web, Agent: cfg.Agent, Storage: cfg.Storage, Alerting: cfg.Alerting}
	// What is still like this afterwards was not written in the file.
	doc.Storage.Path, doc.Alerting.EvaluationInterval = "", unset
	doc.Storage.ScrapeInterval, doc.Storage.ScrapeTimeout = unset, unset
	doc.Storage.Retention = Retention{Time: unset, Size: unsetSize}
	dec := yaml.NewDecoder(bytes.NewReader(src))
	dec.KnownFields(true)
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return Config{}, place(path, "", err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return Config{}, fmt.Errorf("%s: more than one YAML document", path)
	}
	cfg.Sources = &Sources{main: ParseDocument(path, src), sections: map[string]*Document{}}
	cfg.Web, cfg.Agent, cfg.Storage, cfg.Alerting = doc.Web, doc.Agent, doc.Storage, doc.Alerting
	dir := filepath.Dir(path)
	cfg.Web.ConfigFile = relativeTo(dir, cfg.Web.ConfigFile)
	if err := cfg.placeSecretFiles(dir); err != nil {
		return Config{}, err
	}
	cfg.Storage.Path = relativeTo(dir, cfg.Storage.Path)
	if cfg.Storage.Path == "" {
		cfg.Storage.Path = defaults.Storage.Path
	}
	if err := cfg.loadPrometheus(src, path, &doc.Prometheus); err != nil {
		return Config{}, err
	}
	if cfg.Storage.Retention.Time == unset {
		cfg.Storage.Retention.Time = defaults.Storage.Retention.Time
	}
	if cfg.Storage.Retention.Size == unsetSize {
		cfg.Storage.Retention.Size = defaults.Storage.Retention.Size
	}
	if cfg.Storage.ScrapeInterval == unset {
		cfg.Storage.ScrapeInterval = defaults.Storage.ScrapeInterval
	}
	if cfg.Storage.ScrapeTimeout == unset {
		// Short intervals need no second setting.
		cfg.Storage.ScrapeTimeout = min(defaults.Storage.ScrapeTimeout, cfg.Storage.ScrapeInterval)
	}
	if cfg.Alerting.EvaluationInterval == unset {
		cfg.Alerting.EvaluationInterval = defaults.Alerting.EvaluationInterval
	}
	if err := cfg.loadAlertmanager(src, path, &doc.Alertmanager); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

func (c *Config) loadPrometheus(src []byte, path string, n *yaml.Node) error {
	s, err := readSection(src, path, n)
	if s == nil || err != nil {
		return err
	}
	c.Sources.add("prometheus", s)
	p, err := promconfig.Load(s.text, promslog.NewNopLogger())
	if err != nil {
		return s.place("prometheus", err)
	}
	p.SetDirectory(filepath.Dir(s.path))
	// Scrape configurations are completed and checked only when asked for.
	if _, err := p.GetScrapeConfigs(); err != nil {
		return s.place("prometheus", err)
	}
	c.Prometheus = p
	c.RuleFiles = p.RuleFiles
	for i, pattern := range c.RuleFiles {
		if found, err := filepath.Glob(pattern); err == nil && len(found) == 0 && strings.Contains(pattern, "*") {
			c.warn(Path{"prometheus", "rule_files", i}, "no files match "+pattern, "correct the pattern or create a file")
		}
	}
	for i, rw := range p.RemoteWriteConfigs {
		c.warnOfQuery(Path{"prometheus", "remote_write", i, "url"}, rw.URL)
	}
	for i, rr := range p.RemoteReadConfigs {
		c.warnOfQuery(Path{"prometheus", "remote_read", i, "url"}, rr.URL)
	}
	c.applyRetention(p)
	if err := c.applyGlobals(s.text); err != nil {
		return s.place("prometheus", err)
	}
	c.warnOfNoEffect(Path{"prometheus", "tracing"}, "Hancock sends no traces")
	c.warnOfNoEffect(Path{"prometheus", "runtime"}, "set GOGC and GOMEMLIMIT in the environment")
	return nil
}

// warn adds a warning.
func (c *Config) warn(path Path, problem, remedy string) {
	c.Warnings = append(c.Warnings, c.Finding(Warning, path, problem, remedy))
}

// warnOfNoEffect warns of a section that Hancock does not use, if it is written.
func (c *Config) warnOfNoEffect(path Path, why string) {
	if _, written := c.Sources.Place(path); written {
		c.warn(path, "no effect", why)
	}
}

// warnOfQuery warns of parameters of an address that are probably secrets: Prometheus masks passwords only.
func (c *Config) warnOfQuery(path Path, u *config.URL) {
	for _, name := range slices.Sorted(maps.Keys(u.Query())) {
		if secretName.MatchString(name) {
			c.warn(path, fmt.Sprintf("/metrics and /api/v1/status/config show the parameter %q of the address of %s", name, u.Host),
				"use basic_auth, authorization or headers, which are masked")
		}
	}
}

func (c *Config) loadAlertmanager(src []byte, path string, n *yaml.Node) error {
	s, err := readSection(src, path, n)
	if s == nil || err != nil {
		return err
	}
	c.Sources.add("alertmanager", s)
	amcompat.Init()
	a, err := amconfig.Load(s.text)
	if err == nil {
		err = setDirectory(a, filepath.Dir(s.path))
	}
	if err != nil {
		return s.place("alertmanager", err)
	}
	c.Alertmanager = a
	c.warnOfNoEffect(Path{"alertmanager", "tracing"}, "Hancock sends no traces")
	c.warnOfNoEffect(Path{"alertmanager", "event_recorder"}, "Hancock records notification attempts in its own log")
	for _, w := range amcompat.Warnings(s.text) {
		c.warn(Path{"alertmanager"}.At(w.Path...), w.Problem, w.Remedy)
	}
	return nil
}

// applyGlobals lets the intervals that prometheus.global writes down count for
// the process itself, unless Hancock's own sections say otherwise. 0 is the default there.
func (c *Config) applyGlobals(text string) error {
	var written struct {
		Global struct {
			ScrapeInterval     *Duration `yaml:"scrape_interval"`
			ScrapeTimeout      *Duration `yaml:"scrape_timeout"`
			EvaluationInterval *Duration `yaml:"evaluation_interval"`
		} `yaml:"global"`
	}
	if err := yaml.Unmarshal([]byte(text), &written); err != nil {
		return err
	}
	if v := written.Global.ScrapeInterval; v != nil && *v != 0 && c.Storage.ScrapeInterval == unset {
		c.Storage.ScrapeInterval = *v
	}
	if v := written.Global.ScrapeTimeout; v != nil && *v != 0 && c.Storage.ScrapeTimeout == unset {
		c.Storage.ScrapeTimeout = *v
	}
	if v := written.Global.EvaluationInterval; v != nil && *v != 0 && c.Alerting.EvaluationInterval == unset {
		c.Alerting.EvaluationInterval = *v
	}
	return nil
}

// applyRetention lets the retention that prometheus.storage writes down count,
// unless Hancock's own section says otherwise. Who writes down one bound there
// wants no other one.
func (c *Config) applyRetention(p *promconfig.Config) {
	written := p.StorageConfig.TSDBConfig.Retention // the loader has filled it
	if *written == (promconfig.TSDBRetentionConfig{}) {
		return
	}
	own := &c.Storage.Retention
	if own.Time == unset {
		own.Time = Duration(written.Time)
	}
	if own.Size == unsetSize && written.Percentage == 0 { // which counts more there than a size
		own.Size = Bytes(written.Size)
	}
}

// section is the text of a part that another package parses.
type section struct {
	text, path string
	inline     bool
	// line is the one to name for every error, where the text's own lines are
	// not those of the file; 0 where they are.
	line int
}

// place is an error of the section's own parser, which names the section where
// it does not have a file of its own.
func (s *section) place(name string, err error) error {
	switch {
	case !s.inline:
		return place(s.path, "", err)
	case s.line == 0:
		return place(s.path, name, err)
	default:
		_, what, _ := strings.Cut(place("", name, err).Error(), ": ")
		return fmt.Errorf("%s:%d: %s", s.path, s.line, what)
	}
}

// readSection returns the text of a section: that of the file it names, or its
// own lines, outdented and moved down so that their numbers stay true. It is
// nil when there is no such section.
func readSection(src []byte, path string, n *yaml.Node) (*section, error) {
	switch {
	case n.Kind == 0 || n.Tag == "!!null":
		return nil, nil
	case n.Kind == yaml.ScalarNode && n.Value != "":
		name := relativeTo(filepath.Dir(path), n.Value)
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n.Line, err)
		}
		return &section{text: string(text), path: name}, nil
	case n.Kind != yaml.MappingNode:
		return nil, fmt.Errorf("%s:%d: a mapping or the path of a file is wanted here", path, n.Line)
	case n.Style&yaml.FlowStyle != 0:
		text, err := yaml.Marshal(n)
		if err != nil {
			return nil, place(path, "", err)
		}
		return &section{text: string(text), path: path, inline: true, line: n.Line}, nil
	}
	indent := n.Column - 1
	var b strings.Builder
	b.WriteString(strings.Repeat("\n", n.Line-1))
	for line := range strings.Lines(strings.Join(strings.SplitAfter(string(src), "\n")[n.Line-1:], "")) {
		margin := len(line) - len(strings.TrimLeft(line, " "))
		if trimmed := strings.TrimSpace(line); margin < indent && trimmed != "" && !strings.HasPrefix(trimmed, "#") {
			break
		}
		b.WriteString(line[min(margin, indent):])
	}
	return &section{text: b.String(), path: path, inline: true}, nil
}

func relativeTo(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

var (
	secretName   = regexp.MustCompile(`(?i)^p$|pass|secret|token|key|auth|cred`)
	lineNumber   = regexp.MustCompile(`(?s)^(?:yaml: )?(?:unmarshal errors:\s*)?line (\d+): (.*)$`)
	unknownField = regexp.MustCompile(`field (\S+) not found in type \S+`)
	wrongType    = regexp.MustCompile("cannot unmarshal !!(\\w+) (`[^`]*` )?into (\\S+)")
	// What net/url says of an address that it cannot parse: all of it, and what it takes for the port.
	wrongURL = regexp.MustCompile(`parse "((?:[^"\\]|\\.)*)": (?:invalid port "(?:[^"\\]|\\.)*")?`)
	urlHost  = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*://[A-Za-z0-9.-]+(?::\d+)?)(?:[/?#]|$)`)
)

// withoutAddress leaves the host of an address that could not be parsed. The
// rest may be a secret, as that of a webhook is.
func withoutAddress(message string) string {
	m := wrongURL.FindStringSubmatch(message)
	host := "..."
	if h := urlHost.FindStringSubmatch(m[1]); h != nil {
		host = h[1] + "/..."
	}
	what := ""
	if strings.Contains(m[0], `": invalid port`) {
		what = "invalid port"
	}
	return fmt.Sprintf("parse %q: %s", host, what)
}

// place turns an error of a YAML library into one line: file:line: what.
func place(path, section string, err error) error {
	message := err.Error()
	where := path
	if m := lineNumber.FindStringSubmatch(message); m != nil {
		where, message = path+":"+m[1], m[2]
	}
	message = wrongURL.ReplaceAllStringFunc(message, withoutAddress)
	message = unknownField.ReplaceAllString(message, `unknown field "$1"`)
	message = wrongType.ReplaceAllString(message, "a $1 ${2}where a $3 is wanted")
	message = strings.ReplaceAll(message, "a config.plain is", "a string is") // a secret's own type
	lines := strings.FieldsFunc(message, func(r rune) bool { return r == '\n' })
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	message = strings.Join(lines, "; ")
	if section != "" {
		message = section + ": " + message
	}
	return fmt.Errorf("%s: %s", where, message)
}
