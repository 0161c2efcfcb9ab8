package main

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPrecedence sets the same option in every place.
func TestPrecedence(t *testing.T) {
	const file = "web: {listen_address: '127.0.0.1:1111'}\nagent: {backend: nvidia}\nstorage: {path: real}\n"
	for _, tc := range []struct {
		name, file string
		env        map[string]string
		args       []string
		address    string
		path       string
	}{
		{"default", "", nil, nil, "127.0.0.1:5000", "data"},
		{"file", file, nil, nil, "127.0.0.1:1111", "real"},
		{"environment over file", file, map[string]string{"HANCOCK_PORT": "2222"}, nil, "127.0.0.1:2222", "real"},
		{"flag over environment", file, map[string]string{"HANCOCK_PORT": "2222"}, []string{"--web.listen-address=127.0.0.1:3333"}, "127.0.0.1:3333", "real"},
		{"flag that is the default", file, nil, []string{"--storage.path=data"}, "127.0.0.1:1111", "data"},
		{"a demonstration has a folder of its own", file, nil, []string{"demo"}, "127.0.0.1:1111", "demo-data"},
		{"unless told otherwise", file, nil, []string{"demo", "--storage.path=elsewhere"}, "127.0.0.1:1111", "elsewhere"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			if tc.file != "" {
				require.NoError(t, os.WriteFile(filepath.Join(dir, defaultConfigFile), []byte(tc.file), 0o600))
			}
			inv, err := parseCommandLine(tc.args, func(name string) (string, bool) { v, set := tc.env[name]; return v, set }, io.Discard)
			require.NoError(t, err)
			require.Equal(t, tc.address, inv.config.Web.ListenAddress)
			require.Equal(t, tc.path, inv.config.Storage.Path)
			require.Equal(t, tc.address, inv.flags["web.listen-address"])
		})
	}
}
