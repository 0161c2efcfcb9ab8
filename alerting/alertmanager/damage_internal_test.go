package alertmanager

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/nflog/nflogpb"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// notified is the entry of the journal for a group of which one alert was told.
func notified(tb testing.TB, group string, alert uint64) []byte {
	tb.Helper()
	l, err := nflog.New(nflog.Options{Retention: time.Hour, Metrics: prometheus.NewRegistry()})
	require.NoError(tb, err)
	require.NoError(tb, l.Log(&nflogpb.Receiver{GroupName: "r", Integration: "i"}, group, []uint64{alert}, nil, nil, time.Hour))
	entry, err := l.MarshalBinary()
	require.NoError(tb, err)
	return entry
}

// Damage costs the entries that it hits and no others: each one lost is a
// message that comes twice.
func TestDamageCostsOnlyWhatItHits(t *testing.T) {
	a, b, c := notified(t, `{}:{alertname="A"}`, 1), notified(t, `{}:{alertname="B"}`, 2), notified(t, `{}:{alertname="C"}`, 3)
	spoilt := func(i int, to byte) []byte {
		damaged := slices.Clone(b)
		damaged[i] = to
		return damaged
	}
	tests := map[string]struct {
		data []byte
		left []uint64
	}{
		"none":                         {slices.Concat(a, b, c), []uint64{1, 2, 3}},
		"torn":                         {slices.Concat(a, b, c[:len(c)/2]), []uint64{1, 2}},
		"zeros, after a power cut":     {slices.Concat(a, b, c, make([]byte, 4096)), []uint64{1, 2, 3}},
		"zeros in the middle":          {slices.Concat(a, make([]byte, 4096), c), []uint64{1, 3}},
		"text in the middle":           {slices.Concat(a, []byte("somebody edited this"), b, c), []uint64{1, 2, 3}},
		"torn in the middle":           {slices.Concat(a, b[:len(b)/2], c), []uint64{1, 3}},
		"a length that is too long":    {slices.Concat(a, spoilt(0, b[0]+1), c), []uint64{1, 3}},
		"a length without end":         {slices.Concat(a, spoilt(0, 0xff), c), []uint64{1, 3}},
		"what is no entry":             {slices.Concat(a, spoilt(1, 0x07), c), []uint64{1, 3}},
		"nothing but damage":           {bytes.Repeat([]byte("\x01\x00\xff"), 1000), nil},
		"an entry larger than is read": {slices.Concat(a, notified(t, strings.Repeat("\xff", maxEntryBytes), 2), c), []uint64{1, 3}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, nflogFile)
			require.NoError(t, os.WriteFile(path, test.data, 0o600))
			am := openInternal(t, dir)
			firing, err := firingForReceivers(am.nflog)
			require.NoError(t, err)
			for _, alert := range test.left {
				require.Contains(t, firing, alert)
			}
			require.Len(t, firing, len(test.left))
			require.NoError(t, am.Close())
			aside, err := filepath.Glob(path + ".damaged-*")
			require.NoError(t, err)
			if name == "none" {
				require.Empty(t, aside)
				return
			}
			require.Len(t, aside, 1)
			kept, err := os.ReadFile(aside[0])
			require.NoError(t, err)
			require.Equal(t, test.data, kept)
		})
	}
}

// A silence that is lost wakes somebody.
func TestSilencesSurviveDamage(t *testing.T) {
	dir := t.TempDir()
	am := openInternal(t, dir)
	require.Equal(t, http.StatusOK, silenceOnce(am).Code)
	require.NoError(t, am.Close())
	path := filepath.Join(dir, silencesFile)
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.Write(make([]byte, 512))
	require.NoError(t, err)
	require.NoError(t, f.Close())

	var log bytes.Buffer
	o := DefaultOptions()
	o.Path = dir
	am, err = Open(o, prometheus.NewRegistry(), slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	defer am.Close()
	w := httptest.NewRecorder()
	am.API().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v2/silences", http.NoBody))
	require.Contains(t, w.Body.String(), `"active"`)
	require.Contains(t, log.String(), "bytes_lost=512")
}
