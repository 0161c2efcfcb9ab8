package agent

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

func TestExemplarsAreSpaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e exemplars
		took := 5 * time.Millisecond
		require.Equal(t, prometheus.Labels{"request_id": "a"}, e.of("a", took, false))
		require.Nil(t, e.of("b", took+time.Microsecond, false), "one of many")
		require.NotNil(t, e.of("c", 10*took, false), "slower than the others")
		require.NotNil(t, e.of("d", took, true), "not as the others")
		time.Sleep(spacing)
		require.Nil(t, e.of("", took, false), "without an id")
		require.NotNil(t, e.of("e", took, false))
		e.left[0].Store(time.Now().Add(time.Hour).UnixNano())
		require.NotNil(t, e.of("f", 0, false), "the clock was set back")
	})
}
