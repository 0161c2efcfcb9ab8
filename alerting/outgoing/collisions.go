package outgoing

import (
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// Collisions knows which alerts are sent with the same labels, as when alert_relabel_configs remove the label that tells
// two of them apart. An Alertmanager has one alert for them: that one of them is resolved must not resolve it while
// another one fires. The zero value is ready to use. It is not safe for concurrent use.
type Collisions struct {
	// firing are the alerts that fire, by the hash of the labels with which they are sent, then by that of their own.
	firing map[uint64]map[uint64]time.Time // Until when an Alertmanager takes them for firing.
	swept  time.Time
}

// sweepEvery is how often alerts that were not sent again are forgotten.
const sweepEvery = time.Minute

// Fires notes that an alert fires until the given time, unless it is sent again.
func (c *Collisions) Fires(own, sent labels.Labels, until, now time.Time) {
	c.sweep(now)
	if c.firing == nil {
		c.firing = map[uint64]map[uint64]time.Time{}
	}
	key := sent.Hash()
	if c.firing[key] == nil {
		c.firing[key] = map[uint64]time.Time{}
	}
	c.firing[key][own.Hash()] = until
}

// Resolves notes that an alert is resolved, and reports whether it may be sent: no other one that is sent with the same
// labels fires.
func (c *Collisions) Resolves(own, sent labels.Labels, now time.Time) bool {
	key := sent.Hash()
	others := c.firing[key]
	delete(others, own.Hash())
	for _, until := range others {
		if until.After(now) {
			return false
		}
	}
	delete(c.firing, key)
	return true
}

func (c *Collisions) sweep(now time.Time) {
	if now.Sub(c.swept) < sweepEvery {
		return
	}
	c.swept = now
	for key, alerts := range c.firing {
		for own, until := range alerts {
			if !until.After(now) {
				delete(alerts, own)
			}
		}
		if len(alerts) == 0 {
			delete(c.firing, key)
		}
	}
}
