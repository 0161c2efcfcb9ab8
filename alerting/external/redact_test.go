package external

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRedacted(t *testing.T) {
	for in, want := range map[string]string{
		"":                              "",
		"no address":                    "no address",
		"http://a:9093/api/v2/alerts":   "http://a:9093",
		"https://u:p@a/x?token=y#z":     "https://a",
		`Get "http://u:p@a/x?t=y": EOF`: `Get "http://a": EOF`,
		"http://a/b and ws://c/d":       "http://a and ws://c",
		"http://u@v:p@a/b":              "http://a",
		"http://u:p@":                   "http://",
	} {
		require.Equal(t, want, redacted(in), in)
	}
}

func TestRedacting(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(redacting{slog.NewTextHandler(&out, nil)}).With("url", "http://a/s3cret").WithGroup("g")
	log.Error("at http://u:s3cret@b", "err", errors.New(`Post "http://c/s3cret"`), "n", 3,
		slog.Group("more", "url", "http://d/?s3cret"), "any", []string{"http://e/s3cret"})
	require.NotContains(t, out.String(), "s3cret")
	for _, host := range []string{"http://a", "http://b", "http://c", "http://d", "http://e", "n=3"} {
		require.Contains(t, out.String(), host)
	}
	out.Reset()
	log.Warn(notDrained, "count", 0)
	require.Empty(t, out.String())
	log.Warn(notDrained, "count", 2)
	require.NotEmpty(t, out.String())
}

// FuzzRedacted hides a secret in each place of an address.
func FuzzRedacted(f *testing.F) {
	f.Add("see ", " or not", "host:1")
	f.Add(`Get "`, `": EOF`, "[::1]:9093")
	f.Fuzz(func(t *testing.T, before, after, host string) {
		const secret = "s3cret"
		if strings.Contains(before+after+host, secret) || strings.ContainsAny(host, "@/ \t\n\r\f\v\"'?#\\") {
			return // no address, or the secret is not only where it is hidden
		}
		for _, address := range []string{"http://u:" + secret + "@" + host, "https://" + host + "/" + secret, "http://" + host + "?t=" + secret} {
			require.NotContains(t, redacted(before+address+after), secret)
		}
	})
}
