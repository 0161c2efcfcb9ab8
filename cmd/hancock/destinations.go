package main

import (
	"fmt"
	"io"
	"net/url"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery"

	"github.com/cyberviser/hancock/agent/llm"
	"github.com/cyberviser/hancock/alerting/alertmanager"
	"github.com/cyberviser/hancock/cmd/hancock/internal/config"
)

// destination is a host outside this process that data are sent to.
type destination struct {
	purpose, host string
}

// destinations are the hosts that the configuration names: models, those notified of triage results and of alerts, and
// remote storage.
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
	for _, d := range alertmanager.Destinations(o.alertmanager.Config) {
		add(fmt.Sprintf("alerts of receiver %q, %s", d.Receiver, d.Integration), d.Host)
	}
	if p := o.tsdb.Prometheus; p != nil {
		for _, am := range p.AlertingConfig.AlertmanagerConfigs {
			for _, host := range targetsOf(am.ServiceDiscoveryConfigs) {
				add("alerts, to an external Alertmanager", host)
			}
		}
		for _, rw := range p.RemoteWriteConfigs {
			add("samples", rw.URL.Host)
		}
		for _, rr := range p.RemoteReadConfigs {
			add("selectors of queries", rr.URL.Host)
		}
	}
	return all
}

// targetsOf are the targets of service discovery: those that are written down, and each kind of the others.
func targetsOf(configs discovery.Configs) (hosts []string) {
	for _, c := range configs {
		static, ok := c.(discovery.StaticConfig)
		if !ok {
			hosts = append(hosts, "(found by "+c.Name()+"_sd_configs)")
			continue
		}
		for _, group := range static {
			for _, target := range group.Targets {
				hosts = append(hosts, string(target[model.AddressLabel]))
			}
		}
	}
	return hosts
}

// unusedFallback warns of a fallback that agent.egress switches off.
func unusedFallback(c config.Config) []config.Finding {
	if c.Agent.Egress != llm.EgressLocal || c.Agent.Backend == llm.OpenAI || c.Agent.OpenAI.APIKey == "" {
		return nil
	}
	return []config.Finding{c.Finding(config.Warning, config.Path{"agent", "egress"},
		"local switches off the fallback to OpenAI, for which there is a key", "remove the key, or set agent.egress to any")}
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
