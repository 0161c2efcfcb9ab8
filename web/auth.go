package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cyberviser/hancock/internal/clientip"
)

// The reasons for which a request is not authenticated.
const (
	authMissing   = "missing"   // it brought no key
	authWrong     = "wrong"     // it brought another one
	authThrottled = "throttled" // it brought another one, and too many came before
)

const (
	// maxWrongKeys is how many wrong keys one client may try in authWindow; then it waits for the end of the window.
	maxWrongKeys = 10
	authWindow   = time.Minute
	// maxAuthClients bounds the clients that are counted apart from each other in a window.
	maxAuthClients = 10_000
	// maxAuthLines bounds the log lines about failures in a window.
	maxAuthLines = 20
)

// authFailures counts requests without the key. It may be used concurrently, and forgets everything at the end of a window.
type authFailures struct {
	total *prometheus.CounterVec
	log   *slog.Logger
	now   func() time.Time

	mu      sync.Mutex
	start   time.Time
	clients map[string]int // wrong keys
	lines   int
}

func newAuthFailures(reg prometheus.Registerer, log *slog.Logger) *authFailures {
	f := &authFailures{
		log: log, now: time.Now,
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hancock_auth_failures_total",
			Help: "Requests without a valid API key, by reason.",
		}, []string{"reason"}),
	}
	for _, reason := range []string{authMissing, authWrong, authThrottled} {
		f.total.WithLabelValues(reason)
	}
	reg.MustRegister(f.total)
	return f
}

// wrong counts a wrong key. It returns how long the client has to wait if it has tried too many.
func (f *authFailures) wrong(client, path string) (wait time.Duration) {
	f.mu.Lock()
	now := f.now()
	suppressed := 0
	if now.Sub(f.start) >= authWindow {
		suppressed = max(0, f.lines-maxAuthLines)
		f.start, f.clients, f.lines = now, map[string]int{}, 0
	}
	counted := client
	if _, known := f.clients[client]; !known && len(f.clients) >= maxAuthClients {
		counted = "" // All further ones together.
	}
	f.clients[counted]++
	n := f.clients[counted]
	reason := authWrong
	if n > maxWrongKeys {
		reason, wait = authThrottled, authWindow-now.Sub(f.start)
	}
	report := n == 1 || n == maxWrongKeys+1
	if report {
		f.lines++
		report = f.lines <= maxAuthLines
	}
	f.mu.Unlock()

	f.total.WithLabelValues(reason).Inc()
	if suppressed > 0 {
		f.log.Warn("authentication failures were not logged", "event", "auth_failed", "suppressed", suppressed)
	}
	if report {
		f.log.Warn("authentication failed", "event", "auth_failed", "reason", reason, "client", client, "path", path)
	}
	return wait
}

// authenticate asks for the API key where there is one. Probes, /health and,
// by default, /metrics stay open. Clients of /v1 send the key as a bearer
// token; a browser and Grafana may send it as the password of HTTP basic
// authentication everywhere else. The read-only key is accepted where readable
// allows it. A client that has sent too many wrong keys is refused with 429; a
// right key always passes.
func (s *Server) authenticate(opts Options) check {
	if opts.APIKey == "" {
		return pass
	}
	open := map[string]bool{
		"/livez": true, "/readyz": true, "/-/healthy": true, "/-/ready": true, "/health": true,
		"/metrics": !opts.ProtectMetrics,
	}
	// Digests have one length, so that the comparison tells nothing of the key's.
	all, some := sha256.Sum256([]byte(opts.APIKey)), sha256.Sum256([]byte(opts.ReadOnlyKey))
	access := func(key string) (full, readOnly bool) {
		got := sha256.Sum256([]byte(key))
		isAll, isSome := subtle.ConstantTimeCompare(got[:], all[:]), subtle.ConstantTimeCompare(got[:], some[:])
		return isAll == 1, isSome == 1 && opts.ReadOnlyKey != ""
	}
	address := clientip.Extractor(opts.TrustedProxies)
	return func(c echo.Context) error {
		r := c.Request()
		// Without a route there is nothing to protect, and the answer is 404.
		if open[r.URL.Path] || c.Path() == "" {
			return nil
		}
		isAgent := strings.HasPrefix(r.URL.Path, "/v1/")
		scheme, key, found := strings.Cut(r.Header.Get(echo.HeaderAuthorization), " ")
		if found = found && strings.EqualFold(scheme, "bearer"); !found && !isAgent {
			_, key, found = r.BasicAuth()
		}
		if found {
			switch full, readOnly := access(key); {
			case full, readOnly && s.readable(c):
				return nil
			case readOnly:
				return echo.NewHTTPError(http.StatusForbidden, "this is the read-only key: send the API key")
			}
		}
		if r.Header.Get(echo.HeaderAuthorization) == "" {
			s.failures.total.WithLabelValues(authMissing).Inc()
		} else if wait := s.failures.wrong(clientip.Key(address(r)), r.URL.Path); wait > 0 {
			c.Response().Header().Set(echo.HeaderRetryAfter, strconv.Itoa(int(math.Ceil(wait.Seconds()))))
			return echo.NewHTTPError(http.StatusTooManyRequests, "too many wrong API keys: wait, or send the right one")
		}
		if isAgent {
			c.Response().Header().Set(echo.HeaderWWWAuthenticate, `Bearer realm="Hancock"`)
			return echo.NewHTTPError(http.StatusUnauthorized, "unauthorized: send the API key as a bearer token")
		}
		c.Response().Header().Set(echo.HeaderWWWAuthenticate, `Basic realm="Hancock", charset="UTF-8"`)
		return echo.NewHTTPError(http.StatusUnauthorized,
			"unauthorized: send the API key as a bearer token or as the password of basic authentication")
	}
}
