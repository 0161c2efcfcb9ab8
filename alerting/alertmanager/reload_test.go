package alertmanager_test

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/alertmanager"
)

func TestReloadThatFailsChangesNothing(t *testing.T) {
	h := newHook(t)
	am, _ := open(t, t.TempDir(), quick(h.URL))
	bad := load(t, quick(h.URL))
	bad.Templates = []string{"testdata/failing.bad.tmpl"}
	require.ErrorContains(t, alertmanager.Check(bad), "parsing templates")
	require.ErrorContains(t, reload(am, bad), "failing.bad.tmpl")
	am.Send(firing("alertname", "Slow"))
	require.Equal(t, "Slow", h.next(t).GroupLabels["alertname"])
}

func TestReloadMovesToAnotherReceiver(t *testing.T) {
	one, two := newHook(t), newHook(t)
	am, _ := open(t, t.TempDir(), quick(one.URL))
	am.Send(firing("alertname", "A"))
	one.next(t)
	require.Equal(t, http.StatusOK, call(am, http.MethodGet, "/api/v2/status", "").Code)
	require.NoError(t, reload(am, load(t, strings.ReplaceAll(quick(two.URL), ": hook,", ": other,"))))
	require.Equal(t, "A", two.next(t).GroupLabels["alertname"], "the other receiver does not know of it")
	require.Contains(t, call(am, http.MethodGet, "/api/v2/receivers", "").Body.String(), `"other"`, "the API follows")
	require.NoError(t, reload(am, nil))
	require.False(t, am.Notifies())
}

// Under a stream of alerts nothing is lost and nothing comes twice, however
// often the configuration is loaded anew.
func TestReloadUnderLoad(t *testing.T) {
	const alerts, reloads = 300, 20
	h := newHook(t)
	text := quick(h.URL)
	// What is sent when a reload comes is not given up, however long it takes: it would be told again.
	am, _ := open(t, t.TempDir(), text, func(o *alertmanager.Options) { o.CloseTimeout = patience })
	var wg sync.WaitGroup
	wg.Go(func() {
		pace := time.NewTicker(2 * time.Millisecond) // a stream, not a heap
		defer pace.Stop()
		for i := range alerts {
			<-pace.C
			am.Send(firing("alertname", "A"+strconv.Itoa(i)))
		}
	})
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for range reloads {
		<-pace.C
		require.NoError(t, reload(am, load(t, text)))
	}
	wg.Wait()
	seen := map[string]int{}
	for len(seen) < alerts {
		seen[h.next(t).GroupLabels["alertname"]]++
	}
	require.NoError(t, am.Close())
	for name, n := range seen {
		require.Equal(t, 1, n, name)
	}
	require.Empty(t, h.got)
}

func TestWarnings(t *testing.T) {
	h := newHook(t)
	_, l := open(t, t.TempDir(), `
route: {receiver: used, repeat_interval: 10d}
receivers: [{name: used, webhook_configs: [{url: '`+h.URL+`'}]}, {name: lonely}]
`)
	require.Contains(t, l.String(), "no route names this receiver")
	require.Contains(t, l.String(), "lonely")
	require.Contains(t, l.String(), "repeat_interval is longer")
}

func TestCheck(t *testing.T) {
	require.NoError(t, alertmanager.Check(nil))
	h := newHook(t)
	require.NoError(t, alertmanager.Check(load(t, quick(h.URL))))
	c := load(t, quick(h.URL))
	c.Route.Receiver = "nobody"
	require.ErrorContains(t, alertmanager.Check(c), `"nobody", which is not defined`)
	c.Route = nil
	require.ErrorContains(t, alertmanager.Check(c), "no route")
	c = load(t, `
route: {receiver: hook}
receivers: [{name: hook, webhook_configs: [{url: 'http://x', http_config: {tls_config: {ca_file: /no/such/file}}}]}]
`)
	require.ErrorContains(t, alertmanager.Check(c), "/no/such/file")
}

func TestOptions(t *testing.T) {
	good := alertmanager.DefaultOptions()
	good.Path = "x"
	require.NoError(t, good.Validate())
	for name, change := range map[string]func(*alertmanager.Options){
		"folder":  func(o *alertmanager.Options) { o.Path = "" },
		"URL":     func(o *alertmanager.Options) { o.ExternalURL = nil },
		"longer":  func(o *alertmanager.Options) { o.RestoreGrace = 0 },
		"pending": func(o *alertmanager.Options) { o.MaxPending = 0 },
	} {
		o := good
		change(&o)
		require.ErrorContains(t, o.Validate(), name)
	}
}
