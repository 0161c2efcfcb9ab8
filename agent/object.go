package agent

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// members are those of a JSON object, of a name given twice the last; nil when
// the body is anything else. encoding/json makes the same map in twice the time
// and more. The values share the body's memory.
func members(body []byte) map[string]json.RawMessage {
	if !json.Valid(body) {
		return nil
	}
	// Nothing below can run out of bytes, as everything stands where it has to.
	rest := skipSpace(body)
	if rest[0] != '{' {
		return nil
	}
	object := make(map[string]json.RawMessage)
	for rest = skipSpace(rest[1:]); rest[0] != '}'; {
		var key, value []byte
		key, rest = cutValue(rest)
		value, rest = cutValue(skipSpace(rest[1:])) // after the colon
		name, _ := decodeText(key)
		object[name] = value
		if rest[0] == ',' {
			rest = skipSpace(rest[1:])
		}
	}
	return object
}

func skipSpace(b []byte) []byte { return bytes.TrimLeft(b, " \t\r\n") }

// cutValue cuts the first value off, and the white space behind it.
func cutValue(b []byte) (value, rest []byte) {
	end := 0
	switch b[0] {
	case '"':
		end = textEnd(b)
	case '{', '[':
		for depth := 0; depth > 0 || end == 0; end++ {
			switch b[end] {
			case '"':
				end += textEnd(b[end:]) - 1
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
		}
	default:
		end = bytes.IndexAny(b, ",} \t\r\n")
	}
	return b[:end:end], skipSpace(b[end:])
}

// textEnd is where the text ends that b begins with.
func textEnd(b []byte) int {
	for i := 1; ; i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
}

// decodeText decodes a valid value that should be a text.
func decodeText(raw []byte) (s string, ok bool) {
	if raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw) {
		return string(raw[1 : len(raw)-1]), true
	}
	err := json.Unmarshal(raw, &s)
	return s, err == nil
}
