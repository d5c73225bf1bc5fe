//go:build unix

package host

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"syscall"

	"github.com/arw-project/arw/abi"
)

// listenSocket opens a unix socket that only this user can use: the file has mode 0600 from its birth, and each peer is
// asked for its user beside that, for where a file system does not keep modes. A socket that a killed host left behind is
// taken over: no other host can be here, for this one holds the state directory. Errors: Invalid when something else is there.
func listenSocket(path string) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&fs.ModeSocket == 0 {
			return nil, abi.Errorf(abi.Invalid, "listen on socket %q: something else has that name", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, abi.Errorf(abi.Unavailable, "listen on socket %q: %w", path, err)
		}
	}
	old := syscall.Umask(0o177)
	ln, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		return nil, abi.Errorf(abi.Unavailable, "listen on socket %q: %w", path, err).WithHint("a socket's path has at most 107 bytes; choose a shorter state directory")
	}
	return ownPeers{ln, os.Getuid()}, nil
}

// ownPeers accepts connections of one user alone.
type ownPeers struct {
	net.Listener
	uid int
}

func (o ownPeers) Accept() (net.Conn, error) {
	for {
		c, err := o.Listener.Accept()
		if err != nil {
			return nil, err
		}
		uid, err := peerUser(c.(*net.UnixConn))
		if err == nil && uid == o.uid || errors.Is(err, errors.ErrUnsupported) {
			return c, nil
		}
		_ = c.Close()
	}
}
