package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// message is what Alertmanager's webhook sends.
type message struct {
	at          time.Time
	Status      string            `json:"status"`
	Receiver    string            `json:"receiver"`
	GroupLabels map[string]string `json:"groupLabels"`
	Alerts      []struct {
		Status      string            `json:"status"`
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
		Fingerprint string            `json:"fingerprint"`
	} `json:"alerts"`
}

// pager is a receiver of webhooks that lives as long as its test.
type pager struct {
	url      string
	mu       sync.Mutex
	messages []message
}

func newPager(t *testing.T) *pager {
	t.Helper()
	p := new(pager)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m message
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		m.at = time.Now()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.messages = append(p.messages, m)
	}))
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

// got are the messages of a status.
func (p *pager) got(status string) []message {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []message
	for _, m := range p.messages {
		if m.Status == status {
			found = append(found, m)
		}
	}
	return found
}

// route adds an Alertmanager section to the hancock.yml in dir, that sends
// everything to the pager.
func route(t *testing.T, dir, url, groupWait string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "hancock.yml"), os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = fmt.Fprintf(f, `
alertmanager:
  route: {receiver: pager, group_by: [alertname], group_wait: %s, group_interval: 1s, repeat_interval: 1h}
  receivers:
    - name: pager
      webhook_configs: [{url: %q, send_resolved: true}]
`, groupWait, url)
	require.NoError(t, errors.Join(err, f.Close()))
}

// switchRule fires or does not: it is reloaded to change. A scrape that fails, as
// on a busy machine, changes nothing.
func switchRule(on bool) string {
	threshold := 1_000_000
	if on {
		threshold = 0
	}
	return fmt.Sprintf(`
groups:
  - name: test
    rules:
      - alert: Switch
        expr: count_over_time(up{job="hancock"}[1m]) > %d
        labels: {severity: critical}
        annotations: {summary: 'it is on', runbook_url: 'https://example.org/switch'}
`, threshold)
}

// rewrite replaces the rules that configure has written, and reloads.
func (p *process) rewrite(dir, rules string) {
	p.t.Helper()
	require.NoError(p.t, os.WriteFile(filepath.Join(dir, "rules.yml"), []byte(rules), 0o600))
	code, body := p.post("/-/reload", "")
	require.Equal(p.t, http.StatusOK, code, body)
}

// TestNotification takes an alert from the scrape of a breach to a receiver
// outside, and back: told once that it fires, once that it is resolved, and
// found in the ledger, the history and API v2.
func TestNotification(t *testing.T) {
	t.Parallel()
	dir, model, phone := t.TempDir(), newFakeModel(t), newPager(t)
	configure(t, dir, model.url, switchRule(false))
	route(t, dir, phone.url, "1s")
	p := startHancock(t, dir)
	p.scrapes(1)
	breach := time.Now()
	p.rewrite(dir, switchRule(true))
	p.eventually("the pager rings", func() bool { return len(phone.got("firing")) > 0 })
	first := phone.got("firing")[0]
	t.Logf("from the breach to the receiver: %s (evaluation interval 1s, group_wait 1s)", first.at.Sub(breach).Round(time.Millisecond))
	require.Equal(t, "Switch", first.GroupLabels["alertname"])
	require.Len(t, first.Alerts, 1)
	require.Equal(t, "it is on", first.Alerts[0].Annotations["summary"])

	var body string
	p.eventually("the ledger knows it", func() bool {
		_, body = p.get("/api/hancock/notifications?receiver=pager&outcome=ok")
		return strings.Contains(body, `"integration":"webhook[0]"`)
	})
	require.Contains(t, body, first.Alerts[0].Fingerprint)
	require.Contains(t, body, `"notifies":true`)
	require.NotContains(t, body, phone.url)
	code, body := p.get("/api/hancock/notifications?cursor=never-given-out")
	require.Equal(t, http.StatusBadRequest, code, body)
	_, body = p.get("/api/v2/alerts?filter=alertname%3DSwitch")
	require.Contains(t, body, `"fingerprint":"`+first.Alerts[0].Fingerprint+`"`)
	_, body = p.get("/api/v2/status")
	require.NotContains(t, body, phone.url, "a receiver's address is a secret")

	p.rewrite(dir, switchRule(false))
	p.eventually("the end is told", func() bool { return len(phone.got("resolved")) > 0 })
	require.Len(t, phone.got("firing"), 1)
	p.eventually("the end is stored", func() bool {
		_, body = p.get("/api/hancock/alerts/history?alert=Switch")
		return strings.Contains(body, `"ended_at"`) && strings.Contains(body, `"status":"resolved","outcome":"ok"`)
	})
	require.Contains(t, body, `"status":"firing","outcome":"ok"`)
	require.NotContains(t, p.stop(), "DATA RACE")
}

