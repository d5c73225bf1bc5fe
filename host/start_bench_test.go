package host_test

import (
	"context"
	"net"
	"net/http"
	"testing"

	"github.com/arw-project/arw/host"
)

// BenchmarkStart is a daemon's way from nothing to an answer of /healthz, within one process: on a state folder that is not
// there yet, and on one that is. It says nothing of the operating system's part, loading the program. Aim: 150 ms.
func BenchmarkStart(b *testing.B) {
	ready := func(b *testing.B, dir string) {
		h, err := host.Open(b.Context(), host.Config{StateDir: dir})
		if err != nil {
			b.Fatal(err)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		ctx, stop := context.WithCancel(b.Context())
		done := make(chan error, 1)
		go func() { done <- h.Serve(ctx, ln) }()
		resp, err := http.Get("http://" + ln.Addr().String() + "/healthz") // waits in the listener's queue until it is served
		if err != nil || resp.StatusCode != http.StatusOK {
			b.Fatal(resp, err)
		}
		resp.Body.Close()
		b.StopTimer()
		stop()
		<-done
		if err := h.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			ready(b, b.TempDir())
		}
	})
	b.Run("again", func(b *testing.B) {
		dir := b.TempDir()
		for b.Loop() {
			ready(b, dir)
		}
	})
}
