// Package llm stands between the agent and its LLM backends: it asks Ollama,
// NVIDIA NIM or OpenAI, all through the same OpenAI-compatible API, and turns
// whatever they do into an answer or into one error with a kind.
package llm

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The roles of a message.
const (
	System    = "system"
	User      = "user"
	Assistant = "assistant"
)

// Message is one turn of a conversation.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// Request is a question to a model.
type Request struct {
	Messages []Message
	// Coder asks the coder model.
	Coder             bool
	Temperature, TopP float64
	// MaxTokens bounds the answer's length.
	MaxTokens int
	// Asking, if not nil, is called before each call to a backend, on the
	// goroutine of Chat or Stream.
	Asking func(Destination)
	// Observe, if not nil, is called after each call to a backend, before
	// Chat or Stream returns and on its goroutine.
	Observe func(Attempt)
}

// Answer is what a model said. Of a call that failed midway it holds the part
// that came.
type Answer struct {
	Text string
	// Provider and Model answered; Model is the configured id.
	Provider, Model string
	// Host is the host of the provider that answered, with its port where one is given.
	Host string
	// Usage is nil when the backend did not tell.
	Usage *Usage
	// Finish is why the model stopped.
	Finish Finish
}

// Finish says why a model stopped. The set is closed, so that it can be the
// label of a metric.
type Finish string

// The reasons to stop.
const (
	Stop          Finish = "stop"           // the answer is complete
	Length        Finish = "length"         // the answer was cut off at MaxTokens
	ContentFilter Finish = "content_filter" // the backend held something back
	OtherFinish   Finish = "other"          // another reason, or none was given
)

// Finishes are all reasons to stop.
func Finishes() []Finish { return []Finish{Stop, Length, ContentFilter, OtherFinish} }

func finishOf(reason string) Finish {
	if f := Finish(reason); slices.Contains(Finishes(), f) {
		return f
	}
	return OtherFinish
}

// Usage is what an answer cost, in tokens.
type Usage struct{ Prompt, Completion int64 }

// Attempt is one call to one backend.
type Attempt struct {
	Provider, Model, Host string
	// Fallback is true of the calls to OpenAI after the chosen backend failed.
	Fallback bool
	// RetryOf is the kind of the failure that this call is the retry of, empty
	// of the first call to a backend.
	RetryOf Kind
	// RetryIn is how long until the call is repeated, 0 when it is not.
	RetryIn time.Duration
	// Duration is the time from the request to the end of the answer.
	Duration time.Duration
	// FirstToken is the time to the first text of a stream, reasoning
	// included, and FirstPiece that to the first of the answer; 0 without one.
	FirstToken, FirstPiece time.Duration
	Usage                  *Usage
	// Finish is why the model stopped, empty when the call failed.
	Finish Finish
	// Err is nil when the call succeeded.
	Err *Error
}

// Target is a model of a backend.
type Target struct{ Provider, Model string }

// Client asks the chosen backend and, when that fails before it said anything,
// OpenAI once, if that is configured. It may be used by any number of
// goroutines.
type Client struct {
	now       atomic.Pointer[settings]
	reloading sync.Mutex
	inFlight  atomic.Int64 // requests in progress, whatever settings they began with
	log       *slog.Logger
}

// settings are made from options; a reload replaces them as a whole.
type settings struct {
	backends    []*Backend
	retries     int
	retryWait   time.Duration
	maxInFlight int64
}

// New returns a client. It connects to nothing yet; Close ends it.
func New(opts Options, log *slog.Logger) (*Client, error) {
	s, err := newSettings(opts, nil)
	if err != nil {
		return nil, err
	}
	c := &Client{log: log}
	c.now.Store(s)
	return c, nil
}

// newSettings reuses unchanged backends of before, with their connections and
// the outcome of their traffic.
func newSettings(opts Options, before []*Backend) (*settings, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	names, err := opts.inUse()
	if err != nil {
		return nil, err
	}
	s := &settings{retries: opts.MaxRetries, retryWait: opts.RetryWait, maxInFlight: int64(opts.MaxInFlight)}
	for _, name := range names {
		b, err := newBackend(name, opts.endpoint(name), opts.Timeout, opts.ConnectTimeout, opts.Egress == EgressLocal)
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(before, b.same); i >= 0 {
			b = before[i]
		}
		s.backends = append(s.backends, b)
	}
	return s, nil
}

