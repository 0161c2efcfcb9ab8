package llm

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/packages/ssestream"
	"github.com/openai/openai-go/v3/shared"
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
	http     *http.Client
	// sdk is not made by openai.NewClient: that one takes keys, headers and
	// URLs from the environment, and OpenAI's key would reach Ollama.
	sdk openai.Client

	mu                sync.Mutex
	succeeded, failed time.Time
}

func newBackend(provider string, e Endpoint, timeout, connectTimeout time.Duration) *Backend {
	b := &Backend{provider: provider, endpoint: e, timeout: timeout, http: newHTTPClient(connectTimeout)}
	opts := []option.RequestOption{
		option.WithBaseURL(e.BaseURL),
		option.WithHTTPClient(b.http),
		option.WithMaxRetries(0),
	}
	if e.APIKey != "" {
		opts = append(opts, option.WithAPIKey(e.APIKey))
	}
	if e.Organization != "" {
		opts = append(opts, option.WithOrganization(e.Organization))
	}
	b.sdk = openai.Client{
		Options: opts,
		Chat:    openai.NewChatService(opts...),
		Models:  openai.NewModelService(opts...),
	}
	return b
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

// Model is the id of the model that answers as a rule.
func (b *Backend) Model() string { return b.endpoint.Model }

// CoderModel is the id of the model for code tasks.
func (b *Backend) CoderModel() string { return b.endpoint.CoderModel }

// Traffic tells when calls last succeeded and last failed; zero means never.
func (b *Backend) Traffic() (succeeded, failed time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.succeeded, b.failed
}

// ListModels asks the backend for the ids of its models, which costs nothing
// and runs none of them. The error is an *Error.
func (b *Backend) ListModels(ctx context.Context) ([]string, error) {
	call, cancel := context.WithTimeoutCause(ctx, b.timeout, errSlow)
	defer cancel()
	var res *http.Response
	page, err := b.sdk.Models.List(call, option.WithResponseInto(&res))
	if err == nil && page == nil {
		err = errNoChoices
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

func (b *Backend) params(r Request) openai.ChatCompletionNewParams {
	messages := make([]openai.ChatCompletionMessageParamUnion, 0, len(r.Messages))
	for _, m := range r.Messages {
		switch m.Role {
		case System:
			messages = append(messages, openai.SystemMessage(m.Content))
		case Assistant:
			messages = append(messages, openai.AssistantMessage(m.Content))
		default:
			messages = append(messages, openai.UserMessage(m.Content))
		}
	}
	return openai.ChatCompletionNewParams{
		Model:       shared.ChatModel(b.modelFor(r)),
		Messages:    messages,
		Temperature: param.NewOpt(r.Temperature),
		TopP:        param.NewOpt(r.TopP),
		// Not max_completion_tokens: Ollama ignores that one.
		MaxTokens: param.NewOpt(int64(r.MaxTokens)),
	}
}

// chat makes one call and returns the whole answer.
func (b *Backend) chat(ctx context.Context, r Request) (Answer, *Error) {
	call, cancel := context.WithTimeoutCause(ctx, b.timeout, errSlow)
	defer cancel()
	answer := Answer{Provider: b.provider, Model: b.modelFor(r)}
	var res *http.Response
	completion, err := b.sdk.Chat.Completions.New(call, b.params(r), option.WithResponseInto(&res))
	switch {
	case err != nil:
	case completion == nil, !completion.JSON.Choices.Valid():
		err = errNoChoices
	case len(completion.Choices) == 0:
		err = ErrEmpty
	default:
		m := completion.Choices[0].Message
		answer.Text = textOf(m.Content, m.Refusal)
		answer.Usage = usageOf(completion.Usage, completion.JSON.Usage.Valid())
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
// answer without any is a failure before the first piece.
func (b *Backend) stream(ctx context.Context, r Request, emit func(string) error) (Answer, bool, *Error) {
	whole, cancelWhole := context.WithTimeoutCause(ctx, streamTimeouts*b.timeout, errSlow)
	defer cancelWhole()
	call, cancel := context.WithCancelCause(whole)
	defer cancel(nil)
	idle := time.AfterFunc(b.timeout, func() { cancel(errSlow) })
	defer idle.Stop()

	params := b.params(r)
	params.StreamOptions.IncludeUsage = param.NewOpt(true)
	answer := Answer{Provider: b.provider, Model: b.modelFor(r)}
	var res *http.Response
	err := b.sdk.Post(call, "chat/completions", params, &res, option.WithJSONSet("stream", true))
	if err != nil {
		return answer, false, b.classify(ctx, call, answer.Model, res, err)
	}
	decoder := &endOfStream{Decoder: ssestream.NewDecoder(res)}
	stream := ssestream.NewStream[openai.ChatCompletionChunk](decoder, nil)
	defer func() { _ = stream.Close() }()

	var text strings.Builder
	started, finished := false, false
	for err == nil && stream.Next() {
		idle.Reset(b.timeout)
		chunk := stream.Current()
		if chunk.JSON.Usage.Valid() {
			answer.Usage = usageOf(chunk.Usage, true)
		}
		if len(chunk.Choices) == 0 {
			continue
		}
		choice := chunk.Choices[0]
		finished = finished || choice.FinishReason != ""
		piece := textOf(choice.Delta.Content, choice.Delta.Refusal)
		text.WriteString(piece)
		if !started {
			piece = text.String()
			started = strings.TrimSpace(piece) != ""
		}
		if started && piece != "" {
			err = emit(piece)
		}
	}
	answer.Text = text.String()
	switch {
	case err != nil:
		err = errors.Join(errReader, err)
	case stream.Err() != nil:
		err = stream.Err()
	case !finished && !decoder.done:
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
	d.done = d.done || ok && strings.HasPrefix(string(d.Decoder.Event().Data), "[DONE]")
	return ok
}

// saw remembers how a call ended. Calls that say nothing about the backend's
// health are left out.
func (b *Backend) saw(err *Error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err == nil:
		b.succeeded = time.Now()
	case err.Kind != Canceled && err.Kind != ContextLength:
		b.failed = time.Now()
	}
}

// textOf takes a refusal for the answer that it is. The SDK passes on bytes
// that are not UTF-8.
func textOf(content, refusal string) string {
	return strings.ToValidUTF8(cmp.Or(content, refusal), "\uFFFD")
}

func usageOf(u openai.CompletionUsage, valid bool) *Usage {
	if !valid {
		return nil
	}
	return &Usage{Prompt: u.PromptTokens, Completion: u.CompletionTokens}
}
