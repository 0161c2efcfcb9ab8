package render

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

// Argument is the one argument of a child. It is no command for users.
const Argument = "render-templates"

const (
	// tick is how often the child looks at its limits.
	tick = 5 * time.Millisecond
	// maxStack is how many bytes the stack of a template may take.
	maxStack = 32 << 20
	// maxError is the largest text of an error, in bytes.
	maxError = 64 << 10
	// exitExceeded is the exit status after a limit.
	exitExceeded = 3
)

var (
	errMemory        = fmt.Errorf("the template needs more than %d MiB of memory: shorten its text and its loops", MaxMemory>>20)
	errManyQuestions = fmt.Errorf("the template asks more than %d queries: ask fewer", MaxQuestions)
)

// Ask asks the parent and waits for the answer.
type Ask func(question any) (answer any, err error)

// Func renders one job. It gets nothing from outside but its input and the
// answers to its questions.
type Func func(ctx context.Context, input any, ask Ask) (string, error)

// Kind is a kind of templates.
type Kind struct {
	Name string
	// Types has a value of each type that an input, a question or an answer of
	// the kind has. Parent and child exchange no others.
	Types []any
	// Render is called in the child.
	Render Func
}

// Child serves as a child process if the process was started as one, and does
// not return then. main calls it before anything else.
func Child(kinds ...Kind) {
	if len(os.Args) != 2 || os.Args[1] != Argument {
		return
	}
	funcs := map[string]Func{}
	for _, k := range kinds {
		k.register()
		funcs[k.Name] = k.Render
	}
	runtime.GOMAXPROCS(2) // one for the template, one for its limits
	debug.SetMaxStack(maxStack)
	debug.SetGCPercent(50)
	debug.SetMemoryLimit(MaxMemory)
	limitData()
	serve(os.Stdin, os.Stdout, funcs)
	os.Exit(0)
}

func (k Kind) register() {
	for _, t := range k.Types {
		gob.Register(t)
	}
}

// worker is the state of a child.
type worker struct {
	mu      sync.Mutex // guards encoder
	encoder *gob.Encoder
	answers chan message
	// since is when the template began to run, in nanoseconds since base; 0: none runs.
	since atomic.Int64
	base  time.Time
	heap  uint64 // of a child without templates
}

// serve renders what comes in until it ends, which ends the process: a template
// may be running and cannot be interrupted.
func serve(in io.Reader, out io.Writer, funcs map[string]Func) {
	w := &worker{encoder: gob.NewEncoder(out), answers: make(chan message, 1), base: time.Now(), heap: heapBytes()}
	batches := make(chan []Job, 1)
	go func() {
		decoder := gob.NewDecoder(in)
		for {
			var m message
			if decoder.Decode(&m) != nil {
				os.Exit(0) // the parent closed the pipe or has ended
			}
			if m.Jobs != nil {
				batches <- m.Jobs
			} else {
				w.answers <- m
			}
		}
	}()
	go w.watch()
	for jobs := range batches {
		for _, j := range jobs {
			w.send(w.render(j, funcs))
		}
	}
}

func (w *worker) send(r reply) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.encoder.Encode(r) != nil {
		os.Exit(0)
	}
}

func (w *worker) render(j Job, funcs map[string]Func) (r reply) {
	defer func() {
		if p := recover(); p != nil {
			r = reply{Err: clip(fmt.Sprintf("the template panicked: %v", p))}
		}
		w.since.Store(0)
	}()
	do := funcs[j.Kind]
	if do == nil {
		return reply{Err: fmt.Sprintf("templates of kind %q are not rendered here", j.Kind)}
	}
	spent, questions := time.Duration(0), 0
	run := func() { w.since.Store(max(int64(time.Since(w.base)-spent), 1)) }
	pause := func() { spent = time.Since(w.base) - time.Duration(w.since.Swap(0)) }
	run()
	text, err := do(context.Background(), j.Input, func(question any) (any, error) {
		if questions++; questions > MaxQuestions {
			return nil, errManyQuestions
		}
		pause()
		defer run()
		w.send(reply{Asks: true, Question: question})
		m := <-w.answers
		if m.Err != "" {
			return nil, errors.New(m.Err)
		}
		return m.Answer, nil
	})
	switch {
	case questions > MaxQuestions:
		return reply{Exceeded: errManyQuestions.Error()}
	case err != nil:
		return reply{Err: clip(err.Error())}
	case len(text) > MaxOutput:
		return reply{Exceeded: fmt.Sprintf("the result of the template has %d bytes, more than the limit of %d: shorten it", len(text), MaxOutput)}
	}
	return reply{Text: text}
}

// watch ends the process when a template exceeds its time or memory.
func (w *worker) watch() {
	for range time.Tick(tick) {
		since := w.since.Load()
		switch {
		case since == 0:
		case time.Since(w.base)-time.Duration(since) > MaxTime:
			w.exceed(fmt.Sprintf("the template does not end within %s: shorten its loops", MaxTime))
		case heapBytes() > w.heap+MaxMemory:
			w.exceed(errMemory.Error())
		}
	}
}

func (w *worker) exceed(bound string) {
	w.mu.Lock() // kept: nothing is sent after it
	_ = w.encoder.Encode(reply{Exceeded: bound})
	os.Exit(exitExceeded)
}

// heapBytes is the size of the objects of the heap, dead ones included until
// they are swept.
func heapBytes() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

func clip(s string) string {
	if len(s) > maxError {
		return s[:maxError]
	}
	return s
}

// executable is the path of this binary. On Linux it is the file that runs even
// if another has taken its name since.
func executable() (string, error) {
	if runtime.GOOS == "linux" {
		if _, err := os.Stat("/proc/self/exe"); err == nil {
			return "/proc/self/exe", nil
		}
	}
	return os.Executable()
}
