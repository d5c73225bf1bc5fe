//go:build no_nats_server

package embedded_test

import (
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/queue/jet/embedded"
)

// A build without the server says so, and what to do.
func TestABuildWithoutTheServerSaysSo(t *testing.T) {
	if _, err := embedded.Start(t.TempDir(), false); abi.CodeOf(err) != abi.Unsupported {
		t.Errorf("started: %v", err)
	}
	var none embedded.Server
	if _, err := none.Conn(); abi.CodeOf(err) != abi.Unsupported {
		t.Errorf("connected: %v", err)
	}
	if err := none.Close(); err != nil {
		t.Error(err)
	}
}
