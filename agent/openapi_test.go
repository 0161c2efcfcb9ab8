package agent_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/cyberviser/hancock/agent"
	"github.com/cyberviser/hancock/agent/llm/llmtest"
)

// spec is the document as the API serves it.
type spec struct {
	t    *testing.T
	root map[string]any
}

func served(t *testing.T, a *api) spec {
	t.Helper()
	s := spec{t: t}
	require.NoError(t, yaml.Unmarshal([]byte(a.do(http.MethodGet, "/openapi.yaml", "").body), &s.root))
	return s
}

// get walks down the keys, through references.
func (s spec) get(n map[string]any, keys ...string) map[string]any {
	s.t.Helper()
	for i := 0; ; i++ {
		if ref, ok := n["$ref"].(string); ok {
			n = s.get(s.root, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
		}
		if i == len(keys) {
			return n
		}
		next, ok := n[keys[i]].(map[string]any)
		require.True(s.t, ok, "the document has no %s in %v", keys[i], keys)
		n = next
	}
}

// operation is what the document says of a path.
func (s spec) operation(method, path string) map[string]any {
	s.t.Helper()
	return s.get(s.root, "paths", path, strings.ToLower(method))
}

// statuses are the codes that the document has for a path.
func (s spec) statuses(method, path string) []string {
	s.t.Helper()
	return slices.Sorted(maps.Keys(s.get(s.operation(method, path), "responses")))
}

// holds checks an answer against what the document says of it: status, content
// type, headers, and body.
func (s spec) holds(method, path string, got answer) {
	s.t.Helper()
	response := s.get(s.operation(method, path), "responses", strconv.Itoa(got.status))
	media, _, _ := strings.Cut(got.header.Get("Content-Type"), ";")
	schema := s.get(response, "content", media, "schema")
	if strings.HasSuffix(media, "json") {
		var body any
		require.NoError(s.t, json.Unmarshal([]byte(got.body), &body))
		require.NoError(s.t, s.valid(schema, body), "%s %s %d: %s", method, path, got.status, got.body)
	}
	headers, _ := response["headers"].(map[string]any)
	for name := range headers {
		value := got.header.Get(name)
		header := s.get(headers, name, "schema")
		var v any = value
		if n, err := strconv.ParseFloat(value, 64); err == nil && header["type"] == "integer" {
			v = n
		}
		require.NoError(s.t, s.valid(header, v), "%s %s %d: header %s", method, path, got.status, name)
	}
}

// valid checks a value against a schema, as far as the document goes: a word
// that it does not know is an error.
func (s spec) valid(schema map[string]any, v any) error {
	schema = s.get(schema)
	for word, want := range schema {
		if err := s.word(schema, word, want, v); err != nil {
			return err
		}
	}
	return nil
}

func (s spec) word(schema map[string]any, word string, want, v any) error {
	object, isObject := v.(map[string]any)
	switch word {
	case "description", "default", "examples":
	case "$ref": // followed already
	case "type":
		n, isNumber := v.(float64)
		fits := map[string]bool{
			"string": reflect.ValueOf(v).Kind() == reflect.String, "object": isObject, "number": isNumber,
			"integer": isNumber && n == float64(int64(n)), "boolean": v == true || v == false,
			"array": reflect.ValueOf(v).Kind() == reflect.Slice,
		}
		if !fits[want.(string)] {
			return fmt.Errorf("%v is no %s", v, want)
		}
	case "required":
		for _, name := range want.([]any) {
			if _, ok := object[name.(string)]; isObject && !ok {
				return fmt.Errorf("%s is missing", name)
			}
		}
	case "properties":
		for name, sub := range want.(map[string]any) {
			if value, ok := object[name]; ok {
				if err := s.valid(sub.(map[string]any), value); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
		}
	case "additionalProperties":
		known, _ := schema["properties"].(map[string]any)
		for name, value := range object {
			if _, ok := known[name]; ok {
				continue
			}
			sub, ok := want.(map[string]any)
			if !ok && want == false {
				return fmt.Errorf("%s is not in the document", name)
			}
			if err := s.valid(sub, value); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	case "items":
		items, _ := v.([]any)
		for _, item := range items {
			if err := s.valid(want.(map[string]any), item); err != nil {
				return err
			}
		}
	case "anyOf":
		for _, sub := range want.([]any) {
			if s.valid(sub.(map[string]any), v) == nil {
				return nil
			}
		}
		return fmt.Errorf("%v is none of the alternatives", v)
	default:
		return limit(word, want, v)
	}
	return nil
}

// limit is the part of word that concerns single values.
func limit(word string, want, v any) error {
	text, _ := v.(string)
	number, _ := v.(float64)
	ok := false
	switch word {
	case "enum":
		ok = slices.Contains(want.([]any), v)
	case "const":
		ok = fmt.Sprint(v) == fmt.Sprint(want)
	case "pattern":
		ok = regexp.MustCompile(want.(string)).MatchString(text)
	case "minLength":
		ok = len(text) >= want.(int)
	case "maxLength":
		ok = len(text) <= want.(int)
	case "minimum":
		ok = number >= float64(want.(int))
	}
	if !ok {
		return fmt.Errorf("%v: %s %v does not hold", v, word, want)
	}
	return nil
}

// TestOpenAPIAnswers holds real answers of every task, good and bad, against
// the document, until every code that it names was seen.
func TestOpenAPIAnswers(t *testing.T) {
	good := newAPI(t, llmtest.Say("ok"), func(s *settings) { s.agent.WebhookSecret = "" })
	empty := newAPI(t, llmtest.Say(""))
	slow := newAPI(t, llmtest.Hang, func(s *settings) { s.timeout = 50 * time.Millisecond })
	signed := newAPI(t, llmtest.Say("never"), func(s *settings) { s.agent.WebhookSecret = "x" })
	closed := newAPI(t, llmtest.Say("never"))
	require.NoError(t, closed.agent.Close())
	doc := served(t, good)

	// Before the agent stand authentication and the check of origins, whose
	// answers have the form of every error; here only the document knows them.
	elsewhere := []string{"401", "403"}
	for path, field := range required() {
		t.Run(path, func(t *testing.T) {
			doc := spec{t, doc.root}
			seen := map[string]bool{}
			hold := func(got answer) {
				t.Helper()
				doc.holds(http.MethodPost, path, got)
				seen[strconv.Itoa(got.status)] = true
			}
			body := `{"` + field + `":"x"}`
			limited := newAPI(t, llmtest.Say("ok"), func(s *settings) { s.agent.RateLimit = 1 })
			hold(limited.post(path, body))
			hold(limited.post(path, body))
			hold(good.post(path, `{}`))
			hold(good.do(http.MethodGet, path, ""))
			hold(good.post(path, `"`+strings.Repeat("x", 1<<20)+`"`))
			hold(good.do(http.MethodPost, path, body, "Content-Type", "text/plain"))
			hold(empty.post(path, body))
			hold(slow.post(path, body))
			hold(closed.post(path, body))
			if path == "/v1/webhook" {
				hold(signed.post(path, body))
			}
			for _, code := range doc.statuses(http.MethodPost, path) {
				require.True(t, seen[code] || slices.Contains(elsewhere, code), "nothing answers %s", code)
			}

			// The example of the document is answered as the document says.
			content := doc.get(doc.operation(http.MethodPost, path), "requestBody", "content", "application/json")
			example, err := json.Marshal(content["example"])
			require.NoError(t, err)
			got := good.post(path, string(example))
			require.Equal(t, http.StatusOK, got.status, got.body)
			hold(got)
		})
	}
	for _, tc := range taskCases() {
		doc.holds(http.MethodPost, tc.path, good.post(tc.path, tc.body))
	}
}

// TestOpenAPIRequests has the document and the decoder judge the same bodies:
// what the document allows is answered, what it forbids is a 400. Only null,
// which clients send for what is absent, is let through beyond it.
func TestOpenAPIRequests(t *testing.T) {
	a := newAPI(t, llmtest.Say("ok"))
	doc := served(t, a)
	values := []any{"x", " \t", "", 1.0, true, []any{}, map[string]any{}, "soc", "wizard", []any{map[string]any{"role": "user", "content": "x"}}, []any{map[string]any{"role": "system", "content": "x"}}, []any{"x"}}
	for path, field := range required() {
		schema := doc.get(doc.operation(http.MethodPost, path), "requestBody", "content", "application/json", "schema")
		var bodies []map[string]any
		for name := range doc.get(schema, "properties") {
			for _, v := range values {
				bodies = append(bodies, map[string]any{name: v}, map[string]any{field: "x", "unknown": 1.0, name: v})
			}
		}
		for _, body := range bodies {
			data, err := json.Marshal(body)
			require.NoError(t, err)
			if body["stream"] == true {
				continue // answered as a stream
			}
			want := http.StatusOK
			if err := doc.valid(schema, body); err != nil {
				want = http.StatusBadRequest
			}
			got := a.post(path, string(data))
			require.Equal(t, want, got.status, "%s %s: %s", path, data, got.body)
		}
	}
}

func TestOpenAPIOfTheService(t *testing.T) {
	a := newAPI(t, llmtest.Say("ok"), func(s *settings) { s.agent.Diagnostics, s.agent.AuthEnabled = true, true })
	doc := served(t, a)
	doc.holds(http.MethodGet, "/v1/agents", a.do(http.MethodGet, "/v1/agents", ""))
	doc.holds(http.MethodGet, "/v1/agents", a.do(http.MethodDelete, "/v1/agents", ""))
	doc.holds(http.MethodGet, "/internal/diagnostics", a.do(http.MethodGet, "/internal/diagnostics", ""))
	doc.holds(http.MethodGet, "/openapi.yaml", a.do(http.MethodGet, "/openapi.yaml", ""))

	open := newAPI(t, llmtest.Say("ok"), func(s *settings) { s.agent.Diagnostics = true })
	doc.holds(http.MethodGet, "/internal/diagnostics", open.do(http.MethodGet, "/internal/diagnostics", ""))
	off := newAPI(t, llmtest.Say("ok"))
	doc.holds(http.MethodGet, "/internal/diagnostics", off.do(http.MethodGet, "/internal/diagnostics", ""))
}

// TestOpenAPIStreams holds every event of a stream against its schema.
func TestOpenAPIStreams(t *testing.T) {
	for name, reply := range map[string]llmtest.Reply{
		"whole": llmtest.Say("Isolate the host."), "broken": llmtest.Midway(llmtest.Abort),
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t, reply)
			doc := served(t, a)
			got := a.post("/v1/chat", `{"message":"x","stream":true}`)
			doc.holds(http.MethodPost, "/v1/chat", got)
			events := bytes.Split(bytes.TrimSpace([]byte(got.body)), []byte("\n\n"))
			require.Greater(t, len(events), 1)
			for i, event := range events {
				var v map[string]any
				require.NoError(t, json.Unmarshal(bytes.TrimPrefix(event, []byte("data: ")), &v))
				schema := "Delta"
				switch {
				case i == len(events)-1 && name == "whole":
					schema = "Done"
				case i == len(events)-1:
					schema = "Failed"
				}
				require.NoError(t, doc.valid(doc.get(doc.root, "components", "schemas", schema), v), string(event))
			}
		})
	}
	require.Len(t, agent.Modes(), 9)
}
