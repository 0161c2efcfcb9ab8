// Package render renders templates in a child process of the same binary.
// text/template cannot be interrupted, so a template from a request is bounded
// by what can be ended: a process. The child has limits on time, memory, output
// and questions; it has no environment and ends with its parent.
package render

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// The limits of one template.
const (
	// MaxOutput is the size of the largest result, in bytes.
	MaxOutput = 64 << 10
	// MaxTime is how long a template may run, without the answers to its questions.
	MaxTime = 5 * time.Second
	// MaxMemory is how many bytes a template may hold.
	MaxMemory = 64 << 20
	// MaxQuestions is how often a template may ask its parent.
	MaxQuestions = 100
)

const (
	// silence is how long a child may send nothing. It ends itself before that,
	// unless it is not scheduled.
	silence = 4 * MaxTime
	// maxBatch and maxBatchBytes bound what a child is given at once.
	maxBatch      = 256
	maxBatchBytes = 1 << 20
	// maxStderr is how much of the child's standard error is kept.
	maxStderr = 4 << 10
)

// Job is a template with its data.
type Job struct {
	// Kind is the name of its Kind.
	Kind string
	// Input is what the Func takes, of a type of the kind. It is not changed.
	Input any
	// Size is about how many bytes the input has.
	Size int
}

// Result is a rendered template. Err is the error of the template itself, such
// as an undefined function; Text is empty then.
type Result struct {
	Text, Err string
}

// BoundError is the error of a template that exceeded a limit.
type BoundError struct {
	// Job is the index of the template.
	Job int
	// Bound says what was exceeded and what to do.
	Bound string
}

func (e *BoundError) Error() string { return e.Bound }

// Answer answers a question that a job asks while it is rendered.
type Answer func(job int, question any) (any, error)

// Options of a Process.
type Options struct {
	// MaxTotal is how long all templates may take, without the answers to their
	// questions, beside a millisecond for each; 0 is without limit.
	MaxTotal time.Duration
}

// Process renders templates in a child process, which the first of them starts.
// It must be closed. It is not for concurrent use.
type Process struct {
	opts  Options
	child *child
	spent time.Duration // less a millisecond for each template
}

// New returns a process for templates of these kinds, which has not been started.
func New(o Options, kinds ...Kind) *Process {
	for _, k := range kinds {
		k.register()
	}
	return &Process{opts: o}
}

// Started reports whether there is a child.
func (p *Process) Started() bool { return p.child != nil }

// Close ends the child and waits for it.
func (p *Process) Close() {
	if p.child != nil {
		p.child.end()
		p.child = nil
	}
}

// Render renders the jobs in their order. A limit that is exceeded is a
// *BoundError; the child has ended then, and the next call starts another. The
// child also ends with ctx. answer may be nil if no job asks.
func (p *Process) Render(ctx context.Context, jobs []Job, answer Answer) ([]Result, error) {
	results := make([]Result, 0, len(jobs))
	for len(results) < len(jobs) {
		first := len(results)
		n, size := 0, 0
		for n < maxBatch && first+n < len(jobs) && (n == 0 || size+jobs[first+n].Size <= maxBatchBytes) {
			size += jobs[first+n].Size
			n++
		}
		done, err := p.batch(ctx, jobs[first:first+n], func(job int, question any) (any, error) {
			return answer(first+job, question)
		})
		results = append(results, done...)
		if err != nil {
			p.Close()
			if exceeded := (*BoundError)(nil); errors.As(err, &exceeded) {
				exceeded.Job = len(results)
			}
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return results, err
		}
	}
	return results, nil
}

// batch returns the results up to an error, which is that of the job after them.
func (p *Process) batch(ctx context.Context, jobs []Job, answer Answer) (results []Result, err error) {
	if p.opts.MaxTotal > 0 && p.spent >= p.opts.MaxTotal {
		return nil, &BoundError{Bound: fmt.Sprintf("the templates take more than %s beside a millisecond for each: shorten them, or render fewer", p.opts.MaxTotal)}
	}
	if p.child == nil {
		if p.child, err = start(); err != nil {
			return nil, err
		}
	}
	c := p.child
	defer context.AfterFunc(ctx, c.kill)()
	begun := time.Now()
	defer func() { p.spent += time.Since(begun) - time.Duration(len(results))*time.Millisecond }()
	watch := time.AfterFunc(silence, c.kill)
	defer watch.Stop()
	if err := c.encoder.Encode(message{Jobs: jobs}); err != nil {
		return nil, c.failure(err)
	}
	for len(results) < len(jobs) {
		var r reply
		if err := c.decoder.Decode(&r); err != nil {
			return results, c.failure(err)
		}
		watch.Reset(silence)
		switch {
		case r.Exceeded != "":
			return results, &BoundError{Bound: r.Exceeded}
		case r.Asks:
			watch.Stop()
			asked := time.Now()
			data, err := answer(len(results), r.Question)
			begun = begun.Add(time.Since(asked))
			m := message{Answer: data}
			if err != nil {
				m.Err = err.Error()
			}
			if err := c.encoder.Encode(m); err != nil {
				return results, c.failure(err)
			}
			watch.Reset(silence)
		default:
			results = append(results, Result{r.Text, r.Err})
		}
	}
	return results, nil
}

// message is what the parent sends: jobs, or the answer to a question.
type message struct {
	Jobs   []Job
	Answer any
	Err    string
}

// reply is what the child sends: the result of the next job, a question of it,
// or the limit that it exceeded, after which the child ends.
type reply struct {
	Text, Err string
	Asks      bool
	Question  any
	Exceeded  string
}

// child is a running child process.
type child struct {
	cmd     *exec.Cmd
	stdin   io.Closer
	encoder *gob.Encoder
	decoder *gob.Decoder
	stderr  tail
	wait    func() error
}

// start runs this binary again with Argument. The child's environment is empty.
func start() (*child, error) {
	path, err := executable()
	if err != nil {
		return nil, fmt.Errorf("starting the template process: %w", err)
	}
	c := &child{cmd: exec.CommandContext(context.Background(), path, Argument)}
	c.cmd.Args[0] = "hancock"
	c.cmd.Env = []string{}
	c.cmd.Dir = "/"
	c.cmd.Stderr = &c.stderr
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the template process: %w", err)
	}
	c.stdin, c.encoder, c.decoder = stdin, gob.NewEncoder(stdin), gob.NewDecoder(stdout)
	c.wait = sync.OnceValue(c.cmd.Wait)
	return c, nil
}

func (c *child) kill() { _ = c.cmd.Process.Kill() }

// end ends the child and waits for it.
func (c *child) end() {
	_ = c.stdin.Close()
	c.kill()
	_ = c.wait() // "signal: killed"
}

// failure says why the child ended before its last result.
func (c *child) failure(err error) error {
	c.kill()
	state := c.wait()
	text := c.stderr.String()
	switch {
	case strings.Contains(text, "stack exceeds"):
		return &BoundError{Bound: "the template calls itself too deeply: end its recursion"}
	case strings.Contains(text, "out of memory"), strings.Contains(text, "cannot allocate memory"):
		return &BoundError{Bound: errMemory.Error()}
	case text == "" && state != nil && strings.Contains(state.Error(), "killed"):
		// By the watch, or by the system for want of memory.
		return &BoundError{Bound: "the template does not end, or the system is short of memory: shorten its loops and its text"}
	}
	first, _, _ := strings.Cut(text, "\n")
	return fmt.Errorf("the template process ended: %w: %s", errors.Join(err, state), first)
}

// tail keeps the beginning of what is written.
type tail struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if room := maxStderr - t.b.Len(); room > 0 {
		t.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}
