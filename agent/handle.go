package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/cyberviser/hancock/agent/llm"
	"github.com/cyberviser/hancock/agent/requestlog"
)

// backendHeader names the provider and the host that answered, or that failed
// last: "ollama localhost:11434".
const backendHeader = "X-Hancock-Backend"

// statusClientGone is what logs and metrics say of a request whose client did
// not wait for the answer; nobody receives it.
const statusClientGone = 499

// shuttingDown is what clients are told whom the end of the process cuts off.
const shuttingDown = "shutting down"

// handle answers the requests to one task.
func (a *Agent) handle(t task) echo.HandlerFunc {
	return func(c echo.Context) error {
		body, err := a.readBody(c)
		if err != nil {
			return err
		}
		in, err := a.understand(c, t, body)
		if err != nil {
			return err
		}
		ctx := c.Request().Context()
		if in.stream {
			return a.stream(c, t, in)
		}
		answer, err := a.chat(c, t, in)
		if err != nil {
			return a.failure(ctx, err)
		}
		a.answered(ctx, answer)
		return c.JSON(http.StatusOK, t.answer(in, answer.Text, answer.Model))
	}
}

// understand decodes a request's body, and notes its mode even if the rest is
// wrong.
func (a *Agent) understand(c echo.Context, t task, body []byte) (input, error) {
	in, err := t.decode(body)
	setMode(c, in)
	if in.mode != "" {
		requestlog.Add(c.Request().Context(), requestlog.Mode(in.mode))
	}
	return in, err
}

// chat asks for a whole answer.
func (a *Agent) chat(c echo.Context, t task, in input) (llm.Answer, error) {
	ctx := c.Request().Context()
	var last llm.Attempt
	answer, err := a.backend.Chat(ctx, a.question(c, t, in, &last))
	ended(ctx, last)
	return answer, err
}

// question is what the model is asked. The newest call to a backend is put
// into last.
func (a *Agent) question(c echo.Context, t task, in input, last *llm.Attempt) llm.Request {
	ctx := c.Request().Context()
	messages := make([]llm.Message, 0, len(in.history)+2)
	messages = append(messages, llm.Message{Role: llm.System, Content: systemPrompt(in.mode)})
	messages = append(messages, in.history...)
	messages = append(messages, llm.Message{Role: llm.User, Content: t.prompt(in)})
	return llm.Request{
		Messages:    messages,
		Coder:       t.coder,
		Temperature: t.sampling.temperature,
		TopP:        t.sampling.topP,
		MaxTokens:   t.sampling.maxTokens,
		Asking: func(to llm.Destination) {
			c.Response().Header().Set(backendHeader, to.Provider+" "+to.Host)
		},
		Observe: func(at llm.Attempt) {
			*last = at
			a.observe(ctx, in.mode, at)
		},
	}
}

// observe counts one call to a backend and logs it when it failed.
func (a *Agent) observe(ctx context.Context, mode string, at llm.Attempt) {
	a.metrics.asked(mode, at, requestlog.ID(ctx))
	if at.Err == nil {
		return
	}
	level := slog.LevelError
	switch {
	case at.Err.Kind == llm.Canceled:
		level = slog.LevelInfo
	case at.RetryIn > 0:
		level = slog.LevelWarn
	}
	a.log.LogAttrs(ctx, level, "backend call failed", slog.String("event", "llm_call_failed"),
		slog.String("provider", at.Provider), slog.String("model", at.Model), slog.String("mode", mode),
		slog.String("kind", string(at.Err.Kind)), slog.Float64("duration_seconds", at.Duration.Seconds()), slog.Float64("retry_in_seconds", at.RetryIn.Seconds()),
		slog.String("error", at.Err.Error()))
}

// ended notes on the request's log line what the call that ended the request
// took. Those before it went to another backend or brought nothing.
func ended(ctx context.Context, last llm.Attempt) {
	if last.Host != "" {
		requestlog.Add(ctx, requestlog.BackendHost(last.Host))
	}
	if last.FirstToken > 0 {
		requestlog.Add(ctx, requestlog.FirstToken(last.FirstToken))
	}
	if u := last.Usage; u != nil {
		requestlog.Add(ctx, requestlog.InputTokens(u.Prompt), requestlog.OutputTokens(u.Completion))
	}
}

// answered notes on the request's log line who answered.
func (a *Agent) answered(ctx context.Context, answer llm.Answer) {
	requestlog.Add(ctx, requestlog.Model(answer.Model), requestlog.Backend(answer.Provider))
}

// failure is the HTTP error for a backend's failure. What the backend said
// stays out of it.
func (a *Agent) failure(ctx context.Context, err error) *echo.HTTPError {
	kind := llm.KindOf(err)
	requestlog.Add(ctx, requestlog.ErrorKind(string(kind)))
	if e, ok := errors.AsType[*llm.Error](err); ok {
		requestlog.Add(ctx, requestlog.Model(e.Model), requestlog.Backend(e.Provider))
	}
	switch {
	case errors.Is(err, llm.ErrBusy):
		return echo.NewHTTPError(http.StatusServiceUnavailable, llm.ErrBusy.Error())
	case kind == llm.Canceled && a.stopping.Load():
		return echo.NewHTTPError(http.StatusServiceUnavailable, shuttingDown)
	case kind == llm.Canceled:
		return echo.NewHTTPError(statusClientGone, "the client went away")
	case kind == llm.Timeout:
		return echo.NewHTTPError(http.StatusGatewayTimeout, "the model backend took too long")
	case errors.Is(err, llm.ErrEmpty):
		return echo.NewHTTPError(http.StatusBadGateway, llm.ErrEmpty.Error())
	default:
		return echo.NewHTTPError(http.StatusBadGateway, "the model backend failed: "+failureText(err))
	}
}

// failureText says in words of ours what a client may know of a failure.
func failureText(err error) string {
	switch llm.KindOf(err) {
	case llm.RateLimited:
		return "it takes no more requests at the moment"
	case llm.Auth:
		return "it refused our credentials"
	case llm.ContextLength:
		return "the prompt is too long for the model"
	case llm.Unavailable:
		return "it cannot be reached or is out of order"
	case llm.BadResponse:
		return "its answer was malformed"
	default:
		if e, ok := errors.AsType[*llm.Error](err); ok && e.Status == http.StatusNotFound {
			return "it does not know the model " + e.Model + ", or its address is wrong; /health tells more"
		}
		return "it refused the request"
	}
}
