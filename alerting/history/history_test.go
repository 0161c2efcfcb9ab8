package history_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/history"
)

// at is minutes after the first sample of the tests.
func at(minutes float64) time.Time {
	return time.UnixMilli(int64(minutes * 60_000)).UTC()
}

// stored is what the rules would have left: A fired twice, with a pending time before the second one; B fires; C is
// only pending; D was firing when the process went away.
const stored = `load 1m
  ALERTS{alertname="A", alertstate="firing", severity="warning"} 1x4 stale _x5 1x2 stale
  ALERTS{alertname="A", alertstate="pending", severity="warning"} _x8 1x1 stale
  ALERTS_FOR_STATE{alertname="A", severity="warning"} 0x4 stale _x3 480x4 stale
  ALERTS{alertname="B", alertstate="firing", instance="a:1"} _x6 1x60
  ALERTS{alertname="C", alertstate="pending"} 1x60
  ALERTS{alertname="D", alertstate="firing"} 1x3 _x40
`

func sources(t *testing.T) history.Sources {
	return history.Sources{
		Storage: promqltest.LoadedStorage(t, stored),
		Now:     func() time.Time { return at(60) },
		Silences: func(labels map[string]string) ([]history.Silence, error) {
			if labels["alertname"] != "A" {
				return nil, nil
			}
			return []history.Silence{{ID: "early", StartsAt: at(0), EndsAt: at(8)}, {ID: "late", StartsAt: at(12), EndsAt: at(90)}}, nil
		},
	}
}

func TestEpisodes(t *testing.T) {
	fingerprints := map[string]string{}
	s := sources(t)
	s.Attempts = func(_ context.Context, from, to time.Time, _ int) ([]history.Attempt, error) {
		require.Equal(t, at(0), from, "from where the oldest episode begins")
		require.Equal(t, at(60), to)
		attempt := func(minutes float64, status, alert string) history.Attempt {
			return history.Attempt{
				Notification: history.Notification{Time: at(minutes), Receiver: "r", Integration: "slack[0]", Outcome: "ok"},
				Statuses:     map[string]string{fingerprints[alert]: status, "ffffffffffffffff": "firing"},
			}
		}
		return []history.Attempt{ // the newest first
			attempt(14, "resolved", "A"), attempt(12, "firing", "A"), attempt(6, "resolved", "A"), attempt(1, "firing", "A"),
		}, nil
	}
	h := history.New(s)
	all := history.Query{From: at(0), To: at(60), Limit: 10}
	// Once without names, to learn the fingerprints.
	episodes, more, err := h.Episodes(t.Context(), all)
	require.NoError(t, err)
	require.False(t, more)
	for _, e := range episodes {
		fingerprints[e.Labels["alertname"]] = e.Fingerprint
	}
	episodes, _, err = h.Episodes(t.Context(), all)
	require.NoError(t, err)
	require.Len(t, episodes, 4)

	second, b := episodes[0], episodes[1]
	require.Equal(t, map[string]string{"alertname": "A", "severity": "warning"}, second.Labels)
	require.Equal(t, at(11), second.StartedAt)
	require.Equal(t, at(14), second.EndedAt)
	require.False(t, second.Lost)
	require.Equal(t, at(8), second.ActiveSince, "it was pending before")
	require.InDelta(t, 180, second.DurationSeconds, 0)
	require.Len(t, second.Silences, 1)
	require.Equal(t, "late", second.Silences[0].ID)
	require.Len(t, second.Notifications, 2)
	require.Equal(t, []string{"firing", "resolved"}, []string{second.Notifications[0].Status, second.Notifications[1].Status})

	require.Equal(t, map[string]string{"alertname": "B", "instance": "a:1"}, b.Labels)
	require.Equal(t, at(6), b.StartedAt)
	require.True(t, b.EndedAt.IsZero(), "it fires")
	require.InDelta(t, 54*60, b.DurationSeconds, 0)
	require.Empty(t, b.Silences)

	byName := map[string]history.Episode{}
	for _, e := range episodes[2:] {
		byName[e.Labels["alertname"]] = e
	}
	first, d := byName["A"], byName["D"]
	require.Equal(t, at(0), first.StartedAt)
	require.Equal(t, at(5), first.EndedAt)
	require.Equal(t, "early", first.Silences[0].ID)
	require.Len(t, first.Notifications, 2)
	require.Equal(t, at(1), first.Notifications[0].Time)
	require.Equal(t, at(3), d.EndedAt)
	require.True(t, d.Lost, "nobody watched it end")
}

