package backtest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/backtest"
)

const downRule = `
groups:
  - name: hosts
    rules:
      - {alert: Down, expr: up == 0, for: 2m, labels: {severity: critical}, annotations: {summary: '{{ $labels.instance }} is down'}}
      - {record: ups, expr: up}
`

// serve is a server with a handler over the history of the tests.
func serve(t *testing.T, h *backtest.Handler) *httptest.Server {
	if h.Current == nil {
		h.Current = func() backtest.Request { return backtest.Request{} }
	}
	t.Helper()
	if h.Storage.Queryable == nil {
		db := openDB(t)
		put(t, db, machines().samples(t, 200*time.Minute))
		h.Storage = backtest.Storage{Queryable: db, Oldest: backtest.StartTime(db)}
	}
	e := echo.New()
	h.Register(e)
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	return server
}

func ask(ctx context.Context, t *testing.T, server *httptest.Server, accept, body string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+backtest.Path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Accept", accept)
	res, err := server.Client().Do(req)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, res.Body.Close()) })
	return res
}

// question is a request about the history of the tests.
func question(rules string) string {
	text, err := json.Marshal(map[string]string{"rules": rules, "from": "2026-11-02T06:05:00Z", "to": "2026-11-02T09:00:00Z"})
	if err != nil {
		panic(err)
	}
	return string(text)
}

func TestHTTP(t *testing.T) {
	cfg, err := config.Load(`
route: {receiver: one, group_wait: 20s}
` + routedReceivers)
	require.NoError(t, err)
	server := serve(t, &backtest.Handler{
		Current: func() backtest.Request {
			return backtest.Request{Files: []backtest.File{{Name: "loaded.yml", Text: downRule}}, Routing: cfg}
		},
	})
	for _, tt := range []struct {
		name, body string
		status     int
		says       string // In the answer.
	}{
		{"given rules", question(downRule), 200, `"instance":"2"`},
		{"loaded rules", `{"from": "2026-11-02T06:05:00Z", "to": "2026-11-02T09:00:00Z"}`, 200, `"file":"loaded.yml"`},
		{"one rule", `{"rule": "ups", "from": "2026-11-02T06:05:00Z", "to": "2026-11-02T09:00:00Z"}`, 200, `"alerts_total":0`},
		{"no such rule", `{"rule": "x", "from": "2026-11-02T06:05:00Z"}`, 400, `no rule named \"x\"`},
		{"no from", `{}`, 400, "from is missing"},
		{"wrong from", `{"from": "yesterday"}`, 400, `from: \"yesterday\" is neither`},
		{"from after to", `{"from": "1h", "to": "2h"}`, 400, "must be before"},
		{"from in the future", `{"from": "2999-01-01T00:00:00Z"}`, 400, "must be before"},
		{"unknown field", `{"from": "1h", "rulez": ""}`, 400, "rulez"},
		{"two values", `{"from": "1h"} {}`, 400, "more than one"},
		{"no JSON", `rules`, 400, "not as it should be"},
		{"no rules in the text", question("groups: []"), 400, "no rules to replay"},
		{"wrong expression", question("groups:\n- name: a\n  rules:\n  - alert: A\n    expr: up ==\n"), 422, "rules:5:11: "},
		{"wrong template", question("groups:\n- name: a\n  rules:\n  - alert: A\n    expr: up\n    annotations: {a: '{{ nope }}'}\n"), 422, "rules:4"},
		{"wrong duration", question("groups:\n- name: a\n  rules:\n  - alert: A\n    expr: up\n    for: long\n"), 422, "rules:6: "},
		{"of a file", strings.Replace(question("groups:\n- name: a\n  rulez: []\n"), "{", `{"file": "new/x.yml", `, 1), 422, "new/x.yml:3: "},
		{"of a long name", strings.Replace(question(downRule), "{", `{"file": "`+strings.Repeat("x", 256)+`", `, 1), 400, "255 are the limit"},
		{"unknown key", question("groups:\n- name: a\n  rulez: []\n"), 422, "rules:3: "},
		{"no YAML", question("\t"), 422, "rules"},
		{"too large", question(strings.Repeat("#", 1<<20)), 413, "larger than"},
		{"too many rules", question("groups:\n- name: a\n  rules: [" + strings.Repeat("{record: a, expr: up},", 2001) + "]\n"), 400, "2001 rules"},
		{"too much", question("groups:\n- name: a\n  interval: 1ms\n  rules: [" + strings.Repeat("{record: a, expr: up},", 100) + "]\n"), 400, "are the limit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := ask(t.Context(), t, server, "application/json", tt.body)
			var answer strings.Builder
			_, err := bufio.NewReader(res.Body).WriteTo(&answer)
			require.NoError(t, err)
			require.Equal(t, tt.status, res.StatusCode, answer.String())
			require.Contains(t, answer.String(), tt.says)
		})
	}
}