// TestRestartsWhileNotifying ends the process as kill -9 does: first within
// group_wait, when nobody has been told yet, then after the message.
func TestRestartsWhileNotifying(t *testing.T) {
	t.Parallel()
	dir, model, phone := t.TempDir(), newFakeModel(t), newPager(t)
	configure(t, dir, model.url, switchRule(true))
	route(t, dir, phone.url, "20s") // longer than it takes to see the alert on disk
	p := startHancock(t, dir)
	p.eventually("the alert is taken in and on disk", func() bool {
		kept, err := os.ReadFile(filepath.Join(dir, "data", "alertmanager", "alerts.json"))
		return err == nil && strings.Contains(string(kept), "Switch")
	})
	p.kill()
	require.Empty(t, phone.got("firing"), "nobody was told within group_wait")

	p = startHancock(t, dir, p.sameAddress())
	p.eventually("the alert is told", func() bool { return len(phone.got("firing")) == 1 })
	p.eventually("the message is remembered", func() bool {
		kept, err := os.ReadFile(filepath.Join(dir, "data", "alertmanager", "nflog"))
		return err == nil && strings.Contains(string(kept), "pager")
	})
	p.kill()

	p = startHancock(t, dir, p.sameAddress())
	p.grows(`count_over_time(ALERTS{alertname="Switch",alertstate="firing"}[1h])`, 4) // it fires again
	p.rewrite(dir, switchRule(false))
	p.eventually("the end is told", func() bool { return len(phone.got("resolved")) == 1 })
	require.Len(t, phone.got("firing"), 1, "nobody is told twice")
	p.stop()
}

