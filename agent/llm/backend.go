package llm

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openai/openai-go/v3/packages/ssestream"
)

// streamTimeouts is how many timeouts a whole stream may last: a backend that
// drips would otherwise hold a request for ever.
const streamTimeouts = 10

// Backend is one OpenAI-compatible server and what the traffic to it saw. It
// may be used by any number of goroutines.
type Backend struct {
	provider string
	endpoint Endpoint
	timeout  time.Duration
	connect  time.Duration
	local    bool // see EgressLocal
	http     *http.Transport
	// retired says that a reload or the end left the backend: no connection is kept.
	retired atomic.Bool
	// header is that of every request, the others are where they go. Nobody
	// changes them.
	header              http.Header
	models, completions *url.URL
	prompts             prompts

	mu                sync.Mutex
	succeeded, failed time.Time
	latency           time.Duration // of the call that last succeeded
}

func newBackend(provider string, e Endpoint, timeout, connectTimeout time.Duration, local bool) (*Backend, error) {
	base, err := url.Parse(e.BaseURL)
	if err != nil {
		return nil, errors.New("base URL cannot be used") // the parser's error quotes it
	}
	b := &Backend{
		models: base.JoinPath("models"), completions: base.JoinPath("chat", "completions"),
		provider: provider, endpoint: e, timeout: timeout, connect: connectTimeout,
		local: local, http: newTransport(connectTimeout, local),
		prompts: prompts{json: make(map[string][]byte)},
		header: http.Header{
			"Accept":       {"application/json, text/event-stream"},
			"Content-Type": {"application/json"},
			"User-Agent":   {"hancock"},
		},
	}
	if e.APIKey != "" {
		b.header.Set("Authorization", "Bearer "+e.APIKey)
	}
	if e.Organization != "" {
		b.header.Set("OpenAI-Organization", e.Organization)
	}
	return b, nil
}

// same reports whether the other one asks the same server in the same way.
func (b *Backend) same(other *Backend) bool {
	return b.provider == other.provider && b.endpoint == other.endpoint && b.timeout == other.timeout && b.connect == other.connect && b.local == other.local
}

// retire closes idle connections, and those of calls in flight once they end.
func (b *Backend) retire() {
	b.retired.Store(true)
	b.http.CloseIdleConnections()
}

// Provider is Ollama, NVIDIA or OpenAI.
func (b *Backend) Provider() string { return b.provider }

// Name is the backend's name in /health.
func (b *Backend) Name() string {
	if b.provider == NVIDIA {
		return "nvidia_nim"
	}
	return b.provider
}

// Host is the host that the backend is asked at, with its port where one is given.
func (b *Backend) Host() string { return b.endpoint.Host() }

// Model is the id of the model that answers as a rule.
func (b *Backend) Model() string { return b.endpoint.Model }

// CoderModel is the id of the model for code tasks.
func (b *Backend) CoderModel() string { return b.endpoint.CoderModel }

// Traffic tells when calls last succeeded and last failed, zero for never, and
// how long the one that succeeded took until its first token, or as a whole
// where it was no stream.
func (b *Backend) Traffic() (succeeded, failed time.Time, latency time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.succeeded, b.failed, b.latency
}

// ListModels asks the backend for the ids of its models, which costs nothing
// and runs none of them. The error is an *Error.
func (b *Backend) ListModels(ctx context.Context) ([]string, error) {
	call, cancel := context.WithTimeoutCause(ctx, b.timeout, errSlow)
	defer cancel()
	res, err := b.call(call, http.MethodGet, b.models, nil)
	var page modelList
	if err == nil {
		page, err = read[modelList](res)
	}
	// An Ollama that has no model says null.
	if err == nil && page.Data == nil && page.Object != "list" {
		err = errNoModels
	}
	if err != nil {
		return nil, b.classify(ctx, call, "", res, err)
	}
	ids := make([]string, 0, len(page.Data))
	for _, m := range page.Data {
		ids = append(ids, m.ID)
	}
	return ids, nil
}

func (b *Backend) modelFor(r Request) string {
	if r.Coder {
		return b.endpoint.CoderModel
	}
	return b.endpoint.Model
}

func (b *Backend) request(r Request) chatRequest {
	return chatRequest{
		Model: b.modelFor(r), Messages: r.Messages,
		Temperature: r.Temperature, TopP: r.TopP, MaxTokens: r.MaxTokens,
	}
}

