package requestlog

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
)

// maxIDLength is enough for every usual id, a traceparent's 55 included, and
// short enough for an exemplar.
const maxIDLength = 64

// maxPathLength bounds the path of an unknown route in the log.
const maxPathLength = 200

// record is what is known of one request. The handlers of a request may add to
// it from several goroutines.
type record struct {
	id, method, endpoint string

	mu    sync.Mutex
	attrs []slog.Attr
	room  [10]slog.Attr // of attrs, as long as it lasts
}

func newRecord(c echo.Context) *record {
	r := &record{
		id:       requestID(c.Request().Header.Get(echo.HeaderXRequestID)),
		method:   cut(c.Request().Method, 16),
		endpoint: endpoint(c),
	}
	r.attrs = append(r.room[:0], Client(address(c.Request().RemoteAddr)))
	return r
}

type contextKey struct{}

// ID is the id of the request that ctx belongs to, empty outside of one.
func ID(ctx context.Context) string {
	if r, ok := ctx.Value(contextKey{}).(*record); ok {
		return r.id
	}
	return ""
}

// Add puts fields on the request_completed line of the request that ctx
// belongs to. The newest of one name counts. Outside of a request it does
// nothing.
func Add(ctx context.Context, attrs ...slog.Attr) {
	r, ok := ctx.Value(contextKey{}).(*record)
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range attrs {
		if i := r.index(a.Key); i >= 0 {
			r.attrs = slices.Delete(r.attrs, i, i+1)
		}
		r.attrs = append(r.attrs, a)
	}
}

// index is the place of a field that was added, or -1.
func (r *record) index(key string) int {
	return slices.IndexFunc(r.attrs, func(a slog.Attr) bool { return a.Key == key })
}

// common hands on the fields that belong on every line of the request and that
// the line does not bring itself.
func (r *record) common(line slog.Record, add func(slog.Attr)) {
	var id, endpoint, mode bool
	line.Attrs(func(has slog.Attr) bool {
		id, endpoint, mode = id || has.Key == KeyRequestID, endpoint || has.Key == KeyEndpoint, mode || has.Key == KeyMode
		return true
	})
	if !id {
		add(slog.String(KeyRequestID, r.id))
	}
	if !endpoint {
		add(slog.String(KeyEndpoint, r.endpoint))
	}
	if mode {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := r.index(KeyMode); i >= 0 {
		add(r.attrs[i])
	}
}

// started logs that the request has come.
func (r *record) started(ctx context.Context, log slog.Handler, start time.Time, l slog.Level) {
	if !log.Enabled(ctx, l) {
		return
	}
	line := newLine(start, l, EventStarted)
	line.AddAttrs(slog.String(KeyMethod, r.method), slog.String(KeyEndpoint, r.endpoint))
	_ = log.Handle(ctx, line) // as a Logger does
}

// completed logs all that is known of the request.
func (r *record) completed(ctx context.Context, log slog.Handler, start time.Time, l slog.Level, status int) {
	if !log.Enabled(ctx, l) {
		return
	}
	now := time.Now()
	line := newLine(now, l, EventCompleted)
	line.AddAttrs(slog.String(KeyMethod, r.method), slog.String(KeyEndpoint, r.endpoint),
		slog.Int(KeyStatus, status), slog.Float64(KeyLatency, milliseconds(now.Sub(start))))
	r.mu.Lock()
	line.AddAttrs(r.attrs...)
	r.mu.Unlock()
	_ = log.Handle(ctx, line)
}

// newLine is the line of an event. A Logger would look for its caller in the
// stack as well, which takes as long as the rest.
func newLine(at time.Time, l slog.Level, event string) slog.Record {
	line := slog.NewRecord(at, l, event, 0)
	line.AddAttrs(slog.String(KeyEvent, event))
	return line
}

// Middleware is the outermost one. It reads, replaces or makes the request's
// id, puts it into the context and the answer, and logs request_started and
// request_completed: of the agent's API at INFO (WARNING of a 4xx, ERROR of a
// 5xx), of everything else at DEBUG. Errors are written by the server's error
// handler before the line is, so that it tells the status that was sent.
func Middleware(log *slog.Logger) echo.MiddlewareFunc {
	handler := log.Handler()
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			rec := newRecord(c)
			ctx := context.WithValue(c.Request().Context(), contextKey{}, rec)
			c.SetRequest(c.Request().WithContext(ctx))
			c.Response().Header().Set(echo.HeaderXRequestID, rec.id)

			api := strings.HasPrefix(c.Request().URL.Path, "/v1/")
			start := time.Now()
			rec.started(ctx, handler, start, level(api, 0))
			// A panic that nothing below has caught goes on after the line.
			status := http.StatusInternalServerError
			defer func() { rec.completed(ctx, handler, start, level(api, status), status) }()
			if err := next(c); err != nil {
				c.Error(err)
			}
			status = c.Response().Status
			return nil
		}
	}
}

func level(api bool, status int) slog.Level {
	switch {
	case !api:
		return slog.LevelDebug
	case status >= http.StatusInternalServerError:
		return slog.LevelError
	case status >= http.StatusBadRequest:
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}

// endpoint is the route's template, or the path where no route matched.
func endpoint(c echo.Context) string {
	if p := c.Path(); p != "" {
		return p
	}
	return cut(c.Request().URL.Path, maxPathLength)
}

// address is the host of a connection's address. The headers of proxies say
// nothing here: whom to believe is known further inside.
func address(remote string) string {
	if host, _, err := net.SplitHostPort(remote); err == nil {
		return host
	}
	return cut(remote, maxIDLength)
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

// requestID takes a client's id when it is sane and makes one when it is not:
// the id ends up in logs, headers and exemplars.
func requestID(given string) string {
	if validID(given) {
		return given
	}
	return uuid.NewString()
}

func validID(id string) bool {
	if id == "" || len(id) > maxIDLength {
		return false
	}
	for i := range len(id) {
		switch b := id[i]; {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9':
		case b == '-', b == '_', b == '.', b == ':':
		default:
			return false
		}
	}
	return true
}
