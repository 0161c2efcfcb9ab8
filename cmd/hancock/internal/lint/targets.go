package lint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/file"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/notifier"
	"github.com/prometheus/prometheus/scrape"
	"go.yaml.in/yaml/v3"

	"github.com/cyberviser/hancock/cmd/hancock/internal/config"
)

// targets reports targets of a job that cannot be scraped after relabelling.
func (l *linter) targets(job Job) {
	l.groups(job.Config.ServiceDiscoveryConfigs, job.Path, func(g *targetgroup.Group) error {
		_, errs := scrape.TargetsFromGroup(g, job.Config, nil, labels.NewBuilder(labels.EmptyLabels()))
		return errors.Join(errs...)
	})
}

// alertmanagers reports external Alertmanagers to which nothing can be sent.
func (l *linter) alertmanagers(c *promconfig.AlertmanagerConfig, path config.Path) {
	l.client(c.HTTPClientConfig, path)
	l.groups(c.ServiceDiscoveryConfigs, path, func(g *targetgroup.Group) error {
		_, _, err := notifier.AlertmanagerFromGroup(g, c)
		return err
	})
}

// groups calls check with every target that is known without a request, one at a time.
func (l *linter) groups(configs discovery.Configs, path config.Path, check func(*targetgroup.Group) error) {
	files := 0
	for _, c := range configs {
		switch c := c.(type) {
		case discovery.StaticConfig:
			for i, group := range c {
				l.group(group, path.At("static_configs", i), check)
			}
		case *file.SDConfig:
			for i, pattern := range c.Files {
				l.targetFiles(pattern, path.At("file_sd_configs", files, "files", i), check)
			}
			files++
		}
	}
}

func (l *linter) group(group *targetgroup.Group, path config.Path, check func(*targetgroup.Group) error) {
	for i, target := range group.Targets {
		err := check(&targetgroup.Group{Targets: []model.LabelSet{target}, Labels: group.Labels, Source: group.Source})
		if err == nil {
			continue
		}
		remedy := "correct the target or its relabelling"
		if strings.Contains(string(target[model.AddressLabel]), "://") {
			remedy = "write host:port and set scheme and path beside it, or replace __address__ in relabel_configs"
		}
		l.fail(path.At("targets", i), withoutPosition(err), remedy)
	}
}

// withoutPosition returns err without its position in a group, which the place of the finding has.
func withoutPosition(err error) string {
	if joined, ok := err.(interface{ Unwrap() []error }); ok && len(joined.Unwrap()) > 0 {
		err = joined.Unwrap()[0]
	}
	if _, what, ok := strings.Cut(err.Error(), ": "); ok && strings.HasPrefix(err.Error(), "instance ") {
		return what
	}
	return err.Error()
}

// targetFiles reports files of targets that are missing, broken or have wrong targets.
func (l *linter) targetFiles(pattern string, path config.Path, check func(*targetgroup.Group) error) {
	found, err := filepath.Glob(pattern)
	if err != nil {
		l.fail(path, err.Error(), "correct the pattern")
		return
	}
	if len(found) == 0 {
		l.warn(path, "no files match "+pattern, "create a file of targets or correct the path")
	}
	for _, name := range found {
		groups, err := readTargets(name)
		if err != nil {
			l.fail(path, name+": "+reason(err), "correct the file")
			continue
		}
		document := config.ReadDocument(name)
		for i, g := range groups {
			l.group(g, config.Path{document, i}, check)
		}
	}
}

// readTargets reads a file of targets as file_sd_configs does.
func readTargets(name string) (groups []*targetgroup.Group, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	switch ext := strings.ToLower(filepath.Ext(name)); ext {
	case ".json":
		err = json.Unmarshal(text, &groups)
	case ".yml", ".yaml":
		d := yaml.NewDecoder(bytes.NewReader(text))
		d.KnownFields(true)
		if err = d.Decode(&groups); errors.Is(err, io.EOF) {
			err = nil
		}
	default:
		return nil, fmt.Errorf("expected a name that ends in .json, .yml or .yaml, got %q", ext)
	}
	if err != nil {
		return nil, err
	}
	if i := slices.Index(groups, nil); i >= 0 {
		return nil, fmt.Errorf("entry %d of the list is empty", i)
	}
	for i, g := range groups {
		g.Source = fmt.Sprintf("%s:%d", name, i)
	}
	return groups, nil
}

// JobLabels returns the values that the label job of scraped series can have, or nil if they depend on what service
// discovery returns.
func JobLabels(c config.Config) (values []string) {
	for _, job := range Jobs(c) {
		of, known := job.labels()
		if !known {
			return nil
		}
		values = append(values, of...)
	}
	slices.Sort(values)
	return slices.Compact(values)
}

func (j Job) labels() (values []string, known bool) {
	values = []string{j.Config.JobName}
	for _, c := range j.Config.ServiceDiscoveryConfigs {
		var groups []*targetgroup.Group
		static, isStatic := c.(discovery.StaticConfig)
		if isStatic {
			groups = static
		} else if slices.ContainsFunc(j.Config.RelabelConfigs, setsJob) {
			return nil, false // What it is set to depends on the targets.
		}
		if files, ok := c.(*file.SDConfig); ok {
			for _, pattern := range files.Files {
				found, _ := filepath.Glob(pattern)
				for _, name := range found {
					of, _ := readTargets(name)
					groups = append(groups, of...)
				}
			}
		}
		for _, g := range groups {
			targets, _ := scrape.TargetsFromGroup(g, j.Config, nil, labels.NewBuilder(labels.EmptyLabels()))
			for _, t := range targets {
				job := t.Labels(labels.NewBuilder(labels.EmptyLabels())).Get(model.JobLabel)
				if !isStatic && job != j.Config.JobName {
					return nil, false // The file may have others later.
				}
				values = append(values, job)
			}
		}
	}
	return values, true
}

// setsJob reports whether relabelling may change the label job.
func setsJob(c *relabel.Config) bool {
	return c.Action == relabel.LabelMap || c.TargetLabel == model.JobLabel || strings.Contains(c.TargetLabel, "$")
}
