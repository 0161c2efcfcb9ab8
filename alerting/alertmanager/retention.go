package alertmanager

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/prometheus/alertmanager/silence/silencepb"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// longestRetention disables the notification log's own limit, which cannot change;
// the generation's retention limits entries instead.
const longestRetention = 100 * 365 * 24 * time.Hour

// forgetIn is how long a silence remains after its retention was reduced below its
// age: expired silences cannot be merged.
const forgetIn = time.Second

// retainSilences sets the expiry of all silences by the retention. Alertmanager
// sets it by the retention of the start.
func (a *Alertmanager) retainSilences(retention time.Duration) error {
	data, err := a.silences.MarshalBinary()
	if err != nil {
		return fmt.Errorf("copying the silences: %w", err)
	}
	var stamped bytes.Buffer
	earliest := time.Now().Add(forgetIn)
	for in := bytes.NewReader(data); ; {
		var s silencepb.MeshSilence
		err := protodelim.UnmarshalFrom(in, &s)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading a silence: %w", err)
		}
		expires, stamp := s.GetSilence().GetEndsAt().AsTime().Add(retention), s.GetExpiresAt().AsTime()
		if expires.Before(earliest) {
			expires = earliest
		}
		if stamp.Equal(expires) || expires.Equal(earliest) && stamp.Before(earliest) { // It is about to go.
			continue
		}
		s.ExpiresAt = timestamppb.New(expires)
		// The newer one of two counts; one that is set meanwhile is newer still.
		s.Silence.UpdatedAt = timestamppb.New(s.Silence.GetUpdatedAt().AsTime().Add(1))
		if _, err := protodelim.MarshalTo(&stamped, &s); err != nil {
			return fmt.Errorf("writing a silence: %w", err)
		}
	}
	if err := a.silences.Merge(stamped.Bytes()); err != nil {
		return fmt.Errorf("taking in silences: %w", err)
	}
	return nil
}
