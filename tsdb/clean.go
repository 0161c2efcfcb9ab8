package tsdb

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/cyberviser/hancock/internal/redact"
)

// cleaner passes an answer on without secrets. Prometheus writes an answer of JSON at once.
type cleaner struct{ http.ResponseWriter }

// clean returns what an answer is written to: a cleaner where Prometheus shows addresses with all that is in them. It asks
// the API not to compress such an answer.
func clean(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
	switch strings.TrimPrefix(r.URL.Path, apiPrefix) {
	case "/status/config", "/alertmanagers", "/targets", "/targets/relabel_steps", "/scrape_pools":
		r.Header.Del("Accept-Encoding")
		return cleaner{w}
	default:
		return w
	}
}

// Write cleans an answer of JSON, and refuses to write what it cannot clean. Other answers are errors without addresses.
func (c cleaner) Write(b []byte) (int, error) {
	if !strings.HasPrefix(c.Header().Get("Content-Type"), "application/json") {
		return c.ResponseWriter.Write(b)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var answer any
	if err := d.Decode(&answer); err != nil {
		return 0, err
	}
	out, err := json.Marshal(withoutSecrets("", answer))
	if err != nil {
		return 0, err
	}
	if _, err := c.ResponseWriter.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// withoutSecrets cleans a value by the name that it has in its object. Of the addresses of targets the path remains, which
// tells targets of one host apart; the labels of targets are those of their series.
func withoutSecrets(name string, v any) any {
	switch v := v.(type) {
	case string:
		switch name {
		case "scrapeUrl", "globalUrl":
			return withoutQuery(v)
		case "yaml", "url", "lastError", "__meta_url":
			return redact.URLs(v)
		}
		if strings.HasPrefix(name, "__param_") {
			return redact.Mask
		}
	case []any:
		for i := range v {
			v[i] = withoutSecrets(name, v[i])
		}
	case map[string]any:
		for k := range v {
			if name == "labels" {
				break
			}
			v[k] = withoutSecrets(k, v[k])
		}
	}
	return v
}

// withoutQuery is an address without user, query and fragment.
func withoutQuery(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return redact.URLs(s)
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
