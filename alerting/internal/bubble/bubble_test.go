package bubble_test

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/internal/bubble"
)

// TestTimersThatAreDue ends the process when they run at the same time under the race detector.
func TestTimersThatAreDue(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	bubble.Test(t, func(t *testing.T) {
		start := time.Now()
		var looking sync.WaitGroup
		for range 8 {
			looking.Go(func() {
				for range 20_000 {
					<-time.NewTimer(0).C
				}
			})
		}
		looking.Wait()
		require.Zero(t, time.Since(start))
	})
	require.Equal(t, before, runtime.GOMAXPROCS(0))
}