// chat makes one call and returns the whole answer, until the deadline.
func (b *Backend) chat(ctx context.Context, r Request, deadline time.Time) (Answer, *Error) {
	call, cancel := context.WithDeadlineCause(ctx, deadline, errSlow)
	defer cancel()
	answer := Answer{Provider: b.provider, Model: b.modelFor(r)}
	res, err := b.ask(call, b.request(r))
	var c completion
	if err == nil {
		c, err = read[completion](res)
	}
	switch {
	case err != nil:
	case c.Choices == nil:
		err = errNoChoices
	case len(c.Choices) == 0:
		err = ErrEmpty
	default:
		answer.Text = c.Choices[0].Message.String()
		answer.Usage = c.usage()
		answer.Finish = finishOf(c.Choices[0].FinishReason)
		if strings.TrimSpace(answer.Text) == "" {
			err = ErrEmpty
		}
	}
	if err != nil {
		return answer, b.classify(ctx, call, answer.Model, res, err)
	}
	return answer, nil
}

// stream makes one call and hands each piece of the answer to emit as it
// comes. White space before the first word waits for that word, so that an
// answer without any is a failure before the first piece. Something has to
// come until the deadline, and then within every timeout; reasoning is
// something. The times of the first token and piece are noted in at.
func (b *Backend) stream(ctx context.Context, r Request, at *Attempt, deadline time.Time, emit func(string) error) (Answer, bool, *Error) {
	start := time.Now()
	whole, cancelWhole := context.WithTimeoutCause(ctx, streamTimeouts*b.timeout, errSlow)
	defer cancelWhole()
	call, cancel := context.WithCancelCause(whole)
	defer cancel(nil)
	idle := time.AfterFunc(deadline.Sub(start), func() { cancel(errSlow) })
	defer idle.Stop()

	body := b.request(r)
	body.Stream, body.StreamOptions = true, &streamOptions{IncludeUsage: true}
	answer := Answer{Provider: b.provider, Model: b.modelFor(r)}
	res, err := b.ask(call, body)
	if err != nil {
		return answer, false, b.classify(ctx, call, answer.Model, res, err)
	}
	decoder := &endOfStream{Decoder: ssestream.NewDecoder(res)}
	stream := ssestream.NewStream[completion](decoder, nil)
	defer func() { _ = stream.Close() }()

	var text strings.Builder
	started, finish := false, ""
	for err == nil && stream.Next() {
		idle.Reset(b.timeout)
		chunk := stream.Current()
		if u := chunk.usage(); u != nil {
			answer.Usage = u
		}
		if len(chunk.Choices) == 0 {
			continue
		}
		choice := chunk.Choices[0]
		finish = cmp.Or(choice.FinishReason, finish)
		piece := choice.Delta.String()
		if at.FirstToken == 0 && (piece != "" || choice.Delta.thinks()) {
			at.FirstToken = time.Since(start)
		}
		text.WriteString(piece)
		if !started {
			piece = text.String()
			started = strings.TrimSpace(piece) != ""
		}
		if started && piece != "" {
			if at.FirstPiece == 0 {
				at.FirstPiece = time.Since(start)
			}
			// The backend is not to blame for the time that a reader takes.
			idle.Stop()
			err = emit(piece)
			idle.Reset(b.timeout)
		}
	}
	answer.Text, answer.Finish = text.String(), finishOf(finish)
	switch {
	case err != nil:
		err = errors.Join(errReader, err)
	case stream.Err() != nil:
		err = stream.Err()
	case finish == "" && !decoder.done:
		err = errCutOff
	case !started:
		err = ErrEmpty
	}
	if err != nil {
		return answer, started, b.classify(ctx, call, answer.Model, res, err)
	}
	return answer, started, nil
}

// endOfStream remembers whether the end mark came: without it, and without a
// finish reason, a connection that was closed looks like the end of an answer.
type endOfStream struct {
	ssestream.Decoder
	done bool
}

func (d *endOfStream) Next() bool {
	ok := d.Decoder.Next()
	d.done = d.done || ok && bytes.HasPrefix(d.Decoder.Event().Data, []byte("[DONE]"))
	return ok
}

// saw remembers how a call ended. Calls that say nothing about the backend's
// health are left out.
func (b *Backend) saw(at *Attempt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case at.Err == nil:
		b.succeeded, b.latency = time.Now(), cmp.Or(at.FirstToken, at.Duration)
	case at.Err.Kind != Canceled && at.Err.Kind != ContextLength:
		b.failed = time.Now()
	}
}
