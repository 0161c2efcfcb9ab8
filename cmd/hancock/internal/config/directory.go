package config

import (
	"path/filepath"
	"reflect"

	amconfig "github.com/prometheus/alertmanager/config"
	"github.com/prometheus/common/config"
)

// setDirectory makes the paths in c relative to dir, as Alertmanager does for
// a file of its own: those of templates and those of the HTTP clients of
// receivers.
func setDirectory(c *amconfig.Config, dir string) error {
	// Receivers share the HTTP settings of global, and only a path that is
	// absolute can be joined twice.
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	for i, t := range c.Templates {
		c.Templates[i] = relativeTo(dir, t)
	}
	setDirectories(reflect.ValueOf(c), dir, make(map[any]bool))
	return nil
}

// setDirectories looks for the settings of HTTP clients below v. seen are the
// pointers that were followed.
func setDirectories(v reflect.Value, dir string, seen map[any]bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() || !v.CanInterface() || seen[v.Interface()] {
			return
		}
		seen[v.Interface()] = true
		if client, ok := reflect.TypeAssert[*config.HTTPClientConfig](v); ok {
			client.SetDirectory(dir)
			return
		}
		setDirectories(v.Elem(), dir, seen)
	case reflect.Slice:
		for i := range v.Len() {
			setDirectories(v.Index(i), dir, seen)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				setDirectories(v.Field(i), dir, seen)
			}
		}
	}
}
