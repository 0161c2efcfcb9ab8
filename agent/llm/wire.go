package llm

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"sync"
)

// The requests and answers of OpenAI's chat completions, as far as they are
// used. openai-go's own types are left alone: its root package registers every
// type of the platform when the process starts, which was 38 MB of the binary
// and 20 MB of resident memory. Its reader of event streams is a package of
// its own and is used.
//
// Source: https://platform.openai.com/docs/api-reference/chat

type chatRequest struct {
	Model       string    `json:"model"`
	Messages    []Message `json:"-"` // see encode
	Temperature float64   `json:"temperature"`
	TopP        float64   `json:"top_p"`
	// MaxTokens is not max_completion_tokens: Ollama ignores that one.
	MaxTokens     int            `json:"max_tokens"`
	Stream        bool           `json:"stream,omitempty"`
	StreamOptions *streamOptions `json:"stream_options,omitempty"`
}

type streamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

// encode returns the request as JSON.
func (r chatRequest) encode(kept *prompts) ([]byte, error) {
	rest, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	messages, size := make([][]byte, len(r.Messages)), len(rest)+16
	for i, m := range r.Messages {
		if messages[i], err = kept.encode(m); err != nil {
			return nil, err
		}
		size += len(messages[i]) + 1
	}
	b := append(make([]byte, 0, size), `{"messages":[`...)
	for i, m := range messages {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, m...)
	}
	b = append(b, "],"...)
	return append(b, rest[1:]...), nil
}

// prompts keep the JSON of system prompts: those are long, few, and the larger
// part of most requests.
type prompts struct {
	mu   sync.RWMutex
	json map[string][]byte
}

// maxPrompts bounds how many are kept.
const maxPrompts = 64

// encode returns a message as JSON, which nobody changes.
func (p *prompts) encode(m Message) ([]byte, error) {
	if m.Role != System {
		return json.Marshal(m)
	}
	p.mu.RLock()
	b, ok := p.json[m.Content]
	p.mu.RUnlock()
	if ok {
		return b, nil
	}
	b, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.json) < maxPrompts {
		p.json[m.Content] = b
	}
	return b, nil
}

// completion is a whole answer, or one chunk of a streamed one.
type completion struct {
	// Choices is nil when the answer has no such field.
	Choices []struct {
		Message      text   `json:"message"`
		Delta        text   `json:"delta"`
		FinishReason string `json:"finish_reason"`
	} `json:"choices"`
	Usage *struct {
		PromptTokens     int64 `json:"prompt_tokens"`
		CompletionTokens int64 `json:"completion_tokens"`
	} `json:"usage"`
}

type text struct {
	Content string `json:"content"`
	Refusal string `json:"refusal"`
	// What a model thinks before it answers is no part of the answer. Ollama
	// and NIM call it by one of these names.
	Reasoning        thought `json:"reasoning"`
	ReasoningContent thought `json:"reasoning_content"`
}

// thought is whether there was any reasoning, whatever its form.
type thought bool

// UnmarshalJSON takes null and everything empty for no reasoning.
func (t *thought) UnmarshalJSON(b []byte) error {
	*t = len(b) > len(`""`) && string(b) != "null"
	return nil
}

// String takes a refusal for the answer that it is. Bytes that are not UTF-8
// have been replaced by the decoder.
func (t text) String() string { return cmp.Or(t.Content, t.Refusal) }

// thinks tells whether the model has generated reasoning.
func (t text) thinks() bool { return bool(t.Reasoning || t.ReasoningContent) }

// usage is nil when the backend told none, or what no answer can cost.
func (c completion) usage() *Usage {
	u := c.Usage
	if u == nil || u.PromptTokens < 0 || u.CompletionTokens < 0 || u.PromptTokens+u.CompletionTokens == 0 {
		return nil
	}
	return &Usage{Prompt: u.PromptTokens, Completion: u.CompletionTokens}
}

type modelList struct {
	Object string `json:"object"`
	Data   []struct {
		ID string `json:"id"`
	} `json:"data"`
}

// statusError is an answer that is not a 2xx, with the identifiers of OpenAI's
// error object where there is one.
type statusError struct {
	status     int
	code, kind string
	// tooLong tells that it is about the length of the prompt.
	tooLong bool
}

func (e *statusError) Error() string { return fmt.Sprintf("status %d", e.status) }

// tooLongRE finds what servers say of a prompt that is too long: OpenAI and
// llama.cpp by an identifier, vLLM, which is inside of NIM, in prose only.
var tooLongRE = regexp.MustCompile(`(?i)context[ _](length|size|window)|maximum (model|input) length`)

// newStatusError reads the error object, which some servers give as a plain
// text or not at all.
func newStatusError(res *http.Response) *statusError {
	e := &statusError{status: res.StatusCode}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return e
	}
	type object struct {
		Code    any    `json:"code"` // a text, a number or null
		Type    any    `json:"type"`
		Message string `json:"message"`
	}
	var envelope struct {
		object        // older servers put it there
		Error  object `json:"error"`
	}
	_ = json.Unmarshal(body, &envelope) // as much of it as is there
	for _, o := range []object{envelope.object, envelope.Error} {
		if code, ok := o.Code.(string); ok {
			e.code = code
		}
		if kind, ok := o.Type.(string); ok {
			e.kind = kind
		}
		e.tooLong = e.tooLong || tooLongRE.MatchString(e.code+"\n"+e.kind) ||
			e.status < http.StatusInternalServerError && tooLongRE.MatchString(o.Message)
	}
	return e
}

// call sends a request to a URL below the base URL, with body as its JSON
// unless it is nil. The answer is a 2xx when there is no error; the caller
// closes its body. With an error, the answer may still tell the status; its
// body is closed.
func (b *Backend) call(ctx context.Context, method string, at *url.URL, body []byte) (*http.Response, error) {
	var payload io.Reader = http.NoBody
	if body != nil {
		payload = bytes.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, method, "", payload)
	if err != nil {
		return nil, err
	}
	r.URL, r.Host, r.Header = at, at.Host, b.header
	res, err := b.http.RoundTrip(r)
	if b.retired.Load() {
		b.http.CloseIdleConnections() // The transport keeps connections again from each new request on.
	}
	if err != nil {
		return nil, err
	}
	res.Body = &boundedBody{ReadCloser: res.Body, left: maxAnswerBytes}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		defer closeBody(res)
		return res, newStatusError(res)
	}
	return res, nil
}

// ask sends a request for a completion, see call.
func (b *Backend) ask(ctx context.Context, r chatRequest) (*http.Response, error) {
	body, err := r.encode(&b.prompts)
	if err != nil {
		return nil, fmt.Errorf("encoding the request: %w", err)
	}
	return b.call(ctx, http.MethodPost, b.completions, body)
}

// read decodes the one JSON document of an answer and closes its body.
func read[T any](res *http.Response) (v T, err error) {
	defer closeBody(res)
	// What the backend says of the length saves growing, but is not believed.
	const most = 16 << 10
	var body bytes.Buffer
	body.Grow(int(min(max(res.ContentLength, 0), most)) + bytes.MinRead)
	if _, err := body.ReadFrom(res.Body); err != nil {
		return v, err
	}
	return v, json.Unmarshal(body.Bytes(), &v)
}

func closeBody(res *http.Response) { _ = res.Body.Close() }
