package agent

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/cyberviser/hancock/agent/llm"
)

// node is an object of the document.
type node = map[string]any

// at walks down the keys of the document.
func at(t *testing.T, n node, keys ...string) node {
	t.Helper()
	for _, k := range keys {
		next, ok := n[k].(node)
		require.True(t, ok, "%s of %s", k, keys)
		n = next
	}
	return n
}

func list(v any) []string {
	var out []string
	items, _ := v.([]any)
	for _, item := range items {
		out = append(out, item.(string))
	}
	return out
}

func document(t *testing.T) node {
	t.Helper()
	var doc node
	require.NoError(t, yaml.Unmarshal(openAPI, &doc))
	return doc
}

// TestOpenAPIHasTheRoutes compares paths and methods with the router's, and
// knows the two that other packages serve.
func TestOpenAPIHasTheRoutes(t *testing.T) {
	doc := document(t)
	require.Equal(t, "3.1.0", doc["openapi"])
	log := slog.New(slog.DiscardHandler)
	client, err := llm.New(llm.DefaultOptions(), log)
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Close()) }()
	opts := DefaultOptions()
	opts.Diagnostics = true
	a, err := New(opts, client, prometheus.NewRegistry(), log)
	require.NoError(t, err)
	defer func() { require.NoError(t, a.Close()) }()
	e := echo.New()
	a.Register(e)

	want := []string{"GET /health", "GET /metrics"}
	for _, r := range e.Routes() {
		want = append(want, r.Method+" "+r.Path)
	}
	var have []string
	ids := make(map[any]bool)
	for path, methods := range at(t, doc, "paths") {
		for method, op := range methods.(node) {
			have = append(have, strings.ToUpper(method)+" "+path)
			require.False(t, ids[op.(node)["operationId"]], "%s: operationId is taken", path)
			ids[op.(node)["operationId"]] = true
		}
	}
	require.ElementsMatch(t, want, have)
	require.Equal(t, Modes(), list(at(t, doc, "components", "schemas", "Mode")["enum"]))
	agents := at(t, doc, "paths", agentsPath, "get", "responses", "200", "content", "application/json", "schema", "properties", "agents")
	require.Equal(t, Modes(), list(agents["required"]))
}

// TestOpenAPIHasTheGuards knows what stands before every route: the check of
// hosts and origins, the API key, and the router's methods.
func TestOpenAPIHasTheGuards(t *testing.T) {
	for path, methods := range at(t, document(t), "paths") {
		for method, op := range methods.(node) {
			responses := at(t, op.(node), "responses")
			require.Contains(t, responses, "403", "%s %s", method, path)
			require.Contains(t, responses, "405", "%s %s", method, path)
			schemes, restricted := op.(node)["security"].([]any)
			open := restricted && len(schemes) == 1 && len(schemes[0].(node)) == 0
			require.Equal(t, !open, responses["401"] != nil, "%s %s", method, path)
		}
	}
}

// TestOpenAPIHasTheTasks compares every field of every task: names, aliases,
// which are required, defaults, choices, and what the answer holds.
func TestOpenAPIHasTheTasks(t *testing.T) {
	doc := document(t)
	for _, task := range tasks() {
		t.Run(task.path, func(t *testing.T) {
			op := at(t, doc, "paths", task.path, "post")
			schema := at(t, op, "requestBody", "content", "application/json", "schema")
			properties := at(t, schema, "properties")
			var names, required, anyOf []string
			for _, f := range task.fields {
				names = append(append(names, f.name), f.aliases...)
				p := at(t, properties, f.name)
				require.Equal(t, "string", p["type"])
				if f.required {
					require.NotContains(t, p, "default", f.name)
				} else {
					require.Equal(t, f.fallback, p["default"], f.name)
				}
				switch {
				case f.required && len(f.aliases) == 0:
					required = append(required, f.name)
					require.Equal(t, `\S`, p["pattern"])
				case f.required:
					anyOf = append([]string{f.name}, f.aliases...)
				}
				for _, alias := range f.aliases {
					require.Equal(t, "alias of "+f.name, at(t, properties, alias)["description"])
				}
				if len(f.choices) > 0 {
					require.Equal(t, f.choices, list(p["examples"]))
					answer := answerOf(t, op)
					require.Equal(t, f.choices, list(at(t, answer, "properties", f.name)["enum"]))
				}
			}
			if task.mode == "" {
				names = append(names, "mode")
				require.Equal(t, DefaultMode, at(t, properties, "mode")["default"])
				require.Equal(t, task.lenient, at(t, properties, "mode")["$ref"] == nil, "a lenient task takes any mode")
			}
			if task.conversation {
				names = append(names, "history", "stream")
				require.Equal(t, []any{}, at(t, properties, "history")["default"])
				require.Equal(t, false, at(t, properties, "stream")["default"])
			}
			require.ElementsMatch(t, names, slices.Collect(maps.Keys(properties)))
			require.Equal(t, required, list(schema["required"]))
			var alternatives []string
			choices, _ := schema["anyOf"].([]any)
			for _, c := range choices {
				alternatives = append(alternatives, list(c.(node)["required"])...)
			}
			require.Equal(t, anyOf, alternatives)

			body := task.answer(input{mode: "soc", text: make(map[string]string)}, "x", "m")
			answer := answerOf(t, op)
			require.ElementsMatch(t, slices.Collect(maps.Keys(body)), slices.Collect(maps.Keys(at(t, answer, "properties"))))
			require.ElementsMatch(t, slices.Collect(maps.Keys(body)), list(answer["required"]))
			require.Equal(t, false, answer["additionalProperties"])
			if task.status != "" {
				require.Equal(t, task.status, at(t, answer, "properties", "status")["const"])
			}
			require.Equal(t, task.conversation, at(t, op, "responses", "200", "content")["text/event-stream"] != nil)
			require.Equal(t, task.webhook, op["parameters"] != nil)

			example, ok := at(t, op, "requestBody", "content", "application/json")["example"]
			require.True(t, ok)
			for name := range example.(node) {
				require.Contains(t, names, name)
			}
		})
	}
}

func answerOf(t *testing.T, op node) node {
	t.Helper()
	return at(t, op, "responses", "200", "content", "application/json", "schema")
}
