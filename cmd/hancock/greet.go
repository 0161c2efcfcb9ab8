package main

import (
	"fmt"
	"io"
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
	fmt.Fprintf(t, "  Backend\t%s, %s\n", o.llm.Backend, o.model())
	kept := "as long as its space allows"
	if o.tsdb.Retention > 0 {
		kept = "for " + model.Duration(o.tsdb.Retention).String()
	}
	fmt.Fprintf(t, "  Data\t%s, kept %s\n", o.tsdb.Path, kept)
	if inv.configFile != "" {
		fmt.Fprintf(t, "  Configuration\t%s\n", inv.configFile)
	}
	_ = t.Flush()
	fmt.Fprintf(w, "\n  curl %s/v1/ask -H 'Content-Type: application/json' -d '{\"question\": \"What is MITRE ATT&CK?\"}'\n\n", base)
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
