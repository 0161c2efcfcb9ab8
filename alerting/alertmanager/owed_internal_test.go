package alertmanager

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/nflog/nflogpb"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/internal/bubble"
)

// A receiver that is down for longer than ended alerts are kept is told of the
// end when it is back, also if there was a reload or a restart in between.
func TestResolvedIsOwed(t *testing.T) {
	t.Parallel()
	for name, restart := range map[string]bool{"reload": false, "restart": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hook := newStatusHook(t)
			o := hook.options(t, "1h")
			o.MaintenanceInterval = 20 * time.Millisecond
			am := openQuietly(t, o)
			defer func() { require.NoError(t, am.Close()) }()
			set := labels.FromStrings("alertname", "A")
			now := time.Now()
			am.Send(&notifier.Alert{Labels: set, StartsAt: now, EndsAt: now.Add(time.Hour)})
			require.Equal(t, "firing", <-hook.got)
			// The receiver has it before the log does, and what is owed is judged by the log each 20 ms.
			require.Eventually(t, func() bool {
				firing, err := firingForReceivers(am.nflog)
				return err == nil && len(firing) == 1
			}, time.Minute, time.Millisecond)
			hook.down.Store(true)
			am.Send(&notifier.Alert{Labels: set, StartsAt: now, EndsAt: time.Now()})
			fp := model.LabelSet{"alertname": "A"}.Fingerprint()
			gone := func() bool {
				_, err := am.alerts.Get(fp)
				return err != nil
			}
			require.Eventually(t, gone, time.Minute, time.Millisecond)
			hook.down.Store(false)
			again := func() {
				if !restart {
					require.NoError(t, am.Reload(o))
					return
				}
				require.NoError(t, am.Close())
				am = openQuietly(t, o)
			}
			again()
			select {
			case status := <-hook.got:
				require.Equal(t, "resolved", status)
			case <-time.After(time.Minute):
				require.FailNow(t, "the end of the alert was never told")
			}
			require.Eventually(t, func() bool {
				firing, err := firingForReceivers(am.nflog)
				return err == nil && len(firing) == 0
			}, time.Minute, time.Millisecond)
			require.Eventually(t, gone, time.Minute, time.Millisecond)
			again()
			require.Empty(t, hook.got, "and told once")
		})
	}
}

// A disk that is full for ten minutes is not told so a thousand times, and
// what could not be written is written when there is room.
func TestSavingIsTriedAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "am")
	bubble.Test(t, func(t *testing.T) {
		am := openInternal(t, dir)
		require.NoError(t, os.Rename(dir, dir+".gone"))
		am.nflogJournal.file.Close() // the next append fails
		am.store.journal.file.Close()
		require.NoError(t, am.nflog.Log(&nflogpb.Receiver{GroupName: "r", Integration: "i"}, "group", []uint64{1}, nil, nil, time.Hour))
		am.Send(&notifier.Alert{Labels: labels.FromStrings("alertname", "A"), StartsAt: time.Now(), EndsAt: time.Now().Add(time.Hour)})
		time.Sleep(10 * time.Minute)
		failures := testutil.ToFloat64(am.metrics.saveErrors.WithLabelValues(alertsFile))
		require.Greater(t, failures, 5.0)
		require.Less(t, failures, 30.0)
		require.Error(t, am.nflogJournal.err())
		require.NoError(t, os.Rename(dir+".gone", dir))
		time.Sleep(maxSaveDelay + time.Second)
		data, err := os.ReadFile(filepath.Join(dir, alertsFile))
		require.NoError(t, err)
		require.Contains(t, string(data), `"A"`)
		require.NoError(t, am.nflogJournal.err())
		data, err = os.ReadFile(filepath.Join(dir, nflogFile))
		require.NoError(t, err)
		require.Contains(t, string(data), "group")
		require.NoError(t, am.Close())
		synctest.Wait()
	})
}

// Who posts an alert may give it an end that is far away, and change it.
func TestChangedEndIsSaved(t *testing.T) {
	dir := t.TempDir()
	bubble.Test(t, func(t *testing.T) {
		am := openInternal(t, dir)
		begun := time.Now()
		put := func(end time.Duration) {
			a := &alert.Alert{UpdatedAt: time.Now()}
			a.Labels, a.StartsAt, a.EndsAt = model.LabelSet{"alertname": "A"}, begun, begun.Add(end)
			am.put([]*alert.Alert{a})
			time.Sleep(time.Second)
		}
		saved := func() time.Duration {
			alerts := savedIn(t, dir)
			require.Len(t, alerts, 1)
			return alerts[0].alert.EndsAt.Sub(begun)
		}
		put(time.Hour)
		require.Equal(t, time.Hour, saved())
		put(24 * time.Hour)
		require.Equal(t, 24*time.Hour, saved())
		require.NoError(t, am.Close())
		synctest.Wait()
	})
}

// With a clock that was set back, alerts end as long after the start as ever.
func TestClockSetBack(t *testing.T) {
	now := time.Now()
	file, err := json.Marshal(savedHeader{Version: savedOldVersion, SavedAt: now.Add(48 * time.Hour), Alerts: []savedAlert{
		{Labels: model.LabelSet{"alertname": "Fires"}, StartsAt: now.Add(47 * time.Hour), EndsAt: now.Add(48*time.Hour + time.Minute), UpdatedAt: now.Add(48 * time.Hour)},
		{Labels: model.LabelSet{"alertname": "Ended"}, StartsAt: now.Add(46 * time.Hour), EndsAt: now.Add(47 * time.Hour), UpdatedAt: now.Add(47 * time.Hour)},
	}})
	require.NoError(t, err)
	saved, err := parseFile(file)
	require.NoError(t, err)
	alerts := saved.restorable(now, 5*time.Minute)
	require.Len(t, alerts, 2)
	fires, ended := alerts[0].alert, alerts[1].alert
	require.WithinDuration(t, now.Add(5*time.Minute), fires.EndsAt, time.Second)
	require.WithinDuration(t, now.Add(-time.Hour), fires.StartsAt, time.Second)
	require.True(t, ended.ResolvedAt(now))
	require.False(t, fires.UpdatedAt.After(now), "what comes now is newer")
}
