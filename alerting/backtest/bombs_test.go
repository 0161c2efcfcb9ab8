package backtest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/config"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/backtest"
)

// A template that asks in loops within loops for what its own rule finds ends
// with the context, though the engine is never asked.
func TestTemplateThatAsksWithoutEnd(t *testing.T) {
	t.Parallel()
	const depth = 20
	text := "groups: [{name: a, rules: [{alert: A, expr: up, labels: {x: '" +
		strings.Repeat(`{{ range query "up" }}`, depth) + strings.Repeat("{{ end }}", depth) + "'}}]}]"
	db := openDB(t)
	put(t, db, machines().samples(t, time.Hour))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := backtest.Run(ctx, backtest.Storage{Queryable: db, Engine: newEngine()}, backtest.Request{Files: files(text), From: t0(), To: t0().Add(time.Hour)}, nil)
		done <- err
	}()
	select {
	case err := <-done:
		require.ErrorIs(t, err, context.DeadlineExceeded)
	case <-time.After(time.Minute):
		require.FailNow(t, "the backtest goes on after its end")
	}
}

// Labels and annotations may be long, and each message has those of all its alerts; all are counted, and as many listed
// as a client can take.
func TestLongTexts(t *testing.T) {
	t.Parallel()
	h := history{}
	for i := range 40 {
		h[fmt.Sprintf(`busy{instance="%d"}`, i)] = during(0, 1, [2]int{5, 10}, [2]int{15, 20})
	}
	db := openDB(t)
	put(t, db, h.samples(t, 30*time.Minute))
	cfg, err := config.Load("route: {receiver: one, group_wait: 20s, group_interval: 1m}\nreceivers: [{name: one, webhook_configs: [{url: 'http://one/'}]}]")
	require.NoError(t, err)
	const rule = "groups: [{name: a, rules: [{alert: A, expr: busy > 0, labels: {long: '%s'}, annotations: {long: '{{ $value }}%[1]s'}}]}]"
	report, err := backtest.Run(t.Context(), backtest.Storage{Queryable: db, Engine: newEngine()}, backtest.Request{
		Files: files(fmt.Sprintf(rule, strings.Repeat("x", 300_000))), From: t0(), To: t0().Add(30 * time.Minute), Routing: cfg,
	}, nil)
	require.NoError(t, err)
	require.Equal(t, 80, report.AlertsTotal)
	require.Equal(t, 80, report.FiredTotal)
	require.Len(t, report.Alerts, 13)
	require.Equal(t, 4, report.Routing.MessagesTotal)
	require.Len(t, report.Routing.Messages, 1)
	require.Equal(t, 40, report.Routing.Messages[0].Firing)
	require.Len(t, report.Routing.Messages[0].Alerts, 28)
	require.Contains(t, strings.Join(report.Notes, "\n"), "Only 13 of 80 alerts are listed")
	require.Contains(t, strings.Join(report.Notes, "\n"), "Only the first 1 of 4 messages are listed")
	text, err := json.Marshal(report)
	require.NoError(t, err)
	require.Less(t, len(text), 20<<20)
}

// doubling is a template that holds a string of ten bytes, doubled n times.
func doubling(n int) string {
	return `{{ $s := "xxxxxxxxxx" }}` + strings.Repeat(`{{ $s = printf "%s%s" $s $s }}`, n)
}

// Templates of a request that take too much end their process, and the answer names the rule, the field and the bound.
// The rest goes on.
func TestTemplatesOfRequestsAreBounded(t *testing.T) {
	server := serve(t, &backtest.Handler{})
	const time5, memory = "does not end within 5s", "needs more than 64 MiB of memory"
	const either = time5 + "|" + memory // whichever comes first on this machine
	nested := func(depth int, inner string) string {
		return strings.Repeat("{{ range 10 }}", depth) + inner + strings.Repeat("{{ end }}", depth)
	}
	for _, tt := range []struct{ name, template, says string }{
		{"doubled 31 times", doubling(31), memory},
		{"doubled and shown", doubling(14) + "{{ $s }}", "has 163840 bytes, more than the limit of 65536"},
		{"counts", "{{ range 1000000000000 }}{{ end }}", time5},
		{"counts and writes", "{{ range 1000000000000 }}" + strings.Repeat("x", 5000) + "{{ end }}", either},
		{"loops in loops", nested(20, ""), time5},
		{"calls itself", `{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" . }}`, "calls itself too deeply"},
		{"calls itself twice", `{{ define "a" }}{{ template "a" . }}{{ template "a" . }}{{ end }}{{ template "a" . }}`, "calls itself too deeply"},
		{"replaces", `{{ $s := reReplaceAll "x" "xxxxxxxxxxxxxxxxxxxx" "xxxxxxxxxx" }}` +
			strings.Repeat(`{{ $s = reReplaceAll "x" "xxxxxxxxxxxxxxxxxxxx" $s }}`, 10), either},
		{"pads", `{{ printf "` + strings.Repeat("%1000000d", 500) + `" ` + strings.Repeat("1 ", 500) + "}}", either},
		{"escapes", strings.ReplaceAll(doubling(18), "x", "<") + strings.Repeat("{{ $s = js $s }}", 10), either},
		{"asks", nested(3, `{{ query "up" }}`), "asks more than 100 queries"},
	} {
		for _, field := range []string{"annotations", "labels"} {
			t.Run(tt.name+" in "+field, func(t *testing.T) {
				rules := fmt.Sprintf("groups: [{name: hosts, rules: [{alert: Down, expr: up, %s: {harmless: '{{ $value }}', text: '%s'}}]}]", field, tt.template)
				res := ask(t.Context(), t, server, "", question(rules))
				answer, err := io.ReadAll(res.Body)
				require.NoError(t, err)
				require.Equal(t, http.StatusUnprocessableEntity, res.StatusCode, "%.400s", answer)
				require.Regexp(t, tt.says, string(answer))
				require.Contains(t, string(answer), `rules: group \"hosts\", rule \"Down\": `+field+".text: ")
			})
		}
	}
	res := ask(t.Context(), t, server, "", question(downRule))
	require.Equal(t, http.StatusOK, res.StatusCode)
}

// A client that disconnects ends the process of its templates.
func TestTemplateProcessEndsWithItsClient(t *testing.T) {
	server := serve(t, &backtest.Handler{})
	before := children(t)
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+backtest.Path, strings.NewReader(
			question(`groups: [{name: a, rules: [{alert: A, expr: up, annotations: {x: '{{ range 1000000000000 }}{{ end }}'}}]}]`)))
		if err == nil {
			var res *http.Response
			if res, err = server.Client().Do(req); err == nil {
				_ = res.Body.Close()
			}
		}
		gone <- err
	}()
	require.Eventually(t, func() bool { return children(t) > before }, time.Minute, time.Millisecond)
	cancel()
	<-gone // The template may have reached its limit first.
	require.Eventually(t, func() bool { return children(t) == before }, time.Minute, 10*time.Millisecond)
}

// children is the number of processes that this one has started.
func children(t *testing.T) int {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	require.NoError(t, err)
	if runtime.GOOS != "linux" {
		t.Skip("children are counted in Linux' /proc")
	}
	require.NotEmpty(t, tasks)
	n := 0
	for _, path := range tasks {
		if list, err := os.ReadFile(path); err == nil { // the thread may have ended
			n += len(strings.Fields(string(list)))
		}
	}
	return n
}
