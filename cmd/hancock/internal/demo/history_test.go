package demo

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func BenchmarkWriteHistory(b *testing.B) {
	for b.Loop() {
		o := DefaultHistoryOptions()
		o.Dir, o.Now = b.TempDir(), time.UnixMilli(1770000000123)
		require.NoError(b, WriteHistory(b.Context(), o))
	}
}
