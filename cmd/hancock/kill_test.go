package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// killsVariable is how often TestKilledUnderLoad kills the process.
const (
	killsVariable = "HANCOCK_TEST_KILLS"
	killsDefault  = 3
)

// TestKilledUnderLoad kills the process again and again while clients post and resolve alerts, create and expire
// silences, and rules fire. What the clients were answered is compared with what the next process has: nothing that was
// acknowledged may be lost. In the end each alert has been notified; only messages in flight at a kill may come twice.
func TestKilledUnderLoad(t *testing.T) {
	t.Parallel()
	kills := killsDefault
	if s := os.Getenv(killsVariable); s != "" {
		var err error
		kills, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	c := newCarnage(t)
	began := time.Now()
	for i := range kills {
		if i%5 == 4 { // also while it starts
			c.killStarting(rand.N(time.Second))
		}
		c.round(i, rand.N(3*time.Second))
		if i%20 == 19 {
			t.Logf("%d kills in %s: %s", i+1, time.Since(began).Round(time.Second), c.summary())
		}
	}
	c.settle()
	t.Logf("%d kills in %s: %s", kills, time.Since(began).Round(time.Second), c.summary())
	require.Empty(t, c.lost)
	require.Empty(t, c.late, "messages that came twice and were not in flight at a kill")
}

// carnage is the clients' record of what was acknowledged, and the receiver's of what was notified.
type carnage struct {
	t      *testing.T
	dir    string
	args   string
	series *httptest.Server
	hook   *httptest.Server // its messages have one alert each

	mu       sync.Mutex
	next     int
	alerts   map[string]*postedAlert // by the label "id"
	silences map[string]*madeSilence // by identifier
	rules    map[string]bool         // the series that rules fire on
	firing   map[string]bool         // rule alerts that the API showed as firing
	messages map[string][]delivered  // by the label "id"
	kills    []time.Time
	ready    []time.Time
	lost     []string
	late     []string
	twice    int
	oldest   time.Duration // of the first of two messages, at the kill
}

type postedAlert struct {
	end            time.Time
	acked          bool // as firing
	resolving      bool // a request to resolve it was sent
	resolved       bool // and acknowledged
	acknowledgedAt time.Time
}

type madeSilence struct{ expiring, expired bool }

type delivered struct {
	at     time.Time
	status string
}

func newCarnage(t *testing.T) *carnage {
	c := &carnage{
		t: t, dir: t.TempDir(), args: "--web.listen-address=" + reserve(t),
		alerts: map[string]*postedAlert{}, silences: map[string]*madeSilence{}, rules: map[string]bool{},
		firing: map[string]bool{}, messages: map[string][]delivered{},
	}
	c.series = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for id := range c.rules {
			fmt.Fprintf(w, "breach{id=%q} 1\n", id)
		}
	}))
	t.Cleanup(c.series.Close)
	c.hook = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m struct {
			Status string
			Alerts []struct{ Labels map[string]string }
		}
		if json.NewDecoder(r.Body).Decode(&m) != nil {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, a := range m.Alerts {
			c.messages[a.Labels["id"]] = append(c.messages[a.Labels["id"]], delivered{time.Now(), m.Status})
		}
	}))
	t.Cleanup(c.hook.Close)
	breachConfig(t, c.dir, newFakeModel(t).url, c.series.URL, c.hook.URL)
	return c
}

// killStarting kills a process that is on its way up.
func (c *carnage) killStarting(after time.Duration) {
	cmd := exec.CommandContext(context.Background(), os.Args[0], c.args)
	cmd.Dir, cmd.Env = c.dir, append(os.Environ(), asHancock+"=1")
	require.NoError(c.t, cmd.Start())
	<-time.After(after)
	c.mu.Lock()
	c.kills = append(c.kills, time.Now())
	c.mu.Unlock()
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
}

