//go:build no_nats_server

// Package embedded is left out of this build.
package embedded

import (
	"net"

	"github.com/arw-project/arw/abi"
)

// Server is none.
type Server struct{}

// Start says that there is no server in this build.
func Start(string, bool) (*Server, error) {
	return nil, abi.Errorf(abi.Unsupported, "start the queue's server: this build of arw has none").WithHint("use a build without the tag no_nats_server, or [queue.nats] urls")
}

// Conn has nothing to connect to.
func (s *Server) Conn() (net.Conn, error) {
	return nil, abi.Errorf(abi.Unsupported, "reach the queue's server: this build of arw has none")
}

// Close does nothing.
func (s *Server) Close() error { return nil }
