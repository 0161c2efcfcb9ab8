package tsdb

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/common/route"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/util/httputil"
	"github.com/prometheus/prometheus/util/notifications"
	v1 "github.com/prometheus/prometheus/web/api/v1"

	"github.com/cyberviser/hancock/internal/redact"
)

// apiPrefix is where the API stands on the server, below whatever prefix was taken off before.
const apiPrefix = "/api/v1"

// defaultMaxBody bounds the body of a request to the API: enough for a query or a batch of remote write.
const defaultMaxBody = 16 << 20

// APIOptions say what the HTTP API shows and allows. The zero value is a read-only API without rules.
type APIOptions struct {
	// Rules are shown at /rules and /alerts; nil shows none.
	Rules v1.RulesRetriever
	// Alertmanagers outside the process are shown at /alertmanagers; nil shows none.
	Alertmanagers v1.AlertmanagerRetriever
	// ExternalURL is where users reach the server; nil is http://ListenAddress.
	ExternalURL *url.URL
	// ListenAddress is the address that is listened on, host:port.
	ListenAddress string
	// Flags are shown at /status/flags. Values of flags that sound secret are masked.
	Flags map[string]string
	// Build is shown at /status/buildinfo.
	Build v1.PrometheusVersion
	// Reloaded is asked whether the last reading of the configuration succeeded, and when one last did.
	Reloaded func() (success bool, at time.Time)
	// EnableAdmin allows deletion and snapshots, EnableRemoteWrite and EnableOTLP the receivers of samples. What is
	// not enabled is refused as Prometheus refuses it.
	EnableAdmin, EnableRemoteWrite, EnableOTLP bool
	// Ready reports whether to answer; while it does not, every answer is 503. nil is always ready.
	Ready func() bool
	// MaxBodyBytes bounds request bodies with samples; 0 is 16 MiB. Others are bounded by 1 MiB.
	MaxBodyBytes int64
}

// API is Prometheus' HTTP API, whole, for the path /api/v1/. It is built when it is first asked, or by Warm.
type API struct {
	db      *DB
	notices *notifications.Notifications
	metrics swapped
	current atomic.Pointer[builtAPI]
	mtx     sync.Mutex // Held while metrics and current change.
}

// builtAPI is an API by certain options. Requests under way end on the one that they began with.
type builtAPI struct {
	opts APIOptions
	// These are the storage's settings that are built in.
	lookback             time.Duration
	samples, concurrency int
	once                 sync.Once
	root                 http.Handler
	doc                  openAPI
}

// NewAPI returns the API over db. It costs nothing until its first use. Only one API of a DB can be used: it
// registers metrics.
func (db *DB) NewAPI(o APIOptions) *API {
	a := &API{db: db, notices: notifications.NewNotifications(maxSubscribers, db.registry)}
	db.registry.MustRegister(&a.metrics)
	a.Reload(o)
	return a
}

// Reload takes other options, after the storage has taken its own. Without a difference it does nothing.
func (a *API) Reload(o APIOptions) {
	db := a.db
	if o.Alertmanagers == nil {
		o.Alertmanagers = noAlertmanagers{}
	}
	if o.Rules == nil {
		o.Rules = noRules{}
	}
	if o.Reloaded == nil {
		o.Reloaded = func() (bool, time.Time) { return true, db.opened }
	}
	if o.ExternalURL == nil {
		o.ExternalURL = &url.URL{Scheme: "http", Host: o.ListenAddress}
	}
	if o.MaxBodyBytes == 0 {
		o.MaxBodyBytes = defaultMaxBody
	}
	a.mtx.Lock()
	defer a.mtx.Unlock()
	stored := db.now.Load().opts
	next := &builtAPI{opts: o, lookback: stored.QueryLookback, samples: stored.maxSamples(), concurrency: stored.concurrency()}
	if before := a.current.Load(); before != nil && before.same(next) {
		return
	}
	next.doc.options = v1.OpenAPIOptions{ExternalURL: o.ExternalURL.String(), Version: o.Build.Version}
	a.current.Store(next)
}

