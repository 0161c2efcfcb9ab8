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

	mu       sync.Mutex
	rotated  time.Time
	current  map[string]struct{} // admitted in this window
	previous map[string]struct{} // admitted in the one before
}

func newLimits(perMinute int, trusted []netip.Prefix) (*limits, error) {
	store, err := memorystore.New(&memorystore.Config{
		Tokens:        uint64(perMinute), // #nosec G115 -- validated to be positive
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
		current: make(map[string]struct{}),
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

// take counts one request against its client.
func (l *limits) take(r *http.Request) (verdict, error) {
	client := clientKey(l.client(r))
	limit, remaining, reset, ok, err := l.store.Take(r.Context(), l.slot(client))
	if errors.Is(err, limiter.ErrStopped) {
		return verdict{}, errClosed
	}
	if err != nil {
		return verdict{}, err
	}
	retry := time.Unix(0, int64(reset)).Sub(l.now()) // #nosec G115 -- nanoseconds until the year 2262
	return verdict{
		client: client, limit: limit, remaining: remaining, ok: ok,
		// The store goes by the wall clock, which may have been set.
		retry: min(max(retry, time.Second), window),
	}, nil
}

// slot is the store's key for a client: the client itself while there is room.
func (l *limits) slot(client string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.now(); now.Sub(l.rotated) >= window {
		l.previous, l.current, l.rotated = l.current, make(map[string]struct{}), now
	}
	if _, ok := l.current[client]; ok {
		return client
	}
	// An address from the window before keeps its place, or it could be
	// pushed out by others while its allowance is used up.
	room := maxClients
	if _, known := l.previous[client]; known {
		room = 2 * maxClients
	}
	if len(l.current) < room {
		l.current[client] = struct{}{}
		return client
	}
	return fmt.Sprintf("shared %d", maphash.String(l.seed, client)%sharedSlots)
}

// setHeaders tells the client where it stands.
func (v verdict) setHeaders(h http.Header) {
	// In the spelling that Set would find for them each time.
	h["X-Ratelimit-Limit"] = []string{strconv.FormatUint(v.limit, 10)}
	h["X-Ratelimit-Remaining"] = []string{strconv.FormatUint(v.remaining, 10)}
	h["X-Ratelimit-Window"] = []string{"60s"}
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
