package main

import (
	"fmt"
	"io"
	"sync"
	"unicode"
	"unicode/utf8"
)

// plainText writes text without the characters that steer a terminal: a model, a server or a file may have put them there.
// Line breaks and tabs stay and carriage returns are left out; other control characters, those that change the direction
// of text among them, are written as escapes. Bytes that are not UTF-8 become U+FFFD. It may be used concurrently.
type plainText struct {
	mu      sync.Mutex
	w       io.Writer
	partial []byte // the begin of a character whose rest comes with the next Write
}

// Write returns len(b), or the error of the writer behind.
func (p *plainText) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.partial) == 0 && harmless(b) {
		return p.w.Write(b)
	}
	text := append(p.partial, b...)
	p.partial = nil
	out := make([]byte, 0, len(text)+16)
	for len(text) > 0 {
		if !utf8.FullRune(text) {
			p.partial = append([]byte(nil), text...)
			break
		}
		r, size := utf8.DecodeRune(text)
		out = appendPlain(out, r)
		text = text[size:]
	}
	if _, err := p.w.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Close writes what is left of an incomplete character. The writer behind stays open.
func (p *plainText) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.partial) == 0 {
		return nil
	}
	p.partial = nil
	_, err := io.WriteString(p.w, string(utf8.RuneError))
	return err
}

// harmless reports whether all bytes are printable ASCII, line breaks or tabs.
func harmless(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	return true
}

func appendPlain(out []byte, r rune) []byte {
	switch {
	case r == '\r':
		return out
	case r == '\n', r == '\t':
		return append(out, byte(r))
	case r < 0x100 && unicode.IsControl(r):
		return fmt.Appendf(out, `\x%02x`, r)
	case unicode.Is(unicode.Bidi_Control, r), r == '\u2028', r == '\u2029':
		return fmt.Appendf(out, `\u%04x`, r)
	default:
		return utf8.AppendRune(out, r)
	}
}
