package tsdb

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"go.yaml.in/yaml/v3"

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
		case "yaml":
			return cleanYAML(v)
		case "url", "lastError", "__meta_url":
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

// cleanYAML is a configuration without the values of headers and parameters and the paths of Alertmanagers, of which any
// may be a secret, and with the hosts of addresses only. Prometheus itself masks what its types say is a secret.
func cleanYAML(text string) string {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return redact.Mask
	}
	cleanNode(&doc, false)
	var b strings.Builder
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(&doc), e.Close()); err != nil {
		return redact.Mask
	}
	return b.String()
}

// cleanNode cleans a value. All scalars below one that is secret are masked, and no key is.
func cleanNode(n *yaml.Node, secret bool) {
	switch {
	case n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			switch n.Content[i].Value {
			case "headers", "http_headers", "params", "endpoint_params", "path_prefix":
				cleanNode(n.Content[i+1], true)
			default:
				cleanNode(n.Content[i+1], secret)
			}
		}
	case n.Kind != yaml.ScalarNode:
		for _, child := range n.Content {
			cleanNode(child, secret)
		}
	case secret && strings.Trim(n.Value, "/") != "":
		n.SetString(redact.Mask)
	default:
		n.Value = redact.URLs(n.Value)
	}
}
