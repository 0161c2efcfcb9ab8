//go:build !unix

package web

import "math"

// descriptors returns how many files and connections the process may have open: there is no such limit.
func descriptors() int { return math.MaxInt32 }
