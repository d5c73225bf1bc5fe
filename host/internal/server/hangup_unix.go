//go:build unix

package server

import (
	"net"
	"syscall"
)

// hungUp reports whether the other end of a connection has gone, without taking a byte that it sent. Where it cannot be told,
// as behind TLS, it has not.
func hungUp(conn net.Conn) (gone bool) {
	raw, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	rc, err := raw.SyscallConn()
	if err != nil {
		return true // closed here
	}
	err = rc.Control(func(fd uintptr) {
		var one [1]byte
		n, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		gone = n == 0 && err == nil || err == syscall.ECONNRESET
	})
	return gone || err != nil
}
