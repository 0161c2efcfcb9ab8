package main

import (
	"crypto/x509"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/version"

	"github.com/cyberviser/hancock/agent/llm"
)

// greet prints the addresses that a person needs.
func greet(w io.Writer, inv invocation, o options, base string, demo bool) {
	name := "Hancock"
	if version.Version != "" {
		name += " " + version.Version
	}
	if demo {
		name += ", a demonstration: the model is simulated, the traffic and its history are generated"
	}
	fmt.Fprintf(w, "\n%s\n\n", name)
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "  Dashboard\t%s/\n", base)
	fmt.Fprintf(t, "  Agent\t%s/v1/chat\n", base)
	fmt.Fprintf(t, "  Metrics\t%s/metrics\n", base)
	fmt.Fprintf(t, "  Grafana data source\t%s (type Prometheus)\n", base)
	fmt.Fprintf(t, "  Backend\t%s, %s at %s\n", o.llm.Backend, o.model(), o.llm.Destinations()[0].Host)
	for i, d := range o.destinations() {
		if i > 0 { // The first is the backend.
			fmt.Fprintf(t, "  Sends to\t%s (%s)\n", d.host, d.purpose)
		}
	}
	kept := "as long as its space allows"
	if o.tsdb.Retention > 0 {
		kept = "for " + model.Duration(o.tsdb.Retention).String()
	}
	fmt.Fprintf(t, "  Data\t%s, kept %s\n", o.tsdb.Path, kept)
	if inv.configFile != "" {
		fmt.Fprintf(t, "  Configuration\t%s\n", inv.configFile)
	}
	_ = t.Flush()
	fmt.Fprintf(w, "\n  curl %s%s/v1/ask -H 'Content-Type: application/json' -d '{\"question\": \"What is MITRE ATT&CK?\"}'\n\n", curlOptions(inv, o, base), base)
	for _, k := range inv.config.NewKeys {
		fmt.Fprintf(w, "  %s: created %s with a new key: %s\n", k.Setting, k.File, k.Key)
	}
	switch file := inv.config.Web.APIKeyFile; {
	case file != "":
		fmt.Fprintf(w, "  The API key is in %s.\n", file)
	case o.web.APIKey != "":
		fmt.Fprintln(w, "  HANCOCK_API_KEY is the API key.")
	}
	fmt.Fprintln(w, "  The log follows on standard error. Ctrl-C stops.")
	fmt.Fprintln(w)
}

// model is the one that the chosen backend is asked for.
func (o options) model() string {
	switch o.llm.Backend {
	case llm.NVIDIA:
		return o.llm.NVIDIA.Model
	case llm.OpenAI:
		return o.llm.OpenAI.Model
	default:
		return o.llm.Ollama.Model
	}
}

// curlOptions are what curl needs to reach the server at base, each followed by a space. The key is not printed.
func curlOptions(inv invocation, o options, base string) (opts string) {
	if leaf, file, err := certificate(o.web.ConfigFile); err == nil && leaf != nil {
		if isTrusted(leaf, base) && file != "" {
			opts += "--cacert " + shellQuoted(file) + " "
		} else {
			opts += "--insecure " // The certificate does not name this address.
		}
	}
	switch users := o.web.Users(); {
	case inv.config.Web.APIKeyFile != "":
		opts += `-H "Authorization: Bearer $(cat ` + shellQuoted(inv.config.Web.APIKeyFile) + `)" `
	case o.web.APIKey != "":
		opts += `-H "Authorization: Bearer $HANCOCK_API_KEY" `
	case len(users) > 0:
		opts += "-u " + shellQuoted(users[0]) + " "
	}
	return opts
}

// isTrusted reports whether a certificate is valid at an address for clients that trust the certificate itself.
func isTrusted(leaf *x509.Certificate, base string) bool {
	u, err := url.Parse(base)
	if err != nil {
		return false
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	_, err = leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: u.Hostname()})
	return err == nil
}

// shellQuoted is s as one word of a shell.
func shellQuoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
