package alertmanager

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptrace"
	"slices"
	"sync"
)

var errRedirected = errors.New("the receiver redirects to another address, where the message itself is not sent; configure the address at which it is taken")

// hops watches the requests of one try over HTTP/1.
type hops struct {
	mu     sync.Mutex
	count  int
	posted bool // the last request had a body
}

func (h *hops) wrote(field string, _ []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch field {
	case "Host": // comes first
		h.count++
		h.posted = false
	case "Content-Length", "Transfer-Encoding":
		h.posted = true
	}
}

func (h *hops) lost() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count > 1 && !h.posted
}

// delivered makes a failure of what only looks like a success: a client that
// is answered with 301, 302 or 303 goes on with a GET, without the message, and
// whatever page is there says 200. (307 and 308 keep the message.)
func (r *recorder) delivered(ctx context.Context, send func(context.Context) (bool, error)) (retry bool, err error) {
	if slices.Contains([]string{"jira", "wechat"}, r.inner.Name()) { // they also ask
		return send(ctx)
	}
	h := &hops{}
	retry, err = send(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaderField: h.wrote}))
	switch {
	case !h.lost():
		return retry, err
	case err == nil:
		return false, errRedirected
	default:
		return false, fmt.Errorf("%w: %w", errRedirected, err)
	}
}
