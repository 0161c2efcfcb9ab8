package main

import (
	"fmt"
	"io"
	"net/url"
	"slices"

	"github.com/cyberviser/hancock/agent/llm"
)

// destination is a host outside this process that data are sent to.
type destination struct {
	purpose, host string
}

// destinations are the hosts that the configuration names: models, those notified of triage results, and remote storage.
// Receivers of alerts are listed by their names with alert routes.
func (o options) destinations() (all []destination) {
	add := func(purpose, host string) {
		if d := (destination{purpose, host}); host != "" && !slices.Contains(all, d) {
			all = append(all, d)
		}
	}
	for _, d := range o.llm.Destinations() {
		purpose := "model"
		if d.Fallback {
			purpose = "model, when " + o.llm.Backend + " fails"
		}
		add(purpose, d.Provider+" at "+d.Host)
	}
	add("triage results", hostOf(o.agent.Notify.SlackURL))
	add("triage results", hostOf(o.agent.Notify.TeamsURL))
	if p := o.tsdb.Prometheus; p != nil {
		for _, rw := range p.RemoteWriteConfigs {
			add("samples", rw.URL.Host)
		}
	}
	return all
}

// hostOf is the host of a URL, with its port where one is given; empty without a URL.
func hostOf(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	return u.Host
}

// printDestinations writes a line for each destination.
func printDestinations(w io.Writer, o options) {
	for _, d := range o.destinations() {
		fmt.Fprintf(w, "sends to: %s (%s)\n", d.host, d.purpose)
	}
	if o.llm.Egress == llm.EgressLocal {
		fmt.Fprintln(w, "agent.egress: local, models outside private networks are refused")
	}
}
