package requestlog

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"log/slog"
	"strconv"
	"time"
)

// clockSlack is how far a clock may have been set back without lines getting
// lost from a search that has bounds of time.
const clockSlack = time.Hour

// matcher is a query made ready. Most lines are refused by a look at their
// bytes; what is left is decoded and compared in full.
type matcher struct {
	query    Query
	records  bool // only the lines that are records of requests
	from, to string
	before   string // from and to with clockSlack
	after    string
	level    slog.Level
	// needles all stand in a line that matches. The first one is looked for
	// in whole chunks.
	needles [][]byte
	// folded is the query's text in lower case, when it has letters.
	folded []byte
}

func newMatcher(q Query, records bool) *matcher {
	m := &matcher{query: q, records: records, level: slog.LevelDebug}
	stamp := func(t time.Time, slack time.Duration) string { return t.Add(slack).UTC().Format(timeFormat) }
	if !q.From.IsZero() {
		m.from, m.before = stamp(q.From, 0), stamp(q.From, -clockSlack)
	}
	if !q.To.IsZero() {
		m.to, m.after = stamp(q.To, 0), stamp(q.To, clockSlack)
	}
	if q.Level != "" {
		m.level, _ = ParseLevel(q.Level) // valid
	}
	// The rarest ones first.
	m.need(KeyRequestID, q.ID)
	if q.Text != "" {
		text := quoted(q.Text)
		text = text[1 : len(text)-1]
		if lower := bytes.ToLower(text); bytes.Equal(lower, bytes.ToUpper(text)) {
			m.needles = append(m.needles, text)
		} else {
			m.folded = fold(nil, text)
		}
	}
	if low, high := q.MinStatus, q.MaxStatus; low > 0 && low/100 == high/100 {
		digits := strconv.Itoa(low)
		if low != high {
			digits = digits[:1]
		}
		m.needles = append(m.needles, []byte(`"`+KeyStatus+`":`+digits))
	}
	m.need(KeyEvent, q.Event)
	m.need(KeyModel, q.Model)
	m.need(KeyEndpoint, q.Endpoint)
	m.need(KeyMode, q.Mode)
	if records {
		m.need(KeyEvent, EventCompleted)
	}
	return m
}

func (m *matcher) need(key, value string) {
	if value != "" {
		m.needles = append(m.needles, append([]byte(`"`+key+`":`), quoted(value)...))
	}
}

// quoted is s as the log writes it, by the encoder that the log uses: others
// escape other characters.
func quoted(s string) []byte {
	var buf bytes.Buffer
	onlyMessage := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key != slog.MessageKey {
			return slog.Attr{}
		}
		return a
	}
	_ = slog.NewJSONHandler(&buf, &slog.HandlerOptions{ReplaceAttr: onlyMessage}).
		Handle(context.Background(), slog.Record{Message: s}) // a buffer takes everything
	line := bytes.TrimPrefix(buf.Bytes(), []byte(`{"`+slog.MessageKey+`":`))
	return bytes.TrimSuffix(line, []byte("}\n"))
}

// span is a line within a chunk, without its end.
type span struct{ low, high int }

// candidates are the lines of data, which are whole, that pass the quick look.
// scratch holds a copy of data, if one is needed, and is returned for the next
// call.
func (m *matcher) candidates(data, scratch []byte) ([]span, []byte) {
	haystack, needle := data, []byte(nil)
	switch {
	case m.query.ID == "" && m.folded != nil:
		scratch = fold(scratch[:0], data)
		haystack, needle = scratch, m.folded
	case len(m.needles) > 0:
		needle = m.needles[0]
	}
	var spans []span
	for low := 0; low < len(data); {
		if needle != nil {
			i := bytes.Index(haystack[low:], needle)
			if i < 0 {
				break
			}
			low = bytes.LastIndexByte(data[:low+i], '\n') + 1
		}
		high := bytes.IndexByte(data[low:], '\n')
		if high < 0 {
			break
		}
		if m.quick(data[low : low+high]) {
			spans = append(spans, span{low, low + high})
		}
		low += high + 1
	}
	return spans, scratch
}

// quick may let a wrong line pass; it never refuses a right one.
func (m *matcher) quick(line []byte) bool {
	if !isOurs(line) || m.level > slog.LevelDebug && levelOf(line) < m.level {
		return false
	}
	stamp := line[stampStart:stampEnd]
	if m.from != "" && string(stamp) < m.from || m.to != "" && string(stamp) > m.to {
		return false
	}
	if (m.query.MinStatus != 0 || m.query.MaxStatus != 0) && !m.hasStatus(line) {
		return false
	}
	for _, n := range m.needles {
		if !bytes.Contains(line, n) {
			return false
		}
	}
	return true
}

// hasStatus looks for a status within the bounds anywhere in the line.
func (m *matcher) hasStatus(line []byte) bool {
	key := []byte(`"` + KeyStatus + `":`)
	for {
		i := bytes.Index(line, key)
		if i < 0 {
			return false
		}
		line = line[i+len(key):]
		// A status has three digits; more of them do not fit in any bounds.
		n := 0
		for i := 0; i < min(4, len(line)) && line[i] >= '0' && line[i] <= '9'; i++ {
			n = n*10 + int(line[i]-'0')
		}
		if m.statusFits(n) {
			return true
		}
	}
}

func (m *matcher) statusFits(n int) bool {
	return n > 0 && n >= m.query.MinStatus && (m.query.MaxStatus == 0 || n <= m.query.MaxStatus)
}

// slow decodes the line and compares what the quick look cannot be sure of.
func (m *matcher) slow(line []byte) bool {
	if m.folded != nil && !bytes.Contains(fold(nil, line), m.folded) {
		return false
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(line, &fields) != nil {
		return false
	}
	is := func(key, want string) bool {
		var got string
		return want == "" || json.Unmarshal(fields[key], &got) == nil && got == want
	}
	if m.query.MinStatus != 0 || m.query.MaxStatus != 0 {
		var status int
		if json.Unmarshal(fields[KeyStatus], &status) != nil || !m.statusFits(status) {
			return false
		}
	}
	return is(KeyRequestID, m.query.ID) && is(KeyMode, m.query.Mode) && is(KeyModel, m.query.Model) &&
		is(KeyEndpoint, m.query.Endpoint) &&
		is(KeyEvent, m.query.Event) && (!m.records || is(KeyEvent, EventCompleted))
}

// fold appends src with its ASCII letters in lower case, eight bytes at a time.
func fold(dst, src []byte) []byte {
	const (
		ones  = 0x0101010101010101
		highs = 0x80 * ones
	)
	dst = append(dst, src...)
	out := dst[len(dst)-len(src):]
	for ; len(out) >= 8; out = out[8:] {
		x := binary.LittleEndian.Uint64(out)
		low := x &^ highs
		fromA, afterZ := low+(0x80-'A')*ones, low+(0x7f-'Z')*ones
		upper := (fromA ^ afterZ) &^ x & highs
		binary.LittleEndian.PutUint64(out, x|upper>>2)
	}
	for i, b := range out {
		if b >= 'A' && b <= 'Z' {
			out[i] = b | 0x20
		}
	}
	return dst
}
