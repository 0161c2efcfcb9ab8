package alertmanager

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/nflog/nflogpb"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/notify/webhook"
	"github.com/prometheus/alertmanager/template"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/internal/bubble"
)

func TestScrub(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "secret")
	require.NoError(t, os.WriteFile(file, []byte("filed-secret\n"), 0o600))
	c, err := config.Load(`
global: {opsgenie_api_url: 'http://token1234@host/', smtp_smarthost: 'h:25', smtp_from: a@b, smtp_auth_password: 'p w/d&x'}
route: {receiver: r}
receivers:
- name: r
  email_configs: [{to: a@b}]
  pushover_configs: [{user_key: ukey1, token: tkey1, url: 'http://u:inurl@host/'}]
  webhook_configs:
  - url_file: ` + file + `
    http_config: {oauth2: {client_id: i, client_secret: csecret1, token_url: 'http://x/'}}
  - url: 'https://host/hooks/hookpart?k=querypart'
`)
	require.NoError(t, err)
	s := collectSecrets(c)
	for _, secret := range []string{
		"token1234", "p w/d&x", "p+w%2Fd%26x", "ukey1", "tkey1", "inurl", "filed-secret", "csecret1", "hookpart", "querypart",
		"https://host/hooks/hookpart?k=querypart",
	} {
		text := s.scrub("see " + secret + " here")
		if strings.HasSuffix(secret, "part") {
			// Parts of an address are hidden with the path or query they stand in.
			text = s.scrub("see /hooks/hookpart?k=querypart here")
		}
		require.Equal(t, "see <secret> here", text, secret)
	}
	require.Equal(t, "nothing to hide", s.scrub("nothing to hide"))
	require.NoError(t, os.WriteFile(file, []byte("rotated"), 0o600))
	require.Equal(t, "<secret>", s.scrub("rotated"), "files are read when needed")
	require.JSONEq(t, `{"a":["<secret>",1,{"b":"<secret>"}]}`, string(s.scrubJSON([]byte(`{"a":["ukey1",1,{"b":"tkey1"}]}`))))
	require.Equal(t, "broken <secret>", string(s.scrubJSON([]byte("broken ukey1"))))

	var out bytes.Buffer
	log := slog.New(scrubbing{slog.NewTextHandler(&out, nil), s}).With("with", "ukey1").WithGroup("g")
	log.Info("tkey1", "err", errors.New("csecret1"), "n", 1)
	require.Equal(t, 3, strings.Count(out.String(), hidden), out.String())
}

// The hash is the one that the notification log holds.
func TestAlertHash(t *testing.T) {
	reg := prometheus.NewRegistry()
	l, err := nflog.New(nflog.Options{Retention: time.Hour, Metrics: reg})
	require.NoError(t, err)
	set := model.LabelSet{"b": "2", "alertname": "A"}
	require.NoError(t, l.Log(&nflogpb.Receiver{GroupName: "r", Integration: "i"}, "g", []uint64{alertHash(set)}, nil, nil, time.Hour))
	firing, err := firingForReceivers(l)
	require.NoError(t, err)
	require.Equal(t, map[uint64]bool{alertHash(set): true}, firing)
	require.NotEqual(t, alertHash(set), alertHash(model.LabelSet{"b": "2", "alertname": "B"}))
}

func TestInbox(t *testing.T) {
	m := newMetrics(prometheus.NewRegistry())
	b := newInbox(2, m, slog.New(slog.DiscardHandler))
	now := time.Now()
	add := func(pairs ...string) {
		b.add(fromRules(&notifier.Alert{Labels: labels.FromStrings(pairs...)}, now))
	}
	add("alertname", "A")
	add("alertname", "B")
	add("alertname", "A")
	add("alertname", "C")
	add()
	many := []string{}
	for i := range maxLabels + 1 {
		many = append(many, fmt.Sprintf("l%d", i), "v")
	}
	add(many...)
	var got []*alert.Alert
	b.flush(func(a []*alert.Alert) { got = append(got, a...) })
	require.Len(t, got, 2)
	require.InEpsilon(t, 1, testutil.ToFloat64(m.dropped.WithLabelValues(dropFull, "C")), 0)
	require.InEpsilon(t, 2, testutil.ToFloat64(m.dropped.WithLabelValues(dropInvalid, otherAlerts)), 0, "without a name")
	add("alertname", "big", "x", strings.Repeat("v", 1<<20))
	b.flush(func(a []*alert.Alert) { got = a })
	require.Len(t, got, 1, "what a rule makes is shortened, not lost")
	require.LessOrEqual(t, len(got[0].Labels["x"]), maxLabelBytes)
	// The rules do not wait for those who take alerts in.
	taking, end, taken := make(chan struct{}), make(chan struct{}), make(chan struct{})
	add("alertname", "before")
	go func() {
		defer close(taken)
		b.flush(func([]*alert.Alert) { close(taking); <-end })
	}()
	<-taking
	add("alertname", "meanwhile")
	require.Len(t, b.order, 1)
	close(end)
	<-taken
	b.close(func([]*alert.Alert) {})
	add("alertname", "late")
	require.Empty(t, b.order)
}

