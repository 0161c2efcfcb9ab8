package alertmanager

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// statusHook is a receiver that passes on what each message says: firing or
// resolved. While it is down it refuses them.
type statusHook struct {
	*httptest.Server
	down atomic.Bool
	got  chan string
}

func newStatusHook(t *testing.T) *statusHook {
	t.Helper()
	h := &statusHook{got: make(chan string, 100)}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.down.Load() {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		var m struct{ Status string }
		body, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(body, &m)
		h.got <- m.Status
	}))
	t.Cleanup(h.Close)
	return h
}

// options are those of an Alertmanager that tells the hook at once, in groups
// by name, and again after the interval.
func (h *statusHook) options(t *testing.T, groupInterval string) Options {
	t.Helper()
	c, err := config.Load(`
route: {receiver: hook, group_by: [alertname], group_wait: 1ms, group_interval: ` + groupInterval + `}
receivers: [{name: hook, webhook_configs: [{url: '` + h.URL + `'}]}]
`)
	require.NoError(t, err)
	o := DefaultOptions()
	o.Path, o.Config = t.TempDir(), c
	return o
}

// openQuietly opens an Alertmanager whose log and metrics nobody reads.
func openQuietly(t *testing.T, o Options) *Alertmanager {
	t.Helper()
	am, err := Open(o, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return am
}
