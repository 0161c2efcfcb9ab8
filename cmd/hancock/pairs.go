package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// pairs is the value of a flag that may be given several times, each time as NAME=VALUE. A name that contains '=' is
// quoted, as in matchers; the value may be.
type pairs map[string]string

// Set implements kingpin.Value.
func (p pairs) Set(s string) error {
	name, value, found := strings.Cut(s, "=")
	if quoted, err := strconv.QuotedPrefix(s); err == nil {
		if name, err = strconv.Unquote(quoted); err != nil {
			return fmt.Errorf("%s: invalid quoted name: %w", s, err)
		}
		value, found = strings.CutPrefix(s[len(quoted):], "=")
		if unquoted, err := strconv.Unquote(value); err == nil {
			value = unquoted
		}
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("%q is not valid UTF-8", s)
	}
	if !found || name == "" {
		return fmt.Errorf("expected NAME=VALUE, got %q", s)
	}
	p[name] = value
	return nil
}

// String implements kingpin.Value.
func (p pairs) String() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(p)) {
		all = append(all, strconv.Quote(name)+"="+strconv.Quote(p[name]))
	}
	return strings.Join(all, ", ")
}

// IsCumulative says that the flag may be repeated.
func (pairs) IsCumulative() bool { return true }
