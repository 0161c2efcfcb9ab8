package alertmanager

import (
	"bufio"
	"bytes"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/nflog/nflogpb"
	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/alertmanager/silence/silencepb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// TestReloadOfTheRetention changes how long silences and notifications are remembered: of what is there already, and
// of what comes, also after a restart.
func TestReloadOfTheRetention(t *testing.T) {
	o := DefaultOptions()
	o.Path, o.Retention = t.TempDir(), time.Hour
	am := openQuietly(t, o)
	t.Cleanup(func() { require.NoError(t, am.Close()) })
	set := func() {
		now := time.Now()
		require.NoError(t, am.silences.Set(t.Context(), &silencepb.Silence{
			MatcherSets: []*silencepb.MatcherSet{{Matchers: []*silencepb.Matcher{{Name: "a", Pattern: "b"}}}},
			StartsAt:    timestamppb.New(now), EndsAt: timestamppb.New(now.Add(time.Hour)), CreatedBy: "c", Comment: "d",
		}))
	}
	// kept are how long silences are remembered after they have ended.
	kept := func() (all []time.Duration) {
		data, err := am.silences.MarshalBinary()
		require.NoError(t, err)
		for in := bytes.NewReader(data); in.Len() > 0; {
			var s silencepb.MeshSilence
			require.NoError(t, protodelim.UnmarshalFrom(in, &s))
			all = append(all, s.GetExpiresAt().AsTime().Sub(s.GetSilence().GetEndsAt().AsTime()))
		}
		return all
	}
	set()
	require.Equal(t, []time.Duration{time.Hour}, kept())
	o.Retention = 3 * time.Hour
	require.NoError(t, am.Reload(o))
	require.Equal(t, []time.Duration{3 * time.Hour}, kept())
	found, _, err := am.silences.Query(t.Context(), silence.QState(silence.SilenceStateActive))
	require.NoError(t, err)
	require.Len(t, found, 1, "it goes on")

	// Less than it takes to forget: what has ended goes with the second compaction.
	require.NoError(t, am.silences.Expire(t.Context(), found[0].GetId()))
	o.Retention = time.Millisecond
	require.NoError(t, am.Reload(o))
	require.Eventually(t, func() bool {
		_, err := am.compactSilences()
		return err == nil && len(kept()) == 0
	}, time.Minute, 10*time.Millisecond)

	o.Retention = 2 * time.Hour
	require.NoError(t, am.Reload(o))
	entries := notificationLog{am.nflog, am.nflogJournal, am.Options().Retention}
	for _, asked := range []time.Duration{0, time.Hour, 50 * time.Hour} {
		require.NoError(t, entries.Log(&nflogpb.Receiver{GroupName: "g", Integration: "i"}, asked.String(), []uint64{1}, nil, nflog.NewStore(nil), asked))
	}
	data, err := am.nflog.MarshalBinary()
	require.NoError(t, err)
	longest := map[string]time.Duration{}
	for in := bufio.NewReader(bytes.NewReader(data)); ; {
		var e nflogpb.MeshEntry
		if protodelim.UnmarshalFrom(in, &e) != nil {
			break
		}
		longest[string(e.GetEntry().GetGroupKey())] = e.GetExpiresAt().AsTime().Sub(e.GetEntry().GetTimestamp().AsTime())
	}
	require.Equal(t, map[string]time.Duration{"0s": 2 * time.Hour, "1h0m0s": time.Hour, "50h0m0s": 2 * time.Hour}, longest)
}
