package agent

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/sethvargo/go-limiter"
	"github.com/sethvargo/go-limiter/memorystore"
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

// limits hold the allowance of each client address. The store forgets an
// address a window after its last request at the earliest and two at the
// latest, and admitted bounds the addresses of a window, so memory is bounded
// whatever the number of addresses.
type limits struct {
	store  limiter.Store
	client echo.IPExtractor
	seed   maphash.Seed
	now    func() time.Time

	perMinute uint64

	mu       sync.Mutex
	rotated  time.Time
	current  map[string]*allowance // admitted in this window
	previous map[string]*allowance // admitted in the one before
	shared   [sharedSlots]allowance
}

// allowance is what the store does not tell of one without taking from it:
// when it is whole again, in nanoseconds since 1970; 0 before the first request.
type allowance struct{ reset atomic.Int64 }

func newLimits(perMinute int, trusted []netip.Prefix) (*limits, error) {
	tokens := uint64(perMinute) // #nosec G115 -- validated to be positive
	store, err := memorystore.New(&memorystore.Config{
		Tokens:        tokens,
		Interval:      window,
		SweepInterval: window,
		SweepMinTTL:   window,
		InitialAlloc:  64,
	})
	if err != nil {
		return nil, err
	}
	return &limits{
		store: store, client: clientAddress(trusted), seed: maphash.MakeSeed(), now: time.Now,
		perMinute: tokens, current: make(map[string]*allowance),
	}, nil
}

func (l *limits) close() error { return l.store.Close(context.Background()) }

// verdict is what the limit says of one request.
type verdict struct {
	// client is the address that the request counts against.
	client           string
	limit, remaining uint64
	// retry is how long until there is an allowance again.
	retry time.Duration
	ok    bool
}

// take counts one request against its client. With an error the verdict is that
// there is nothing left.
func (l *limits) take(r *http.Request) (verdict, error) {
	client := clientKey(l.client(r))
	slot, kept := l.slot(client)
	limit, remaining, reset, ok, err := l.store.Take(r.Context(), slot)
	if err != nil {
		if errors.Is(err, limiter.ErrStopped) {
			err = errClosed
		}
		return verdict{client: client, limit: l.perMinute, ok: true}, err
	}
	kept.reset.Store(int64(reset))                   // #nosec G115 -- nanoseconds until the year 2262
	retry := time.Unix(0, int64(reset)).Sub(l.now()) // #nosec G115
	return verdict{
		client: client, limit: limit, remaining: remaining, ok: ok,
		// The store goes by the wall clock, which may have been set.
		retry: min(max(retry, time.Second), window),
	}, nil
}

// peek tells where a client stands and takes nothing from it. Nothing is kept
// of a client that is not there yet.
func (l *limits) peek(r *http.Request) verdict {
	client := clientKey(l.client(r))
	v := verdict{client: client, limit: l.perMinute, ok: true}
	l.mu.Lock()
	slot, kept := l.find(client)
	l.mu.Unlock()
	limit, remaining, err := l.store.Get(r.Context(), slot)
	switch {
	case err != nil: // closed: there is nothing to be had
	case limit == 0 || kept == nil || l.now().UnixNano() >= kept.reset.Load():
		// The store fills an allowance up when something is taken from it.
		v.remaining = l.perMinute
	default:
		v.remaining = remaining
	}
	return v
}

// slot is the store's key for a client: the client itself while there is room.
func (l *limits) slot(client string) (string, *allowance) {
	l.mu.Lock()
	defer l.mu.Unlock()
	slot, kept := l.find(client)
	if slot != client {
		return slot, kept
	}
	if kept == nil {
		kept = new(allowance)
	}
	l.current[client] = kept
	return client, kept
}

// find is the slot that a client has or would be given, and what is known of
// it, nil for nothing. The caller holds mu.
func (l *limits) find(client string) (string, *allowance) {
	if now := l.now(); now.Sub(l.rotated) >= window {
		l.previous, l.current, l.rotated = l.current, make(map[string]*allowance), now
	}
	if kept, ok := l.current[client]; ok {
		return client, kept
	}
	// An address from the window before keeps its place, or it could be
	// pushed out by others while its allowance is used up.
	room := maxClients
	kept, known := l.previous[client]
	if known {
		room = 2 * maxClients
	}
	if len(l.current) < room {
		return client, kept
	}
	n := maphash.String(l.seed, client) % sharedSlots
	return fmt.Sprintf("shared %d", n), &l.shared[n]
}

// setHeaders tells the client where it stands.
func (v verdict) setHeaders(h http.Header) {
	// In the spelling that Set would find for them each time.
	values := []string{strconv.FormatUint(v.limit, 10), strconv.FormatUint(v.remaining, 10), "60s"}
	h["X-Ratelimit-Limit"], h["X-Ratelimit-Remaining"], h["X-Ratelimit-Window"] = values[:1:1], values[1:2:2], values[2:]
	if !v.ok {
		h.Set(echo.HeaderRetryAfter, strconv.Itoa(int(math.Ceil(v.retry.Seconds()))))
	}
}

// clientAddress finds the address a request comes from. X-Forwarded-For counts
// only as far as trusted proxies have written it.
func clientAddress(trusted []netip.Prefix) echo.IPExtractor {
	if len(trusted) == 0 {
		return echo.ExtractIPDirect()
	}
	opts := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
	for _, p := range trusted {
		p = p.Masked()
		opts = append(opts, echo.TrustIPRange(&net.IPNet{
			IP:   p.Addr().AsSlice(),
			Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
		}))
	}
	return echo.ExtractIPFromXFFHeader(opts...)
}

// clientKey is the address in one spelling. Of an IPv6 address it is the /64,
// which is what one client is given as a rule.
func clientKey(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return "unknown"
	}
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a.String()
	}
	return netip.PrefixFrom(a, 64).Masked().String()
}
