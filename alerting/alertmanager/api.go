package alertmanager

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/prometheus/alertmanager/alert"
	apiv2 "github.com/prometheus/alertmanager/api/v2"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/common/model"
)

const (
	apiPrefix    = "/api/v2"
	maxBodyBytes = 1 << 20
	maxReading   = 8 // GET requests at a time
	// maxPosted is as many alerts as a body has room for if they say anything.
	// What Alertmanager makes of invalid ones grows with their square: a body
	// full of the shortest would keep it busy for a minute.
	maxPosted = 5000
)

// lazyAPI is Alertmanager's API, made when it is first asked: it parses its
// description, which costs more than all the rest together.
type lazyAPI struct {
	mu      sync.Mutex
	api     *apiv2.API
	handler atomic.Pointer[http.Handler]
	reading chan struct{}
}

// building is held while an API is made: all of a process share its parsed
// description, and making one writes to it.
var building sync.Mutex

// API answers everything below /api/v2 as Alertmanager does.
func (a *Alertmanager) API() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, err := a.api.get(a)
		if err != nil {
			a.log.ErrorContext(r.Context(), "making the API of the alertmanager failed", "error", err)
			refuse(w, http.StatusInternalServerError, "the alertmanager's API is not available; the log says why")
			return
		}
		a.serveAPI(w, r, h)
	})
}

func (l *lazyAPI) get(a *Alertmanager) (http.Handler, error) {
	if h := l.handler.Load(); h != nil {
		return *h, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.api == nil {
		building.Lock()
		defer building.Unlock()
		groups := func(ctx context.Context, route func(*dispatch.Route) bool, filter alertFilter) (dispatch.AlertGroups, map[model.Fingerprint][]string, error) {
			return a.current.Load().dispatcher.Groups(ctx, route, filter)
		}
		muted := func(route, group string) ([]string, bool) { return a.current.Load().marker.Muted(route, group) }
		api, err := apiv2.NewAPI(acknowledged{a.alerts, a.store}, groups, muted, a.silences, nil, a.log, usedOnly{a.metrics.registerer, a})
		if err != nil {
			return nil, fmt.Errorf("making API v2: %w", err)
		}
		l.api, l.reading = api, make(chan struct{}, maxReading)
		l.apply(a)
	}
	l.handler.Store(&l.api.Handler)
	return l.api.Handler, nil
}

// update tells the API, if there is one, of a new generation.
func (l *lazyAPI) update(a *Alertmanager) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.api != nil {
		l.apply(a)
	}
}

func (l *lazyAPI) apply(a *Alertmanager) {
	l.api.Update(a.current.Load().config, func(ctx context.Context, labels model.LabelSet) {
		a.current.Load().inhibitor.Mutes(ctx, labels)
		a.silencer.Mutes(ctx, labels)
	})
}

