package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/cyberviser/hancock/agent/llm"
)

// input is a decoded request.
type input struct {
	// mode is a known mode, or empty in the input of a request that was
	// refused before its mode was known.
	mode string
	// foreignMode tells that the request named a mode which is none.
	foreignMode bool
	// text holds every text field of the task, with its default.
	text    map[string]string
	history []llm.Message
	stream  bool
}

// readBody returns the body of a request that says it is JSON. Its errors are
// *echo.HTTPError.
func (a *Agent) readBody(c echo.Context) ([]byte, error) {
	r, limit := c.Request(), a.now.Load().MaxBodyBytes
	if !isJSON(r.Header.Get(echo.HeaderContentType)) {
		return nil, echo.NewHTTPError(http.StatusUnsupportedMediaType, "Content-Type must be application/json")
	}
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	// That a body does not trickle in for ever is the server's care.
	body, err := io.ReadAll(http.MaxBytesReader(c.Response(), r.Body, limit))
	if err == nil {
		return body, nil
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, tooLarge(limit)
	}
	// A limit of the server outside of ours, or a client that stopped sending.
	if he, ok := errors.AsType[*echo.HTTPError](err); ok {
		return nil, he
	}
	return nil, echo.NewHTTPError(http.StatusBadRequest, "request body could not be read").SetInternal(err)
}

func tooLarge(limit int64) error {
	return echo.NewHTTPError(http.StatusRequestEntityTooLarge, fmt.Sprintf("request body is larger than %d bytes", limit))
}

func isJSON(contentType string) bool {
	if contentType == echo.MIMEApplicationJSON {
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	return media == echo.MIMEApplicationJSON ||
		strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")
}

// decode reads a request's body. Unknown fields are ignored, of a field given
// twice the last counts, and null is a field that is absent: clients of all
// three habits exist. The error is a 400; the input then still tells the mode,
// if that could be read.
func (t task) decode(body []byte) (input, error) {
	in := input{mode: t.mode, text: make(map[string]string, len(t.fields))}
	object := members(body)
	if object == nil {
		return in, badRequest("request body must be a JSON object")
	}
	for name, raw := range object {
		if string(raw) == "null" {
			delete(object, name)
		}
	}
	if t.mode == "" {
		var err error
		if in.mode, in.foreignMode, err = t.decodeMode(object); err != nil {
			return in, err
		}
	}
	for _, f := range t.fields {
		text, err := f.decode(object)
		if err != nil {
			return in, err
		}
		in.text[f.name] = f.settle(text)
	}
	if t.derive != nil {
		t.derive(in)
	}
	if !t.conversation {
		return in, nil
	}
	if raw, ok := object["stream"]; ok && json.Unmarshal(raw, &in.stream) != nil {
		return in, badRequest("stream must be true or false")
	}
	var err error
	in.history, err = decodeHistory(object["history"])
	return in, err
}

// decodeMode returns the mode that the request asks for, and whether it asks
// for one that is none.
func (t task) decodeMode(object map[string]json.RawMessage) (mode string, foreign bool, err error) {
	mode, err = field{name: "mode", fallback: DefaultMode}.decode(object)
	switch {
	case err != nil:
		return "", true, err
	case isMode(mode):
		return mode, false, nil
	case t.lenient:
		return DefaultMode, true, nil
	default:
		const limit = 40
		if len(mode) > limit {
			mode = strings.ToValidUTF8(mode[:limit], "") + "…"
		}
		return "", true, badRequest(fmt.Sprintf("invalid mode '%s'; valid: %s", mode, strings.Join(Modes(), ", ")))
	}
}

// decode returns the field's text, or that of the first alias that has any.
func (f field) decode(object map[string]json.RawMessage) (string, error) {
	value, given := "", false
	for i, name := 0, f.name; i <= len(f.aliases); i++ {
		if i > 0 {
			name = f.aliases[i-1]
		}
		raw, ok := object[name]
		if !ok {
			continue
		}
		s, ok := decodeText(raw)
		if !ok {
			return "", badRequest(name + " must be a string")
		}
		if !given || strings.TrimSpace(value) == "" {
			value, given = s, true
		}
	}
	switch {
	case f.required && strings.TrimSpace(value) == "":
		return "", badRequest(f.name + " required")
	case !given:
		return f.fallback, nil
	default:
		return value, nil
	}
}

// decodeHistory reads the earlier turns of a conversation.
func decodeHistory(raw json.RawMessage) ([]llm.Message, error) {
	if raw == nil {
		return nil, nil
	}
	malformed := badRequest("history must be a list of objects with role (user or assistant) and content")
	var turns []struct {
		Role    *string `json:"role"`
		Content *string `json:"content"`
	}
	if json.Unmarshal(raw, &turns) != nil {
		return nil, malformed
	}
	history := make([]llm.Message, 0, len(turns))
	for _, t := range turns {
		if t.Role == nil || t.Content == nil || *t.Role != llm.User && *t.Role != llm.Assistant {
			return nil, malformed
		}
		history = append(history, llm.Message{Role: *t.Role, Content: *t.Content})
	}
	return history, nil
}

func badRequest(message string) error {
	return echo.NewHTTPError(http.StatusBadRequest, message)
}
