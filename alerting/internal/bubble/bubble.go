// Package bubble is testing/synctest for tests in whose bubble many goroutines have timers.
package bubble

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
)

// alone keeps apart those that change the number of processors.
var alone sync.Mutex

// Test is synctest.Test on one processor: a timer that is due already, as one without duration, is run by the goroutine
// that looks at it, and all those of a bubble share what the race detector knows of them, without a lock. Two at the same
// time destroy it, and the process dies in __tsan::SlotLock (seen with go1.26.8).
func Test(t *testing.T, f func(*testing.T)) {
	t.Helper()
	alone.Lock()
	defer alone.Unlock()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, f)
}
