package alertmanager

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/alertmanager/config"
	amcommon "github.com/prometheus/alertmanager/config/common"
	"github.com/prometheus/alertmanager/notify"
	commoncfg "github.com/prometheus/common/config"
)

const hidden = "<secret>"

// maxSecretFile bounds what is read of a file that holds a secret.
const maxSecretFile = 64 << 10

var (
	userInfoRE     = regexp.MustCompile(`://([^/\s@]+)@`)
	secretFieldRE  = regexp.MustCompile(`_file$`)
	publicFieldRE  = regexp.MustCompile(`^(ca|cert|key|templates?)_file$`)
	secretHeaderRE = regexp.MustCompile(`(?i)auth|token|key|secret|cookie|passw`)
)

// secrets are what no error, log line or answer may show of a configuration.
type secrets struct {
	values []string
	files  []string // hold a secret each; they may change, so they are read when needed
}

// collectSecrets walks a configuration.
func collectSecrets(c *config.Config) *secrets {
	s := &secrets{}
	s.walk(reflect.ValueOf(c), "")
	return s
}

func (s *secrets) add(v string) {
	v = strings.TrimSpace(v)
	if v == "" || v == hidden {
		return
	}
	for _, form := range []string{v, url.QueryEscape(v), url.PathEscape(v), url.UserPassword("", v).String()[1:]} {
		if !slices.Contains(s.values, form) {
			s.values = append(s.values, form)
		}
	}
}

// addURL adds what identifies a secret address: all of it behind the host.
func (s *secrets) addURL(u *url.URL) {
	if u == nil {
		return
	}
	s.addUser(u.User)
	s.add(u.String())
	for _, part := range []string{u.RequestURI(), u.EscapedPath(), u.Path, u.RawQuery, u.Opaque} {
		if strings.Trim(part, "/") != "" {
			s.add(part)
		}
	}
}

// addText adds a secret that may be a URL.
func (s *secrets) addText(text string) {
	s.add(text)
	if u, err := url.Parse(strings.TrimSpace(text)); err == nil && u.Host != "" {
		s.addURL(u)
	}
}

func (s *secrets) addUser(u *url.Userinfo) {
	if u == nil {
		return
	}
	s.add(u.String())
	if password, ok := u.Password(); ok {
		s.add(password)
	} else {
		s.add(u.Username())
	}
}

// walk finds secrets by their types, by the names of their fields, and in the
// user part of whatever looks like a URL.
func (s *secrets) walk(v reflect.Value, field string) {
	if !v.IsValid() || !v.CanInterface() {
		return
	}
	switch x := v.Interface().(type) {
	case commoncfg.Secret:
		s.add(string(x))
	case config.SecretTemplateURL:
		s.addText(string(x))
	case amcommon.SecretTemplateURL:
		s.addText(string(x))
	case amcommon.SecretURL:
		s.addURL(x.URL)
	case *url.URL:
		if x != nil {
			s.addUser(x.User)
		}
	case commoncfg.Header:
		s.header(field, x)
	default:
		s.walkInto(v, field)
	}
}

func (s *secrets) walkInto(v reflect.Value, field string) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			s.walk(v.Elem(), field)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			s.walk(v.Index(i), field)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			s.walk(it.Value(), it.Key().String())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
			s.walk(v.Field(i), name)
		}
	case reflect.String:
		text := v.String()
		if secretFieldRE.MatchString(field) && !publicFieldRE.MatchString(field) && text != "" {
			s.files = append(s.files, text)
		}
		for _, m := range userInfoRE.FindAllStringSubmatch(text, -1) {
			s.add(m[1])
			if _, password, ok := strings.Cut(m[1], ":"); ok {
				s.add(password)
			}
		}
	}
}

func (s *secrets) header(name string, h commoncfg.Header) {
	for _, v := range h.Secrets {
		s.add(string(v))
	}
	s.files = append(s.files, h.Files...)
	if secretHeaderRE.MatchString(name) {
		for _, v := range h.Values {
			s.add(v)
		}
	}
}

// scrub replaces all secrets in a text.
func (s *secrets) scrub(text string) string {
	all := &secrets{values: slices.Clone(s.values)}
	for _, path := range s.files {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		data, err := io.ReadAll(io.LimitReader(f, maxSecretFile))
		f.Close()
		if err != nil {
			continue
		}
		all.addText(string(data))
	}
	if len(all.values) == 0 {
		return text
	}
	// At one place the longest match counts.
	slices.SortFunc(all.values, func(a, b string) int { return len(b) - len(a) })
	pairs := make([]string, 0, 2*len(all.values))
	for _, v := range all.values {
		pairs = append(pairs, v, hidden)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// scrubJSON scrubs the texts of a JSON document.
func (s *secrets) scrubJSON(data []byte) []byte {
	var v any
	if json.Unmarshal(data, &v) != nil {
		return []byte(s.scrub(string(data)))
	}
	clean, err := json.Marshal(s.scrubValue(v))
	if err != nil {
		return []byte(s.scrub(string(data)))
	}
	return append(clean, '\n')
}

func (s *secrets) scrubValue(v any) any {
	switch x := v.(type) {
	case string:
		return s.scrub(x)
	case []any:
		for i := range x {
			x[i] = s.scrubValue(x[i])
		}
	case map[string]any:
		for k := range x {
			x[k] = s.scrubValue(x[k])
		}
	}
	return v
}

// error is an error without secrets. It keeps the reason by which Alertmanager
// counts failures.
func (s *secrets) error(err error) error {
	clean := errors.New(clip(s.scrub(strings.ToValidUTF8(err.Error(), "�")), maxErrorBytes))
	if reason := (*notify.ErrorWithReason)(nil); errors.As(err, &reason) {
		return notify.NewErrorWithReason(reason.Reason, clean)
	}
	return clean
}

// scrubbing is a log handler that shows no secrets.
type scrubbing struct {
	slog.Handler
	secrets *secrets
}

// Handle implements slog.Handler.
func (h scrubbing) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, h.secrets.scrub(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(h.attr(a))
		return true
	})
	return h.Handler.Handle(ctx, clean)
}

// WithAttrs implements slog.Handler.
func (h scrubbing) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = h.attr(a)
	}
	return scrubbing{h.Handler.WithAttrs(clean), h.secrets}
}

// WithGroup implements slog.Handler.
func (h scrubbing) WithGroup(name string) slog.Handler {
	return scrubbing{h.Handler.WithGroup(name), h.secrets}
}

func (h scrubbing) attr(a slog.Attr) slog.Attr {
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindString, slog.KindAny:
		return slog.String(a.Key, h.secrets.scrub(v.String()))
	default:
		return a
	}
}
