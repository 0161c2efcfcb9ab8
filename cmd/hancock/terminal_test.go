package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// TestPlainText writes each text whole, and split at every byte.
func TestPlainText(t *testing.T) {
	for text, want := range map[string]string{
		"plain\n\ttext":             "plain\n\ttext",
		"Grüße, 日本語 \U0001F600":     "Grüße, 日本語 \U0001F600",
		"\x1b[2J\x1b]52;c;aGk=\x07": `\x1b[2J\x1b]52;c;aGk=\x07`,
		"\u009b2J\u0085\u009d8;;x":  `\x9b2J\x85\x9d8;;x`,
		"admin\r\nroot\rsafe":       "admin\nrootsafe",
		"rm -rf /\b\b\b\x7f\x00":    `rm -rf /\x08\x08\x08\x7f\x00`,
		"\u202egnp.exe\u2066\u200f": `\u202egnp.exe\u2066\u200f`,
		"one\u2028two\u2029":        `one\u2028two\u2029`,
		"\xff\xfe\x9b2J\xc3":        "\uFFFD\uFFFD\uFFFD2J\uFFFD",
		"\xe6\x97":                  "\uFFFD",
		"":                          "",
	} {
		for split := range len(text) + 1 {
			var got bytes.Buffer
			w := &plainText{w: &got}
			for _, part := range []string{text[:split], text[split:]} {
				n, err := w.Write([]byte(part))
				require.NoError(t, err)
				require.Equal(t, len(part), n)
			}
			require.NoError(t, w.Close())
			require.Equal(t, want, got.String(), "%q split at %d", text, split)
		}
	}
}

func FuzzPlainText(f *testing.F) {
	f.Add("a\x1b[2J", 2)
	f.Add("\xe6\x97\xa5\u202e\r\n", 1)
	f.Fuzz(func(t *testing.T, text string, split int) {
		split = min(max(split, 0), len(text))
		var got bytes.Buffer
		w := &plainText{w: &got}
		for _, part := range []string{text[:split], text[split:]} {
			_, err := w.Write([]byte(part))
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		out := got.String()
		require.True(t, utf8.ValidString(out))
		require.Equal(t, -1, strings.IndexFunc(out, func(r rune) bool {
			return r != '\n' && r != '\t' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
		}), "%q", out)
	})
}
