package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeModel is an OpenAI-compatible server that does what the question says:
// "fail" gives a 500, "slow" takes slowAnswer, "hold" waits until it is let go.
type fakeModel struct {
	url     string
	calls   atomic.Int64
	failed  atomic.Int64
	held    chan struct{} // gets a value when a held call has arrived
	release chan struct{} // let held calls go by closing it
}

const slowAnswer = 300 * time.Millisecond

func newFakeModel(t *testing.T) *fakeModel {
	t.Helper()
	m := &fakeModel{held: make(chan struct{}, 100), release: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"object":"list","data":[{"id":"test-model","object":"model"},{"id":"test-coder","object":"model"}]}`)
	})
	mux.HandleFunc("POST /v1/chat/completions", m.complete)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	m.url = s.URL
	return m
}

func (m *fakeModel) complete(w http.ResponseWriter, r *http.Request) {
	m.calls.Add(1)
	var in struct {
		Model    string
		Stream   bool
		Messages []struct{ Role, Content string }
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || len(in.Messages) == 0 {
		http.Error(w, `{"error":{"message":"bad request"}}`, http.StatusBadRequest)
		return
	}
	question := in.Messages[len(in.Messages)-1].Content
	switch {
	case strings.Contains(question, "fail"):
		m.failed.Add(1)
		http.Error(w, `{"error":{"message":"the model crashed"}}`, http.StatusInternalServerError)
		return
	case strings.Contains(question, "slow"):
		select {
		case <-time.After(slowAnswer):
		case <-r.Context().Done():
		}
	case strings.Contains(question, "hold"):
		m.held <- struct{}{}
		<-m.release
	}
	w.Header().Set("Content-Type", "application/json")
	if !in.Stream {
		fmt.Fprintf(w, `{"id":"1","object":"chat.completion","model":%q,"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":%s}}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}`, in.Model, quoted("to: "+question))
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for _, piece := range []string{"to: ", question} {
		fmt.Fprintf(w, "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"model\":%q,\"choices\":[{\"index\":0,\"delta\":{\"content\":%s}}]}\n\n", in.Model, quoted(piece))
		w.(http.Flusher).Flush()
	}
	fmt.Fprint(w, "data: [DONE]\n\n")
}

// quoted is s as a JSON string.
func quoted(s string) string { b, _ := json.Marshal(s); return string(b) }

// chat is the body of a question in a mode.
func chat(mode, message string, stream bool) string {
	b, _ := json.Marshal(map[string]any{"mode": mode, "message": message, "stream": stream})
	return string(b)
}

func TestFakeModelSpeaksOpenAI(t *testing.T) {
	m := newFakeModel(t)
	resp, err := http.Post(m.url+"/v1/chat/completions", "application/json", strings.NewReader(`{"messages":[{"role":"user","content":"hi"}]}`))
	require.NoError(t, err)
	defer resp.Body.Close()
	var out struct {
		Choices []struct{ Message struct{ Content string } }
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&out))
	require.Equal(t, "to: hi", out.Choices[0].Message.Content)
}
