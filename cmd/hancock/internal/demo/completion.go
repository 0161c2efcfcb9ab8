package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxCompletionBody bounds what the simulated backend reads of one request, in bytes.
const maxCompletionBody = 4 << 20

// modelsCreated is the fixed creation time that the models carry, in Unix seconds.
const modelsCreated = 1767225600

// completionRequest holds the fields of OpenAI's chat completion request that have an effect here.
type completionRequest struct {
	Model               string    `json:"model"`
	Messages            []message `json:"messages"`
	Stream              bool      `json:"stream"`
	MaxTokens           int       `json:"max_tokens"`
	MaxCompletionTokens int       `json:"max_completion_tokens"`
	StreamOptions       struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
}

// message is one turn; content is a text, or parts of which the texts count.
type message struct {
	Role    string  `json:"role"`
	Content content `json:"content"`
}

type content string

// UnmarshalJSON reads a string, null, or a list of {"type":"text","text":"…"} parts.
func (c *content) UnmarshalJSON(data []byte) error {
	if len(data) == 0 || data[0] != '[' {
		var s string
		if err := json.Unmarshal(data, &s); err != nil {
			return fmt.Errorf("content: %w", err)
		}
		*c = content(s)
		return nil
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if err := json.Unmarshal(data, &parts); err != nil {
		return fmt.Errorf("content parts: %w", err)
	}
	for _, p := range parts {
		*c += content(p.Text)
	}
	return nil
}

type usage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	TotalTokens      int `json:"total_tokens"`
}

type (
	choice struct {
		Index        int            `json:"index"`
		Message      *answerMessage `json:"message,omitempty"`
		Delta        *delta         `json:"delta,omitempty"`
		FinishReason *string        `json:"finish_reason"`
	}
	answerMessage struct {
		Role    string  `json:"role"`
		Content string  `json:"content"`
		Refusal *string `json:"refusal"`
	}
	delta struct {
		Role    string `json:"role,omitempty"`
		Content string `json:"content,omitempty"`
	}
	// completion is both forms of an answer: a whole one and a chunk.
	completion struct {
		ID      string   `json:"id"`
		Object  string   `json:"object"`
		Created int64    `json:"created"`
		Model   string   `json:"model"`
		Choices []choice `json:"choices"`
		Usage   *usage   `json:"usage,omitempty"`
	}
	// usageChunk is a chunk of a stream that was asked to end with the usage: the others carry null.
	usageChunk struct {
		completion
		Usage *usage `json:"usage"`
	}
)

// answer is what one call will say, before it is known whether it gets to say it.
type answer struct {
	head   completion // id, time and model
	pieces []string
	reason string // finish_reason
	usage  usage
}

func (b *Backend) completions(w http.ResponseWriter, r *http.Request) {
	var req completionRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxCompletionBody)).Decode(&req); err != nil {
		writeAPIError(w, http.StatusBadRequest, "invalid_request_error", "the body is not a chat completion request")
		return
	}
	if req.Model != Model && req.Model != CoderModel {
		writeAPIError(w, http.StatusNotFound, "not_found_error", fmt.Sprintf("model %q not found", req.Model))
		return
	}
	if len(req.Messages) == 0 {
		writeAPIError(w, http.StatusBadRequest, "invalid_request_error", "messages is empty")
		return
	}
	n := b.calls.Add(1)
	f := b.opts.fateOf(n)
	a := b.compose(req, n, f)
	if req.Stream && (f.failure == failNot || f.failure == failMidway) {
		b.stream(r.Context(), w, req.StreamOptions.IncludeUsage, a, f)
		return
	}
	if wait(r.Context(), f.latency) != nil {
		return // the client has gone, or the backend is closing
	}
	switch f.failure {
	case failOverloaded:
		writeAPIError(w, http.StatusServiceUnavailable, "api_error", "server busy, please try again: maximum pending requests exceeded")
	case failInternal, failMidway:
		writeAPIError(w, http.StatusInternalServerError, "api_error", "llama runner process has terminated (simulated)")
	default:
		whole := a.head
		whole.Object = "chat.completion"
		whole.Choices = []choice{{
			Message:      &answerMessage{Role: "assistant", Content: strings.Join(a.pieces, "")},
			FinishReason: &a.reason,
		}}
		whole.Usage = &a.usage
		writeJSON(w, http.StatusOK, whole)
	}
}

