package tsdb

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/cyberviser/hancock/internal/promqlbound"
)

const (
	// maxForm bounds the body of a request that is not a batch of samples, in bytes.
	maxForm = 1 << 20
	// maxEntries bounds the series, labels and values that one answer lists.
	maxEntries = 20_000
)

// maxBodyOf returns the bytes that the body of a request may have.
func maxBodyOf(r *http.Request, samples int64) int64 {
	switch strings.TrimPrefix(r.URL.Path, apiPrefix) {
	case "/write", "/read", "/otlp/v1/metrics":
		return samples
	default:
		return min(samples, maxForm)
	}
}

// lists reports whether the answer is a list with a limit.
func lists(path string) bool {
	switch path = strings.TrimPrefix(path, apiPrefix); path {
	case "/series", "/labels", "/metadata", "/targets/metadata", "/status/tsdb":
		return true
	default:
		return strings.HasPrefix(path, "/label/")
	}
}

// bounded bounds what the parameters of a request can cost, before the API reads them. Its error is for the client.
func bounded(r *http.Request) error {
	path := strings.TrimPrefix(r.URL.Path, apiPrefix)
	switch {
	case lists(r.URL.Path):
		if err := r.ParseForm(); err != nil {
			return fmt.Errorf("error parsing form values: %w", err)
		}
		if unlimited(path, r.Form.Get("limit")) {
			r.Form.Set("limit", strconv.Itoa(maxEntries))
		}
	case path == "/format_query":
		if err := promqlbound.Check(r.FormValue("query"), promqlbound.MaxFormatDepth); err != nil {
			return fmt.Errorf("invalid parameter \"query\": %w", err)
		}
	}
	return nil
}

// unlimited reports whether a limit means more than maxEntries. What is not valid is left to the API to refuse.
func unlimited(path, limit string) bool {
	if limit == "" {
		return path != "/status/tsdb" // It has a default.
	}
	n, err := strconv.Atoi(limit)
	if err != nil {
		return false
	}
	if strings.HasSuffix(path, "metadata") {
		return n < 0 || n > maxEntries
	}
	return n == 0 && path != "/status/tsdb" || n > maxEntries
}
