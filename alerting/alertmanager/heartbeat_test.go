package alertmanager_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/alertmanager"
)

// heartbeatRoutes are routes below a root whose receiver is team, and the receivers that get the heartbeat.
var heartbeatRoutes = map[string]struct {
	routes string
	want   []string
}{
	"no route":                     {"", nil},
	"its name":                     {`[{matchers: ['alertname = "Watchdog"'], receiver: hb}]`, []string{"hb"}},
	"its name, the old way":        {`[{match: {alertname: Watchdog}, receiver: hb}]`, []string{"hb"}},
	"a pattern, the old way":       {`[{match_re: {alertname: Watchdog|Other}, receiver: hb}]`, []string{"hb"}},
	"one of two names":             {`[{matchers: ['alertname =~ "Other|Watchdog"'], receiver: hb}]`, []string{"hb"}},
	"its name and our own":         {`[{matchers: ['alertname =~ "Watchdog|Hancock.*"'], receiver: hb}]`, []string{"hb"}},
	"the beginning of its name":    {`[{matchers: ['alertname =~ "Watch.+"'], receiver: hb}]`, []string{"hb"}},
	"its name in any case":         {`[{matchers: ['alertname =~ "(?i)watchdog"'], receiver: hb}]`, []string{"hb"}},
	"any name":                     {`[{matchers: ['alertname =~ ".+"'], receiver: hb}]`, nil},
	"any name that begins large":   {`[{matchers: ['alertname =~ "[A-Z].*"'], receiver: hb}]`, nil},
	"any name of eight letters":    {`[{matchers: ['alertname =~ ".{8}"'], receiver: hb}]`, nil},
	"another name":                 {`[{matchers: ['alertname = "Other"'], receiver: hb}]`, nil},
	"not another name":             {`[{matchers: ['alertname != "Other"'], receiver: hb}]`, nil},
	"not another pattern":          {`[{matchers: ['alertname !~ "Other.*"'], receiver: hb}]`, nil},
	"another label":                {`[{matchers: ['severity = "none"'], receiver: hb}]`, nil},
	"another label with its value": {`[{matchers: ['job =~ "Watchdog|.*"'], receiver: hb}]`, nil},
	"the route above the receiver": {`[{matchers: ['alertname = "Watchdog"'], receiver: team, routes: [{matchers: ['severity = "none"'], receiver: hb}]}]`, []string{"hb"}},
	"a route below another":        {`[{matchers: ['severity = "none"'], routes: [{matchers: ['alertname = "Watchdog"'], receiver: hb}]}]`, []string{"hb"}},
	"the fallback of a named one":  {`[{matchers: ['alertname = "Watchdog"'], receiver: hb, routes: [{matchers: ['severity = "critical"'], receiver: team}]}]`, []string{"hb"}},
	"all to one, and then on":      {`[{matchers: ['severity =~ ".*"'], receiver: team, continue: true}, {matchers: ['alertname = "Watchdog"'], receiver: hb}]`, []string{"hb"}},
	"to both by name":              {`[{matchers: ['alertname = "Watchdog"'], receiver: team, continue: true}, {matchers: ['alertname = "Watchdog"'], receiver: hb}]`, []string{"hb", "team"}},
	"behind a route for all":       {`[{matchers: ['severity =~ ".*"'], receiver: team}, {matchers: ['alertname = "Watchdog"'], receiver: hb}]`, nil},
}

func heartbeatConfig(routes, team, hb string) string {
	if routes != "" {
		routes = "  routes: " + routes
	}
	return lines(
		"route:", "  receiver: team", "  group_by: [job]", "  group_wait: 10ms", "  group_interval: 1h", "  repeat_interval: 4h", routes,
		"receivers:",
		"- {name: team, webhook_configs: [{url: '"+team+"/team'}]}",
		"- {name: hb, webhook_configs: [{url: '"+hb+"/hb'}]}",
	)
}

