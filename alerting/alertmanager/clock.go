package alertmanager

import (
	"bytes"
	"fmt"
	"time"

	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/nflog/nflogpb"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// notificationLog is Alertmanager's for a clock that may be set back. That one
// keeps of two entries the later one, as a cluster needs it: while the clock is
// behind the last entry, what is told leaves no trace, and so is told again or,
// when it fires anew, not at all. It limits entries by the retention in effect.
type notificationLog struct {
	log       *nflog.Log
	journal   *journal
	retention time.Duration
}

// Query implements notify.NotificationLog.
func (l notificationLog) Query(params ...nflog.QueryParam) ([]*nflogpb.Entry, error) {
	return l.log.Query(params...)
}

// Log implements notify.NotificationLog.
//
//nolint:revive // Its arguments are Alertmanager's.
func (l notificationLog) Log(r *nflogpb.Receiver, group string, firing, resolved []uint64, s *nflog.Store, expiry time.Duration) error {
	if expiry <= 0 || expiry > l.retention {
		expiry = l.retention
	}
	found, err := l.Query(nflog.QGroupKey(group), nflog.QReceiver(r))
	if err != nil || len(found) == 0 || !found[0].GetTimestamp().AsTime().After(time.Now()) {
		return l.log.Log(r, group, firing, resolved, s, expiry)
	}
	// What would be changed in place later, such as a message of Slack, is left
	// out: a new message is better than one that nobody sees.
	at := found[0].GetTimestamp().AsTime().Add(1)
	var entry bytes.Buffer
	if _, err := protodelim.MarshalTo(&entry, &nflogpb.MeshEntry{
		Entry: &nflogpb.Entry{
			Receiver: r, GroupKey: []byte(group), Timestamp: timestamppb.New(at),
			FiringAlerts: firing, ResolvedAlerts: resolved,
		},
		ExpiresAt: timestamppb.New(at.Add(expiry)),
	}); err != nil {
		return fmt.Errorf("writing an entry of the notification log: %w", err)
	}
	if err := l.log.Merge(entry.Bytes()); err != nil {
		return fmt.Errorf("taking in an entry of the notification log: %w", err)
	}
	l.journal.append(entry.Bytes()) // Merge passes on only what is short.
	return nil
}
