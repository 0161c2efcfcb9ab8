package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFullDisk fills the disk of a process: the heartbeat stops, what happens meanwhile is notified, nothing is resolved
// only because it is not stored, and when there is room again everything goes on, over a kill -9 too.
func TestFullDisk(t *testing.T) {
	if os.Getenv(inNamespace) != "" {
		testFullDisk(t)
		return
	}
	runInNamespace(t, syscall.CLONE_NEWNS)
}

// alertInbox has what a webhook receiver got: status and name of each alert, by path.
type alertInbox struct {
	url string
	mu  sync.Mutex
	got map[string][]string
}

func newAlertInbox(t *testing.T) *alertInbox {
	t.Helper()
	in := &alertInbox{got: map[string][]string{}}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var message struct {
			Alerts []struct {
				Status string
				Labels map[string]string
			}
		}
		if json.Unmarshal(body, &message) != nil {
			return
		}
		in.mu.Lock()
		defer in.mu.Unlock()
		for _, a := range message.Alerts {
			in.got[r.URL.Path] = append(in.got[r.URL.Path], a.Status+" "+a.Labels["alertname"])
		}
	}))
	t.Cleanup(server.Close)
	in.url = server.URL
	return in
}

// at is what came to a path.
func (in *alertInbox) at(path string) []string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return append([]string(nil), in.got[path]...)
}

func testFullDisk(t *testing.T) {
	dir, model, in := t.TempDir(), newFakeModel(t), newAlertInbox(t)
	disk := filepath.Join(dir, "disk")
	require.NoError(t, os.Mkdir(disk, 0o700))
	require.NoError(t, syscall.Mount("", "/", "", syscall.MS_PRIVATE|syscall.MS_REC, ""))
	require.NoError(t, syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=32m"))
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "state 1") }))
	t.Cleanup(target.Close)
	configure(t, dir, model.url, "")
	file := filepath.Join(dir, "hancock.yml")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	text = bytes.Replace(text, []byte("path: data"), []byte("path: disk/data"), 1)
	text = append(text, strings.NewReplacer("INBOX", in.url, "TARGET", strings.TrimPrefix(target.URL, "http://")).Replace(`
prometheus:
  rule_files: [rules.yml]
  scrape_configs: [{job_name: other, scrape_interval: 1s, scrape_timeout: 1s, static_configs: [{targets: [TARGET]}]}]
alertmanager:
  route:
    receiver: people
    group_by: [alertname]
    group_wait: 0s
    group_interval: 1s
    repeat_interval: 1h
    routes:
    - {matchers: [alertname="Watchdog"], receiver: heartbeat, repeat_interval: 1s}
    - {matchers: [severity="ignored"], receiver: nobody}
  receivers:
  - {name: people, webhook_configs: [{url: 'INBOX/people'}]}
  - {name: heartbeat, webhook_configs: [{url: 'INBOX/heartbeat'}]}
  - {name: nobody}
`)...)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rules.yml"), []byte(`
groups:
- name: g
  rules:
  - {alert: TargetGone, expr: 'up{job="other"} == 0'}
  - {alert: Before, expr: 'up{job="other"} < 2'}
`), 0o600))
	require.NoError(t, os.WriteFile(file, text, 0o600))
	p := startHancock(t, dir)
	p.eventually("the heartbeat and an alert arrive", func() bool {
		return strings.Count(strings.Join(in.at("/heartbeat"), "\n"), "firing Watchdog") > 2 &&
			strings.Contains(strings.Join(in.at("/people"), "\n"), "firing Before")
	})

	full := filepath.Join(disk, "full")
	f, err := os.Create(full)
	require.NoError(t, err)
	for block := make([]byte, 64<<10); err == nil; {
		_, err = f.Write(block)
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, f.Close())
	target.Close()
	p.eventually("what happens is notified, and that nothing is stored", func() bool {
		got := strings.Join(in.at("/people"), "\n")
		return strings.Contains(got, "firing TargetGone") && strings.Contains(got, "firing HancockStorageWritesFailing")
	})
	p.eventually("the heartbeat stops", func() bool {
		before := len(in.at("/heartbeat"))
		time.Sleep(5 * time.Second) // five times the interval of the heartbeat
		return len(in.at("/heartbeat")) == before
	})
	_, health := p.get("/health")
	require.Contains(t, health, `"status":"degraded"`)
	v, ok := p.scalar(`count_over_time(up{job="hancock"}[15s])`)
	require.True(t, ok && v > 8, "queries have what is in memory: %v", v)
	for _, all := range [][]string{in.at("/people"), in.at("/heartbeat")} {
		for _, message := range all {
			require.True(t, strings.HasPrefix(message, "firing ") || message == "resolved HancockNoTraffic", message)
		}
	}

	beats := len(in.at("/heartbeat"))
	require.NoError(t, os.Remove(full))
	p.eventually("the heartbeat comes again", func() bool { return len(in.at("/heartbeat")) > beats+2 })
	require.Equal(t, 1, strings.Count(p.log.String(), `"event":"storage_unwritable"`))
	require.Equal(t, 1, strings.Count(p.log.String(), `"event":"storage_writable"`))
	since := time.Now().Unix()
	p.scrapes(3)
	p.kill()
	p = startHancock(t, dir, p.sameAddress())
	p.eventually("what was stored after it is there", func() bool {
		v, ok := p.scalar(fmt.Sprintf(`count_over_time((timestamp(up{job="hancock"}) >= %d)[5m:1s])`, since))
		return ok && v > 3
	})
	v, ok = p.scalar(`count_over_time(up{job="other"}[10m])`)
	require.True(t, ok && v > 3, "what was stored before it is there: %v", v)
	log := p.stop()
	require.NotContains(t, log, "DATA RACE")
}
