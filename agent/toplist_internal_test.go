package agent

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// However the keys change over time, no more than n ever have a place, and
// memory stays bounded.
func TestTopListOverTime(t *testing.T) {
	l := newTopList(20, 50)
	placed := make(map[string]bool)
	add := func(key string) {
		if l.add(key) {
			placed[key] = true
		}
		require.LessOrEqual(t, len(l.counts), candidates)
	}
	for i := range 20_000 {
		add(fmt.Sprint("once ", i))
		add("always")
	}
	require.Equal(t, map[string]bool{"always": true}, placed)
	for i := range 100 {
		for range 200 {
			add(fmt.Sprint("often ", i))
		}
	}
	require.Len(t, placed, 20)
	require.Len(t, l.places, 20)
	require.True(t, l.add("always"))
	require.False(t, l.add("often 99"))
}
