package external_test

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/external"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestReload(t *testing.T) {
	one, two := newReceiver(t), newReceiver(t)
	f := open(t, with(nil))
	require.NoError(t, f.Reload(with(to(t, one.address()))))
	f.known(1)
	f.Send(fires("A"))

	// What is queued goes to where it was meant for, what comes then to the new one.
	require.NoError(t, f.Reload(with(to(t, two.address()))))
	f.Send(fires("B"))
	until(t, "both have arrived", func() bool { return len(one.names())+len(two.names()) == 2 })
	require.Equal(t, []string{"A"}, one.names())
	require.Equal(t, []string{"B"}, two.names())

	for _, password := range []string{"old", "new"} {
		before := len(one.names())
		require.NoError(t, f.Reload(with(section(t, `alertmanagers:
- static_configs:
  - targets: [`+one.address()+`]
  basic_auth: {username: u, password: `+password+`}
`))))
		f.Send(fires("D"))
		until(t, "it has arrived", func() bool { return len(one.names()) == before+1 })
		r := one.requests()[before]
		user := (&requestOf{r}).password()
		require.Equal(t, password, user, "another password is another configuration")
	}

	require.NoError(t, f.Reload(with(nil)))
	f.Send(fires("E"))
	families, err := f.reg.Gather()
	require.NoError(t, err)
	require.Empty(t, families)
	f.close()
	require.Len(t, one.names(), 3)
	require.Len(t, two.names(), 1)
}

func TestReloadUnchanged(t *testing.T) {
	am := newReceiver(t)
	f := open(t, with(to(t, am.address())))
	f.known(1)
	f.Send(fires("A"))
	until(t, "it has arrived", func() bool { return f.metric("prometheus_notifications_sent_total") == 1 })
	require.NoError(t, f.Reload(with(to(t, am.address()))))
	require.InDelta(t, 1, f.metric("prometheus_notifications_sent_total"), 0, "the same goes on, and counts on")
	f.close()
}

func TestReloadBad(t *testing.T) {
	am := newReceiver(t)
	f := open(t, with(to(t, am.address())))
	f.known(1)
	for want, cfg := range map[string]string{
		"alerting.alertmanagers[0]: the address of am:9093 has credentials in it": "alertmanagers:\n- static_configs:\n  - targets: ['u:s3cret@am:9093']\n",
		"unable to read CA cert": "alertmanagers:\n- static_configs:\n  - targets: [am]\n  tls_config: {ca_file: /nothing.pem}\n",
	} {
		bad := with(section(t, cfg))
		err := f.Reload(bad)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "s3cret")
		require.Error(t, external.Check(bad))
		_, err = external.Open(bad, f.reg, discard())
		require.Error(t, err)
		require.Len(t, f.Alertmanagers(), 1)
	}
	for want, spoil := range map[string]func(*external.Options){
		"queue capacity must be at least 1":  func(o *external.Options) { o.QueueCapacity = 0 },
		"drain timeout must not be negative": func(o *external.Options) { o.DrainTimeout = -1 },
	} {
		o := with(nil)
		spoil(&o)
		require.ErrorContains(t, f.Reload(o), want)
	}
	f.Send(fires("A"))
	f.close()
	require.Equal(t, []string{"A"}, am.names())
}

// TestReloadWhileItSends has senders, readers and reloads at once, and loses nothing.
func TestReloadWhileItSends(t *testing.T) {
	one, two := newReceiver(t), newReceiver(t)
	f := open(t, with(to(t, one.address())))
	f.known(1)
	const senders, each = 3, 300
	var busy sync.WaitGroup
	for s := range senders {
		busy.Go(func() {
			for i := range each {
				f.Send(fires(fmt.Sprint("Alert", s, "-", i)))
				f.Alertmanagers()
			}
		})
	}
	for _, am := range []*receiver{two, one, two} {
		require.NoError(t, f.Reload(with(to(t, am.address()))))
	}
	busy.Wait()
	f.known(1)
	f.close()
	require.Len(t, append(one.names(), two.names()...), senders*each)
}
