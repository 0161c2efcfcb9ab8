package notify

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestReload tells another channel from one notification to the next. What was queued for the one before still gets
// there, and an integration that stays is not touched.
func TestReload(t *testing.T) {
	release := make(chan struct{})
	old := newReceiver(t, func(w http.ResponseWriter, r *http.Request) {
		<-release
		ok(w, r)
	})
	next, teams := newReceiver(t, ok), newReceiver(t, ok)
	opts := DefaultOptions()
	b := newBench(t, func(o *Options) {
		o.SlackURL, o.TeamsURL = old.url, teams.url
		opts = *o
	})
	kept := b.targets[1]
	for range 5 {
		b.Notify(t.Context(), message())
	}
	bad := opts
	bad.SlackURL = "ftp://nowhere"
	require.ErrorContains(t, b.Reload(bad), "slack_url")

	opts.SlackURL = next.url
	require.NoError(t, b.Reload(opts))
	require.Same(t, kept, b.targets[1])
	b.Notify(t.Context(), message())
	require.Eventually(t, func() bool { return len(next.got()) == 1 }, time.Minute, time.Millisecond)
	close(release)
	require.Eventually(t, func() bool { return len(old.got()) == 5 && b.count("slack sent") == 6 }, time.Minute, time.Millisecond)

	opts.SlackURL, opts.TeamsURL = "", ""
	require.NoError(t, b.Reload(opts))
	require.Empty(t, b.Configured())
	b.Notify(t.Context(), message())
	require.NoError(t, b.Close())
	require.ErrorContains(t, b.Reload(opts), "closed")
	require.Len(t, next.got(), 1)
	require.Len(t, teams.got(), 6)
}
