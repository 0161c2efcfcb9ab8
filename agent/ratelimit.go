package agent

import (
	"errors"
	"hash/maphash"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cyberviser/hancock/internal/clientip"
)

const (
	// window is what the rate limit counts in.
	window = time.Minute
	// maxClients bounds how many addresses have an allowance of their own
	// within a window, and as many again keep theirs from the window before.
	// Those beyond it share sharedSlots allowances.
	maxClients  = 50_000
	sharedSlots = 1024
)

// errClosed is returned once the limits are closed.
var errClosed = errors.New("rate limit is closed")

// limits count the requests of each client address in windows that begin with
// its first request. An address is forgotten a window after its last request
// at the earliest and two at the latest, and the addresses of a window are
// bounded, so memory is bounded whatever the number of addresses. Time is
// monotonic: setting the clock changes no window.
type limits struct {
	rate atomic.Pointer[rate]
	seed maphash.Seed
	now  func() time.Time

	mu       sync.Mutex
	closed   bool
	rotated  time.Time
	current  map[string]*allowance // admitted in this window
	previous map[string]*allowance // admitted in the one before
	shared   [sharedSlots]allowance
}

// rate is what a reload changes.
type rate struct {
	perMinute uint64 // 0: no limit
	client    echo.IPExtractor
}

// allowance is what a client has used since the start of its window. The zero
// value is whole.
type allowance struct {
	start time.Time
	used  uint64
}

func newLimits(perMinute int, trusted []netip.Prefix) *limits {
	l := &limits{seed: maphash.MakeSeed(), now: time.Now, current: make(map[string]*allowance)}
	l.reload(perMinute, trusted)
	return l
}

// reload applies another limit, or other proxies, to what has been counted.
func (l *limits) reload(perMinute int, trusted []netip.Prefix) {
	l.rate.Store(&rate{perMinute: uint64(perMinute), client: clientip.Extractor(trusted)}) // #nosec G115 -- validated
}

// close makes take fail.
func (l *limits) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

// verdict is what the limit says of one request.
type verdict struct {
	// client is the address that the request counts against.
	client string
	// limit is 0 when there is none.
	limit, remaining uint64
	// retry is how long until there is an allowance again.
	retry time.Duration
	ok    bool
}

// take counts one request against its client. It fails after close.
func (l *limits) take(r *http.Request) (verdict, error) {
	rate := l.rate.Load()
	v := verdict{client: clientip.Key(rate.client(r)), limit: rate.perMinute, ok: true}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return v, errClosed
	}
	if v.limit == 0 {
		return v, nil
	}
	now := l.now()
	a := l.admit(v.client, now)
	if now.Sub(a.start) >= window {
		*a = allowance{start: now}
	}
	if v.ok = a.used < v.limit; v.ok {
		a.used++
	}
	v.remaining = v.limit - min(a.used, v.limit)
	v.retry = max(window-now.Sub(a.start), time.Second)
	return v, nil
}

// peek tells where a client stands and takes nothing from it. Nothing is kept
// of a client that is not there yet.
func (l *limits) peek(r *http.Request) verdict {
	rate := l.rate.Load()
	v := verdict{client: clientip.Key(rate.client(r)), limit: rate.perMinute, ok: true}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || v.limit == 0 {
		return v
	}
	v.remaining = v.limit
	now := l.now()
	if a, _ := l.find(v.client, now); a != nil && now.Sub(a.start) < window {
		v.remaining -= min(a.used, v.limit)
	}
	return v
}

// admit returns the allowance of a client, which has one of its own while there
// is room. The caller holds mu.
func (l *limits) admit(client string, now time.Time) *allowance {
	a, own := l.find(client, now)
	if own {
		if a == nil {
			a = new(allowance)
		}
		l.current[client] = a
	}
	return a
}

// find returns the allowance of a client, and whether it is its own; nil for an
// own one that does not exist yet. The caller holds mu.
func (l *limits) find(client string, now time.Time) (_ *allowance, own bool) {
	if now.Sub(l.rotated) >= window {
		l.previous, l.current, l.rotated = l.current, make(map[string]*allowance), now
	}
	if a, ok := l.current[client]; ok {
		return a, true
	}
	// An address from the window before keeps its allowance, or others could
	// push it out while that is used up.
	room := maxClients
	a, known := l.previous[client]
	if known {
		room = 2 * maxClients
	}
	if len(l.current) < room {
		return a, true
	}
	return &l.shared[maphash.String(l.seed, client)%sharedSlots], false
}

// setHeaders tells the client where it stands. Without a limit there is nothing
// to tell.
func (v verdict) setHeaders(h http.Header) {
	if v.limit == 0 {
		return
	}
	// In the spelling that Set would find for them each time.
	values := []string{strconv.FormatUint(v.limit, 10), strconv.FormatUint(v.remaining, 10), "60s"}
	h["X-Ratelimit-Limit"], h["X-Ratelimit-Remaining"], h["X-Ratelimit-Window"] = values[:1:1], values[1:2:2], values[2:]
	if !v.ok {
		h.Set(echo.HeaderRetryAfter, strconv.Itoa(int(math.Ceil(v.retry.Seconds()))))
	}
}
