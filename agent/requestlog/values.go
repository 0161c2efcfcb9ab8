package requestlog

import (
	"encoding"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"reflect"
	"time"
)

// maxDepth bounds how deep lists and maps are followed.
const maxDepth = 4

// readable returns v in a form that can be read in JSON. slog's handler writes durations as nanoseconds, values without
// exported fields as {}, and others as an error of the encoder; they become texts.
func readable(v slog.Value) slog.Value {
	switch v.Kind() {
	case slog.KindDuration:
		return slog.StringValue(v.Duration().String())
	case slog.KindFloat64:
		if f := v.Float64(); math.IsNaN(f) || math.IsInf(f, 0) {
			return slog.StringValue(fmt.Sprint(f))
		}
	case slog.KindAny:
		if text, changed := readableAny(v.Any(), maxDepth); changed {
			return slog.AnyValue(text)
		}
	}
	return v
}

// readableAny returns v or what stands for it, and whether that differs. Types that write their own JSON do so, as they
// mask their secrets. Unexported fields are not shown: they may be secrets.
func readableAny(v any, depth int) (out any, changed bool) {
	r := reflect.ValueOf(v)
	if !r.IsValid() || r.Kind() == reflect.Pointer && r.IsNil() {
		return nil, r.IsValid()
	}
	switch v := v.(type) {
	case slog.LogValuer:
		return resolved(slog.AnyValue(v).Resolve(), depth), true
	case error:
		return fmt.Sprint(v), true // A method that panics becomes a text, too.
	case url.URL:
		return v.Redacted(), true
	case interface{ Redacted() string }: // *url.URL, and what embeds one.
		return v.Redacted(), true
	case time.Duration:
		return v.String(), true
	case json.Marshaler, encoding.TextMarshaler:
		return v, false
	case fmt.Stringer:
		if r.Kind() != reflect.Map && r.Kind() != reflect.Slice { // These have more in JSON than in a text.
			return fmt.Sprint(v), true
		}
	}
	return readableKind(v, r, depth)
}

// resolved returns what JSON shows for a value that is no LogValuer.
func resolved(v slog.Value, depth int) any {
	if v.Kind() != slog.KindGroup {
		out, _ := readableAny(v.Any(), depth)
		return out
	}
	named := map[string]any{}
	for _, a := range v.Group() {
		if depth > 0 {
			named[a.Key] = resolved(a.Value.Resolve(), depth-1)
		}
	}
	return named
}

func readableKind(v any, r reflect.Value, depth int) (out any, changed bool) {
	switch r.Kind() {
	case reflect.Float32, reflect.Float64:
		if f := r.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Sprint(f), true
		}
	case reflect.Complex64, reflect.Complex128:
		return fmt.Sprint(v), true
	case reflect.Chan, reflect.Func, reflect.UnsafePointer:
		return r.Type().String(), true
	case reflect.Struct:
		if !hasExported(r.Type()) {
			return r.Type().String(), true
		}
	case reflect.Pointer:
		if elem := r.Type().Elem(); elem.Kind() == reflect.Struct { // It is not copied: it may have a lock.
			if !hasExported(elem) {
				return r.Type().String(), true
			}
		} else if depth > 0 {
			return readableAny(r.Elem().Interface(), depth-1)
		}
	case reflect.Slice, reflect.Array:
		if depth == 0 || isPlainKind(r.Type().Elem()) {
			return v, false
		}
		list := make([]any, r.Len())
		for i := range list {
			one, changedOne := readableAny(r.Index(i).Interface(), depth-1)
			list[i], changed = one, changed || changedOne
		}
		return list, changed
	case reflect.Map:
		if depth == 0 || isPlainKind(r.Type().Elem()) {
			return v, false
		}
		named := make(map[string]any, r.Len())
		for _, key := range r.MapKeys() {
			one, changedOne := readableAny(r.MapIndex(key).Interface(), depth-1)
			named[fmt.Sprint(key.Interface())], changed = one, changed || changedOne
		}
		return named, changed
	}
	return v, false
}

// isPlainKind reports whether JSON shows every value of a type as it is.
func isPlainKind(t reflect.Type) bool {
	return t.NumMethod() == 0 && (t.Kind() == reflect.String || t.Kind() == reflect.Bool || t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64)
}

func hasExported(t reflect.Type) bool {
	for field := range t.Fields() {
		if field.IsExported() {
			return true
		}
	}
	return false
}
