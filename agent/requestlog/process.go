package requestlog

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Log is the log of the process: standard error, files, and whoever watches.
// It is complete without files and without anybody watching, and has no
// goroutine of its own. Everything may be used by any number of goroutines.
type Log struct {
	level   slog.Leveler
	stderr  io.Writer
	encoder handler
	metrics metrics
	files   atomic.Pointer[files] // nil until Open
	tail    *tail
	busy    chan struct{} // holds one token for each search that runs
	// patience is the constant, shorter in tests.
	patience time.Duration

	mu         sync.Mutex // guards complained
	complained time.Time
}

// searches is how many searches run at a time; each may use all cores.
const searches = 2

// NewLog returns a log whose lines go to stderr from level on. Files, once
// they are open, and watchers get INFO and more also where level is higher:
// the records of requests are searched later, when it is too late to want them.
func NewLog(stderr io.Writer, level slog.Leveler) *Log {
	l := &Log{level: level, stderr: stderr, metrics: newMetrics(), tail: newTail(), busy: make(chan struct{}, searches), patience: patience}
	l.encoder = newHandler(l, lowest{level})
	return l
}

// Open starts to keep lines in files below the folder of the options, and
// registers the log's metrics, which have counted from the beginning. It is
// called once. With an empty folder there are no files.
func (l *Log) Open(opts Options, reg prometheus.Registerer) error {
	if err := opts.Validate(); err != nil {
		return err
	}
	if err := l.metrics.register(reg); err != nil {
		return fmt.Errorf("registering the log's metrics: %w", err)
	}
	if opts.Dir == "" {
		return nil
	}
	f, err := openFiles(opts)
	if err != nil {
		return fmt.Errorf("opening the log's files: %w", err)
	}
	l.files.Store(f)
	return nil
}

// Resize applies the size limits of opts to the files. After an error nothing has
// changed.
func (l *Log) Resize(opts Options) error {
	if err := opts.Validate(); err != nil {
		return err
	}
	if f := l.files.Load(); f != nil {
		if err := f.resize(opts); err != nil {
			l.complain(err)
		}
	}
	return nil
}

// Logger returns a logger of the form of New. It leaves out what is below min,
// whatever the level of the log: that is for libraries, whose every step is
// nobody's business.
func (l *Log) Logger(minimum slog.Leveler) *slog.Logger {
	return slog.New(handler{atLeast{l.encoder.Handler, minimum}, l.encoder.plain})
}

// EndStreams ends all live tails, now and from now on; a server that stops
// would otherwise wait for them.
func (l *Log) EndStreams() { l.tail.close() }

// Close ends the live tails and closes the files; searches that run end with
// what they have. Lines that come later go to standard error only.
func (l *Log) Close() error {
	l.EndStreams()
	if f := l.files.Swap(nil); f != nil {
		return f.close()
	}
	return nil
}

// Write takes one line from the encoder, which lets in one at a time.
func (l *Log) Write(line []byte) (int, error) {
	level := levelOf(line)
	l.metrics.line(level)
	var err error
	if level >= l.level.Level() {
		_, err = l.stderr.Write(line)
	}
	size := len(line)
	if size > maxLineBytes {
		line = substitute(line)
	}
	if f := l.files.Load(); f != nil {
		if err := f.append(line); err != nil {
			l.complain(err)
		}
	}
	l.tail.publish(line)
	return size, err
}

// complain tells at most once a minute that lines are missing in the files,
// where only standard error can tell it.
func (l *Log) complain(err error) {
	l.metrics.lost.Inc()
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.complained) < time.Minute {
		return
	}
	l.complained = time.Now()
	New(l.stderr, slog.LevelError).Error("log file cannot be written", "component", "requestlog", "error", err)
}

// lowest is INFO, or the level of standard error where that is lower.
type lowest struct{ slog.Leveler }

func (l lowest) Level() slog.Level { return min(l.Leveler.Level(), slog.LevelInfo) }

type atLeast struct {
	slog.Handler
	level slog.Leveler
}

func (h atLeast) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= h.level.Level() && h.Handler.Enabled(ctx, level)
}

func (h atLeast) WithAttrs(attrs []slog.Attr) slog.Handler {
	return atLeast{h.Handler.WithAttrs(attrs), h.level}
}

func (h atLeast) WithGroup(name string) slog.Handler {
	return atLeast{h.Handler.WithGroup(name), h.level}
}

// Every line of ours begins with {"timestamp":"...Z","level":"L", where the
// stamp has a fixed width. So time and level are read without decoding.
const (
	stampStart = len(`{"timestamp":"`)
	stampEnd   = stampStart + len(timeFormat)
	levelStart = stampEnd + len(`","level":"`)
)

// isOurs tells whether a line, without its end, has that form.
func isOurs(line []byte) bool {
	return len(line) > levelStart+len(`INFO"}`) && line[len(line)-1] == '}' &&
		string(line[:stampStart]) == `{"timestamp":"` && string(line[stampEnd:levelStart]) == `","level":"`
}

// levelOf reads the level of a line of ours.
func levelOf(line []byte) slog.Level {
	if len(line) <= levelStart {
		return slog.LevelInfo
	}
	switch rest := line[levelStart:]; {
	case bytes.HasPrefix(rest, []byte("DEBUG")):
		return slog.LevelDebug
	case bytes.HasPrefix(rest, []byte("WARNING")):
		return slog.LevelWarn
	case bytes.HasPrefix(rest, []byte("ERROR")):
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}
