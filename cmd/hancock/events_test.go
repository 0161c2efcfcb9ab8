package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/internal/events"
)

// TestEvents starts, reloads, breaks, stops and kills a process, and asks it for all of that.
func TestEvents(t *testing.T) {
	t.Parallel()
	dir, model := t.TempDir(), newFakeModel(t)
	configure(t, dir, model.url, "")
	file := filepath.Join(dir, "hancock.yml")
	good, err := os.ReadFile(file)
	require.NoError(t, err)
	p := startHancock(t, dir)
	of := func(kind string) (found []events.Event) {
		t.Helper()
		code, body := p.get(events.Path + "?kind=" + kind)
		require.Equal(t, http.StatusOK, code, body)
		var answer struct{ Events []events.Event }
		require.NoError(t, json.Unmarshal([]byte(body), &answer))
		return answer.Events
	}
	require.Len(t, of(events.Start), 1)
	require.Empty(t, of(events.Downtime))
	code, body := p.post("/-/reload", "")
	require.Equal(t, http.StatusOK, code, body)
	require.NoError(t, os.WriteFile(file, []byte("wrong: {}\n"), 0o600))
	code, _ = p.post("/-/reload", "")
	require.Equal(t, http.StatusInternalServerError, code)
	require.Contains(t, of(events.ReloadFailed)[0].Detail, `unknown field "wrong"`)
	require.Len(t, of(events.Reload), 1)
	require.NoError(t, os.WriteFile(file, good, 0o600))
	p.scrapes(1)
	p.stop()

	time.Sleep(11 * time.Second) // A shorter one is no downtime.
	p = startHancock(t, dir, p.sameAddress())
	p.scrapes(1)
	p.kill()
	time.Sleep(11 * time.Second)
	p = startHancock(t, dir, p.sameAddress())
	down := of(events.Downtime)
	require.Len(t, down, 2)
	require.Equal(t, events.CauseKill, down[0].Cause)
	require.Equal(t, events.CauseStop, down[1].Cause)
	for _, e := range down {
		require.GreaterOrEqual(t, e.Time.Sub(*e.From), 10*time.Second)
	}
	require.Len(t, of(events.Start), 3)
	stops := of(events.Stop)
	require.Len(t, stops, 1)
	require.NotEmpty(t, stops[0].Cause)
	all := of("")
	require.True(t, slices.IsSortedFunc(all, func(a, b events.Event) int { return b.Time.Compare(a.Time) }))
	p.stop()

	// A corrupt block is an event.
	block := filepath.Join(dir, "data", "01M8QPDAH94CKA6NYQA4TQJ10M")
	require.NoError(t, os.MkdirAll(block, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(block, "meta.json"), []byte("{"), 0o600))
	p = startHancock(t, dir, p.sameAddress())
	require.Contains(t, of(events.Corruption)[0].Detail, "moved 1 corrupt")
	require.NoDirExists(t, block)
	log := p.stop()
	require.Contains(t, log, `"event":"storage_corrupt"`)
	require.NotContains(t, log, "DATA RACE")
}
