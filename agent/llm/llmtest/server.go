// Package llmtest stands in for an LLM backend in tests: a server on a real
// socket that speaks the OpenAI-compatible API, well or badly.
package llmtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Models are what the server lists.
const Models = `{"object":"list","data":[{"id":"test-model","object":"model"},{"id":"test-coder","object":"model"}]}`

// Request is what a client has asked.
type Request struct {
	Header http.Header `json:"-"`
	// Fields are all top-level fields as they were sent.
	Fields map[string]json.RawMessage `json:"-"`

	Model    string `json:"model"`
	Messages []struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	} `json:"messages"`
	Stream bool `json:"stream"`
}

// Server is a backend on 127.0.0.1. It closes with the test.
type Server struct {
	// URL is the base URL without /v1.
	URL string
	// Gone receives one value for each request whose client went away while
	// it was hanging.
	Gone chan struct{}

	t        testing.TB
	mu       sync.Mutex
	requests []Request
	closing  chan struct{}
}

// New starts a server whose completions are written by reply.
func New(t testing.TB, reply Reply) *Server {
	s := &Server{t: t, Gone: make(chan struct{}, 1024), closing: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, Models)
	})
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		reply(&Call{ResponseWriter: w, Request: s.read(r), Context: r, server: s})
	})
	server := httptest.NewServer(mux)
	s.URL = server.URL
	t.Cleanup(func() {
		close(s.closing)
		server.Close()
	})
	return s
}

func (s *Server) read(r *http.Request) Request {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Errorf("reading a request: %v", err)
	}
	req := Request{Header: r.Header.Clone()}
	if err := json.Unmarshal(body, &req); err != nil {
		s.t.Errorf("a request is not JSON: %v", err)
	}
	if err := json.Unmarshal(body, &req.Fields); err != nil {
		s.t.Errorf("a request is not an object: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, req)
	return req
}

// Requests are the completions that were asked for so far.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Call is one request for a completion.
type Call struct {
	http.ResponseWriter
	Request Request
	Context *http.Request
	server  *Server
}

// Reply writes the answer to a call.
type Reply func(*Call)

// Flush sends what was written. That fails once the client has gone, which is
// no fault of the server.
func (c *Call) Flush() { _ = http.NewResponseController(c.ResponseWriter).Flush() }

// Hang waits until the client goes away or the server closes.
func (c *Call) Hang() {
	select {
	case <-c.Context.Context().Done():
		c.server.Gone <- struct{}{}
	case <-c.server.closing:
	}
}

// Piece writes one chunk of a stream and sends it.
func (c *Call) Piece(text string) {
	c.Event(fmt.Sprintf(`{"id":"1","object":"chat.completion.chunk","model":%q,"choices":[{"index":0,"delta":{"content":%s},"finish_reason":null}]}`,
		c.Request.Model, quote(text)))
}

// Event writes one event of a stream and sends it.
func (c *Call) Event(data string) {
	c.Header().Set("Content-Type", "text/event-stream")
	_, _ = fmt.Fprintf(c, "data: %s\n\n", data)
	c.Flush()
}

// Say answers every call properly with a text, in pieces of a word each when
// a stream was asked for, in the manner of Ollama.
func Say(text string) Reply {
	return func(c *Call) {
		if !c.Request.Stream {
			JSON(http.StatusOK, fmt.Sprintf(
				`{"id":"1","object":"chat.completion","model":%q,"choices":[{"index":0,"message":{"role":"assistant","content":%s},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}`,
				c.Request.Model, quote(text)))(c)
			return
		}
		for word := range strings.SplitAfterSeq(text, " ") {
			c.Piece(word)
		}
		c.Event(`{"id":"1","choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop"}]}`)
		c.Event(`{"id":"1","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}`)
		c.Event("[DONE]")
	}
}

// JSON answers with a status and a JSON body, whatever was asked.
func JSON(status int, body string) Reply { return Body(status, "application/json", body) }

// Body answers with a status and a body.
func Body(status int, contentType, body string) Reply {
	return func(c *Call) {
		c.Header().Set("Content-Type", contentType)
		c.WriteHeader(status)
		_, _ = io.WriteString(c, body)
	}
}

// Hang never answers.
func Hang(c *Call) { c.Hang() }

// Abort closes the connection.
func Abort(*Call) { panic(http.ErrAbortHandler) }

// Midway sends the beginning of an answer and then does what then does.
func Midway(then Reply) Reply {
	return func(c *Call) {
		if c.Request.Stream {
			c.Piece("The ")
			c.Piece("beginning ")
		} else {
			c.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(c, `{"id":"1","choices":[{"index":0,"message":{"role":"assistant","content":"The begin`)
			c.Flush()
		}
		then(c)
	}
}

func quote(text string) []byte {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return b
}
