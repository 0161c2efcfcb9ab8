package config

import (
	"errors"
	"fmt"

	"github.com/prometheus/alertmanager/timeinterval"
	"go.yaml.in/yaml/v3"
)

// Hours are time intervals in Alertmanager's notation.
type Hours []timeinterval.TimeInterval

// UnmarshalYAML parses the list n. Its errors have the line of the interval.
func (h *Hours) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.SequenceNode {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: alerting.traffic_hours: expected a list of time intervals", n.Line)}}
	}
	*h = Hours{}
	for _, one := range n.Content {
		var ti timeinterval.TimeInterval
		err := unknownInterval(one)
		if err == nil {
			err = one.Decode(&ti)
		}
		if te, ok := errors.AsType[*yaml.TypeError](err); ok {
			return te
		}
		if err != nil {
			return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: alerting.traffic_hours: %s", one.Line, err)}}
		}
		*h = append(*h, ti)
	}
	return nil
}

// unknownInterval returns an error for a field that intervals do not have: a
// node decodes itself without regard for unknown fields.
func unknownInterval(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return errors.New("expected a time interval: times, weekdays, days_of_month, months, years, location")
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		switch n.Content[i].Value {
		case "times", "weekdays", "days_of_month", "months", "years", "location":
		default:
			return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: field %s not found in type timeinterval.TimeInterval", n.Content[i].Line, n.Content[i].Value)}}
		}
	}
	return nil
}
