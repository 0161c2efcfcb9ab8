// Package lint finds settings that are valid and cannot work, or that are hardly intended: what promtool and amtool
// refuse or warn about, and mistakes in routing that neither of them sees.
package lint

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	commonconfig "github.com/prometheus/common/config"
	promconfig "github.com/prometheus/prometheus/config"

	"github.com/cyberviser/hancock/alerting/rulecheck"
	"github.com/cyberviser/hancock/cmd/hancock/internal/config"
	"github.com/cyberviser/hancock/internal/amcompat"
)

// Input is a configuration that loads, and what is known of it.
type Input struct {
	Config config.Config
	// Retention is how long the notification log is kept, Lookback how old a sample may be that a query still returns.
	Retention, Lookback time.Duration
	// Rules are the rule files with their texts.
	Rules []rulecheck.File
	// Alerts are those of all alerting rules.
	Alerts []rulecheck.Alert
	// Now is the time from which time intervals are expected to match; zero is the current time.
	Now time.Time
}

// linter collects findings.
type linter struct {
	Input
	findings []config.Finding
}

// Check returns the findings on a configuration in the order of its sections. It reads the files that the configuration
// names and changes nothing.
func Check(in Input) []config.Finding {
	amcompat.Init()
	l := &linter{Input: in}
	if l.Now.IsZero() {
		l.Now = time.Now()
	}
	l.prometheus()
	l.rules()
	l.alertmanager()
	config.SortFindings(l.findings)
	return l.findings
}

func (l *linter) fail(path config.Path, problem, remedy string) {
	l.findings = append(l.findings, l.Config.Finding(config.Error, path, problem, remedy))
}

func (l *linter) warn(path config.Path, problem, remedy string) {
	l.findings = append(l.findings, l.Config.Finding(config.Warning, path, problem, remedy))
}

func (l *linter) hint(path config.Path, problem, remedy string) {
	l.findings = append(l.findings, l.Config.Finding(config.Hint, path, problem, remedy))
}

// written reports whether the setting at path is in a file, rather than a default or a copy of a global setting.
func (l *linter) written(path config.Path) bool {
	_, written := l.Config.Sources.Place(path)
	return written
}

// prometheus checks the section of that name.
func (l *linter) prometheus() {
	p := l.Config.Prometheus
	if p == nil {
		return
	}
	top := config.Path{"prometheus"}
	l.files(p, top)
	l.ruleFiles()
	l.patterns(top.At("scrape_config_files"), p.ScrapeConfigFiles)
	for _, job := range Jobs(l.Config) {
		if _, ours := job.Path[0].(string); !ours {
			l.files(job.Config, job.Path)
		}
		l.client(job.Config.HTTPClientConfig, job.Path)
		l.targets(job)
		if l.Lookback > 0 && time.Duration(job.Config.ScrapeInterval) >= l.Lookback {
			l.warn(job.Path.At("scrape_interval"), "samples are stale before the next scrape, as the interval is not shorter than storage.query.lookback_delta ("+
				short(l.Lookback)+")", "shorten the interval")
		}
	}
	for i, c := range p.RemoteWriteConfigs {
		l.client(c.HTTPClientConfig, top.At("remote_write", i))
	}
	for i, c := range p.RemoteReadConfigs {
		l.client(c.HTTPClientConfig, top.At("remote_read", i))
	}
	for i, c := range p.AlertingConfig.AlertmanagerConfigs {
		l.alertmanagers(c, top.At("alerting", "alertmanagers", i))
	}
}

// MissingFiles returns the findings on files that cannot be read. It takes configurations that do not load for lack of
// such a file, too.
func MissingFiles(c config.Config) []config.Finding {
	l := &linter{Input: Input{Config: c}}
	if c.Prometheus != nil {
		l.files(c.Prometheus, config.Path{"prometheus"})
		l.ruleFiles()
	}
	if c.Alertmanager != nil {
		l.files(c.Alertmanager, config.Path{"alertmanager"})
	}
	return l.findings
}

