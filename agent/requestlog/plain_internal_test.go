package requestlog

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// bySlog is the line that slog's own handler makes of a record.
func bySlog(tb testing.TB, ctx context.Context, r slog.Record) string { //nolint:revive // tb comes first.
	tb.Helper()
	var buf bytes.Buffer
	h := newHandler(&buf, slog.LevelDebug)
	h.plain = nil
	require.NoError(tb, h.Handle(ctx, r))
	return buf.String()
}

// TestPlainLinesAreSlogs compares what is written without slog to what it
// would have written.
func TestPlainLinesAreSlogs(t *testing.T) {
	noon := time.Date(2026, 7, 25, 12, 0, 0, 0, time.FixedZone("", 7200))
	inRequest := context.WithValue(t.Context(), contextKey{}, &record{
		id: "req-1", endpoint: "/v1/chat", attrs: []slog.Attr{slog.Int("n", 1), Mode("soc")},
	})
	for name, tc := range map[string]struct {
		ctx     context.Context
		at      time.Time
		level   slog.Level
		message string
		attrs   []slog.Attr
		slogs   bool // is left to slog
	}{
		"text":                       {message: "m", attrs: []slog.Attr{slog.String("a", "b c/d<e>&'f'")}},
		"nothing":                    {},
		"numbers":                    {attrs: []slog.Attr{slog.Int64("a", math.MinInt64), slog.Int("b", 0), slog.Float64("c", 12.34), slog.Float64("d", 0)}},
		"negative zero":              {attrs: []slog.Attr{slog.Float64("a", math.Copysign(0, -1))}},
		"near ends of floats":        {attrs: []slog.Attr{slog.Float64("a", 1e-6), slog.Float64("b", -9.99e20), slog.Float64("c", 0.1+0.2)}},
		"truth":                      {attrs: []slog.Attr{slog.Bool("a", true), slog.Bool("b", false)}},
		"many":                       {attrs: []slog.Attr{Mode("a"), Model("b"), Backend("c"), InputTokens(1), OutputTokens(2), Stream(), Client("d"), ErrorKind("e")}},
		"milliseconds":               {at: noon.Add(7 * time.Millisecond)},
		"parts of them":              {at: noon.Add(999*time.Millisecond + 999999)},
		"debug":                      {level: slog.LevelDebug - 1},
		"warning":                    {level: slog.LevelWarn + 1},
		"error":                      {level: slog.LevelError + 4},
		"in a request":               {ctx: inRequest, attrs: []slog.Attr{slog.String("a", "b")}},
		"in it, with its field":      {ctx: inRequest, attrs: []slog.Attr{Mode("own"), slog.String(KeyEndpoint, "own"), slog.String(KeyRequestID, "own")}},
		"attributes named as slog's": {attrs: []slog.Attr{slog.String("time", "noon"), slog.String("level", "high")}},
		"no key":                     {attrs: []slog.Attr{slog.String("", "a")}},

		"quote":             {attrs: []slog.Attr{slog.String("a", `"`)}, slogs: true},
		"backslash":         {message: `\`, slogs: true},
		"line break":        {message: "a\nb", slogs: true},
		"delete":            {message: "\x7f", slogs: true},
		"not ASCII":         {attrs: []slog.Attr{slog.String("a", "ü")}, slogs: true},
		"not UTF-8":         {attrs: []slog.Attr{slog.String("a", "\xff")}, slogs: true},
		"key":               {attrs: []slog.Attr{slog.Int(`a"`, 1)}, slogs: true},
		"message's key":     {attrs: []slog.Attr{slog.String("msg", "a")}, slogs: true},
		"not a number":      {attrs: []slog.Attr{slog.Float64("a", math.NaN())}, slogs: true},
		"infinite":          {attrs: []slog.Attr{slog.Float64("a", math.Inf(-1))}, slogs: true},
		"tiny":              {attrs: []slog.Attr{slog.Float64("a", 9.9e-7)}, slogs: true},
		"huge":              {attrs: []slog.Attr{slog.Float64("a", 1e21)}, slogs: true},
		"error value":       {attrs: []slog.Attr{slog.Any("error", errors.New("no"))}, slogs: true},
		"group":             {attrs: []slog.Attr{slog.Group("g", "a", 1)}, slogs: true},
		"after a plain one": {ctx: inRequest, attrs: []slog.Attr{slog.Int("a", 1), slog.Any("b", []int{1}), slog.Int("c", 2)}, slogs: true},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.ctx == nil {
				tc.ctx = t.Context()
			}
			if tc.at.IsZero() {
				tc.at = noon
			}
			r := slog.NewRecord(tc.at, tc.level, tc.message, 0)
			r.AddAttrs(tc.attrs...)
			want := bySlog(t, tc.ctx, r)

			var buf bytes.Buffer
			h := newHandler(&buf, slog.LevelDebug)
			ok, err := h.plain.handle(tc.ctx, r)
			require.NoError(t, err)
			require.Equal(t, !tc.slogs, ok)
			if ok {
				require.Equal(t, want, buf.String())
			} else {
				require.Empty(t, buf.String())
			}
			buf.Reset()
			require.NoError(t, h.Handle(tc.ctx, r))
			require.Equal(t, want, buf.String())
		})
	}
	require.NotContains(t, bySlog(t, t.Context(), slog.NewRecord(time.Time{}, 0, "m", 0)), "timestamp", "a line without a time is slog's")
}

func FuzzPlainLines(f *testing.F) {
	f.Add("message", "key", "value", int64(1), 1.5, int64(1700000000123456789))
	f.Add("", "msg", "\u2028", int64(-1), 1e21, int64(0))
	f.Fuzz(func(t *testing.T, message, key, value string, whole int64, number float64, at int64) {
		r := slog.NewRecord(time.Unix(0, at), slog.LevelInfo, message, 0)
		r.AddAttrs(slog.String(key, value), slog.Int64("whole", whole), slog.Float64(value, number))
		if line, ok := appendRecord(nil, t.Context(), r); ok {
			require.Equal(t, bySlog(t, t.Context(), r), string(line))
		}
	})
}
