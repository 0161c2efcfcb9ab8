package requestlog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

// ErrNoFiles is the error of a search in a log that keeps no files.
var ErrNoFiles = errors.New("no log files are kept")

// Record is what the log knows of one request, which is over. A field that
// does not apply, or that nobody told, is zero.
type Record struct {
	Time      time.Time `json:"timestamp"`
	Level     string    `json:"level"`
	ID        string    `json:"request_id"`
	Method    string    `json:"method"`
	Endpoint  string    `json:"endpoint"`
	Mode      string    `json:"mode,omitempty"`
	Model     string    `json:"model,omitempty"`
	Backend   string    `json:"backend,omitempty"`
	Status    int       `json:"status"`
	Error     string    `json:"error,omitempty"` // a kind, in one word
	LatencyMS float64   `json:"latency_ms"`
	// FirstTokenMS is from the call of the backend to its first text.
	FirstTokenMS *float64 `json:"time_to_first_token_ms,omitempty"`
	InputTokens  *int64   `json:"input_tokens,omitempty"`
	OutputTokens *int64   `json:"output_tokens,omitempty"`
	Stream       bool     `json:"stream,omitempty"`
	Client       string   `json:"client,omitempty"`
}

// Page is a part of what a search found, newest first.
type Page[T any] struct {
	Items []T
	// Next is the cursor of the page after this one, empty after the last
	// one. It stays good while lines are added and files removed.
	Next string
}

// Records searches the records of requests. It reads files, with memory that
// does not depend on their size, and returns early with an error of ctx.
func (l *Log) Records(ctx context.Context, q Query) (Page[Record], error) {
	return search(ctx, l, newMatcher(q, true), func(line []byte) (r Record, err error) {
		return r, json.Unmarshal(line, &r)
	})
}

// Lines searches all lines. Each is the JSON object as it was written. See
// Records.
func (l *Log) Lines(ctx context.Context, q Query) (Page[json.RawMessage], error) {
	return search(ctx, l, newMatcher(q, false), func(line []byte) (json.RawMessage, error) {
		return bytes.Clone(line), nil
	})
}

// chunkBytes is how much one goroutine reads and looks at in one go.
const chunkBytes = 1 << 20

// maxPageBytes ends a page of long lines before its limit.
const maxPageBytes = 4 << 20

// item is one line that was found.
type item[T any] struct {
	at    place
	size  int // of the line in bytes
	value T
}

func search[T any](ctx context.Context, l *Log, m *matcher, decode func([]byte) (T, error)) (Page[T], error) {
	page := Page[T]{Items: []T{}}
	if err := m.query.Validate(); err != nil {
		return page, err
	}
	f := l.files.Load()
	if f == nil {
		return page, ErrNoFiles
	}
	select {
	case l.busy <- struct{}{}:
		defer func() { <-l.busy }()
	case <-ctx.Done():
		return page, ctx.Err()
	}
	limit := m.query.Limit
	if limit == 0 {
		limit = DefaultLimit
	}
	b := newBackwards(f, m.query.Cursor)
	defer b.close()
	size := 0
	workers := make([]worker[T], min(runtime.GOMAXPROCS(0), 4))
	for {
		// Each round looks at some chunks at the same time and takes what is
		// in them in their order.
		var wg sync.WaitGroup
		running := 0
		for i := range workers {
			c, ok := b.next()
			if !ok {
				break
			}
			running++
			wg.Go(func() { workers[i].run(c, m, limit, decode) })
		}
		wg.Wait()
		b.release()
		if b.err != nil {
			return page, b.err
		}
		for i := range workers[:running] {
			w := &workers[i]
			if w.err != nil {
				return page, w.err
			}
			for _, found := range w.found {
				page.Items = append(page.Items, found.value)
				size += found.size
				if len(page.Items) == limit || size >= maxPageBytes {
					page.Next = found.at.String()
					return page, nil
				}
			}
			if w.tooOld {
				return page, nil
			}
		}
		if running < len(workers) {
			return page, nil
		}
		if err := ctx.Err(); err != nil {
			return page, err
		}
	}
}

// worker looks at one chunk after another with the same memory.
type worker[T any] struct {
	memory  []byte // what data lies in
	data    []byte
	scratch []byte
	found   []item[T]
	tooOld  bool
	err     error
}

func (w *worker[T]) run(c chunk, m *matcher, limit int, decode func([]byte) (T, error)) {
	w.found, w.tooOld = w.found[:0], false
	var first int64
	if first, w.err = w.read(c); w.err != nil {
		return
	}
	oldest, newest := ends(w.data)
	w.tooOld = m.before != "" && newest != "" && newest < m.before
	if w.tooOld || m.after != "" && oldest > m.after {
		return
	}
	var spans []span
	spans, w.scratch = m.candidates(w.data, w.scratch)
	for i := len(spans) - 1; i >= 0 && len(w.found) < limit; i-- {
		line := w.data[spans[i].low:spans[i].high]
		if !m.slow(line) {
			continue
		}
		if value, err := decode(line); err == nil {
			w.found = append(w.found, item[T]{place{c.number, first + int64(spans[i].low)}, len(line), value})
		}
	}
}

