package external

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/notifier"

	// The service discoveries by which Alertmanagers can be found, besides static_configs: the same as for scraping.
	_ "github.com/prometheus/prometheus/discovery/dns"
	_ "github.com/prometheus/prometheus/discovery/file"
	_ "github.com/prometheus/prometheus/discovery/http"
)

// Check reports what is wrong with the options and the section, without anybody being asked.
func Check(o Options) error {
	if err := o.Validate(); err != nil {
		return fmt.Errorf("options of the forwarding of alerts: %w", err)
	}
	if !o.sends() {
		return nil
	}
	discard := slog.New(slog.DiscardHandler)
	metrics, err := discovery.CreateAndRegisterSDMetrics(prometheus.NewRegistry())
	if err != nil {
		return fmt.Errorf("service discovery metrics: %w", err)
	}
	for i, am := range o.Config.AlertmanagerConfigs {
		where := fmt.Sprintf("alerting.alertmanagers[%d]", i)
		for _, sd := range am.ServiceDiscoveryConfigs {
			if err := checkAddresses(sd); err != nil {
				return fmt.Errorf("%s: %w", where, err)
			}
			_, err := sd.NewDiscoverer(discovery.DiscovererOptions{
				Logger: discard, Metrics: metrics.MechanismMetrics[sd.Name()], SetName: where,
			})
			if err != nil {
				return fmt.Errorf("%s: %s_sd_configs: %w", where, sd.Name(), err)
			}
		}
	}
	// One that is never run finds what is wrong with clients: files that are not there, certificates.
	if err := notifier.NewManager(&notifier.Options{}, model.UTF8Validation, discard).ApplyConfig(effective(o)); err != nil {
		return fmt.Errorf("alerting.alertmanagers: %w", err)
	}
	return nil
}

// checkAddresses wants credentials elsewhere than in static addresses: those stand in metrics, logs and on pages.
func checkAddresses(sd discovery.Config) error {
	static, ok := sd.(discovery.StaticConfig)
	if !ok {
		return nil
	}
	for _, group := range static {
		for _, target := range group.Targets {
			if host := string(target[model.AddressLabel]); strings.Contains(host, "@") {
				return fmt.Errorf("the address of %s has credentials in it; they go into basic_auth or authorization",
					host[strings.LastIndexByte(host, '@')+1:])
			}
		}
	}
	return nil
}

// withoutCredentials drops Alertmanagers that a service discovery or a relabelling names with credentials in their
// address, for the reason that checkAddresses has.
func withoutCredentials(given []*relabel.Config) []*relabel.Config {
	drop := relabel.DefaultRelabelConfig
	drop.SourceLabels = model.LabelNames{model.AddressLabel}
	drop.Regex = relabel.MustNewRegexp(".*@.*")
	drop.Action = relabel.Drop
	drop.NameValidationScheme = model.UTF8Validation
	return append(slices.Clone(given), &drop)
}
