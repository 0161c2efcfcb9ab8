package requestlog

import (
	"bytes"
	"sync"
	"sync/atomic"
)

// Bounds of the live tails. A line waits in a watcher's buffer while the one
// before it is sent.
const (
	maxWatchers   = 32
	watcherBuffer = 512
)

// tail hands new lines to those who watch. Nobody who watches can hold up
// those who log.
type tail struct {
	count atomic.Int32 // of watchers, read without the lock
	done  chan struct{}

	mu       sync.Mutex
	watchers map[*watcher]struct{}
	closed   bool
}

// watcher is one live tail.
type watcher struct {
	matcher *matcher
	// lines are those that may match. Their bytes are shared: nobody changes them.
	lines chan []byte
	// lost counts the lines that found the buffer full.
	lost atomic.Int64
}

func newTail() *tail {
	return &tail{done: make(chan struct{}), watchers: make(map[*watcher]struct{})}
}

// watch returns nil when there are too many watchers or the log is closed.
func (t *tail) watch(m *matcher) *watcher {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.watchers) >= maxWatchers {
		return nil
	}
	w := &watcher{matcher: m, lines: make(chan []byte, watcherBuffer)}
	t.watchers[w] = struct{}{}
	t.count.Add(1)
	return w
}

func (t *tail) leave(w *watcher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.watchers, w)
	t.count.Add(-1)
}

// publish never blocks.
func (t *tail) publish(line []byte) {
	if t.count.Load() == 0 {
		return
	}
	line = bytes.Clone(bytes.TrimSuffix(line, []byte("\n")))
	t.mu.Lock()
	defer t.mu.Unlock()
	for w := range t.watchers {
		if !w.matcher.quick(line) {
			continue
		}
		select {
		case w.lines <- line:
		default:
			w.lost.Add(1)
		}
	}
}

func (t *tail) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.closed = true
		close(t.done)
	}
}
