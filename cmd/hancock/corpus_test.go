package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	amconfig "github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/template"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/internal/amcompat"
)

// checkSection runs check on a hancock.yml whose one section is the file.
func checkSection(t *testing.T, section, file string, flags ...string) (passed bool, out string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hancock.yml")
	require.NoError(t, os.WriteFile(path, []byte(section+": "+file+"\n"), 0o600))
	var std bytes.Buffer
	status := run(append([]string{"--config.file=" + path, "check"}, flags...), noEnvironment, streams{out: &std, err: &std})
	require.Contains(t, []int{0, 2}, status, std.String())
	return status == 0, std.String()
}

func moduleDir(t *testing.T, module string) string {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(dir))
}

// TestConfigurationsOfPrometheus checks the files that Prometheus tests its loader and promtool with: those that are
// named bad are refused, those that are named good are not.
func TestConfigurationsOfPrometheus(t *testing.T) {
	const (
		discovery = "names a service discovery that is not built in"
		missing   = "names a file that does not exist, which promtool refuses, too"
		rules     = "is a file of rules"
	)
	exceptions := map[string]string{ // Why a good file is refused.
		"conf.good.yml": discovery, "roundtrip.good.yml": discovery, "scrape_config_files_glob.good.yml": discovery,
		"kubernetes_empty_apiserver.good.yml": discovery, "kubernetes_kubeconfig_without_apiserver.good.yml": discovery,
		"kubernetes_selectors_endpoints.good.yml": discovery, "kubernetes_selectors_ingress.good.yml": discovery, "kubernetes_selectors_node.good.yml": discovery,
		"kubernetes_selectors_pod.good.yml": discovery, "kubernetes_selectors_service.good.yml": discovery,
		"rules_abs_path.good.yml": missing, "rules_abs_path_windows.good.yml": missing,
		"prometheus-config.rules.good.yml": rules, "prometheus-aws-sd-empty-region.good.yml": discovery,
	}
	dir := moduleDir(t, "github.com/prometheus/prometheus")
	seen := map[string]bool{}
	for _, pattern := range []string{"config/testdata/*.yml", "cmd/promtool/testdata/*.yml"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		require.NoError(t, err)
		for _, file := range files {
			name := filepath.Base(file)
			good, bad := strings.HasSuffix(name, ".good.yml"), strings.HasSuffix(name, ".bad.yml")
			if !good && !bad {
				continue
			}
			t.Run(name, func(t *testing.T) {
				passed, out := checkSection(t, "prometheus", file)
				_, excepted := exceptions[name]
				require.Equal(t, good && !excepted, passed, "%s %s", out, exceptions[name])
			})
			seen[name] = true
		}
	}
	require.Greater(t, len(seen), 180)
	for name := range exceptions {
		require.True(t, seen[name], "%s is an exception that is not needed", name)
	}
}

// TestWarningsOfPromtool checks the files of promtool's tests that it refuses or warns about for what they name.
func TestWarningsOfPromtool(t *testing.T) {
	dir := filepath.Join(moduleDir(t, "github.com/prometheus/prometheus"), "cmd/promtool/testdata")
	for name, want := range map[string]string{
		"config_with_rule_files.yml":                          `non-existent-file.yml: file does not exist`,
		"config_with_tls_files.yml":                           `config_with_tls_files.yml:\d+: prometheus.scrape_configs\[0\].tls_config.cert_file: the file \S*nonexistent_cert_file.yml does not exist`,
		"config_with_service_discovery_files.yml":             `prometheus.scrape_configs\[0\].file_sd_configs\[0\].files\[0\]: no files match`,
		"prometheus-config.lint.too_long_scrape_interval.yml": `warning: prometheus.scrape_configs\[0\].scrape_interval: samples are stale`,
	} {
		t.Run(name, func(t *testing.T) {
			passed, out := checkSection(t, "prometheus", filepath.Join(dir, name), "--strict")
			require.False(t, passed)
			require.Regexp(t, want, out)
		})
	}
	for _, name := range []string{"rules_duplicates.yml", "prometheus-rules.lint.yml"} {
		t.Run(name, func(t *testing.T) {
			section := filepath.Join(t.TempDir(), "prometheus.yml")
			require.NoError(t, os.WriteFile(section, []byte("rule_files: ["+filepath.Join(dir, name)+"]\n"), 0o600))
			passed, out := checkSection(t, "prometheus", section, "--strict")
			require.False(t, passed)
			require.Regexp(t, name+`:\d+: warning: groups\[\d\].rules\[\d\]: rule \S+ has the name and the labels of the rule at \S+`+name+`:\d+`, out)
		})
	}
}

// TestConfigurationsOfAlertmanager compares check with what amtool check-config calls, on all files of Alertmanager's
// tests and examples. check also refuses what names a file that does not exist.
func TestConfigurationsOfAlertmanager(t *testing.T) {
	amcompat.Init()
	dir := moduleDir(t, "github.com/prometheus/alertmanager")
	compared := 0
	for _, pattern := range []string{"config/testdata/*.yml", "cli/testdata/*.yml", "doc/examples/*.yml", "examples/ha/alertmanager.yml"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		require.NoError(t, err)
		for _, file := range files {
			t.Run(strings.TrimPrefix(file, dir+"/"), func(t *testing.T) {
				c, err := amconfig.LoadFile(file)
				if err == nil {
					_, err = template.FromGlobs(c.Templates)
				}
				passed, out := checkSection(t, "alertmanager", file)
				if err == nil && !passed {
					require.Regexp(t, `_file: the file \S+ does not exist`, out)
					return
				}
				require.Equal(t, err == nil, passed, "amtool: %v, check: %s", err, out)
			})
			compared++
		}
	}
	require.Greater(t, compared, 45)
}
