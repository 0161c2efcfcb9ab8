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
	id, endpoint string

	mu    sync.Mutex
	attrs []slog.Attr
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
		r.attrs = slices.DeleteFunc(r.attrs, func(old slog.Attr) bool { return old.Key == a.Key })
		r.attrs = append(r.attrs, a)
	}
}

// appendTo appends what was added to the record.
func (r *record) appendTo(fields []slog.Attr) []slog.Attr {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append(fields, r.attrs...)
}

// common are the fields that belong on every line of the request and that the
// line does not bring itself.
func (r *record) common(line slog.Record) []slog.Attr {
	var id, endpoint, mode bool
	line.Attrs(func(has slog.Attr) bool {
		id, endpoint, mode = id || has.Key == KeyRequestID, endpoint || has.Key == KeyEndpoint, mode || has.Key == KeyMode
		return true
	})
	fields := make([]slog.Attr, 0, 3)
	if !id {
		fields = append(fields, slog.String(KeyRequestID, r.id))
	}
	if !endpoint {
		fields = append(fields, slog.String(KeyEndpoint, r.endpoint))
	}
	if mode {
		return fields
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.IndexFunc(r.attrs, func(a slog.Attr) bool { return a.Key == KeyMode }); i >= 0 {
		fields = append(fields, r.attrs[i])
	}
	return fields
}

// Middleware is the outermost one. It reads, replaces or makes the request's
// id, puts it into the context and the answer, and logs request_started and
// request_completed: of the agent's API at INFO (WARNING of a 4xx, ERROR of a
// 5xx), of everything else at DEBUG. Errors are written by the server's error
// handler before the line is, so that it tells the status that was sent.
func Middleware(log *slog.Logger) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			rec := &record{
				id:       requestID(c.Request().Header.Get(echo.HeaderXRequestID)),
				endpoint: endpoint(c),
				attrs:    append(make([]slog.Attr, 0, 10), Client(address(c.Request().RemoteAddr))),
			}
			ctx := context.WithValue(c.Request().Context(), contextKey{}, rec)
			c.SetRequest(c.Request().WithContext(ctx))
			c.Response().Header().Set(echo.HeaderXRequestID, rec.id)

			api := strings.HasPrefix(c.Request().URL.Path, "/v1/")
			// Room for both lines, whose first field is the event.
			fields := append(make([]slog.Attr, 0, 16), slog.Attr{},
				slog.String(KeyMethod, cut(c.Request().Method, 16)),
				slog.String(KeyEndpoint, rec.endpoint))
			start := time.Now()
			write(ctx, log, level(api, 0), EventStarted, fields)
			// A panic that nothing below has caught goes on after the line.
			status := http.StatusInternalServerError
			defer func() {
				fields = append(fields, slog.Int(KeyStatus, status),
					slog.Float64(KeyLatency, milliseconds(time.Since(start))))
				write(ctx, log, level(api, status), EventCompleted, rec.appendTo(fields))
			}()
			if err := next(c); err != nil {
				c.Error(err)
			}
			status = c.Response().Status
			return nil
		}
	}
}

// write logs an event, which becomes the first of the fields.
func write(ctx context.Context, log *slog.Logger, l slog.Level, event string, fields []slog.Attr) {
	if log.Enabled(ctx, l) {
		fields[0] = slog.String(KeyEvent, event)
		log.LogAttrs(ctx, l, event, fields...) //nolint:sloglint // One of two constants.
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