// same reports whether the other one would be built alike. What is asked while it answers is the same for all.
func (b *builtAPI) same(other *builtAPI) bool {
	x, y := b.opts, other.opts
	return b.lookback == other.lookback && b.samples == other.samples && b.concurrency == other.concurrency &&
		x.ExternalURL.String() == y.ExternalURL.String() && x.ListenAddress == y.ListenAddress &&
		maps.Equal(x.Flags, y.Flags) && x.Build == y.Build && x.MaxBodyBytes == y.MaxBodyBytes &&
		x.EnableAdmin == y.EnableAdmin && x.EnableRemoteWrite == y.EnableRemoteWrite && x.EnableOTLP == y.EnableOTLP
}

// Warm builds the API now, so that the first request does not wait for it, and gives the memory that building took
// back to the system. It takes some tenths of a second of one core and is safe to call beside requests.
func (a *API) Warm() {
	a.handler(a.current.Load())
	debug.FreeOSMemory()
}

// ServeHTTP answers requests for paths below /api/v1/. Requests end with an error when the storage closes.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := a.current.Load()
	if now.opts.Ready != nil && !now.opts.Ready() {
		writeError(w, http.StatusServiceUnavailable, "unavailable", "not ready")
		return
	}
	ctx, leave, err := a.db.inflight.enter(r.Context())
	if err != nil {
		writeError(w, http.StatusServiceUnavailable, "unavailable", err.Error())
		return
	}
	defer leave()
	limit := maxBodyOf(r, now.opts.MaxBodyBytes)
	if r.ContentLength > limit {
		writeError(w, http.StatusRequestEntityTooLarge, "bad_data",
			fmt.Sprintf("request body of %d bytes is larger than %d", r.ContentLength, limit))
		return
	}
	r = r.WithContext(httputil.ContextWithPath(ctx, r.URL.Path))
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	if err := bounded(r); err != nil {
		writeError(w, http.StatusBadRequest, "bad_data", err.Error())
		return
	}
	if r.URL.Path == apiPrefix+"/openapi.yaml" && r.Method == http.MethodGet {
		now.doc.ServeHTTP(w, r)
		return
	}
	a.handler(now).ServeHTTP(clean(w, r), r)
}

func (a *API) handler(b *builtAPI) http.Handler {
	b.once.Do(func() {
		router, own := route.New(), prometheus.NewRegistry()
		a.db.newV1(b, a.notices, own).Register(router)
		a.mtx.Lock()
		defer a.mtx.Unlock()
		if a.current.Load() == b {
			a.metrics.use(own)
		}
		b.root = http.StripPrefix(apiPrefix, router)
	})
	return b.root
}

// openAPI is the description of the API. Only who asks for it pays for it: building it is most of what building
// the API costs.
type openAPI struct {
	options v1.OpenAPIOptions
	once    sync.Once
	builder *v1.OpenAPIBuilder
}

// ServeHTTP answers with the description.
func (d *openAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.once.Do(func() {
		d.builder = v1.NewOpenAPIBuilder(d.options, promslog.NewNopLogger())
		debug.FreeOSMemory()
	})
	d.builder.ServeOpenAPI(w, r)
}

// writeError answers in the form of the API's own errors.
func writeError(w http.ResponseWriter, code int, kind, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// The client may be gone; there is nobody else to tell.
	_ = json.NewEncoder(w).Encode(struct {
		Status    string `json:"status"`
		ErrorType string `json:"errorType"`
		Error     string `json:"error"`
	}{"error", kind, message})
}

// maskedFlags hides the values of flags that sound secret.
func maskedFlags(flags map[string]string) map[string]string {
	secret := regexp.MustCompile(`(?i)key|password|secret|token|credential`)
	shown := make(map[string]string, len(flags))
	for name, v := range flags {
		if v != "" && secret.MatchString(name) {
			v = redact.Mask
		}
		shown[name] = redact.URLs(v)
	}
	return shown
}

// noRules is what an API without rules shows.
type noRules struct{}

// RuleGroups is empty.
func (noRules) RuleGroups() []*rules.Group { return nil }

// AlertingRules is empty.
func (noRules) AlertingRules() []*rules.AlertingRule { return nil }

// noAlertmanagers is the list of Alertmanagers outside the process.
type noAlertmanagers struct{}

// Alertmanagers is empty.
func (noAlertmanagers) Alertmanagers() []*url.URL { return nil }

// DroppedAlertmanagers is empty.
func (noAlertmanagers) DroppedAlertmanagers() []*url.URL { return nil }

func retriever[T any](v T) func(context.Context) T {
	return func(context.Context) T { return v }
}
