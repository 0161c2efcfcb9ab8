package web

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// unsent returns the number of bytes in the kernel that the client has not acknowledged, -1 if it is unknown. A slow
// client takes from there long before the kernel reports that there is room for more.
func unsent(c net.Conn) int {
	source, ok := c.(syscall.Conn)
	if !ok {
		return -1
	}
	raw, err := source.SyscallConn()
	if err != nil {
		return -1
	}
	n := -1
	err = raw.Control(func(fd uintptr) {
		if queued, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err == nil { // #nosec G115 -- a descriptor
			n = queued
		}
	})
	if err != nil {
		return -1
	}
	return n
}
