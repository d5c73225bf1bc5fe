//go:build unix && !linux

package host

import (
	"errors"
	"net"
)

// peerUser is not asked here; the socket's mode is what keeps others out.
func peerUser(*net.UnixConn) (int, error) { return 0, errors.ErrUnsupported }
