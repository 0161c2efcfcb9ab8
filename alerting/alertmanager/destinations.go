package alertmanager

import (
	"cmp"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/prometheus/alertmanager/config"
	amcommon "github.com/prometheus/alertmanager/config/common"
)

// Destination is a host that notifications of a receiver are sent to.
type Destination struct {
	Receiver, Integration string // the integration's kind, such as slack
	// Host has the port where one is given. In parentheses is why it is not known
	// before a notification is sent.
	Host string
}

// Destinations returns the hosts of all receivers that routes use, each once
// for a receiver and a kind of integration.
func Destinations(c *config.Config) (all []Destination) {
	if c == nil || c.Route == nil {
		return nil
	}
	used := map[string]bool{}
	var walk func(*config.Route)
	walk = func(r *config.Route) {
		used[r.Receiver] = true
		for _, child := range r.Routes {
			walk(child)
		}
	}
	walk(c.Route)
	for _, r := range c.Receivers {
		v := reflect.ValueOf(r)
		for i := range v.NumField() {
			kind, ok := strings.CutSuffix(yamlName(v.Type().Field(i)), "_configs")
			for n := 0; ok && used[r.Name] && n < v.Field(i).Len(); n++ {
				d := Destination{r.Name, kind, cmp.Or(hostOfIntegration(kind, v.Field(i).Index(n).Elem()), "(unknown)")}
				if !slices.Contains(all, d) {
					all = append(all, d)
				}
			}
		}
	}
	return all
}

// hostOfIntegration returns the host of the setting that says where an integration sends to.
func hostOfIntegration(kind string, c reflect.Value) string {
	settings := map[string]reflect.Value{}
	for i := range c.NumField() {
		settings[yamlName(c.Type().Field(i))] = c.Field(i)
	}
	switch kind {
	case "pushover":
		return "api.pushover.net"
	case "sns":
		if host := hostOf(settings["api_url"]); host != "" {
			return host
		}
		return "(SNS of AWS)"
	}
	for _, name := range []string{"smarthost", "webhook_url", "api_url", "app_url", "url"} {
		if host := hostOf(settings[name]); host != "" {
			return host
		}
		if file := settings[name+"_file"]; file.IsValid() && file.String() != "" {
			return "(in a file)" // whose path is no business of /health's clients
		}
	}
	return ""
}

// hostOf returns the host of an address of one of the types that receivers have.
func hostOf(v reflect.Value) string {
	if !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return ""
	}
	var text string
	switch x := v.Interface().(type) {
	case config.HostPort:
		if x.Host == "" {
			return ""
		}
		return net.JoinHostPort(x.Host, x.Port)
	case *amcommon.URL:
		return hostOfURL(x.URL)
	case *amcommon.SecretURL:
		return hostOfURL(x.URL)
	default:
		text = v.String()
	}
	if strings.Contains(text, "{{") {
		return "(from a template)"
	}
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Host
}

func hostOfURL(u *url.URL) string {
	if u == nil {
		return ""
	}
	return u.Host
}
