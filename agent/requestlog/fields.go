package requestlog

import (
	"log/slog"
	"time"
)

// The fields of a request's lines, by their names in the log, in the answers
// of the search and in its parameters.
const (
	KeyEvent        = "event"
	KeyRequestID    = "request_id"
	KeyMethod       = "method"
	KeyEndpoint     = "endpoint"
	KeyMode         = "mode"
	KeyModel        = "model"
	KeyBackend      = "backend"
	KeyBackendHost  = "backend_host"
	KeyStatus       = "status"
	KeyError        = "error"
	KeyLatency      = "latency_ms"
	KeyFirstToken   = "time_to_first_token_ms"
	KeyInputTokens  = "input_tokens"
	KeyOutputTokens = "output_tokens"
	KeyStream       = "stream"
	KeyClient       = "client"
)

// The events of a request. The line of the second one is its record.
const (
	EventStarted   = "request_started"
	EventCompleted = "request_completed"
)

// Mode is the mode that a request is in.
func Mode(mode string) slog.Attr { return slog.String(KeyMode, mode) }

// Model is the id of the model that answered, or that failed.
func Model(id string) slog.Attr { return slog.String(KeyModel, id) }

// Backend is the provider whose model answered, or failed.
func Backend(provider string) slog.Attr { return slog.String(KeyBackend, provider) }

// BackendHost is the host that the question was sent to last, with its port
// where one is given.
func BackendHost(host string) slog.Attr { return slog.String(KeyBackendHost, host) }

// ErrorKind says in one word of a closed set why a request failed. It never
// holds what a backend wrote.
func ErrorKind(kind string) slog.Attr { return slog.String(KeyError, kind) }

// FirstToken is the time from the call of the backend to the first text of its
// answer, reasoning included.
func FirstToken(d time.Duration) slog.Attr { return slog.Float64(KeyFirstToken, milliseconds(d)) }

// InputTokens and OutputTokens are what the backend says that it counted; a
// request whose backend says nothing has neither.
func InputTokens(n int64) slog.Attr { return slog.Int64(KeyInputTokens, n) }

// OutputTokens see InputTokens.
func OutputTokens(n int64) slog.Attr { return slog.Int64(KeyOutputTokens, n) }

// Stream says that the answer was asked for in pieces.
func Stream() slog.Attr { return slog.Bool(KeyStream, true) }

// Client is the address that a request counts for. Without one, the log has
// that of the connection.
func Client(addr string) slog.Attr { return slog.String(KeyClient, addr) }
