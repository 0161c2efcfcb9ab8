//go:build linux && !race

package render

import "golang.org/x/sys/unix"

// limitData makes the kernel refuse memory beyond a limit. The runtime takes it
// in steps of 64 MiB, and what it takes counts before it is used.
func limitData() {
	const most = 512 << 20
	_ = unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: most, Max: most})
}
