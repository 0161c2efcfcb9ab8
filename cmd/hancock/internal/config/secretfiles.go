package config

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"unicode"

	"github.com/prometheus/common/config"
)

// maxSecret is the size of the largest file with a secret, in bytes.
const maxSecret = 64 << 10

// newKeyBytes is the length of a key that is created, before it is written in hexadecimal digits.
const newKeyBytes = 32

// NewKey is a key for a file that does not exist.
type NewKey struct {
	Setting, File, Key string
}

// secretSetting is a secret of Hancock's own sections and the setting that names a file with it.
type secretSetting struct {
	path  Path // of the secret; that of the file ends in _file
	value *config.Secret
	file  *string
}

func (s secretSetting) name() string { return s.path.String() }

// created reports whether the file is created if it does not exist.
func (s secretSetting) created() bool { return s.path[0] == "web" }

// secretSettings returns all secrets of c, which may be in files.
func (c *Config) secretSettings() (all []secretSetting) {
	var walk func(v reflect.Value, path Path)
	walk = func(v reflect.Value, path Path) {
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
			switch f := v.Field(i); {
			case f.Type() == reflect.TypeFor[config.Secret]():
				file := v.FieldByName(v.Type().Field(i).Name + "File")
				all = append(all, secretSetting{path.At(name), f.Addr().Interface().(*config.Secret), file.Addr().Interface().(*string)})
			case f.Kind() == reflect.Struct:
				walk(f, path.At(name))
			}
		}
	}
	walk(reflect.ValueOf(&c.Web).Elem(), Path{"web"})
	walk(reflect.ValueOf(&c.Agent).Elem(), Path{"agent"})
	return all
}

// placeSecretFiles makes the paths of a configuration file in dir relative to it. A secret and a file with it are an error.
func (c *Config) placeSecretFiles(dir string) error {
	for _, s := range c.secretSettings() {
		if *s.value != "" && *s.file != "" {
			return c.secretError(s, "and "+s.name()+" are both set: keep one")
		}
		*s.file = relativeTo(dir, *s.file)
	}
	return nil
}

// secretError is an error of the setting that names the file of a secret, with its place.
func (c *Config) secretError(s secretSetting, problem string) error {
	name := s.name() + "_file"
	path := append(Path{}, s.path...)
	path[len(path)-1] = fmt.Sprint(path[len(path)-1]) + "_file"
	if place, found := c.Sources.Place(path); found {
		name = place + ": " + name
	}
	separator := ": "
	if strings.HasPrefix(problem, "and ") {
		separator = " "
	}
	return errors.New(name + separator + problem)
}

// ReadSecrets reads the secrets that are in files. Without all only that of the API key is read, for commands that send
// it. A file for a key of the server that does not exist gets a new key, which is in NewKeys and not in the file yet.
func (c *Config) ReadSecrets(all bool) error {
	var errs []error
	for _, s := range c.secretSettings() {
		if *s.file == "" || !all && s.value != &c.Web.APIKey {
			continue
		}
		value, err := readSecret(*s.file)
		if all && s.created() && errors.Is(err, fs.ErrNotExist) {
			random := make([]byte, newKeyBytes)
			_, _ = rand.Read(random) // never fails
			value, err = hex.EncodeToString(random), nil
			c.NewKeys = append(c.NewKeys, NewKey{s.name() + "_file", *s.file, value})
		}
		if err != nil {
			errs = append(errs, c.secretError(s, err.Error()))
			continue
		}
		*s.value = config.Secret(value)
	}
	return errors.Join(errs...)
}

// readSecret returns the text of a file without the space around it.
func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(string(text))
	switch {
	case len(text) > maxSecret:
		return "", fmt.Errorf("%s has more than %d bytes: name a file that has the secret only", path, maxSecret)
	case secret == "":
		return "", fmt.Errorf("%s is empty: write the secret into it, or remove the file if a start creates it", path)
	case strings.ContainsFunc(secret, unicode.IsControl):
		return "", fmt.Errorf("%s has more than one line or a control character: name a file that has the secret only", path)
	}
	return secret, nil
}

// Create writes the key into its file, which only the user of this process may read.
func (k NewKey) Create() (err error) {
	f, err := os.OpenFile(k.File, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("%s: creating the key: %w", k.Setting, err)
	}
	_, err = f.WriteString(k.Key + "\n")
	if err = errors.Join(err, f.Sync(), f.Close(), syncDir(filepath.Dir(k.File))); err != nil {
		return errors.Join(fmt.Errorf("%s: writing the key: %w", k.Setting, err), os.Remove(k.File))
	}
	return nil
}

// syncDir persists the entries of a directory.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