// Reload applies options to requests that begin afterwards. Requests in progress
// finish with the previous ones and count against the new limit. After an error
// nothing has changed.
func (c *Client) Reload(opts Options) error {
	c.reloading.Lock()
	defer c.reloading.Unlock()
	before := c.now.Load()
	next, err := newSettings(opts, before.backends)
	if err != nil {
		return err
	}
	c.now.Store(next)
	for _, b := range before.backends {
		if !slices.Contains(next.backends, b) {
			b.retire()
		}
	}
	return nil
}

// Close closes idle connections. Calls in flight are ended by their contexts.
func (c *Client) Close() error {
	for _, b := range c.now.Load().backends {
		b.retire()
	}
	return nil
}

// Backends are the chosen backend and, if there is one, its fallback.
func (c *Client) Backends() []*Backend { return slices.Clone(c.now.Load().backends) }

// Provider is the chosen backend: Ollama, NVIDIA or OpenAI.
func (c *Client) Provider() string { return c.now.Load().backends[0].provider }

// Model is the id of the chosen backend's model.
func (c *Client) Model() string { return c.now.Load().backends[0].Model() }

// CoderModel is the id of the chosen backend's model for code tasks.
func (c *Client) CoderModel() string { return c.now.Load().backends[0].CoderModel() }

// Models are the models that may answer, coder models or others, the chosen
// backend's first.
func (c *Client) Models(coder bool) []string {
	var ids []string
	for _, b := range c.now.Load().backends {
		if id := b.modelFor(Request{Coder: coder}); !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Targets are all models that may answer, coder models included.
func (c *Client) Targets() []Target {
	var ts []Target
	for _, b := range c.now.Load().backends {
		for _, model := range []string{b.Model(), b.CoderModel()} {
			if t := (Target{b.provider, model}); !slices.Contains(ts, t) {
				ts = append(ts, t)
			}
		}
	}
	return ts
}

// Chat returns the whole answer. It blocks until the answer is there, ctx is
// done or the timeout has passed (once for each backend asked, its retries
// included). The error is an *Error; after a fallback it is the fallback's.
func (c *Client) Chat(ctx context.Context, r Request) (Answer, error) {
	return c.call(ctx, r, func(b *Backend, _ *Attempt, deadline time.Time) (Answer, bool, *Error) {
		answer, err := b.chat(ctx, r, deadline)
		return answer, false, err
	})
}

// Stream hands the answer to emit piece by piece, on the caller's goroutine,
// and returns it whole. An error of emit ends the call. The error is an
// *Error; once emit was called there is neither retry nor fallback.
func (c *Client) Stream(ctx context.Context, r Request, emit func(piece string) error) (Answer, error) {
	return c.call(ctx, r, func(b *Backend, at *Attempt, deadline time.Time) (Answer, bool, *Error) {
		return b.stream(ctx, r, at, deadline, emit)
	})
}

// asking makes one call to a backend, of which something must come until the
// deadline. It tells whether some of the answer was handed on.
type asking func(b *Backend, at *Attempt, deadline time.Time) (Answer, bool, *Error)

// call asks one backend after the other until one has said something.
func (c *Client) call(ctx context.Context, r Request, ask asking) (Answer, error) {
	s := c.now.Load()
	if !c.enter(s.maxInFlight) {
		chosen := s.backends[0]
		return Answer{}, &Error{
			Provider: chosen.provider, Model: chosen.modelFor(r), Kind: Busy, detail: ErrBusy.Error(), cause: ErrBusy,
		}
	}
	defer c.inFlight.Add(-1)
	for i := 0; ; i++ {
		b := s.backends[i]
		answer, started, err := s.askBackend(ctx, r, i, ask)
		if err == nil {
			return answer, nil
		}
		if started || err.Kind == Canceled || ctx.Err() != nil || i == len(s.backends)-1 {
			return answer, err
		}
		next := s.backends[i+1]
		c.log.WarnContext(ctx, "backend failed, asking the fallback", "event", "llm_fallback",
			"from", b.provider, "to", next.provider, "kind", string(err.Kind), "error", err.Error())
	}
}

// enter admits a request while fewer than limit are in progress.
func (c *Client) enter(limit int64) bool {
	for {
		n := c.inFlight.Load()
		if n >= limit {
			return false
		}
		if c.inFlight.CompareAndSwap(n, n+1) {
			return true
		}
	}
}
