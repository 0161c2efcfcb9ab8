package config

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPlaces asks for the lines of settings, wherever they are written.
func TestPlaces(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "alertmanager.yml", "route:\n  receiver: a\n  repeat_interval: 1h\nreceivers:\n  - name: a\n")
	path := write(t, dir, "hancock.yml", `
		web: {listen_address: '127.0.0.1:1'}
		prometheus:
		  scrape_configs:
		    - job_name: one
		      basic_auth: &auth
		        username: u
		        password_file: p
		    - job_name: two
		      basic_auth:
		        <<: *auth
		        username: v
		    - {job_name: three, basic_auth: *auth}
		alertmanager: alertmanager.yml
	`)
	c, err := Load(path, defaults())
	require.NoError(t, err)
	for _, tc := range []struct {
		name    string
		path    Path
		place   string
		written bool
		setting string
	}{
		{"own section", Path{"web", "listen_address"}, path + ":2", true, "web.listen_address"},
		{"not written", Path{"web", "external_url"}, path + ":2", false, "web.external_url"},
		{"missing section", Path{"agent", "log", "max_file_size"}, path, false, "agent.log.max_file_size"},
		{"list", Path{"prometheus", "scrape_configs", 0, "basic_auth", "password_file"}, path + ":8", true, "prometheus.scrape_configs[0].basic_auth.password_file"},
		{"merge key", Path{"prometheus", "scrape_configs", 1, "basic_auth", "password_file"}, path + ":8", true, "prometheus.scrape_configs[1].basic_auth.password_file"},
		{"overrides the merge key", Path{"prometheus", "scrape_configs", 1, "basic_auth", "username"}, path + ":12", true, "prometheus.scrape_configs[1].basic_auth.username"},
		{"alias", Path{"prometheus", "scrape_configs", 2, "basic_auth", "username"}, path + ":7", true, "prometheus.scrape_configs[2].basic_auth.username"},
		{"index out of range", Path{"prometheus", "scrape_configs", 3}, path + ":4", false, "prometheus.scrape_configs[3]"},
		{"section in a file", Path{"alertmanager", "route", "repeat_interval"}, file + ":3", true, "alertmanager.route.repeat_interval"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			place, written := c.Sources.Place(tc.path)
			require.Equal(t, tc.place, place)
			require.Equal(t, tc.written, written)
			require.Equal(t, tc.setting, tc.path.String())
		})
	}
	other := Path{ReadDocument(path), "prometheus", "scrape_configs", 0, "basic_auth", "username"}
	place, written := c.Sources.Place(other)
	require.Equal(t, path+":7", place)
	require.True(t, written)
	require.Equal(t, "prometheus.scrape_configs[0].basic_auth.username", other.String())
	require.Equal(t, 3, ReadDocument(path).Len(Path{"prometheus", "scrape_configs"}))
	require.Zero(t, ReadDocument(path).Len(Path{"prometheus", "remote_write"}))
	for _, d := range []*Document{ReadDocument(filepath.Join(dir, "missing.yml")), ParseDocument("broken.yml", []byte("a: [")), ParseDocument("empty.yml", nil)} {
		place, written = d.Place(Path{"a", 0})
		require.Equal(t, d.name, place)
		require.False(t, written)
	}
	place, written = (*Sources)(nil).Place(Path{"web"})
	require.Empty(t, place)
	require.False(t, written)
}

func TestFindingTexts(t *testing.T) {
	findings := []Finding{
		{Hint, "a.yml:1", "alertmanager", "unusual", ""},
		{Warning, "a.yml:3", "alertmanager.route", "no route", "add one"},
		{Error, "a.yml:9", "prometheus.remote_write[0].url", "not\nan address", ""},
		{Severity: Warning, Problem: "nothing else is known"},
	}
	SortFindings(findings)
	var texts []string
	for _, f := range findings {
		texts = append(texts, f.String())
	}
	require.Equal(t, []string{
		"a.yml:9: prometheus.remote_write[0].url: not an address",
		"a.yml:3: warning: alertmanager.route: no route: add one",
		"warning: nothing else is known",
		"a.yml:1: hint: alertmanager: unusual",
	}, texts)
}
