package alertmanager

import (
	"slices"
	"strings"
)

// maxEntity is the length of the longest entity that a text may end in.
const maxEntity = 32

// cutHTML returns at most the first n bytes of HTML, in which no tag and no
// entity is cut in two, and closes what is open there.
func cutHTML(s string, n int) string {
	if n >= len(s) {
		return s
	}
	s = cutText(s, n)
	if open := strings.LastIndexByte(s, '<'); open > strings.LastIndexByte(s, '>') {
		s = s[:open]
	}
	if amp := strings.LastIndexByte(s, '&'); amp >= 0 && len(s)-amp <= maxEntity && !strings.Contains(s[amp:], ";") {
		s = s[:amp]
	}
	var b strings.Builder
	b.WriteString(s)
	for _, tag := range slices.Backward(openTags(s)) {
		b.WriteString("</" + tag + ">")
	}
	return b.String()
}

// openTags returns the names of the elements that are open at the end.
func openTags(s string) []string {
	var open []string
	for {
		start := strings.IndexByte(s, '<')
		if start < 0 {
			return open
		}
		s = s[start+1:]
		if rest, ok := strings.CutPrefix(s, "!--"); ok {
			_, s, _ = strings.Cut(rest, "-->")
			continue
		}
		tag, rest, ok := strings.Cut(s, ">")
		if !ok {
			return open
		}
		s = rest
		closing := strings.HasPrefix(tag, "/")
		name := strings.ToLower(strings.TrimPrefix(tag, "/"))
		if end := strings.IndexAny(name, " \t\r\n/"); end >= 0 {
			name = name[:end]
		}
		switch {
		case name == "" || strings.HasPrefix(name, "!") || strings.HasSuffix(tag, "/") || isVoid(name):
		case !closing:
			open = append(open, name)
		default:
			if i := lastIndex(open, name); i >= 0 {
				open = open[:i]
			}
		}
	}
}

func lastIndex(names []string, name string) int {
	for i, n := range slices.Backward(names) {
		if n == name {
			return i
		}
	}
	return -1
}

// isVoid reports whether an element of HTML has no end tag.
func isVoid(name string) bool {
	switch name {
	case "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr":
		return true
	default:
		return false
	}
}