// serveAPI bounds what comes in, hides what must not go out, and lets an
// answer about a silence go only when the silence is on disk.
func (a *Alertmanager) serveAPI(w http.ResponseWriter, r *http.Request, h http.Handler) {
	r = onePath(r)
	what := strings.TrimPrefix(r.URL.Path, apiPrefix)
	switch r.Method {
	case http.MethodPost:
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
		if tooBig := (*http.MaxBytesError)(nil); errors.As(err, &tooBig) {
			refuse(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes; send fewer alerts at a time", maxBodyBytes))
			return
		}
		if err != nil {
			refuse(w, http.StatusBadRequest, "reading the body failed: "+err.Error())
			return
		}
		if !utf8.Valid(body) { // The API would replace what is invalid, also in names.
			refuse(w, http.StatusBadRequest, "the body is not valid UTF-8")
			return
		}
		if nullInList(body) {
			refuse(w, http.StatusBadRequest, "a list in the body holds null")
			return
		}
		if what == "/alerts" {
			posted, err := checkPosted(body)
			if err != nil {
				refuse(w, http.StatusBadRequest, err.Error())
				return
			}
			if n := a.store.after(posted); n > a.options.MaxPending {
				refuse(w, http.StatusServiceUnavailable, fmt.Sprintf("there would be %d alerts, more than %d; nothing of this request was taken", n, a.options.MaxPending))
				return
			}
		}
		r = r.Clone(r.Context())
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	case http.MethodGet, http.MethodHead:
		if query, err := url.QueryUnescape(r.URL.RawQuery); err == nil && !utf8.ValidString(query) {
			refuse(w, http.StatusBadRequest, "the query is not valid UTF-8")
			return
		}
		select {
		case a.api.reading <- struct{}{}:
			defer func() { <-a.api.reading }()
		default:
			w.Header().Set("Retry-After", "1")
			refuse(w, http.StatusServiceUnavailable, "too many requests read alerts at the moment; try again")
			return
		}
	}
	changesSilence := r.Method != http.MethodGet && strings.HasPrefix(what, "/silence")
	if !changesSilence && what != "/status" {
		h.ServeHTTP(w, r)
		return
	}
	held := &heldAnswer{header: http.Header{}, status: http.StatusOK}
	h.ServeHTTP(held, r)
	if err := a.silenceJournal.err(); changesSilence && held.status < 300 && err != nil {
		// A new snapshot has room where the old one could not grow.
		if _, err := a.compactSilences(); err != nil {
			refuse(w, http.StatusInternalServerError, errNotPersisted.Error())
			return
		}
	}
	if r.Method == http.MethodPost && what == "/silences" {
		a.warnOfNewSilence(r.Context(), held)
	}
	body := held.body.Bytes()
	if what == "/status" {
		body = a.current.Load().secrets.scrubJSON(body)
	}
	maps.Copy(w.Header(), held.header)
	w.Header().Del("Content-Length")
	w.WriteHeader(held.status)
	_, _ = w.Write(body)
}

// onePath is the request with its path in the one spelling that is judged here:
// the API takes others for the same, such as those with a slash too many.
func onePath(r *http.Request) *http.Request {
	u := *r.URL
	u.Path, u.RawPath = path.Clean("/"+u.Path), ""
	r = r.WithContext(r.Context())
	r.URL = &u
	return r
}

// heldAnswer keeps an answer until it may go.
type heldAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (h *heldAnswer) Header() http.Header         { return h.header }
func (h *heldAnswer) WriteHeader(status int)      { h.status = status }
func (h *heldAnswer) Write(p []byte) (int, error) { return h.body.Write(p) }

// refuse answers as API v2 does, with a JSON string.
func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(message)
}

// nullInList finds the null in place of an object that API v2 would follow.
func nullInList(body []byte) bool {
	var v any
	if json.Unmarshal(body, &v) != nil {
		return false
	}
	var search func(any) bool
	search = func(v any) bool {
		switch x := v.(type) {
		case []any:
			return slices.ContainsFunc(x, func(v any) bool { return v == nil || search(v) })
		case map[string]any:
			for _, v := range x {
				if search(v) {
					return true
				}
			}
		}
		return false
	}
	return search(v)
}

// checkPosted bounds the size of alerts from outside and tells which they are.
// What is not valid JSON is left to the API, which says where.
func checkPosted(body []byte) ([]model.Fingerprint, error) {
	var alerts []struct {
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	}
	_ = json.Unmarshal(body, &alerts)
	if len(alerts) > maxPosted {
		return nil, fmt.Errorf("there are %d alerts, more than %d; send fewer at a time, nothing of this request was taken", len(alerts), maxPosted)
	}
	posted := make([]model.Fingerprint, len(alerts))
	for i, a := range alerts {
		name := clip(a.Labels[string(model.AlertNameLabel)], 100)
		if err := checkSet("labels", a.Labels); err != nil {
			return nil, fmt.Errorf("alert %d (%q): %w; nothing of this request was taken", i+1, name, err)
		}
		if err := checkSet("annotations", a.Annotations); err != nil {
			return nil, fmt.Errorf("alert %d (%q): %w; nothing of this request was taken", i+1, name, err)
		}
		labels := make(model.LabelSet, len(a.Labels))
		for n, v := range a.Labels {
			if v != "" { // as the API does
				labels[model.LabelName(n)] = model.LabelValue(v)
			}
		}
		posted[i] = labels.Fingerprint()
	}
	return posted, nil
}

func checkSet[N, V ~string](what string, set map[N]V) error {
	if len(set) > maxLabels {
		return fmt.Errorf("it has %d %s, more than %d", len(set), what, maxLabels)
	}
	size := 0
	for n, v := range set {
		if len(n) > maxLabelBytes || len(v) > maxLabelBytes {
			return fmt.Errorf("its %s hold a name or value of more than %d bytes (%q)", what, maxLabelBytes, clip(string(n), 100))
		}
		size += len(n) + len(v)
	}
	if size > maxAlertBytes {
		return fmt.Errorf("its %s are %d bytes, more than %d", what, size, maxAlertBytes)
	}
	return nil
}

type alertFilter = func(*alert.Alert, time.Time) bool