// TestThePast asks for a time that is over: what came after it still tells how the alerts went on.
func TestThePast(t *testing.T) {
	s := sources(t)
	var fingerprint string
	s.Attempts = func(context.Context, time.Time, time.Time, int) ([]history.Attempt, error) {
		told := func(minutes float64) history.Attempt {
			return history.Attempt{Notification: history.Notification{Time: at(minutes)}, Statuses: map[string]string{fingerprint: "firing"}}
		}
		return []history.Attempt{told(12), told(2)}, nil
	}
	h := history.New(s)
	past := history.Query{From: at(0), To: at(3), Alert: "A", Limit: 10}
	episodes, _, err := h.Episodes(t.Context(), past)
	require.NoError(t, err)
	fingerprint = episodes[0].Fingerprint
	episodes, _, err = h.Episodes(t.Context(), past)
	require.NoError(t, err)
	require.Len(t, episodes, 1)
	require.Equal(t, at(5), episodes[0].EndedAt, "it fired beyond the time")
	require.False(t, episodes[0].Lost)
	require.False(t, episodes[0].StartedEarlier)
	require.Len(t, episodes[0].Notifications, 1, "the other one is of the next time that it fired")
	require.Equal(t, at(2), episodes[0].Notifications[0].Time)

	episodes, _, err = h.Episodes(t.Context(), history.Query{From: at(7), To: at(20), Alert: "B", Limit: 10})
	require.NoError(t, err)
	require.Len(t, episodes, 1)
	require.True(t, episodes[0].EndedAt.IsZero(), "it fires to this day")

	day := 24 * time.Hour
	episodes, _, err = h.Episodes(t.Context(), history.Query{From: at(20).Add(day), To: at(60).Add(day), Alert: "B", Limit: 10})
	require.NoError(t, err)
	require.Len(t, episodes, 1)
	require.True(t, episodes[0].StartedEarlier)
}

// TestRareEvaluation has a rule that is evaluated each ten minutes.
func TestRareEvaluation(t *testing.T) {
	s := history.Sources{
		Storage: promqltest.LoadedStorage(t, "load 10m\n  ALERTS{alertname=\"A\", alertstate=\"firing\"} 1x4 _x3 1x2\n"),
		Now:     func() time.Time { return at(105) },
	}
	count := func() int {
		episodes, _, err := history.New(s).Episodes(t.Context(), history.Query{From: at(0), To: at(105), Limit: 10})
		require.NoError(t, err)
		return len(episodes)
	}
	require.Equal(t, 8, count(), "each sample stands alone when the interval is not known")
	s.Rules = func(string) history.Times { return history.Times{Interval: 10 * time.Minute} }
	require.Equal(t, 2, count())
}

// TestManyNotifications has more of them than are looked at.
func TestManyNotifications(t *testing.T) {
	s := sources(t)
	s.Attempts = func(_ context.Context, _, _ time.Time, limit int) ([]history.Attempt, error) {
		attempts := make([]history.Attempt, limit)
		for i := range attempts {
			attempts[i].Time = at(60 - float64(i)/100)
		}
		return attempts, nil
	}
	episodes, _, err := history.New(s).Episodes(t.Context(), history.Query{From: at(0), To: at(60), Alert: "A", Limit: 10})
	require.NoError(t, err)
	require.Len(t, episodes, 2)
	require.True(t, episodes[0].NotificationsSince.IsZero(), "it began later")
	require.WithinDuration(t, at(60-49.99), episodes[1].NotificationsSince, time.Millisecond)
}

func TestEpisodesOfAQuery(t *testing.T) {
	h := history.New(sources(t))
	for _, tc := range []struct {
		name  string
		query history.Query
		want  []string
		more  bool
	}{
		{"one alert", history.Query{From: at(0), To: at(60), Alert: "A", Limit: 10}, []string{"A", "A"}, false},
		{"no alert", history.Query{From: at(0), To: at(60), Alert: "C", Limit: 10}, nil, false},
		{"the newest", history.Query{From: at(0), To: at(60), Limit: 1}, []string{"A"}, true},
		{"what began before and goes on", history.Query{From: at(30), To: at(60), Limit: 10}, []string{"B"}, false},
		{"before the first", history.Query{From: at(-60), To: at(-30), Limit: 10}, nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			episodes, more, err := h.Episodes(t.Context(), tc.query)
			require.NoError(t, err)
			var names []string
			for _, e := range episodes {
				names = append(names, e.Labels["alertname"])
			}
			require.Equal(t, tc.want, names)
			require.Equal(t, tc.more, more)
		})
	}
}

