package alertmanager

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/nflog/nflogpb"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// What was told while the clock was ahead stands in the notification log with a
// time that is yet to come. What happens after the clock was set back counts
// all the same: nothing is told again and again, and what fires anew is told.
func TestNotifiedWhenTheClockWasAhead(t *testing.T) {
	t.Parallel()
	hook := newStatusHook(t)
	o := hook.options(t, "20ms")
	ahead := time.Now().Add(2 * time.Hour)
	set := model.LabelSet{"alertname": "A"}
	var file bytes.Buffer
	_, err := protodelim.MarshalTo(&file, &nflogpb.MeshEntry{
		Entry: &nflogpb.Entry{
			Receiver: &nflogpb.Receiver{GroupName: "hook", Integration: "webhook"}, GroupKey: []byte(`{}:{alertname="A"}`),
			Timestamp: timestamppb.New(ahead), FiringAlerts: []uint64{alertHash(set)},
		},
		ExpiresAt: timestamppb.New(ahead.Add(time.Hour)),
	})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(o.Path, nflogFile), file.Bytes(), 0o600))
	am := openQuietly(t, o)
	send := func(name string, ends time.Time) {
		am.Send(&notifier.Alert{Labels: labels.FromStrings("alertname", "A", "n", name), StartsAt: time.Now().Add(-time.Second), EndsAt: ends})
	}
	told := func(status string) {
		t.Helper()
		select {
		case s := <-hook.got:
			require.Equal(t, status, s)
		case <-time.After(time.Minute):
			require.FailNow(t, "nobody was told", status)
		}
	}
	hour := time.Now().Add(time.Hour)
	send("", hour)
	send("", time.Now())
	told("resolved")
	send("", hour)
	told("firing")
	// The next one of the group is told once, though the group looks every 20 ms.
	send("more", hour)
	told("firing")
	require.NoError(t, am.Close())
	require.Empty(t, hook.got)

	am = openQuietly(t, o)
	send("", hour)
	send("more", time.Now())
	told("firing")
	require.NoError(t, am.Close())
	require.Empty(t, hook.got, "a restart knows all of it")
}
