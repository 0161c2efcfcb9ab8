package redact_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/internal/redact"
)

func TestURLs(t *testing.T) {
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
		require.Equal(t, want, redact.URLs(in), in)
	}
}

func TestHandler(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(redact.NewHandler(slog.NewTextHandler(&out, nil))).With("url", "http://a/s3cret").WithGroup("g")
	log.Error("at http://u:s3cret@b", "err", errors.New(`Post "http://c/s3cret"`), "n", 3,
		slog.Group("more", "url", "http://d/?s3cret"), "any", []string{"http://e/s3cret"})
	require.NotContains(t, out.String(), "s3cret")
	for _, host := range []string{"http://a", "http://b", "http://c", "http://d", "http://e", "n=3"} {
		require.Contains(t, out.String(), host)
	}
}

// TestGatherer has several URLs of one host in each kind of metric.
func TestGatherer(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	gauge := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "queue", Help: "Length."}, []string{"name", "url"})
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "seconds", Help: "Time.", Buckets: []float64{1}}, []string{"alertmanager"})
	plain := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "plain", Help: "Other."}, []string{"path"})
	reg.MustRegister(gauge, seconds, plain)
	for i, url := range []string{"https://u:s3cret@a/s3cret?t=s3cret", "https://a/other/s3cret", "https://a", "https://b:1/s3cret"} {
		gauge.WithLabelValues("n", url).Set(float64(i))
		seconds.WithLabelValues(url).Observe(float64(i))
	}
	plain.WithLabelValues("/a/b").Set(1)
	want := `
# HELP plain Other.
# TYPE plain gauge
plain{path="/a/b"} 1
# HELP queue Length.
# TYPE queue gauge
queue{name="n",url="https://a"} 2
queue{name="n",url="https://a#2"} 1
queue{name="n",url="https://a#3"} 0
queue{name="n",url="https://b:1"} 3
`
	for range 3 { // The metrics themselves do not change.
		require.NoError(t, testutil.GatherAndCompare(redact.Gatherer(reg), bytes.NewBufferString(want), "plain", "queue"))
	}
	families, err := redact.Gatherer(reg).Gather()
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, f := range families {
		for _, m := range f.Metric {
			require.NotContains(t, m.String(), "s3cret")
			if f.GetName() == "seconds" {
				seen[m.Label[0].GetValue()] = true
			}
		}
	}
	require.Equal(t, map[string]bool{"https://a": true, "https://a#2": true, "https://a#3": true, "https://b:1": true}, seen)
	require.InDelta(t, 2, testutil.ToFloat64(gauge.WithLabelValues("n", "https://a")), 0)
}

// FuzzURLs hides a secret in each place of an address.
func FuzzURLs(f *testing.F) {
	f.Add("see ", " or not", "host:1")
	f.Add(`Get "`, `": EOF`, "[::1]:9093")
	f.Fuzz(func(t *testing.T, before, after, host string) {
		const secret = "s3cret"
		if strings.Contains(before+after+host, secret) || strings.ContainsAny(host, "@/ \t\n\r\f\v\"'?#\\") {
			return // no address, or the secret is not only where it is hidden
		}
		for _, address := range []string{"http://u:" + secret + "@" + host, "https://" + host + "/" + secret, "http://" + host + "?t=" + secret} {
			require.NotContains(t, redact.URLs(before+address+after), secret)
		}
	})
}