// subject is what a task is about: of a message with fenced texts in it, the first of them; else the
// whole message.
func subject(message string) string {
	_, rest, ok := strings.Cut(message, ":\n~~~")
	if !ok {
		return message
	}
	rest = strings.TrimLeft(rest, "~")
	text, _, _ := strings.Cut(rest, "\n~~~")
	return strings.TrimSpace(text)
}

// compose finds the text, cuts it into pieces of about one token and counts both sides.
func (b *Backend) compose(req completionRequest, n uint64, f fate) answer {
	var system, question string
	prompt := 3
	for _, m := range req.Messages {
		prompt += tokens(string(m.Content)) + 4
		switch m.Role {
		case "system", "developer":
			system += string(m.Content) + "\n"
		case "user":
			question = subject(string(m.Content))
		}
	}
	a := answer{
		head: completion{
			ID:      fmt.Sprintf("chatcmpl-demo-%06d", n),
			Created: time.Now().Unix(),
			Model:   req.Model,
		},
		pieces: split(b.catalog.answer(modeOf(system), question, f.pick)),
		reason: "stop",
	}
	limit := req.MaxCompletionTokens
	if limit <= 0 {
		limit = req.MaxTokens
	}
	if limit > 0 && len(a.pieces) > limit {
		a.pieces, a.reason = a.pieces[:limit], "length"
	}
	a.usage = usage{PromptTokens: prompt, CompletionTokens: len(a.pieces), TotalTokens: prompt + len(a.pieces)}
	return a
}

// stream sends the answer as server-sent events: a third of the latency passes before the first
// piece, the rest between the pieces.
func (b *Backend) stream(ctx context.Context, w http.ResponseWriter, withUsage bool, a answer, f fate) {
	if wait(ctx, f.latency/3) != nil {
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	out := http.NewResponseController(w)
	send := func(choices []choice, u *usage) error {
		chunk := a.head
		chunk.Object, chunk.Choices = "chat.completion.chunk", choices
		var v any = chunk
		if withUsage {
			v = usageChunk{completion: chunk, Usage: u}
		}
		data, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("encoding chunk: %w", err)
		}
		if _, err := fmt.Fprintf(w, "data: %s\n\n", data); err != nil {
			return fmt.Errorf("writing chunk: %w", err)
		}
		return out.Flush()
	}
	if send([]choice{{Delta: &delta{Role: "assistant"}}}, nil) != nil {
		return
	}
	pause := (f.latency - f.latency/3) / time.Duration(len(a.pieces))
	for i, piece := range a.pieces {
		if f.failure == failMidway && i == len(a.pieces)/2 {
			panic(http.ErrAbortHandler) // breaks the connection: the client sees no end of the body
		}
		if wait(ctx, pause) != nil || send([]choice{{Delta: &delta{Content: piece}}}, nil) != nil {
			return
		}
	}
	err := send([]choice{{Delta: &delta{}, FinishReason: &a.reason}}, nil)
	if withUsage {
		err = errors.Join(err, send([]choice{}, &a.usage))
	}
	if err == nil {
		_, _ = fmt.Fprint(w, "data: [DONE]\n\n") // a client that left is no error of ours
	}
}

func (b *Backend) models(w http.ResponseWriter, _ *http.Request) {
	type model struct {
		ID      string `json:"id"`
		Object  string `json:"object"`
		Created int64  `json:"created"`
		OwnedBy string `json:"owned_by"`
	}
	writeJSON(w, http.StatusOK, struct {
		Object string  `json:"object"`
		Data   []model `json:"data"`
	}{"list", []model{
		{Model, "model", modelsCreated, "hancock-demo"},
		{CoderModel, "model", modelsCreated, "hancock-demo"},
	}})
}

// writeAPIError answers in the form of OpenAI's errors.
func writeAPIError(w http.ResponseWriter, status int, kind, text string) {
	type body struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    *string `json:"code"`
	}
	writeJSON(w, status, map[string]body{"error": {Message: text, Type: kind}})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that left is no error of ours
}

// tokens estimates how many tokens a tokenizer would make of s: four characters each.
func tokens(s string) int { return (utf8.RuneCountInString(s) + 3) / 4 }

// split cuts s into words of at most eight characters, each with the white space after it; joined
// they are s again.
func split(s string) []string {
	var pieces []string
	start, length, space := 0, 0, false
	for i, r := range s {
		isSpace := unicode.IsSpace(r)
		if (space && !isSpace) || (length >= 8 && !isSpace) {
			pieces = append(pieces, s[start:i])
			start, length = i, 0
		}
		space = isSpace
		length++
	}
	if start < len(s) {
		pieces = append(pieces, s[start:])
	}
	return pieces
}