// files reports files that settings below path name and that cannot be read.
func (l *linter) files(v any, path config.Path) {
	config.EachFile(v, path, func(path config.Path, name *string) {
		if len(path) > 1 && (path[1] == "tracing" || path[1] == "event_recorder") {
			return // These sections have no effect.
		}
		if len(path) > 1 && path[len(path)-1] == "credentials_file" && !l.written(path) {
			path = append(path[:len(path)-2:len(path)-2], "bearer_token_file") // The loader turns it into the newer one.
		}
		if l.written(path) {
			l.file(path, *name)
		}
	})
}

func (l *linter) file(path config.Path, name string) {
	f, err := os.Open(name)
	if err == nil {
		defer f.Close()
	}
	switch info, statErr := os.Stat(name); {
	case errors.Is(err, fs.ErrNotExist):
		l.fail(path, "the file "+name+" does not exist", "create it or correct the path")
	case errors.Is(err, fs.ErrPermission):
		l.warn(path, "this user may not read the file "+name, "give the user that runs the server access to it")
	case err != nil:
		l.fail(path, "cannot read the file "+name+" ("+reason(err)+")", "correct the path")
	case statErr == nil && info.IsDir():
		l.warn(path, name+" is a directory", "name a file in it") // promtool accepts it.
	}
}

// reason returns err without the path that it repeats.
func reason(err error) string {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err.Error()
	}
	return err.Error()
}

// ruleFiles reports names of rule files that promtool refuses: those without an asterisk that no file matches.
func (l *linter) ruleFiles() {
	for i, name := range l.Config.Prometheus.RuleFiles {
		if found, err := filepath.Glob(name); err == nil && len(found) == 0 && !strings.Contains(name, "*") {
			l.fail(config.Path{"prometheus", "rule_files", i}, "the file "+name+" does not exist", "create it or correct the path")
		}
	}
}

// patterns reports names and patterns that no file matches.
func (l *linter) patterns(path config.Path, patterns []string) {
	for i, pattern := range patterns {
		if found, err := filepath.Glob(pattern); err == nil && len(found) == 0 {
			l.warn(path.At(i), "no files match "+pattern, "correct the pattern or create a file")
		}
	}
}

// client reports certificates that an HTTP client does not accept. Files that are missing are reported by their names.
func (l *linter) client(c commonconfig.HTTPClientConfig, path config.Path) {
	for _, name := range []string{c.TLSConfig.CAFile, c.TLSConfig.CertFile, c.TLSConfig.KeyFile} {
		if f, err := os.Open(name); name != "" && err != nil {
			return
		} else if err == nil {
			f.Close()
		}
	}
	if _, err := commonconfig.NewTLSConfig(&c.TLSConfig); err != nil {
		l.fail(path.At("tls_config"), err.Error(), "use PEM files that belong together")
	}
}

// Job is one scrape configuration.
type Job struct {
	Path   config.Path
	Config *promconfig.ScrapeConfig
}

// Jobs returns the scrape configurations of the prometheus section and of its scrape_config_files.
func Jobs(c config.Config) (jobs []Job) {
	if c.Prometheus == nil {
		return nil
	}
	all, err := c.Prometheus.GetScrapeConfigs()
	if err != nil {
		all = c.Prometheus.ScrapeConfigs // The loader reports the error.
	}
	for i := range c.Prometheus.ScrapeConfigs {
		jobs = append(jobs, Job{config.Path{"prometheus", "scrape_configs", i}, all[i]})
	}
	// The loader appends those of the files in the order of the patterns and of the names that match.
	rest := all[len(jobs):]
	for _, pattern := range c.Prometheus.ScrapeConfigFiles {
		found, _ := filepath.Glob(pattern)
		for _, file := range found {
			document := config.ReadDocument(file)
			for i := range min(document.Len(config.Path{"scrape_configs"}), len(rest)) {
				jobs = append(jobs, Job{config.Path{document, "scrape_configs", i}, rest[i]})
			}
			rest = rest[min(document.Len(config.Path{"scrape_configs"}), len(rest)):]
		}
	}
	return slices.Clip(jobs)
}
