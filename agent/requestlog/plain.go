package requestlog

import (
	"context"
	"io"
	"log/slog"
	"math"
	"strconv"
	"sync"
	"time"
)

// sink lets one line at a time into w.
type sink struct {
	mu sync.Mutex
	w  io.Writer
}

// Write takes one line.
func (s *sink) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(line)
}

// maxKeptBytes bounds the buffers that are kept for the next line.
const maxKeptBytes = 16 << 10

// plain writes lines without slog's handler, byte for byte the same, in a
// third of the time. It takes those that nearly all are: whose texts need no
// escapes and whose other values are numbers and truths.
type plain struct {
	out     *sink
	buffers sync.Pool
}

// handle returns false, and has written nothing, when the record is not plain.
func (p *plain) handle(ctx context.Context, r slog.Record) (bool, error) {
	buf, ok := p.buffers.Get().(*[]byte)
	if !ok {
		buf = new(make([]byte, 0, 1024))
	}
	line, ok := appendRecord((*buf)[:0], ctx, r)
	var err error
	if ok {
		_, err = p.out.Write(line)
	}
	if *buf = line; cap(line) <= maxKeptBytes {
		p.buffers.Put(buf)
	}
	return ok, err
}

// appendRecord appends the line of a record, or something and false when the
// record is not plain.
func appendRecord(line []byte, ctx context.Context, r slog.Record) ([]byte, bool) { //nolint:revive // The buffer comes first, as in append.
	if r.Time.IsZero() {
		return line, false
	}
	line = append(line, `{"timestamp":"`...)
	line = appendTime(line, r.Time)
	line = append(line, `","level":"`...)
	line = append(line, levelName(r.Level)...)
	line = append(line, '"')
	line, ok := appendText(line, "message", r.Message)
	r.Attrs(func(a slog.Attr) bool {
		if ok {
			line, ok = appendAttr(line, a)
		}
		return ok
	})
	if rec, inRequest := ctx.Value(contextKey{}).(*record); ok && inRequest {
		rec.common(r, func(a slog.Attr) {
			if ok {
				line, ok = appendAttr(line, a)
			}
		})
	}
	return append(line, "}\n"...), ok
}

// appendTime appends a time in timeFormat. time has a way for this one layout
// that is much faster than the one for all.
func appendTime(line []byte, t time.Time) []byte {
	line = t.UTC().AppendFormat(line, time.RFC3339)
	ms := t.Nanosecond() / 1e6
	return append(line[:len(line)-1], '.', digit(ms/100), digit(ms/10), digit(ms), 'Z')
}

// digit is the last one of n.
func digit(n int) byte { return "0123456789"[n%10] }

func appendAttr(line []byte, a slog.Attr) ([]byte, bool) {
	if a.Key == slog.MessageKey { // which rename changes
		return line, false
	}
	switch a.Value.Kind() {
	case slog.KindString:
		return appendText(line, a.Key, a.Value.String())
	case slog.KindInt64:
		line, ok := appendKey(line, a.Key)
		return strconv.AppendInt(line, a.Value.Int64(), 10), ok
	case slog.KindBool:
		line, ok := appendKey(line, a.Key)
		return strconv.AppendBool(line, a.Value.Bool()), ok
	case slog.KindFloat64:
		f := a.Value.Float64()
		// JSON has no NaN, and the far ends are written with an exponent.
		if abs := math.Abs(f); f != 0 && !(abs >= 1e-6 && abs < 1e21) {
			return line, false
		}
		line, ok := appendKey(line, a.Key)
		return strconv.AppendFloat(line, f, 'f', -1, 64), ok
	default:
		return line, false
	}
}

func appendText(line []byte, key, value string) ([]byte, bool) {
	line, ok := appendKey(line, key)
	line = append(line, '"')
	line = append(line, value...)
	return append(line, '"'), ok && isPlain(value)
}

func appendKey(line []byte, key string) ([]byte, bool) {
	line = append(line, ',', '"')
	line = append(line, key...)
	return append(line, '"', ':'), isPlain(key)
}

// isPlain tells whether a text stands in JSON as it is.
func isPlain(s string) bool {
	for i := range len(s) {
		if b := s[i]; b < ' ' || b > '~' || b == '"' || b == '\\' {
			return false
		}
	}
	return true
}