// round starts the process, compares, and kills it under load.
func (c *carnage) round(n int, life time.Duration) {
	p := startHancock(c.t, c.dir, c.args)
	c.mu.Lock()
	c.ready = append(c.ready, time.Now())
	c.mu.Unlock()
	c.judge(p)
	ctx, stop := context.WithCancel(c.t.Context())
	var clients sync.WaitGroup
	for range 2 {
		clients.Go(func() { c.repeat(ctx, 100*time.Millisecond, func() { c.postAlerts(p) }) })
	}
	clients.Go(func() { c.repeat(ctx, 30*time.Millisecond, func() { c.resolveAlert(p) }) })
	clients.Go(func() { c.repeat(ctx, 100*time.Millisecond, func() { c.makeSilence(p) }) })
	clients.Go(func() { c.repeat(ctx, 150*time.Millisecond, func() { c.expireSilence(p) }) })
	clients.Go(func() { c.repeat(ctx, 200*time.Millisecond, func() { c.watchRules(p) }) })
	c.mu.Lock()
	for i := range 3 {
		c.rules[fmt.Sprintf("rule-%d-%d", n, i)] = true
	}
	c.mu.Unlock()
	<-time.After(life)
	p.kill()
	c.mu.Lock()
	c.kills = append(c.kills, time.Now())
	c.mu.Unlock()
	stop()
	clients.Wait()
}

func (c *carnage) repeat(ctx context.Context, every time.Duration, do func()) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do()
		}
	}
}

// postAlerts posts one to three new alerts.
func (c *carnage) postAlerts(p *process) {
	begin := time.Now().UTC().Truncate(time.Millisecond)
	end := begin.Add(24 * time.Hour)
	var ids, bodies []string
	c.mu.Lock()
	for range 1 + rand.N(3) {
		c.next++
		id := fmt.Sprintf("posted-%d", c.next)
		ids = append(ids, id)
		c.alerts[id] = &postedAlert{end: end}
		bodies = append(bodies, fmt.Sprintf(`{"labels":{"alertname":"Posted","id":%q},"annotations":{"note":%q},"startsAt":%q,"endsAt":%q}`,
			id, id, begin.Format(time.RFC3339Nano), end.Format(time.RFC3339Nano)))
	}
	c.mu.Unlock()
	code, _ := p.post("/api/v2/alerts", "["+strings.Join(bodies, ",")+"]")
	if code != http.StatusOK {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		c.alerts[id].acked, c.alerts[id].acknowledgedAt = true, time.Now()
	}
}

// resolveAlert resolves an alert of which the receiver was notified.
func (c *carnage) resolveAlert(p *process) {
	c.mu.Lock()
	var id string
	for candidate, a := range c.alerts {
		if a.acked && !a.resolving && len(c.messages[candidate]) > 0 {
			id = candidate
			a.resolving = true
			break
		}
	}
	c.mu.Unlock()
	if id == "" {
		return
	}
	code, _ := p.post("/api/v2/alerts", fmt.Sprintf(`[{"labels":{"alertname":"Posted","id":%q},"annotations":{"note":%q},"endsAt":%q}]`,
		id, id, time.Now().UTC().Format(time.RFC3339Nano)))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alerts[id].resolved = code == http.StatusOK
}

func (c *carnage) makeSilence(p *process) {
	code, body := p.post("/api/v2/silences", fmt.Sprintf(`{"matchers":[{"name":"nothing","value":"%d","isRegex":false}],
		"startsAt":%q,"endsAt":%q,"createdBy":"kill","comment":"test"}`,
		rand.Int(), time.Now().UTC().Format(time.RFC3339Nano), time.Now().Add(24*time.Hour).UTC().Format(time.RFC3339Nano)))
	var made struct{ SilenceID string }
	if code != http.StatusOK || json.Unmarshal([]byte(body), &made) != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.silences[made.SilenceID] = &madeSilence{}
}

func (c *carnage) expireSilence(p *process) {
	c.mu.Lock()
	var id string
	for candidate, s := range c.silences {
		if !s.expiring {
			id = candidate
			s.expiring = true
			break
		}
	}
	c.mu.Unlock()
	if id == "" {
		return
	}
	code, _ := p.do(http.MethodDelete, "/api/v2/silence/"+id, "", "")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.silences[id].expired = code == http.StatusOK
}

// watchRules records the alerts of rules that fire.
func (c *carnage) watchRules(p *process) {
	code, body := p.get("/api/v1/alerts")
	var answer struct {
		Data struct {
			Alerts []struct {
				State  string
				Labels map[string]string
			}
		}
	}
	if code != http.StatusOK || json.Unmarshal([]byte(body), &answer) != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range answer.Data.Alerts {
		if a.State == "firing" {
			c.firing[a.Labels["id"]] = true
		}
	}
}

