package alertmanager

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
	"github.com/stretchr/testify/require"
)

// Groups that are told at the same moment go through one integration, and some
// of Alertmanager's keep something between two messages. The race detector
// judges.
func TestManyGroupsThroughOneIntegration(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/enqueue" {
			w.WriteHeader(http.StatusAccepted)
		}
		_, _ = w.Write([]byte(`{"access_token":"t","errcode":0}`))
	}))
	defer s.Close()
	for kind, settings := range map[string]string{
		"pagerduty": "{url: '" + s.URL + "/v2/enqueue', routing_key: k}",
		"wechat":    "{api_url: '" + s.URL + "/', corp_id: c, api_secret: s}",
	} {
		t.Run(kind, func(t *testing.T) {
			c, err := config.Load("{route: {receiver: r}, receivers: [{name: r, " + kind + "_configs: [" + settings + "]}]}")
			require.NoError(t, err)
			o := DefaultOptions()
			o.Path, o.Config = t.TempDir(), c
			am, err := Open(o, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			defer am.Close()
			integration := am.current.Load().receivers["r"][0]
			a := fromRules(&notifier.Alert{Labels: labels.FromStrings("alertname", "A")}, time.Now())
			begin := make(chan struct{})
			var groups sync.WaitGroup
			for range maxTries {
				groups.Go(func() {
					<-begin
					if _, err := integration.Notify(notify.WithGroupKey(t.Context(), "group"), a); err != nil {
						t.Error(err)
					}
				})
			}
			close(begin)
			groups.Wait()
		})
	}
}
