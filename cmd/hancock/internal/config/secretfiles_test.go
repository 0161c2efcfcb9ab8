package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSecretFiles reads every secret from a file, named in the configuration file or the environment.
func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	c := defaults()
	all := c.secretSettings()
	require.Len(t, all, 8)
	for _, s := range all {
		file := s.name() + "_file"
		t.Run(file, func(t *testing.T) {
			section, setting, _ := strings.Cut(file, ".")
			if a, b, nested := strings.Cut(setting, "."); nested {
				setting = a + ": {" + b + ": secret}"
			} else {
				setting += ": secret"
			}
			write("secret", " se same \n")
			path := filepath.Join(dir, "hancock.yml")
			text := section + ": {" + setting + "}"
			c, err := parse([]byte(text), path, defaults())
			require.NoError(t, err)
			require.NoError(t, c.ReadSecrets(true))
			require.Empty(t, c.NewKeys)
			for _, other := range c.secretSettings() {
				if other.name() == s.name() {
					require.Equal(t, "se same", string(*other.value))
				} else {
					require.Empty(t, string(*other.value))
				}
			}
			for content, want := range map[string]string{
				"":                         "secret is empty: write the secret into it",
				" \n\t\n":                  "is empty",
				"one\ntwo":                 "has more than one line or a control character",
				"a\x00b":                   "control character",
				strings.Repeat("x", 70000): "has more than 65536 bytes",
			} {
				write("secret", content)
				err := c.ReadSecrets(true)
				require.ErrorContains(t, err, want)
				require.ErrorContains(t, err, "hancock.yml:1: "+file+": ")
			}
			require.NoError(t, os.Remove(filepath.Join(dir, "secret")))
			if err = c.ReadSecrets(true); section == "web" {
				require.NoError(t, err)
				require.Len(t, c.NewKeys, 1)
				require.Regexp(t, `^[0-9a-f]{64}$`, c.NewKeys[0].Key)
			} else {
				require.ErrorContains(t, err, "no such file")
			}
			_, err = parse([]byte(strings.Replace(text, "_file: secret", "_file: secret, "+file[strings.LastIndex(file, ".")+1:len(file)-len("_file")]+": x", 1)), path, defaults())
			require.ErrorContains(t, err, file+" and "+s.name()+" are both set: keep one")
		})
	}
}

func TestSecretFilesOfTheEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(file, []byte("of the file\n"), 0o600))
	apply := func(c *Config, environment ...string) error {
		return c.ApplyEnvironment(func(name string) (string, bool) {
			for i := 0; i < len(environment); i += 2 {
				if environment[i] == name {
					return environment[i+1], true
				}
			}
			return "", false
		})
	}
	for _, v := range variables() {
		if v.secret == nil {
			continue
		}
		c := defaults()
		require.NoError(t, apply(&c, v.name+"_FILE", file))
		require.NoError(t, c.ReadSecrets(true))
		value, _ := v.secret(&c)
		require.Equal(t, "of the file", string(*value), v.name)
		require.ErrorContains(t, apply(&c, v.name+"_FILE", file, v.name, "x"), v.name+" and "+v.name+"_FILE: both are set")
		// The environment overrides the file, whichever of both it is.
		require.NoError(t, apply(&c, v.name, "of the environment"))
		require.NoError(t, c.ReadSecrets(true))
		require.Equal(t, "of the environment", string(*value), v.name)
		err := apply(&c, v.name+"_FILE", " ")
		if v.protects != "" {
			require.ErrorContains(t, err, v.name+"_FILE: set, but blank")
		} else {
			require.NoError(t, err)
		}
	}
	c := defaults()
	c.Web.APIKeyFile, c.Agent.OpenAI.APIKeyFile = file, "/no/such/file"
	require.NoError(t, c.ReadSecrets(false), "a command that asks the server needs its key only")
	require.Equal(t, "of the file", string(c.Web.APIKey))
	c.Web.APIKeyFile = filepath.Join(filepath.Dir(file), "none")
	require.ErrorContains(t, c.ReadSecrets(false), "web.api_key_file: open ")
	require.Empty(t, c.NewKeys)
}

func TestCreateKey(t *testing.T) {
	k := NewKey{"web.api_key_file", filepath.Join(t.TempDir(), "key"), "k"}
	require.NoError(t, k.Create())
	info, err := os.Stat(k.File)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	require.ErrorContains(t, k.Create(), "web.api_key_file: creating the key: ", "a file that exists is kept")
	k.File = filepath.Join(t.TempDir(), "none", "key")
	require.ErrorContains(t, k.Create(), "no such file or directory")
}
