package agent

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
	// coder asks the coder model.
	coder    bool
	sampling sampling
	// prompt makes the user's message.
	prompt func(input) string
	// answer makes the body of the 200.
	answer func(in input, text, model string) map[string]any
}

// field is a text field of a request.
type field struct {
	name string
	// aliases are further names, tried in order while the text is empty.
	aliases []string
	// required fields must not be empty after trimming.
	required bool
	// fallback is the value of a field that is absent.
	fallback string
}

type sampling struct {
	temperature, topP float64
	maxTokens         int
}

// tasks are the endpoints that ask a model.
func tasks() []task {
	conversational := sampling{temperature: 0.7, topP: 0.95, maxTokens: 1024}
	return []task{
		{
			path:         "/v1/chat",
			fields:       []field{{name: "message", required: true}},
			conversation: true,
			sampling:     conversational,
			prompt:       func(in input) string { return in.text["message"] },
			answer: func(in input, text, model string) map[string]any {
				return map[string]any{"response": text, "model": model, "mode": in.mode}
			},
		},
		{
			path:     "/v1/ask",
			lenient:  true,
			fields:   []field{{name: "question", required: true}},
			sampling: conversational,
			prompt:   func(in input) string { return in.text["question"] },
			answer: func(in input, text, model string) map[string]any {
				return map[string]any{"answer": text, "model": model, "mode": in.mode}
			},
		},
	}
}
