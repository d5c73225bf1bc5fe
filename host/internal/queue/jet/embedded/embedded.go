//go:build !no_nats_server

// Package embedded keeps one promise: a JetStream server of this process alone, that no network reaches, with what it
// acknowledged on the disk. With the build tag no_nats_server it is left out, and Start says so: the program is a sixth smaller.
package embedded

import (
	"net"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/arw-project/arw/abi"
)

// Server is a running one.
type Server struct{ s *server.Server }

// Start starts a server that keeps its streams below dir. With always, each message is synced to the disk before it is
// acknowledged, as the host's own database does; without, every two minutes, so that a power cut may lose what was acknowledged.
func Start(dir string, always bool) (*Server, error) {
	s, err := server.NewServer(&server.Options{
		ServerName: "arw", DontListen: true, JetStream: true, StoreDir: dir, SyncAlways: always, NoSigs: true, NoLog: true, DisableJetStreamBanner: true,
	})
	if err != nil {
		return nil, abi.Errorf(abi.Unavailable, "start the queue's server in %q: %w", dir, err)
	}
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		s.Shutdown()
		return nil, abi.Errorf(abi.Unavailable, "start the queue's server in %q: it is not ready after 20 s", dir).WithHint("see that the disk has room")
	}
	return &Server{s}, nil
}

// Conn is a connection to it.
func (s *Server) Conn() (net.Conn, error) { return s.s.InProcessConn() }

// Close stops it, with its files closed.
func (s *Server) Close() error {
	s.s.Shutdown()
	s.s.WaitForShutdown()
	return nil
}
