// Package llm stands between the agent and its LLM backends: it asks Ollama,
// NVIDIA NIM or OpenAI, all through the same OpenAI-compatible API, and turns
// whatever they do into an answer or into one error with a kind.
package llm

import (
	"context"
	"log/slog"
	"slices"
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
	// Usage is nil when the backend did not tell.
	Usage *Usage
}

// Usage is what an answer cost, in tokens.
type Usage struct{ Prompt, Completion int64 }

// Attempt is one call to one backend.
type Attempt struct {
	Provider, Model string
	// Fallback is true of the call to OpenAI after the chosen backend failed.
	Fallback bool
	// Duration is the time from the request to the end of the answer.
	Duration time.Duration
	// FirstPiece is the time to the first piece of a stream, 0 without one.
	FirstPiece time.Duration
	Usage      *Usage
	// Err is nil when the call succeeded.
	Err *Error
}

// Client asks the chosen backend and, when that fails before it said anything,
// OpenAI once, if that is configured. It may be used by any number of
// goroutines.
type Client struct {
	backends []*Backend
	log      *slog.Logger
}

// New returns a client. It connects to nothing yet; Close ends it.
func New(opts Options, log *slog.Logger) (*Client, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	names, err := opts.inUse()
	if err != nil {
		return nil, err
	}
	c := &Client{log: log}
	for _, name := range names {
		c.backends = append(c.backends, newBackend(name, opts.endpoint(name), opts.Timeout, opts.ConnectTimeout))
	}
	return c, nil
}

// Close closes idle connections. Calls in flight are ended by their contexts.
func (c *Client) Close() error {
	for _, b := range c.backends {
		b.http.CloseIdleConnections()
	}
	return nil
}

// Backends are the chosen backend and, if there is one, its fallback.
func (c *Client) Backends() []*Backend { return slices.Clone(c.backends) }

// Provider is the chosen backend: Ollama, NVIDIA or OpenAI.
func (c *Client) Provider() string { return c.backends[0].provider }

// Model is the id of the chosen backend's model.
func (c *Client) Model() string { return c.backends[0].Model() }

// CoderModel is the id of the chosen backend's model for code tasks.
func (c *Client) CoderModel() string { return c.backends[0].CoderModel() }

// Models are the models that may answer, coder models or others, the chosen
// backend's first.
func (c *Client) Models(coder bool) []string {
	var ids []string
	for _, b := range c.backends {
		if id := b.modelFor(Request{Coder: coder}); !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Chat returns the whole answer. It blocks until the answer is there, ctx is
// done or the timeout has passed (once for each backend asked). The error is
// an *Error; after a fallback it is the fallback's.
func (c *Client) Chat(ctx context.Context, r Request) (Answer, error) {
	return c.call(ctx, r, func(b *Backend, _ *Attempt) (Answer, bool, *Error) {
		answer, err := b.chat(ctx, r)
		return answer, false, err
	})
}

// Stream hands the answer to emit piece by piece, on the caller's goroutine,
// and returns it whole. An error of emit ends the call. The error is an
// *Error; once emit was called there is no fallback.
func (c *Client) Stream(ctx context.Context, r Request, emit func(piece string) error) (Answer, error) {
	return c.call(ctx, r, func(b *Backend, at *Attempt) (Answer, bool, *Error) {
		start := time.Now()
		return b.stream(ctx, r, func(piece string) error {
			if at.FirstPiece == 0 {
				at.FirstPiece = time.Since(start)
			}
			return emit(piece)
		})
	})
}

// call asks one backend after the other until one has said something.
func (c *Client) call(ctx context.Context, r Request, ask func(*Backend, *Attempt) (Answer, bool, *Error)) (Answer, error) {
	for i := 0; ; i++ {
		b := c.backends[i]
		at := Attempt{Provider: b.provider, Model: b.modelFor(r), Fallback: i > 0}
		start := time.Now()
		answer, started, err := ask(b, &at)
		at.Duration, at.Usage, at.Err = time.Since(start), answer.Usage, err
		b.saw(err)
		if r.Observe != nil {
			r.Observe(at)
		}
		if err == nil {
			return answer, nil
		}
		if started || err.Kind == Canceled || ctx.Err() != nil || i == len(c.backends)-1 {
			return answer, err
		}
		next := c.backends[i+1]
		c.log.WarnContext(ctx, "backend failed, asking the fallback", "event", "llm_fallback",
			"from", b.provider, "to", next.provider, "kind", string(err.Kind), "error", err.Error())
	}
}