// judge compares what was acknowledged with what a new process has.
func (c *carnage) judge(p *process) {
	code, body := p.get("/api/v2/alerts?filter=alertname%3DPosted")
	require.Equal(c.t, http.StatusOK, code, body)
	var alerts []struct {
		Labels      map[string]string
		Annotations map[string]string
		EndsAt      time.Time
	}
	require.NoError(c.t, json.Unmarshal([]byte(body), &alerts))
	here := map[string]int{}
	for i, a := range alerts {
		here[a.Labels["id"]] = i
	}
	code, body = p.get("/api/v2/silences")
	require.Equal(c.t, http.StatusOK, code, body)
	var silences []struct {
		ID     string
		Status struct{ State string }
	}
	require.NoError(c.t, json.Unmarshal([]byte(body), &silences))
	states := map[string]string{}
	for _, s := range silences {
		states[s.ID] = s.Status.State
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	for id, a := range c.alerts {
		i, active := here[id]
		switch {
		case a.resolved && active:
			c.lost = append(c.lost, "the resolution of "+id)
		case a.acked && !a.resolving && !active:
			c.lost = append(c.lost, id)
		case a.acked && !a.resolving && (!alerts[i].EndsAt.Equal(a.end) || alerts[i].Annotations["note"] != id):
			c.lost = append(c.lost, fmt.Sprintf("the end or note of %s: %+v", id, alerts[i]))
		}
	}
	for id, s := range c.silences {
		switch state := states[id]; {
		case state == "":
			c.lost = append(c.lost, "silence "+id)
		case s.expired && state != "expired":
			c.lost = append(c.lost, "the expiry of silence "+id)
		case !s.expiring && state != "active":
			c.lost = append(c.lost, "silence "+id+" is "+state)
		}
	}
	require.Empty(c.t, c.lost, p.log)
}

// settle lets the last process live until all that it owes is notified.
func (c *carnage) settle() {
	p := startHancock(c.t, c.dir, c.args)
	c.mu.Lock()
	c.ready = append(c.ready, time.Now())
	c.mu.Unlock()
	c.judge(p)
	p.eventually("all alerts were notified: "+strings.Join(c.owed(), " "), func() bool { return len(c.owed()) == 0 })
	p.stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, all := range c.messages {
		slices.SortFunc(all, func(a, b delivered) int { return a.at.Compare(b.at) })
		for i := 1; i < len(all); i++ {
			if all[i].status != all[i-1].status {
				continue
			}
			c.twice++
			age, inFlight := c.inFlight(all[i-1].at, all[i].at)
			c.oldest = max(c.oldest, age)
			if !inFlight {
				c.late = append(c.late, fmt.Sprintf("%s %v", id, all))
			}
		}
	}
}

// inFlight reports whether the process was killed right after the first of two messages, and how long after. The receiver
// may have read a message shortly after the end of its sender.
func (c *carnage) inFlight(first, second time.Time) (time.Duration, bool) {
	for _, k := range c.kills {
		if k.After(first.Add(-250*time.Millisecond)) && k.Before(second) {
			return k.Sub(first), k.Sub(first) < 2*time.Second
		}
	}
	return 0, false
}

// owed is what the receiver does not know yet.
func (c *carnage) owed() (ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, a := range c.alerts {
		got := c.messages[id]
		if a.acked && !a.resolving && len(got) == 0 || a.resolved && (len(got) == 0 || got[len(got)-1].status != "resolved") {
			ids = append(ids, id)
		}
	}
	for id := range c.firing {
		if len(c.messages[id]) == 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

func (c *carnage) summary() string {
	owed := len(c.owed())
	c.mu.Lock()
	defer c.mu.Unlock()
	acked, resolved, expired := 0, 0, 0
	var waits []time.Duration
	for id, a := range c.alerts {
		if a.acked {
			acked++
		}
		if a.resolved {
			resolved++
		}
		// How long after a restart came what was acknowledged before it.
		if got := c.messages[id]; a.acked && len(got) > 0 {
			for _, r := range c.ready {
				if r.After(a.acknowledgedAt) && got[0].at.After(r) {
					waits = append(waits, got[0].at.Sub(r))
					break
				}
			}
		}
	}
	for s := range maps.Values(c.silences) {
		if s.expired {
			expired++
		}
	}
	slices.Sort(waits)
	longest := time.Duration(0)
	if len(waits) > 0 {
		longest = waits[len(waits)-1].Round(time.Millisecond)
	}
	return fmt.Sprintf("alerts acknowledged %d, resolved %d; silences created %d, expired %d; rule alerts fired %d; lost %d; not yet notified %d; "+
		"notified twice %d, the first at most %s before a kill; %d notified after a restart, at most %s after it",
		acked, resolved, len(c.silences), expired, len(c.firing), len(c.lost), owed,
		c.twice, c.oldest.Round(time.Millisecond), len(waits), longest)
}