// The heartbeat is delivered where a route names it and nowhere else: by the dispatcher, by a test, and as `check`
// reports it. It stays visible, and the alert beside it is delivered at once.
func TestHeartbeatRoutes(t *testing.T) {
	t.Parallel()
	for name, tt := range heartbeatRoutes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newReceiver(t)
			text := heartbeatConfig(tt.routes, server.URL, server.URL)
			s := newStation(t, text)
			beat := alertOf(alertmanager.HeartbeatAlert, "none")

			s.Send(beat)
			eventually(t, "the heartbeat is shown", func() bool { return slices.Equal(shown(t, s), []string{"Watchdog active"}) })
			for range tt.want {
				s.attempt(t, "the heartbeat", func(a alertmanager.Attempt) bool { return a.Outcome == "ok" })
			}
			// The group of all alerts of the job has begun with this one: group_interval is an hour.
			s.Send(alertOf("DiskFull", "critical"))
			s.attempt(t, "the other alert", func(a alertmanager.Attempt) bool {
				return slices.ContainsFunc(a.Alerts, func(a alertmanager.AttemptAlert) bool { return a.Labels["alertname"] == "DiskFull" })
			})

			report, err := s.Test(t.Context(), alertmanager.TestRequest{Labels: map[string]string{"alertname": "Watchdog", "severity": "none"}})
			require.NoError(t, err)
			require.Equal(t, len(tt.want) > 0, report.Notifies)
			var tried []string
			for _, r := range report.Routes {
				if r.Withheld == "" {
					require.Len(t, r.Results, 1)
					tried = append(tried, r.Receiver)
				} else {
					require.Contains(t, r.Withheld, `matchers: [alertname = "Watchdog"]`)
					require.Empty(t, r.Results)
				}
			}
			slices.Sort(tried)
			require.Equal(t, tt.want, tried)

			c, err := config.Load(text)
			require.NoError(t, err)
			var said []string
			for _, n := range alertmanager.NotifiedBy(c, model.LabelSet{"alertname": "Watchdog", "severity": "none"}) {
				require.Equal(t, []string{"webhook, 127.0.0.1"}, n.Integrations)
				said = append(said, n.Receiver)
			}
			slices.Sort(said)
			require.Equal(t, tt.want, said)

			require.NoError(t, s.Close())
			var delivered []string
			for len(server.calls) > 0 {
				call := server.next(t)
				var m message
				require.NoError(t, json.Unmarshal(call.body, &m))
				for _, a := range m.Alerts {
					if a.Labels["alertname"] == "Watchdog" {
						delivered = append(delivered, strings.TrimPrefix(call.path, "/"))
					}
				}
			}
			slices.Sort(delivered)
			twice := slices.Concat(tt.want, tt.want)
			slices.Sort(twice)
			require.Equal(t, twice, delivered, "once by itself and once by the test")
		})
	}
}

// shown are the alerts of API v2 with their states.
func shown(t *testing.T, s *station) (all []string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.API().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v2/alerts", http.NoBody))
	require.Equal(t, http.StatusOK, w.Code)
	var alerts []struct {
		Labels map[string]string
		Status struct{ State string }
	}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &alerts))
	for _, a := range alerts {
		all = append(all, a.Labels["alertname"]+" "+a.Status.State)
	}
	return all
}

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	require.Eventually(t, holds, patience, 10*time.Millisecond, what)
}

// TestHeartbeatOfAStaleStore notifies of the heartbeat only while the samples of the process are stored, and of all else
// all the time.
func TestHeartbeatOfAStaleStore(t *testing.T) {
	t.Parallel()
	server := newReceiver(t)
	var stale atomic.Bool
	s := newStation(t, `
route:
  receiver: people
  group_by: [alertname]
  group_wait: 10ms
  group_interval: 10ms
  repeat_interval: 10ms
  routes: [{matchers: [alertname="Watchdog"], receiver: heartbeat}]
receivers:
- {name: people, webhook_configs: [{url: '`+server.URL+`/people'}]}
- {name: heartbeat, webhook_configs: [{url: '`+server.URL+`/heartbeat'}]}
`, func(o *alertmanager.Options) { o.Fresh = func() bool { return !stale.Load() } })
	beats := func() int {
		n := 0
		for line := range strings.Lines(s.journal.String()) {
			if strings.Contains(line, `"event":"notification_attempt"`) && strings.Contains(line, `"receiver":"heartbeat"`) {
				n++
			}
		}
		return n
	}
	s.Send(alertOf(alertmanager.HeartbeatAlert, "none"))
	eventually(t, "the heartbeat is repeated", func() bool { return beats() > 2 })
	stale.Store(true)
	s.Send(alertOf("DiskFull", "critical"))
	s.attempt(t, "the other alert", func(a alertmanager.Attempt) bool { return a.Receiver == "people" })
	before := beats()
	ended := alertOf(alertmanager.HeartbeatAlert, "none")
	ended.EndsAt = time.Now()
	s.Send(ended) // as the rule would send it
	eventually(t, "the heartbeat is not shown", func() bool { return !slices.Contains(shown(t, s), "Watchdog active") })
	require.LessOrEqual(t, beats(), before+1, "one was on its way")
	stale.Store(false)
	s.Send(alertOf(alertmanager.HeartbeatAlert, "none"))
	eventually(t, "the heartbeat comes again", func() bool { return beats() > before+2 })
}
