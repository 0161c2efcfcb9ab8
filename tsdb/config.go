package tsdb

import (
	"cmp"
	"fmt"
	"log/slog"
	"time"

	"github.com/alecthomas/units"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"

	// The service discoveries that a scrape job may use, besides static_configs.
	_ "github.com/prometheus/prometheus/discovery/dns"
	_ "github.com/prometheus/prometheus/discovery/file"
	_ "github.com/prometheus/prometheus/discovery/http"
)

// selfAddress is where the scrape manager believes to find us. The domain is reserved (RFC 2606), so no other
// target can have it, and dialing it is what leads to the in-memory connection.
const selfAddress = "this-process.invalid"

// effectiveConfig is the configuration that really runs, and that /api/v1/status/config shows: the given
// Prometheus section, or an empty one, with our own job in front and the storage section filled in.
func effectiveConfig(o Options) (*config.Config, error) {
	base := o.Prometheus
	if base == nil {
		var err error
		base, err = config.Load("", slog.New(slog.DiscardHandler))
		if err != nil {
			return nil, fmt.Errorf("loading the empty prometheus configuration: %w", err)
		}
	}
	// A copy keeps the mark that config.Load leaves; slices and pointers are replaced, never written through.
	cfg := *base
	self, err := selfJob(o, cfg.GlobalConfig)
	if err != nil {
		return nil, fmt.Errorf("own scrape job: %w", err)
	}
	cfg.ScrapeConfigs = append([]*config.ScrapeConfig{self}, base.ScrapeConfigs...)
	cfg.StorageConfig = storageConfig(o, base.StorageConfig)
	return &cfg, nil
}

// selfJob is the job that scrapes this process.
func selfJob(o Options, global config.GlobalConfig) (*config.ScrapeConfig, error) {
	yes, no := true, false
	sc := config.DefaultScrapeConfig
	sc.JobName = JobName
	sc.ScrapeInterval = model.Duration(o.ScrapeInterval)
	sc.ScrapeTimeout = model.Duration(o.ScrapeTimeout)
	// Only protobuf carries native histograms; text is for a handler that cannot speak it.
	sc.ScrapeProtocols = []config.ScrapeProtocol{
		config.PrometheusProto, config.OpenMetricsText1_0_0, config.PrometheusText0_0_4,
	}
	sc.ScrapeNativeHistograms = &yes
	// An outside Prometheus and the guide's queries know the classic buckets.
	sc.AlwaysScrapeClassicHistograms = &yes
	sc.ConvertClassicHistogramsToNHCB = &no
	// Nothing is gained by compressing what never leaves the process.
	sc.EnableCompression = false
	sc.HTTPClientConfig.EnableHTTP2 = false
	sc.ServiceDiscoveryConfigs = discovery.Configs{discovery.StaticConfig{selfGroup(o)}}
	if err := sc.Validate(global); err != nil {
		return nil, err
	}
	// Limits of the global section are meant for foreign targets.
	sc.BodySizeLimit, sc.SampleLimit, sc.TargetLimit = 0, 0, 0
	sc.LabelLimit, sc.LabelNameLengthLimit, sc.LabelValueLengthLimit = 0, 0, 0
	return &sc, nil
}

// selfGroup is the one target of our own job.
func selfGroup(o Options) *targetgroup.Group {
	return &targetgroup.Group{
		Source: "0",
		Targets: []model.LabelSet{{
			model.AddressLabel:  selfAddress,
			model.InstanceLabel: model.LabelValue(o.Instance),
		}},
	}
}

func storageConfig(o Options, given config.StorageConfig) config.StorageConfig {
	out := given
	if out.ExemplarsConfig == nil {
		out.ExemplarsConfig = &config.ExemplarsConfig{MaxExemplars: o.MaxExemplars}
	}
	tsdbConfig := config.TSDBConfig{}
	if given.TSDBConfig != nil {
		tsdbConfig = *given.TSDBConfig
	}
	retention := config.TSDBRetentionConfig{
		Time: model.Duration(o.Retention), Size: units.Base2Bytes(o.RetentionSize),
	}
	if o.RetentionSize == 0 {
		retention.Percentage = o.percentage()
	}
	tsdbConfig.Retention = &retention
	out.TSDBConfig = &tsdbConfig
	return out
}

// settings are made from options; a reload replaces them as a whole.
type settings struct {
	opts Options
	// cfg is the effective configuration. It holds the jobs of scrape_config_files, so that the checked jobs are applied.
	cfg *config.Config
	// shown is what the API shows of it.
	shown config.Config
}

// newSettings checks everything that can be checked without changing anything that runs.
func newSettings(o Options) (*settings, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("tsdb options: %w", err)
	}
	written, err := effectiveConfig(o)
	if err != nil {
		return nil, err
	}
	cfg := *written
	if cfg.ScrapeConfigs, err = written.GetScrapeConfigs(); err != nil {
		return nil, fmt.Errorf("scrape configuration: %w", err)
	}
	cfg.ScrapeConfigFiles = nil
	// Without a value the storage would keep the one of the start.
	stored := *cfg.StorageConfig.TSDBConfig
	stored.OutOfOrderTimeWindow = cmp.Or(stored.OutOfOrderTimeWindow, o.OutOfOrderWindow.Milliseconds())
	stored.ChunkEncoding.Floats = cmp.Or(stored.ChunkEncoding.Floats, config.FloatChunkEncodingXOR)
	cfg.StorageConfig.TSDBConfig = &stored
	return &settings{opts: o, cfg: &cfg, shown: *written}, nil
}

// evaluationInterval is the step of a subquery that names none.
func evaluationInterval(cfg *config.Config) time.Duration {
	return time.Duration(cfg.GlobalConfig.EvaluationInterval)
}
