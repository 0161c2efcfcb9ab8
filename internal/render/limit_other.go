//go:build !linux || race

package render

// limitData does nothing: other systems do not enforce such a limit, and the
// race detector needs more.
func limitData() {}
