//go:build !linux

package web

import "net"

// unsent returns -1: the number of bytes that the client has not acknowledged is unknown.
func unsent(net.Conn) int { return -1 }