func TestStream(t *testing.T) {
	server := serve(t, &backtest.Handler{})
	var events []string
	var last backtest.Report
	lines := bufio.NewScanner(ask(t.Context(), t, server, "text/event-stream", question(downRule)).Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if event, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			events = append(events, event)
		}
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok && slices.Contains(events, "report") {
			require.NoError(t, json.Unmarshal([]byte(data), &last))
		}
	}
	require.NoError(t, lines.Err())
	require.Equal(t, "report", events[len(events)-1])
	require.Contains(t, events, "progress")
	require.Equal(t, 4, last.AlertsTotal)

	// What is wrong before it begins is an ordinary error.
	res := ask(t.Context(), t, server, "text/event-stream", question("groups: [x]"))
	require.Equal(t, http.StatusUnprocessableEntity, res.StatusCode)
}

// stuck is a store whose queries wait until they are cancelled.
type stuck struct {
	storage.Queryable
	asked chan struct{}
}

func (s stuck) Querier(int64, int64) (storage.Querier, error) {
	return stuckQuerier{asked: s.asked}, nil
}

func TestOneAtATimeAndCancelled(t *testing.T) {
	s := stuck{asked: make(chan struct{}, 100)}
	server := serve(t, &backtest.Handler{Storage: backtest.Storage{Queryable: s}})
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+backtest.Path, strings.NewReader(question(downRule)))
		if err == nil {
			var res *http.Response
			if res, err = server.Client().Do(req); err == nil {
				err = errors.Join(fmt.Errorf("answered %s", res.Status), res.Body.Close())
			}
		}
		first <- err
	}()
	<-s.asked
	res := ask(t.Context(), t, server, "", question(downRule))
	require.Equal(t, http.StatusTooManyRequests, res.StatusCode)
	require.NotEmpty(t, res.Header.Get("Retry-After"))
	cancel()
	require.ErrorIs(t, <-first, context.Canceled)
	// The slot is free again soon.
	require.Eventually(t, func() bool {
		return ask(t.Context(), t, server, "", `{"from": "1h", "rules": "groups: []"}`).StatusCode == http.StatusBadRequest
	}, time.Minute, 10*time.Millisecond)
}

func TestCancelledByTheServer(t *testing.T) {
	s := stuck{asked: make(chan struct{}, 100)}
	ctx, cancel := context.WithCancel(t.Context())
	server := serve(t, &backtest.Handler{Storage: backtest.Storage{Queryable: s}, Context: ctx})
	go func() {
		<-s.asked
		cancel()
	}()
	require.Equal(t, http.StatusServiceUnavailable, ask(t.Context(), t, server, "", question(downRule)).StatusCode)
}

func FuzzRequest(f *testing.F) {
	f.Add(downRule, "7d", "")
	f.Add("groups:\n- name: a\n  rules:\n  - alert: A\n    expr: up @ end()\n    for: 1x\n", "2026-11-02T06:05:00Z", "1h")
	now := t0().Add(time.Hour)
	f.Fuzz(func(t *testing.T, text, from, to string) {
		begin, end, err := backtest.Period(from, to, now)
		if err != nil {
			return
		}
		require.True(t, begin.Before(end))
		require.False(t, end.After(now))
		// Nothing is stored, so that only parsing takes time.
		_, err = backtest.Run(t.Context(), backtest.Storage{
			Queryable: storage.QueryableFunc(func(int64, int64) (storage.Querier, error) { return storage.NoopQuerier(), nil }),
			Oldest:    func() (time.Time, error) { return time.Time{}, nil },
		}, backtest.Request{Files: []backtest.File{{Name: "f", Text: text}}, From: begin, To: end}, nil)
		if err != nil {
			wrong, ok := errors.AsType[*backtest.RequestError](err)
			require.True(t, ok, err)
			require.NotEmpty(t, wrong.Reason)
		}
	})
}

func TestText(t *testing.T) {
	cfg, err := config.Load(`
route: {receiver: one, group_by: [alertname], group_wait: 20s}
` + routedReceivers)
	require.NoError(t, err)
	db := openDB(t)
	put(t, db, machines().samples(t, 200*time.Minute))
	report, err := backtest.Run(t.Context(), backtest.Storage{Queryable: db, Oldest: backtest.StartTime(db)}, backtest.Request{
		Files: []backtest.File{{Name: "rules", Text: downRule + "      - {alert: Wrong, expr: up * on () load}\n"}},
		From:  t0().Add(10 * time.Minute), To: t0().Add(3 * time.Hour), Routing: cfg,
	}, nil)
	require.NoError(t, err)
	report.DurationSeconds = 1.234
	var out strings.Builder
	require.NoError(t, report.WriteText(&out))
	golden, err := os.ReadFile("testdata/report.golden")
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile("testdata/report.golden", []byte(out.String()), 0o600))
		return
	}
	require.NoError(t, err)
	require.Equal(t, string(golden), out.String())

	line := backtest.Progress{Done: 1, Total: 4, Rule: "Down\x1b[2J", At: t0()}.Line()
	require.Contains(t, line, "[=====               ]  25%  2026-11-02 06:00  Down?[2J ")
}