// TestReload reads a configuration again that is right, and one that is wrong.
func TestReload(t *testing.T) {
	t.Parallel()
	dir, model, phone, other := t.TempDir(), newFakeModel(t), newPager(t), newPager(t)
	configure(t, dir, model.url, switchRule(true))
	route(t, dir, phone.url, "10ms")
	p := startHancock(t, dir)
	p.eventually("the pager rings", func() bool { return len(phone.got("firing")) == 1 })

	file := filepath.Join(dir, "hancock.yml")
	good, err := os.ReadFile(file)
	require.NoError(t, err)
	for name, bad := range map[string]string{
		"unknown field":    string(good) + "  receivrs: []\n",
		"unknown receiver": strings.Replace(string(good), "route: {receiver: pager", "route: {receiver: nobody", 1),
		"no YAML":          string(good) + "\t{",
	} {
		require.NoError(t, os.WriteFile(file, []byte(bad), 0o600))
		code, body := p.post("/-/reload", "")
		require.Equal(t, http.StatusInternalServerError, code, name)
		require.Contains(t, body, "the configuration stays as it is", name)
		require.Contains(t, body, "hancock.yml", name)
	}
	require.NoError(t, os.WriteFile(file, good, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rules.yml"), []byte("groups: [{name: g, rules: [{alert: A, expr: '('}]}]"), 0o600))
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
	// Of the failures this one alone is about the rules. What comes below must not overtake it.
	p.eventually("the failure is told", func() bool {
		return regexp.MustCompile(`config_reload_failed.*rules\.yml`).MatchString(p.log.String())
	})
	p.eventually("the failure is seen", func() bool {
		v, ok := p.scalar("hancock_config_last_reload_successful")
		return ok && v == 0
	})
	_, info := p.get("/api/v1/status/runtimeinfo")
	require.Contains(t, info, `"reloadConfigSuccess":false`)
	_, body := p.get("/api/v1/rules")
	require.Contains(t, body, "Switch", "the last good rules go on")

	require.NoError(t, os.WriteFile(filepath.Join(dir, "rules.yml"), []byte(switchRule(true)), 0o600))
	changed := strings.NewReplacer(phone.url, other.url, "rate_limit: 100000", "rate_limit: 5").Replace(string(good))
	require.NoError(t, os.WriteFile(file, []byte(changed), 0o600))
	code, body := p.post("/-/reload", "")
	require.Equal(t, http.StatusOK, code, body)
	require.Contains(t, body, `"need_restart":[]`)
	p.rewrite(dir, switchRule(false))
	p.eventually("the new receiver is told", func() bool { return len(other.got("resolved")) == 1 })
	require.Empty(t, phone.got("resolved"))
	p.eventually("the success is seen", func() bool {
		v, ok := p.scalar("hancock_config_last_reload_successful")
		return ok && v == 1
	})
	p.stop()
}

// TestAlertmanagerOutside sends alerts to another Hancock, as to any Alertmanager.
func TestAlertmanagerOutside(t *testing.T) {
	t.Parallel()
	dir, model, phone := t.TempDir(), newFakeModel(t), newPager(t)
	configure(t, dir, model.url, switchRule(false))
	route(t, dir, phone.url, "10ms")
	other := startHancock(t, dir)

	dir = t.TempDir()
	configure(t, dir, model.url, switchRule(true))
	file := filepath.Join(dir, "hancock.yml")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	text = []byte(strings.Replace(string(text), "prometheus: {", fmt.Sprintf(
		"prometheus: {global: {external_labels: {site: here}}, alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}, ",
		strings.TrimPrefix(other.base, "http://")), 1))
	require.NoError(t, os.WriteFile(file, text, 0o600))
	p := startHancock(t, dir)
	p.eventually("the other one tells it", func() bool { return len(phone.got("firing")) == 1 })
	require.Equal(t, "here", phone.got("firing")[0].Alerts[0].Labels["site"])
	p.eventually("the Alertmanager inside sees what those outside see", func() bool {
		_, body := p.get("/api/v2/alerts")
		return strings.Contains(body, `"site":"here"`)
	})
	_, body := p.get("/api/v1/alertmanagers")
	require.Contains(t, body, other.base)
	p.rewrite(dir, strings.Replace(switchRule(true), "alert: Switch", "alert: Renamed", 1))
	p.eventually("the other one resolves it", func() bool { return phone.told("resolved", "Switch", "critical") == 1 })
	p.stop()
	other.stop()
}

// TestCommandsOfAlerting runs the commands that try rules and routes against a
// process that runs.
func TestCommandsOfAlerting(t *testing.T) {
	t.Parallel()
	dir, model, phone := t.TempDir(), newFakeModel(t), newPager(t)
	configure(t, dir, model.url, switchRule(true))
	route(t, dir, phone.url, "10ms")
	p := startHancock(t, dir)
	hancock := func(args ...string) (status int, stdout, stderr string) {
		var out, errs bytes.Buffer
		status = run(append(args, "--url="+p.base), noEnvironment, streams{out: &out, err: &errs})
		return status, out.String(), errs.String()
	}
	status, out, errs := hancock("alert", "test", "--label=severity=critical", "--annotation=summary=Does this arrive?")
	require.Zero(t, status, errs)
	require.Regexp(t, `pager +webhook\[0\] +firing +ok`, out)
	require.Regexp(t, `pager +webhook\[0\] +resolved +ok`, out)
	tested := phone.got("firing")
	require.Equal(t, "critical", tested[len(tested)-1].Alerts[0].Labels["severity"])

	p.eventually("a minute's worth of alerts", func() bool {
		v, ok := p.scalar(`count_over_time(ALERTS{alertname="Switch",alertstate="firing"}[1h])`)
		return ok && v > 5
	})
	status, out, errs = hancock("backtest", "--from=1h")
	require.Zero(t, status, errs)
	require.Contains(t, out, "Switch")
	require.Regexp(t, `pager.*\b1 message|1 message.*pager`, out)
	require.NotContains(t, out, phone.url)

	// Edited rules, before they are saved: one that never fires, and one that is wrong.
	edited := filepath.Join(t.TempDir(), "edited.yml")
	require.NoError(t, os.WriteFile(edited, []byte(switchRule(false)), 0o600))
	status, out, errs = hancock("backtest", "--from=1h", edited)
	require.Zero(t, status, errs)
	require.NotRegexp(t, `\b[1-9]\d* messages? to`, out)
	require.NoError(t, os.WriteFile(edited, []byte("groups: [{name: g, rules: [{alert: A, expr: '('}]}]"), 0o600))
	status, _, errs = hancock("backtest", "--from=1h", edited)
	require.Equal(t, 1, status)
	require.Regexp(t, regexp.QuoteMeta(edited)+`:1:\d+: .*parse error`, errs)
	status, _, errs = hancock("backtest", "/dev/zero")
	require.Equal(t, 2, status)
	require.Contains(t, errs, "/dev/zero is larger than 1MiB")
	status, _, errs = hancock("backtest", "--from=yesterday")
	require.Equal(t, 1, status)
	require.Contains(t, errs, "yesterday")
	p.stop()
	status, _, errs = hancock("alert", "test")
	require.Equal(t, 1, status)
	require.Contains(t, errs, "is hancock running there?")
}

// TestReloadsThatMustNotHappen loses the configuration file, and asks for
// reloads before and after there is something to reload.
func TestReloadsThatMustNotHappen(t *testing.T) {
	t.Parallel()
	dir, model := t.TempDir(), newFakeModel(t)
	configure(t, dir, model.url, switchRule(true))
	p := startHancock(t, dir)
	file := filepath.Join(dir, "hancock.yml")
	good, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.Remove(file))
	code, body := p.post("/-/reload", "")
	require.Equal(t, http.StatusInternalServerError, code, body)
	require.Contains(t, body, "hancock.yml is not there any more")
	_, body = p.get("/api/v1/rules")
	require.Contains(t, body, "Switch", "the last good rules go on")
	moved := strings.Replace(string(good), "path: data", "path: elsewhere", 1)
	// Also another job, whose metrics nobody can know yet.
	moved = strings.Replace(moved, "prometheus: {", "prometheus: {scrape_configs: [{job_name: node, static_configs: [{targets: ['127.0.0.1:9']}]}], ", 1)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rules.yml"),
		[]byte("groups: [{name: g, rules: [{alert: Disk, expr: node_disks < 1}, {alert: Typo, expr: hancock_request_total > 1}]}]"), 0o600))
	require.NoError(t, os.WriteFile(file, []byte(moved), 0o600))
	code, body = p.post("/-/reload", "")
	require.Equal(t, http.StatusOK, code, body)
	require.Contains(t, body, `"need_restart":["storage.path"]`)
	_, body = p.get("/api/v1/status/flags")
	require.NotContains(t, body, "elsewhere", "flags show the settings in effect")
	p.eventually("the mistyped name is told", func() bool {
		return strings.Contains(p.log.String(), "hancock_request_total is emitted by nothing")
	})
	require.NotContains(t, p.log.String(), "node_disks")

	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for p.cmd.Process.Signal(syscall.SIGHUP) == nil {
			runtime.Gosched()
		}
	}()
	require.NotContains(t, p.stop(), "DATA RACE")
	<-stopped
}

// TestProgressOfBacktest has an answer that ends in an error: that stands on a
// line of its own.
func TestProgressOfBacktest(t *testing.T) {
	for _, answer := range []string{"event: error\ndata: {\"error\": \"too much\"}\n\n", ""} {
		var progress bytes.Buffer
		_, err := readReport(strings.NewReader("event: progress\ndata: {}\n\n"+answer), &progress)
		require.Error(t, err)
		require.Regexp(t, `\r {70}\r$`, progress.String())
	}
}
