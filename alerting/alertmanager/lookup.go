package alertmanager

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/common/model"
)

// Config is the configuration that works at the moment. It must not be changed.
func (a *Alertmanager) Config() *config.Config { return a.current.Load().config }

// Silence is a silence that is, was or will be.
type Silence struct {
	ID        string
	CreatedBy string
	Comment   string
	StartsAt  time.Time
	EndsAt    time.Time
}

// Silences are all that are remembered and match the labels, also those that
// have ended.
func (a *Alertmanager) Silences(labels map[string]string) ([]Silence, error) {
	set := make(model.LabelSet, len(labels))
	for n, v := range labels {
		set[model.LabelName(n)] = model.LabelValue(v)
	}
	found, _, err := a.silences.Query(context.Background(), silence.QMatches(set))
	if err != nil {
		return nil, fmt.Errorf("looking for silences: %w", err)
	}
	silences := make([]Silence, len(found))
	for i, s := range found {
		silences[i] = Silence{
			ID: s.Id, CreatedBy: s.CreatedBy, Comment: s.Comment, StartsAt: s.StartsAt.AsTime(), EndsAt: s.EndsAt.AsTime(),
		}
	}
	return silences, nil
}