func TestErrorsOfSources(t *testing.T) {
	broken := errors.New("broken")
	q := history.Query{From: at(0), To: at(60), Limit: 10}
	s := sources(t)
	s.Silences = func(map[string]string) ([]history.Silence, error) { return nil, broken }
	_, _, err := history.New(s).Episodes(t.Context(), q)
	require.ErrorIs(t, err, broken)
	require.ErrorContains(t, err, "reading the silences")
	s = sources(t)
	s.Attempts = func(context.Context, time.Time, time.Time, int) ([]history.Attempt, error) { return nil, broken }
	_, _, err = history.New(s).Episodes(t.Context(), q)
	require.ErrorIs(t, err, broken)
	require.ErrorContains(t, err, "reading the ledger")
}

func TestHTTP(t *testing.T) {
	e := echo.New()
	history.New(sources(t)).Register(e)
	get := func(query string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, history.Path+"?"+query, http.NoBody))
		return w
	}
	for query, want := range map[string]int{
		"":                              4,
		"from=1h":                       4,
		"alert=B":                       1,
		"from=1970-01-01T00:30:00Z":     1,
		"from=0&to=60":                  2,
		"alert=no+such&limit=1000":      0,
		"to=1970-01-01T00%3A00%3A01Z":   2,
		"from=1970-01-01T00%3A59%3A00Z": 1,
	} {
		w := get(query)
		require.Equal(t, http.StatusOK, w.Code, w.Body.String())
		var got struct {
			Alerts []history.Episode `json:"alerts"`
			More   bool              `json:"more"`
		}
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
		require.NotNil(t, got.Alerts, "an empty list, not null")
		require.Len(t, got.Alerts, want, query)
	}
	for query, want := range map[string]string{
		"limit=0":         "between 1 and 1000",
		"limit=1001":      "between 1 and 1000",
		"from=yesterday":  "must be like",
		"from=5&to=4":     "must not be before from",
		"alarm=A":         "no such parameter",
		"alert=A&alert=B": "is given 2 times",
	} {
		w := get(query)
		require.Equal(t, http.StatusBadRequest, w.Code, query)
		require.Contains(t, w.Body.String(), want)
	}
}

func FuzzQuery(f *testing.F) {
	for _, seed := range []string{"from=7d&to=1h", "from=2026-01-31T12:00:00Z&alert=A", "limit=5", "from=1e300", "from=-1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		params, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		q, err := history.ParseQuery(params, at(60))
		if err != nil {
			return
		}
		require.False(t, q.To.Before(q.From))
		require.True(t, q.Limit >= 1 && q.Limit <= history.MaxLimit)
	})
}

// TestRelabeled: what was sent has other labels than what fired, two alerts have become one, and one was not sent at all.
func TestRelabeled(t *testing.T) {
	s := sources(t)
	s.Sent = func(ls labels.Labels) (labels.Labels, bool) {
		switch ls.Get("alertname") {
		case "B", "D":
			return labels.FromStrings("alertname", "joined", "service.name", "shop"), true
		}
		return ls, ls.Get("alertname") != "A"
	}
	joined := model.LabelSet{"alertname": "joined", "service.name": "shop"}.Fingerprint().String()
	own := model.LabelSet{"alertname": "A", "severity": "warning"}.Fingerprint().String()
	s.Attempts = func(context.Context, time.Time, time.Time, int) ([]history.Attempt, error) {
		told := func(minutes float64, fingerprint string) history.Attempt {
			return history.Attempt{Notification: history.Notification{Time: at(minutes), Receiver: "r"}, Statuses: map[string]string{fingerprint: "firing"}}
		}
		return []history.Attempt{told(12, own), told(7, joined), told(1, joined)}, nil
	}
	episodes, _, err := history.New(s).Episodes(t.Context(), history.Query{From: at(0), To: at(60), Limit: 10})
	require.NoError(t, err)
	require.Len(t, episodes, 4)
	for _, e := range episodes {
		switch name := cmp.Or(e.RuleLabels["alertname"], e.Labels["alertname"]); name {
		case "A": // Somebody posted an alert with the same labels.
			require.True(t, e.DroppedByRelabeling)
			require.Empty(t, e.Notifications)
			require.Empty(t, e.Silences)
			require.Nil(t, e.RuleLabels)
		case "B", "D":
			require.False(t, e.DroppedByRelabeling)
			require.Equal(t, joined, e.Fingerprint)
			require.Equal(t, map[string]string{"alertname": "joined", "service.name": "shop"}, e.Labels)
			require.Len(t, e.Notifications, map[string]int{"B": 1, "D": 2}[name], "those since it fired")
		default:
			require.Failf(t, "another alert", "%v", e)
		}
	}
}
