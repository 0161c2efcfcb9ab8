package agent

import (
	"slices"
	"strings"
)

// task declares one endpoint that asks a model. Another endpoint is another
// entry of tasks.
type task struct {
	path string
	// mode is the mode of every request to the path; empty when the request
	// says it, in a field of its own.
	mode string
	// lenient takes an unknown mode for the default one instead of refusing
	// it.
	lenient bool
	// fields are the request's text fields.
	fields []field
	// conversation lets the request carry a history and ask for a stream.
	conversation bool
	// webhook has the request's signature checked, and tells people of the
	// result.
	webhook bool
	// coder asks the coder model.
	coder    bool
	sampling sampling
	// derive, if not nil, completes the input once all fields are read.
	derive func(input)
	// prompt makes the user's message.
	prompt func(input) string
	// result is the field of the answer that holds the model's text. The
	// answer also has model, mode if the request says it, and what echo names.
	result string
	// echo are the request's fields that the answer repeats.
	echo []string
	// status, if not empty, is the answer's field of that name.
	status string
}

// field is a text field of a request.
type field struct {
	name string
	// aliases are further names, tried in order while the text is empty.
	aliases []string
	// required fields must not be empty after trimming.
	required bool
	// trimmed fields lose white space at their ends. Those that are not
	// required always do.
	trimmed bool
	// fallback is the value of a field that is absent or blank.
	fallback string
	// choices, if any, are all values that the field may have; whatever else
	// is sent counts as the fallback.
	choices []string
}

// settle returns the text that a field has in the input, of the text that was
// sent.
func (f field) settle(text string) string {
	if f.trimmed || !f.required {
		text = strings.TrimSpace(text)
	}
	if text == "" || len(f.choices) > 0 && !slices.Contains(f.choices, text) {
		return f.fallback
	}
	return text
}

type sampling struct {
	temperature, topP float64
	maxTokens         int
}

// answer is the body of the 200.
func (t task) answer(in input, text, model string) map[string]string {
	body := map[string]string{t.result: text, "model": model}
	if t.mode == "" {
		body["mode"] = in.mode
	}
	if t.status != "" {
		body["status"] = t.status
	}
	for _, name := range t.echo {
		body[name] = in.text[name]
	}
	return body
}

// unset is what an answer says of an optional field that was left to the model.
const unset = "auto"

// tasks are the endpoints that ask a model.
func tasks() []task {
	return slices.Concat(conversations(), operations(), authoring())
}

// conversations take any question in the mode that the request names.
func conversations() []task {
	free := sampling{temperature: 0.7, topP: 0.95, maxTokens: 1024}
	return []task{
		{
			path:         "/v1/chat",
			fields:       []field{{name: "message", required: true}},
			conversation: true,
			sampling:     free,
			prompt:       func(in input) string { return in.text["message"] },
			result:       "response",
		},
		{
			path:     "/v1/ask",
			lenient:  true,
			fields:   []field{{name: "question", required: true}},
			sampling: free,
			prompt:   func(in input) string { return in.text["question"] },
			result:   "answer",
		},
	}
}

// operations are what a security operations centre asks every day.
func operations() []task {
	precise := sampling{temperature: 0.4, topP: 0.95, maxTokens: 1200}
	return []task{
		{
			path: "/v1/triage", mode: "soc", sampling: precise,
			fields: []field{{name: "alert", required: true}},
			prompt: triagePrompt, result: "triage",
		},
		{
			path: "/v1/hunt", mode: "soc", sampling: precise,
			fields: []field{{name: "target", required: true}, {name: "siem", fallback: "splunk"}},
			prompt: huntPrompt, result: "query", echo: []string{"siem"},
		},
		{
			path: "/v1/respond", mode: "soc", sampling: sampling{temperature: 0.4, topP: 0.95, maxTokens: 1500},
			fields: []field{{name: "incident", required: true}},
			prompt: respondPrompt, result: "playbook", echo: []string{"incident"},
		},
		{
			path: "/v1/ioc", mode: "ioc", sampling: sampling{temperature: 0.3, topP: 0.9, maxTokens: 1000},
			fields: []field{
				{name: "indicator", aliases: []string{"ioc", "query"}, required: true, trimmed: true},
				{name: "type", fallback: unset},
				{name: "context"},
			},
			derive: func(in input) {
				if in.text["type"] == unset {
					in.text["type"] = indicatorType(in.text["indicator"])
				}
			},
			prompt: indicatorPrompt, result: "report", echo: []string{"indicator", "type"},
		},
		{
			path: "/v1/webhook", mode: "soc", sampling: precise, webhook: true,
			fields: []field{
				{name: "alert", required: true},
				{name: "source", fallback: "unknown"},
				{name: "severity", fallback: "unknown"},
			},
			prompt: webhookPrompt, result: "triage", echo: []string{"source", "severity"}, status: "triaged",
		},
	}
}

// authoring are the tasks whose answer is a text to keep: code, rules, papers.
func authoring() []task {
	exact := sampling{temperature: 0.2, topP: 0.7, maxTokens: 2048}
	return []task{
		{
			path: "/v1/code", mode: "code", sampling: exact, coder: true,
			fields: []field{{name: "task", required: true}, {name: "language", fallback: unset}},
			prompt: codeTaskPrompt, result: "code", echo: []string{"language", "task"},
		},
		{
			path: "/v1/ciso", mode: "ciso", sampling: sampling{temperature: 0.3, topP: 0.95, maxTokens: 2048},
			fields: []field{
				{name: "question", aliases: []string{"query", "message"}, required: true},
				{name: "context"},
				{name: "output", fallback: "advice", choices: []string{"advice", "report", "gap-analysis", "board-summary"}},
			},
			prompt: adviceTaskPrompt, result: "advice", echo: []string{"output"},
		},
		{
			path: "/v1/sigma", mode: "sigma", sampling: exact,
			fields: []field{
				{name: "description", aliases: []string{"ttp", "query"}, required: true},
				{name: "logsource"},
				{name: "technique", fallback: unset},
			},
			prompt: sigmaTaskPrompt, result: "rule", echo: []string{"logsource", "technique"},
		},
		{
			path: "/v1/yara", mode: "yara", sampling: exact,
			fields: []field{
				{name: "description", aliases: []string{"malware", "query"}, required: true},
				{name: "file_type", fallback: unset},
				{name: "hash"},
			},
			prompt: yaraTaskPrompt, result: "rule", echo: []string{"file_type"},
		},
	}
}
