package demo

import (
	"bufio"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

const sigmaQuestion = `{"model":"demo-8b","messages":[{"role":"system","content":"Role: detection engineer who writes Sigma rules."},` +
	`{"role":"user","content":"Please detect deletion of shadow copies"}]`

func post(t *testing.T, b *Backend, body string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.URL()+"/v1/chat/completions", strings.NewReader(body))
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		text = append(text, "<broken>"...)
	}
	return resp.StatusCode, resp.Header, string(text)
}

func TestBackendAnswersWhole(t *testing.T) {
	b := startBackend(t, quiet())
	status, header, body := post(t, b, sigmaQuestion+`}`)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "application/json", header.Get("Content-Type"))
	require.Equal(t, "simulated", header.Get("X-Hancock-Demo"))
	var got completion
	require.NoError(t, json.Unmarshal([]byte(body), &got))
	require.Equal(t, "chat.completion", got.Object)
	require.Equal(t, Model, got.Model)
	require.Len(t, got.Choices, 1)
	require.Equal(t, "stop", *got.Choices[0].FinishReason)
	require.Contains(t, got.Choices[0].Message.Content, "title: Deletion of Volume Shadow Copies")
	require.True(t, strings.HasSuffix(got.Choices[0].Message.Content, notice), "answers are marked")
	require.Positive(t, got.Usage.PromptTokens)
	require.Greater(t, got.Usage.CompletionTokens, 100)
	require.Equal(t, got.Usage.PromptTokens+got.Usage.CompletionTokens, got.Usage.TotalTokens)
}

// sse is the data of each event of a stream.
func sse(t *testing.T, body string) []string {
	t.Helper()
	var events []string
	scanner := bufio.NewScanner(strings.NewReader(body))
	for scanner.Scan() {
		if scanner.Text() == "" {
			continue
		}
		data, ok := strings.CutPrefix(scanner.Text(), "data: ")
		require.True(t, ok, scanner.Text())
		events = append(events, data)
	}
	require.NoError(t, scanner.Err())
	return events
}

func TestBackendStreams(t *testing.T) {
	b := startBackend(t, quiet())
	_, _, whole := post(t, b, sigmaQuestion+`}`)
	var want completion
	require.NoError(t, json.Unmarshal([]byte(whole), &want))

	for name, c := range map[string]struct {
		options   string
		withUsage bool
	}{
		"without usage":    {`}`, false},
		"usage not wanted": {`,"stream_options":{"include_usage":false}}`, false},
		"with usage":       {`,"stream_options":{"include_usage":true}}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			status, header, body := post(t, b, sigmaQuestion+`,"stream":true`+c.options)
			require.Equal(t, http.StatusOK, status)
			require.Equal(t, "text/event-stream", header.Get("Content-Type"))
			events := sse(t, body)
			require.Equal(t, "[DONE]", events[len(events)-1])
			var text strings.Builder
			reason := ""
			for i, data := range events[:len(events)-1] {
				var chunk completion
				require.NoError(t, json.Unmarshal([]byte(data), &chunk))
				require.Equal(t, "chat.completion.chunk", chunk.Object)
				last := i == len(events)-2
				require.Equal(t, c.withUsage && !last, strings.Contains(data, `"usage":null`), data)
				if c.withUsage && last {
					require.Contains(t, data, `"choices":[]`)
					require.Equal(t, *want.Usage, *chunk.Usage)
					continue
				}
				require.Nil(t, chunk.Usage)
				require.Len(t, chunk.Choices, 1)
				text.WriteString(chunk.Choices[0].Delta.Content)
				if chunk.Choices[0].FinishReason != nil {
					reason = *chunk.Choices[0].FinishReason
				}
			}
			require.Equal(t, want.Choices[0].Message.Content, text.String())
			require.Equal(t, "stop", reason)
		})
	}
}

func TestBackendRefuses(t *testing.T) {
	b := startBackend(t, quiet())
	for name, c := range map[string]struct {
		body   string
		status int
		text   string
	}{
		"not JSON":           {`{"model":`, 400, "not a chat completion request"},
		"wrong type":         {`{"model":"demo-8b","messages":"hello"}`, 400, "not a chat completion request"},
		"wrong content":      {`{"model":"demo-8b","messages":[{"role":"user","content":7}]}`, 400, "not a chat completion request"},
		"unknown model":      {`{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}`, 404, `model \"gpt-4o\" not found`},
		"unknown and stream": {`{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"hi"}]}`, 404, `not found`},
		"no messages":        {`{"model":"demo-8b","messages":[]}`, 400, "messages is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			status, _, body := post(t, b, c.body)
			require.Equal(t, c.status, status)
			require.Contains(t, body, `{"error":{"message":`)
			require.Contains(t, body, c.text)
		})
	}
	require.Zero(t, b.Calls(), "what is refused is no call")
}

func TestBackendLimitsTokens(t *testing.T) {
	b := startBackend(t, quiet())
	for _, field := range []string{"max_tokens", "max_completion_tokens"} {
		_, _, body := post(t, b, sigmaQuestion+`,"`+field+`":7}`)
		var got completion
		require.NoError(t, json.Unmarshal([]byte(body), &got))
		require.Equal(t, "length", *got.Choices[0].FinishReason)
		require.Equal(t, 7, got.Usage.CompletionTokens)
	}
}

func TestBackendTakesContentInParts(t *testing.T) {
	b := startBackend(t, quiet())
	status, _, body := post(t, b, `{"model":"demo-coder-7b","messages":[{"role":"system","content":[{"type":"text","text":"Role: security engineer who writes code"}]},{"role":"user","content":[{"type":"text","text":"check a webhook "},{"type":"text","text":"hmac signature"}]}]}`)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "hmac.Equal")
}

