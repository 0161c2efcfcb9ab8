package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/cyberviser/hancock/alerting"
	"github.com/cyberviser/hancock/alerting/alertmanager"
	"github.com/cyberviser/hancock/cmd/hancock/internal/config"
	"github.com/cyberviser/hancock/tsdb"
)

// unnoticed is the consequence of a heartbeat without a receiver.
const unnoticed = "if this process dies, no notification is sent"

// routed are the receivers of the alerts of a rule, and whether any are sent at
// all. Only the labels of the rule itself are known, and for rules of our own
// metrics those of the process; they are relabeled as alerts are.
func (o options) routed(alert string) (to []alertmanager.Notified, sent bool) {
	relabeling := o.relabeling()
	for _, rule := range o.alerting.Loaded.Alerts(alert) {
		b := labels.NewScratchBuilder(0)
		b.Add(model.AlertNameLabel, alert)
		for name, value := range rule.Labels {
			b.Add(name, value)
		}
		if alert != alertmanager.HeartbeatAlert {
			b.Add(model.JobLabel, tsdb.JobName)
			b.Add(model.InstanceLabel, o.tsdb.Instance)
		}
		b.Sort()
		ls, keep := relabeling.Labels(b.Labels())
		if !keep {
			continue
		}
		set := model.LabelSet{}
		ls.Range(func(l labels.Label) { set[model.LabelName(l.Name)] = model.LabelValue(l.Value) })
		sent = true
		to = append(to, alertmanager.NotifiedBy(o.alertmanager.Config, set)...)
	}
	return to, sent
}

// heartbeat describes where the heartbeat goes, and whether it arrives anywhere.
func (o options) heartbeat() (detail string, delivered bool) {
	to, sent := o.routed(alertmanager.HeartbeatAlert)
	switch {
	case sent:
	case len(o.alerting.Loaded.Alerts(alertmanager.HeartbeatAlert)) > 0:
		return fmt.Sprintf("alert_relabel_configs drop %s; %s", alertmanager.HeartbeatAlert, unnoticed), false
	default:
		return fmt.Sprintf("no rule is named %s; %s", alertmanager.HeartbeatAlert, unnoticed), false
	}
	var receivers, empty []string
	for _, n := range to {
		if len(n.Integrations) == 0 {
			empty = append(empty, n.Receiver)
			continue
		}
		receivers = append(receivers, fmt.Sprintf("%s (%s)", n.Receiver, strings.Join(n.Integrations, "; ")))
	}
	external := o.external.Config != nil && len(o.external.Config.AlertmanagerConfigs) > 0
	switch {
	case len(receivers) > 0:
		return fmt.Sprintf("%s goes to receiver %s", alertmanager.HeartbeatAlert, strings.Join(receivers, " and ")), true
	case external:
		return fmt.Sprintf("no route names %s; only external Alertmanagers receive it", alertmanager.HeartbeatAlert), true
	case len(empty) > 0:
		return fmt.Sprintf("%s goes to receiver %s, which has no integrations; %s", alertmanager.HeartbeatAlert, strings.Join(empty, " and "), unnoticed), false
	default:
		return fmt.Sprintf("no route names %s; %s", alertmanager.HeartbeatAlert, unnoticed), false
	}
}

// reportHeartbeat logs where the heartbeat goes. It is a warning where people
// are notified of alerts and would take silence for health.
func (s services) reportHeartbeat(o options, notifies bool) {
	log := s.log.With("component", "alertmanager", "event", "heartbeat")
	detail, delivered := o.heartbeat()
	switch {
	case delivered:
		log.Info("heartbeat has a receiver", "detail", detail)
	case notifies:
		log.Warn("heartbeat has no receiver", "detail", detail)
	default:
		log.Info("heartbeat has no receiver", "detail", detail)
	}
}

// routingFindings are what of the routing is valid but hardly intended.
func (o options) routingFindings(c config.Config) (findings []config.Finding) {
	for _, rule := range o.alerting.Loaded.Alerts(alertmanager.HeartbeatAlert) {
		if severity := rule.Labels["severity"]; severity != "" && severity != "none" {
			findings = append(findings, c.Finding(config.Warning, config.Path{"prometheus", "rule_files"},
				fmt.Sprintf("a rule named %s has the severity %s, but %s", rule.Alert, severity, alertmanager.HeartbeatWithheld),
				"give the rule another name"))
		}
	}
	if receivers := o.nightlyTraffic(); len(receivers) > 0 {
		findings = append(findings, c.Finding(config.Warning, config.Path{"alerting", "traffic_hours"},
			fmt.Sprintf("%s notifies receiver %s around the clock after five minutes without requests", alerting.TrafficAlert, strings.Join(receivers, " and ")),
			"set the hours in which requests are expected, or add the alert to alerting.disabled"))
	}
	return findings
}

// nightlyTraffic are the receivers that are notified of a lack of requests at
// any time of day.
func (o options) nightlyTraffic() (receivers []string) {
	builtin := slices.ContainsFunc(o.alerting.Loaded.Files, func(f alerting.File) bool { return f.Name == alerting.BuiltinFile })
	if !builtin || len(o.alerting.Choice.TrafficHours) > 0 {
		return nil
	}
	heartbeat := map[string]bool{}
	beats, _ := o.routed(alertmanager.HeartbeatAlert)
	for _, n := range beats {
		heartbeat[n.Receiver] = true
	}
	to, _ := o.routed(alerting.TrafficAlert)
	for _, n := range to {
		if len(n.Integrations) > 0 && !n.Limited && !heartbeat[n.Receiver] {
			receivers = append(receivers, strconv.Quote(n.Receiver))
		}
	}
	return receivers
}
