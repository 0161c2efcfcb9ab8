package backtest

import (
	"time"

	"github.com/prometheus/common/model"
)

// humanDuration is a duration in two units at the most.
func humanDuration(d time.Duration) string {
	switch {
	case d >= 24*time.Hour:
		d = d.Round(time.Hour)
	case d >= time.Hour:
		d = d.Round(time.Minute)
	case d >= time.Second:
		d = d.Round(time.Second)
	default:
		d = d.Round(time.Millisecond)
	}
	return model.Duration(d).String()
}
