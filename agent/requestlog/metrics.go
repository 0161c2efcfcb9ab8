package requestlog

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	lines *prometheus.CounterVec
	lost  prometheus.Counter
}

func newMetrics() metrics {
	m := metrics{
		lines: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hancock_log_lines_total",
			Help: "Lines logged, by level.",
		}, []string{"level"}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "hancock_log_lines_lost_total",
			Help: "Lines that could not be written to the log's files.",
		}),
	}
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		m.lines.WithLabelValues(levelName(level))
	}
	return m
}

func (m metrics) register(reg prometheus.Registerer) error {
	if err := reg.Register(m.lines); err != nil {
		return err
	}
	return reg.Register(m.lost)
}

func (m metrics) line(level slog.Level) { m.lines.WithLabelValues(levelName(level)).Inc() }