func TestBackendModels(t *testing.T) {
	b := startBackend(t, quiet())
	for path, want := range map[string]string{"/v1/models": `"id":"demo-8b"`, "/v1/files": `no such path: /v1/files`} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.URL()+path, nil)
		require.NoError(t, err)
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Contains(t, string(body), want)
	}
}

func TestBackendFails(t *testing.T) {
	o := quiet()
	o.ErrorRate = 1
	b := startBackend(t, o)
	seen := map[string]int{}
	for range 40 {
		status, _, body := post(t, b, sigmaQuestion+`,"stream":true}`)
		switch {
		case status == http.StatusOK && strings.HasSuffix(body, "<broken>"):
			require.NotContains(t, body, "[DONE]")
			seen["midway"]++
		case status == http.StatusServiceUnavailable:
			seen["busy"]++
		case status == http.StatusInternalServerError:
			seen["internal"]++
		default:
			t.Fatalf("status %d: %s", status, body)
		}
	}
	require.Len(t, seen, 3, "all three ways to fail: %v", seen)
}

func TestFateDependsOnSeedAndNumber(t *testing.T) {
	o := DefaultBackendOptions()
	other := o
	other.Seed++
	same, failed, slowest, sum := 0, 0, time.Duration(0), time.Duration(0)
	const n = 20000
	for i := range uint64(n) {
		f := o.fateOf(i)
		require.Equal(t, f, o.fateOf(i))
		if f == other.fateOf(i) {
			same++
		}
		if f.failure != failNot {
			failed++
			continue
		}
		require.GreaterOrEqual(t, f.latency, 200*time.Millisecond)
		slowest, sum = max(slowest, f.latency), sum+f.latency
	}
	require.Zero(t, same)
	require.InDelta(t, 0.008*n, failed, 40)
	require.Greater(t, slowest, 4*time.Second, "some are slow")
	require.LessOrEqual(t, slowest, 8*time.Second)
	require.InDelta(t, 0.95, (sum / n).Seconds(), 0.2)
}

func TestBackendCloseEndsAnswers(t *testing.T) {
	o := quiet()
	o.LatencyFactor = 100 // twenty seconds and more
	b, err := NewBackend(o, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		req, err := http.NewRequest(http.MethodPost, b.URL()+"/v1/chat/completions", strings.NewReader(sigmaQuestion+`}`))
		if err == nil {
			var resp *http.Response
			if resp, err = client.Do(req); err == nil {
				err = resp.Body.Close()
			}
		}
		done <- err
	}()
	require.Eventually(t, func() bool { return b.Calls() == 1 }, time.Minute, time.Millisecond)
	begin := time.Now()
	require.NoError(t, b.Close())
	require.Less(t, time.Since(begin), closeTimeout+5*time.Second, "not as long as the answer would take")
	<-done
	u, err := url.Parse(b.URL())
	require.NoError(t, err)
	ln, err := net.Listen("tcp", u.Host)
	require.NoError(t, err, "the port is free again")
	require.NoError(t, ln.Close())
}

