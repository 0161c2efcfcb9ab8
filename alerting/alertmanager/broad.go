package alertmanager

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/alertmanager/silence/silencepb"
	"github.com/prometheus/common/model"
)

// anyValue stands for a value that no matcher has in mind.
const anyValue = "hancock-any-value"

// isBroad reports whether a silence matches alerts that have nothing to do with what it names: every alert, or every one
// with some label, or all except a few. Alertmanager refuses only matchers that all match the empty string, which
// foo!="bar", alertname=~".+" and instance=~".*" beside one of them do not.
func (a *Alertmanager) isBroad(ctx context.Context, s *silencepb.Silence) (bool, error) {
	bare := model.LabelSet{model.AlertNameLabel: anyValue}
	full := model.LabelSet{model.AlertNameLabel: anyValue}
	for _, m := range matchersOf(s) {
		full[model.LabelName(m.Name)] = anyValue
	}
	for _, probe := range []model.LabelSet{bare, full} {
		found, _, err := a.silences.Query(ctx, silence.QIDs(s.Id), silence.QMatches(probe))
		if err != nil {
			return false, fmt.Errorf("looking for a silence: %w", err)
		}
		if len(found) > 0 {
			return true, nil
		}
	}
	return false, nil
}

// matchersOf returns all matchers of a silence, which has one set of them or several.
func matchersOf(s *silencepb.Silence) []*silencepb.Matcher {
	all := s.Matchers
	for _, set := range s.MatcherSets {
		all = append(all, set.Matchers...)
	}
	return all
}

// warnOfBroadSilences logs the silences of a query that match nearly every alert. It returns how many alerts they match
// now, and whether there is such a silence.
func (a *Alertmanager) warnOfBroadSilences(ctx context.Context, query ...silence.QueryParam) (alerts int, broad bool) {
	found, _, err := a.silences.Query(ctx, query...)
	if err != nil {
		a.log.Error("failed to read silences", "err", err)
		return 0, false
	}
	for _, s := range found {
		if is, err := a.isBroad(ctx, s); err != nil || !is {
			continue
		}
		broad = true
		matched := 0
		for _, alert := range a.store.list() {
			if one, _, err := a.silences.Query(ctx, silence.QIDs(s.Id), silence.QMatches(alert.Labels)); err == nil && len(one) > 0 {
				matched++
			}
		}
		alerts += matched
		texts := make([]string, 0, 1)
		for _, m := range matchersOf(s) {
			texts = append(texts, m.Name+operator(m.Type)+fmt.Sprintf("%q", m.Pattern))
		}
		a.log.Warn("silence matches nearly every alert", "silence", s.Id, "matchers", strings.Join(texts, ", "), "created_by", s.CreatedBy,
			"ends_at", s.EndsAt.AsTime(), "alerts", matched)
	}
	return alerts, broad
}

func operator(t silencepb.Matcher_Type) string {
	switch t {
	case silencepb.Matcher_REGEXP:
		return "=~"
	case silencepb.Matcher_NOT_EQUAL:
		return "!="
	case silencepb.Matcher_NOT_REGEXP:
		return "!~"
	default:
		return "="
	}
}

// warnOfNewSilence adds a warning to the answer to a request that made or changed a silence. The body of the answer has
// no field for it.
func (a *Alertmanager) warnOfNewSilence(ctx context.Context, answer *heldAnswer) {
	var made struct {
		SilenceID string `json:"silenceID"`
	}
	if answer.status != http.StatusOK || json.Unmarshal(answer.body.Bytes(), &made) != nil || made.SilenceID == "" {
		return
	}
	if alerts, broad := a.warnOfBroadSilences(ctx, silence.QIDs(made.SilenceID)); broad {
		answer.header.Set("Warning", fmt.Sprintf(`299 hancock "the silence matches nearly every alert, %d of them now"`, alerts))
	}
}
