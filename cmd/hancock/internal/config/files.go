package config

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	amconfig "github.com/prometheus/alertmanager/config"
	"github.com/prometheus/prometheus/discovery"
)

// EachFile calls visit with every setting below v, a pointer to a configuration at path, that names a file to read:
// credentials, certificates, keys and addresses. visit may change the name.
func EachFile(v any, path Path, visit func(path Path, name *string)) {
	eachFile(reflect.ValueOf(v), path, visit)
}

func eachFile(v reflect.Value, path Path, visit func(Path, *string)) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			eachFile(v.Elem(), path, visit)
		}
	case reflect.Slice:
		for i := range v.Len() {
			eachFile(v.Index(i), path.At(i), visit)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			if key.Kind() == reflect.String {
				eachFile(v.MapIndex(key), path.At(key.String()), visit)
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() {
				eachFileOfField(field, v.Field(i), path, visit)
			}
		}
	}
}

func eachFileOfField(field reflect.StructField, v reflect.Value, path Path, visit func(Path, *string)) {
	name, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
	configs, isDiscovery := reflect.TypeAssert[discovery.Configs](v)
	switch {
	case isDiscovery:
		count := map[string]int{}
		for _, c := range configs {
			if _, static := c.(discovery.StaticConfig); !static {
				eachFile(reflect.ValueOf(c), path.At(c.Name()+"_sd_configs", count[c.Name()]), visit)
				count[c.Name()]++
			}
		}
	case slices.Contains(strings.Split(options, ","), "inline"):
		eachFile(v, path, visit)
	case name == "" || name == "-":
	case readsFile(name) && v.Kind() == reflect.String:
		visitFile(v, path.At(name), visit)
	case name == "files" && field.Type == reflect.TypeFor[[]string]() && len(path) > 1 && path[len(path)-2] == "http_headers":
		for i := range v.Len() {
			visitFile(v.Index(i), path.At(name, i), visit)
		}
	default:
		eachFile(v, path.At(name), visit)
	}
}

func visitFile(v reflect.Value, path Path, visit func(Path, *string)) {
	if file := v.String(); file != "" {
		visit(path, &file)
		v.SetString(file)
	}
}

// readsFile tells the settings by their names. Log files are written.
func readsFile(name string) bool {
	return (strings.HasSuffix(name, "_file") || strings.HasSuffix(name, "_file_path")) && !strings.HasSuffix(name, "_log_file")
}

// setDirectory makes the paths in c relative to dir: those of templates, of HTTP clients and of receivers. Alertmanager
// leaves the last ones, such as url_file, relative to the working directory.
func setDirectory(c *amconfig.Config, dir string) error {
	// Receivers share settings of global, and only an absolute path can be joined twice.
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	for i, t := range c.Templates {
		c.Templates[i] = relativeTo(dir, t)
	}
	EachFile(c, nil, func(_ Path, name *string) { *name = relativeTo(dir, *name) })
	return nil
}