func TestBackendListensOnLoopback(t *testing.T) {
	b := startBackend(t, quiet())
	require.True(t, strings.HasPrefix(b.URL(), "http://127.0.0.1:"), b.URL())
	for name, change := range map[string]func(*BackendOptions){
		"negative latency": func(o *BackendOptions) { o.LatencyFactor = -1 },
		"errors above all": func(o *BackendOptions) { o.ErrorRate = 1.1 },
		"slow below none":  func(o *BackendOptions) { o.SlowRate = -0.1 },
	} {
		t.Run(name, func(t *testing.T) {
			o := quiet()
			change(&o)
			_, err := NewBackend(o, slog.New(slog.DiscardHandler))
			require.ErrorContains(t, err, "simulated backend: ")
		})
	}
}

// TestCatalog holds the written answers against what they claim to be.
func TestCatalog(t *testing.T) {
	c, err := loadCatalog()
	require.NoError(t, err)
	for _, mode := range modes {
		require.GreaterOrEqual(t, len(c.byMode[mode]), 3, mode)
		for _, e := range c.byMode[mode] {
			require.Equal(t, e.answer+notice, c.answer(mode, e.question, 0), "a question finds its answer")
			require.Equal(t, e.answer+notice, c.answer(autoMode, e.question, 0), "the generalist finds it too")
			require.Equal(t, strings.Join(split(e.answer), ""), e.answer)
			require.Zero(t, strings.Count(e.answer, "```")%2, "code blocks are closed: %s", e.question)
			require.Less(t, len(split(e.answer+notice)), 1024, "the answer fits into the usual limit")
		}
	}
	for _, e := range c.byMode["sigma"] {
		_, rest, _ := strings.Cut(e.answer, "```yaml\n")
		rule, _, _ := strings.Cut(rest, "```")
		var parsed struct {
			Title, ID, Level string
			Logsource        map[string]string
			Detection        map[string]any
		}
		require.NoError(t, yaml.Unmarshal([]byte(rule), &parsed))
		require.NotEmpty(t, parsed.Logsource)
		condition, ok := parsed.Detection["condition"].(string)
		require.True(t, ok)
		for name := range parsed.Detection {
			require.True(t, name == "condition" || strings.Contains(condition, name), "%s: selection %s is used", parsed.Title, name)
		}
	}
	for _, bad := range []string{"", "text\n## q\nkeywords: a\nb", "## q\nno keywords\nb", "## q\nkeywords: a", "## \nkeywords: a\nb"} {
		_, err := parseCatalog(bad)
		require.Error(t, err, bad)
	}
}

func TestModeOf(t *testing.T) {
	for name, c := range map[string]struct{ system, want string }{
		"nothing":               {"", "auto"},
		"no mode in it":         {"You are helpful.", "auto"},
		"in its first words":    {"You are a penetration tester. Map findings to Sigma, YARA and board language.", "pentest"},
		"a line with the role":  {"You know incident response and code.\nRole: adviser to a CISO.\nSOC, SOC, SOC", "ciso"},
		"as often as another":   {"You write Sigma and YARA rules.", "auto"},
		"only as part of words": {"You like social barcodes and stigmata.", "auto"},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, modeOf(c.system)) })
	}
}

func FuzzCompletionRequest(f *testing.F) {
	for _, seed := range []string{
		sigmaQuestion + `}`, `{"messages":[{"content":[{"text":"a"},{"type":"image_url"}]}]}`, `{"messages":[{"content":null}]}`, `[]`, `{"max_tokens":-1}`,
	} {
		f.Add(seed)
	}
	c, err := loadCatalog()
	require.NoError(f, err)
	b := &Backend{catalog: c, opts: quiet()}
	f.Fuzz(func(t *testing.T, body string) {
		var req completionRequest
		if json.Unmarshal([]byte(body), &req) != nil {
			return
		}
		a := b.compose(req, 1, b.opts.fateOf(1))
		require.NotEmpty(t, a.pieces)
		require.Len(t, a.pieces, a.usage.CompletionTokens)
	})
}

func FuzzCatalog(f *testing.F) {
	for _, mode := range modes {
		text, err := catalogFiles.ReadFile("catalog/" + mode + ".md")
		require.NoError(f, err)
		f.Add(string(text))
	}
	f.Add("## q\nkeywords:\n\n## r")
	f.Fuzz(func(t *testing.T, text string) {
		entries, err := parseCatalog(text)
		if err != nil {
			return
		}
		for _, e := range entries {
			require.NotEmpty(t, e.question)
			require.Equal(t, e.answer, strings.Join(split(e.answer), ""))
		}
	})
}