func TestShortenedAlertsFit(t *testing.T) {
	pairs := []string{"alertname", "big"}
	for i := range maxLabels - 1 {
		pairs = append(pairs, fmt.Sprintf("l%d", i), strings.Repeat("é", 10_000))
	}
	a := fromRules(&notifier.Alert{Labels: labels.FromStrings(pairs...), Annotations: labels.FromStrings(pairs...)}, time.Now())
	require.True(t, fits(a))
	require.NoError(t, a.Validate())
}

func TestJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	var failures int
	j, err := openJournal(path, true, func(error) { failures++ })
	require.NoError(t, err)
	j.append([]byte("a"))
	size, err := j.compact(func(w io.Writer) (int64, error) {
		j.append([]byte("b")) // comes while the snapshot is written
		n, err := w.Write([]byte("A"))
		return int64(n), err
	})
	require.NoError(t, err)
	require.Equal(t, int64(1), size)
	j.append([]byte("c"))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "Abc", string(data))

	// A disk that takes nothing more: the failure stays until a snapshot heals it.
	j.file.Close()
	j.append([]byte("d"))
	require.Error(t, j.err())
	require.Equal(t, 1, failures)
	_, err = j.compact(func(io.Writer) (int64, error) { return 0, errors.New("full") })
	require.ErrorContains(t, err, "full")
	require.Error(t, j.err())
	_, err = j.compact(func(w io.Writer) (int64, error) {
		n, err := w.Write([]byte("Abcd"))
		return int64(n), err
	})
	require.NoError(t, err)
	require.NoError(t, j.err())
	require.NoError(t, j.close())
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 1, "nothing half written is left")
}

// Of Alertmanager's series only those of integrations in use are there.
func TestSeriesOfIntegrationsInUse(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	o := DefaultOptions()
	o.Path = t.TempDir()
	var err error
	o.Config, err = config.Load("{route: {receiver: r}, receivers: [{name: r, webhook_configs: [{url: 'http://127.0.0.1:1/'}]}]}")
	require.NoError(t, err)
	am, err := Open(o, reg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer am.Close()
	families, err := reg.Gather()
	require.NoError(t, err)
	series := 0
	for _, f := range families {
		series += len(f.GetMetric())
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "integration" {
					require.Equal(t, "webhook", l.GetValue())
				}
			}
		}
	}
	require.Less(t, series, 80)
	t.Logf("%d families, %d series", len(families), series)
}

func FuzzJournalEntries(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte("\xff\xff\xff\xff\xff garbage"))
	entry := notified(f, "a", 1)
	f.Add(entry)
	f.Add(entry[:len(entry)-2])
	f.Add(slices.Concat(entry, make([]byte, 3), entry))
	f.Fuzz(func(t *testing.T, data []byte) {
		good, entries := wholeEntries(data, wholeNotification)
		require.LessOrEqual(t, len(good), len(data))
		again, same := wholeEntries(good, wholeNotification)
		require.Equal(t, entries, same)
		require.Equal(t, good, again)
		_, err := nflog.New(nflog.Options{SnapshotReader: bytes.NewReader(good), Metrics: prometheus.NewRegistry()})
		require.NoError(t, err)
	})
}

func FuzzParseAlerts(f *testing.F) {
	f.Add([]byte(`{"version":1,"saved_at":"2026-01-01T00:00:00Z","alerts":[{"labels":{"alertname":"A"},"starts_at":"2026-01-01T00:00:00Z"}]}`))
	f.Add([]byte(`{"version":1,"alerts":[{},null]}`))
	f.Add([]byte(`{`))
	f.Add([]byte("{\"version\":2}\n{\"labels\":{\"a\":\"b\"},\"starts_at\":\"2026-01-01T00:00:00Z\"}\nnull\n{"))
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, data []byte) {
		saved, _ := parseFile(data)
		changes := saved.restorable(now, time.Minute)
		for _, c := range changes {
			require.NoError(t, c.alert.Validate())
		}
		again, err := parseFile(append([]byte("{\"version\":2}\n"), encode(changes, now)...))
		require.NoError(t, err)
		require.Len(t, again.alerts, len(changes))
	})
}

func FuzzParseTest(f *testing.F) {
	for _, s := range []string{"", "{}", `{"labels":{"a":"b"},"resolve":true}`, `{"labels":null}`, "[]", "{} {}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		req, err := parseTest(strings.NewReader(s))
		if err == nil {
			require.LessOrEqual(t, len(req.Labels), maxLabels)
		}
	})
}