// read fills data with the whole lines that begin in the chunk, and returns
// where the first one begins.
func (w *worker[T]) read(c chunk) (int64, error) {
	// The byte before the chunk tells whether a line begins with it.
	first := max(c.from-1, 0)
	n := int(c.to - first)
	if w.memory == nil {
		w.memory = make([]byte, chunkBytes+1+maxLineBytes)
	}
	w.data = w.memory[:n]
	got, err := c.file.ReadAt(w.data, first)
	if w.data = w.data[:got]; err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	// The end of a line that begins in the chunk and goes on after it.
	for step := int64(4 << 10); got == n && got > 0 && w.data[len(w.data)-1] != '\n'; {
		have := len(w.data)
		step = min(step, int64(cap(w.data)-have), c.size-first-int64(have))
		if step <= 0 {
			break
		}
		w.data = w.data[:have+int(step)]
		more, err := c.file.ReadAt(w.data[have:], first+int64(have))
		w.data = w.data[:have+more]
		if i := bytes.IndexByte(w.data[have:], '\n'); i >= 0 {
			w.data = w.data[:have+i+1]
		} else if err != nil {
			break
		}
	}
	if c.from > 0 {
		// The line that reaches into the chunk belongs to the one before.
		i := bytes.IndexByte(w.data, '\n') + 1
		if i == 0 || i > n {
			i = len(w.data)
		}
		w.data = w.data[i:]
		first += int64(i)
	}
	// What does not end is garbage, or is being written just now.
	w.data = w.data[:bytes.LastIndexByte(w.data, '\n')+1]
	return first, nil
}

// ends are the times of the first and of the last line, empty for lines that
// are not ours.
func ends(data []byte) (oldest, newest string) {
	if i := bytes.IndexByte(data, '\n'); i > 0 && isOurs(data[:i]) {
		oldest = string(data[stampStart:stampEnd])
	}
	if n := len(data); n > 0 {
		if line := data[bytes.LastIndexByte(data[:n-1], '\n')+1 : n-1]; isOurs(line) {
			newest = string(line[stampStart:stampEnd])
		}
	}
	return oldest, newest
}

// chunk is a part of one file; the lines that begin in it belong to it.
type chunk struct {
	file     io.ReaderAt
	number   uint64
	from, to int64
	size     int64 // of the whole file
}

// backwards cuts files into chunks, from the newest to the oldest. A file is
// open from its first chunk until the release after its last one: an open file
// that was removed still takes its space.
type backwards struct {
	dir   string
	files []extent   // newest first; what is still to come
	file  *os.File   // the first of files, nil before its first chunk
	read  []*os.File // those before it, whose chunks are still being looked at
	to    int64      // in the first of files
	err   error      // why there is no next one, if that is not the end
}

// newBackwards begins at the end, or before the cursor, which is valid.
func newBackwards(f *files, cursor string) *backwards {
	b := &backwards{dir: f.opts.Dir, files: f.snapshot(), to: -1}
	if at, err := parsePlace(cursor); err == nil {
		for len(b.files) > 0 && b.files[0].number > at.file {
			b.files = b.files[1:]
		}
		if len(b.files) > 0 && b.files[0].number == at.file {
			b.to = min(at.offset, b.files[0].size)
		}
	}
	return b
}

func (b *backwards) next() (chunk, bool) {
	for ; len(b.files) > 0; b.leave() {
		e := b.files[0]
		if b.to < 0 {
			b.to = e.size
		}
		if b.to == 0 {
			continue
		}
		if b.file == nil {
			file, err := os.Open(filepath.Join(b.dir, fileName(e.number)))
			if errors.Is(err, fs.ErrNotExist) {
				continue // removed meanwhile
			}
			if err != nil {
				b.err = err
				return chunk{}, false
			}
			b.file = file
		}
		c := chunk{
			file: b.file, number: e.number, size: e.size,
			from: max(b.to-chunkBytes, 0), to: b.to,
		}
		b.to = c.from
		return c, true
	}
	return chunk{}, false
}

// leave goes on to the file before.
func (b *backwards) leave() {
	if b.file != nil {
		b.read = append(b.read, b.file)
	}
	b.files, b.file, b.to = b.files[1:], nil, -1
}

// release closes the files of which there is no further chunk. Nobody looks at
// a chunk meanwhile.
func (b *backwards) release() {
	if b.file != nil && b.to == 0 {
		b.leave()
	}
	for _, f := range b.read {
		_ = f.Close() // only read
	}
	b.read = b.read[:0]
}

func (b *backwards) close() {
	b.release()
	if b.file != nil {
		_ = b.file.Close() // only read
	}
}