func FuzzParseLedgerQuery(f *testing.F) {
	f.Add("1", "1h", "ok")
	f.Add("-1", "2006-01-02T15:04:05Z", "failed")
	f.Add("x", "y", "z")
	f.Fuzz(func(t *testing.T, limit, since, outcome string) {
		params := map[string]string{"limit": limit, "since": since, "outcome": outcome}
		q, err := parseLedgerQuery(func(n string) string { return params[n] }, time.Unix(0, 0))
		if err == nil {
			require.GreaterOrEqual(t, q.Limit, 1)
			require.LessOrEqual(t, q.Limit, maxPage)
		}
	})
}

func FuzzScrub(f *testing.F) {
	f.Add("hunter2", "the password is hunter2")
	f.Add("e", "<secret>")
	f.Fuzz(func(t *testing.T, secret, text string) {
		s := &secrets{}
		s.add(secret)
		if v := strings.TrimSpace(secret); v != "" && v != hidden && !strings.Contains(hidden, v) {
			for piece := range strings.SplitSeq(s.scrub(text), hidden) {
				require.NotContains(t, piece, v)
			}
		}
	})
}

// broken is a notifier as no real one should be.
type broken func(context.Context) (bool, error)

func (b broken) Notify(ctx context.Context, _ ...*alert.Alert) (bool, error) { return b(ctx) }
func (b broken) SendResolved() bool                                          { return true }

func TestBrokenNotifiers(t *testing.T) {
	record := func(out io.Writer, b broken) *recorder {
		inner := notify.NewIntegration(b, b, "webhook", 0, "r")
		tmpl, err := template.New()
		require.NoError(t, err)
		tmpl.ExternalURL = &url.URL{}
		return &recorder{
			composer: newComposer(&inner, reflect.ValueOf(&webhook.WebhookConfig{}), tmpl, tmpl), inner: &inner, receiver: "r", secrets: &secrets{values: []string{"hunter2"}}, log: slog.New(slog.NewJSONHandler(out, nil)),
			metrics: newMetrics(prometheus.NewRegistry()), timeout: time.Minute, grace: 5 * time.Second, turns: make(chan struct{}, maxTries),
		}
	}
	a := fromRules(&notifier.Alert{Labels: labels.FromStrings("alertname", "A")}, time.Now())
	t.Run("panics", func(t *testing.T) {
		var out bytes.Buffer
		r := record(&out, func(context.Context) (bool, error) { panic("at hunter2") })
		retry, err := r.Notify(t.Context(), a)
		require.False(t, retry)
		require.EqualError(t, err, "the integration panicked: at <secret>")
		require.NotContains(t, out.String(), "hunter2")
		require.InEpsilon(t, 1, testutil.ToFloat64(r.metrics.attempts.WithLabelValues("webhook", OutcomeFailed)), 0)
	})
	t.Run("keeps the reason", func(t *testing.T) {
		r := record(io.Discard, func(context.Context) (bool, error) {
			return true, notify.NewErrorWithReason(notify.RateLimitedReason, errors.New("hunter2"))
		})
		_, err := r.Notify(t.Context(), a)
		var reason *notify.ErrorWithReason
		require.ErrorAs(t, err, &reason)
		require.Equal(t, notify.RateLimitedReason, reason.Reason)
		require.EqualError(t, err, hidden)
	})
	t.Run("hangs", func(t *testing.T) {
		bubble.Test(t, func(t *testing.T) {
			end := make(chan struct{})
			r := record(io.Discard, func(context.Context) (bool, error) { <-end; return false, nil })
			start := time.Now()
			for range maxHanging {
				retry, err := r.Notify(t.Context(), a)
				require.True(t, retry)
				require.ErrorContains(t, err, "did not answer in time")
			}
			require.Equal(t, maxHanging*(time.Minute+lastWords), time.Since(start))
			_, err := r.Notify(t.Context(), a)
			require.ErrorContains(t, err, "still hang")
			close(end)
			synctest.Wait()
			_, err = r.Notify(t.Context(), a)
			require.NoError(t, err, "what hung has ended")
		})
	})
	t.Run("outlives a cancellation", func(t *testing.T) {
		bubble.Test(t, func(t *testing.T) {
			for patience, want := range map[time.Duration]error{time.Second: nil, 10 * time.Second: context.Canceled} {
				r := record(io.Discard, func(ctx context.Context) (bool, error) {
					select {
					case <-time.After(patience):
						return false, nil
					case <-ctx.Done():
						return true, ctx.Err()
					}
				})
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(500*time.Millisecond, cancel)
				_, err := r.Notify(ctx, a)
				if want == nil {
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, want.Error())
				}
			}
		})
	})
	t.Run("ends with the flush", func(t *testing.T) {
		bubble.Test(t, func(t *testing.T) {
			r := record(io.Discard, func(ctx context.Context) (bool, error) { <-ctx.Done(); return true, ctx.Err() })
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			start := time.Now()
			_, err := r.Notify(ctx, a)
			require.Error(t, err)
			require.Equal(t, 3*time.Second, time.Since(start))
		})
	})
}
