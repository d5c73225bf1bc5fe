package egress_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/arw-project/arw/host/internal/egress"
)

// BenchmarkRequest is one request with an answer of 1 KB over TLS on a connection that is open already: by a plain client, and
// through the guard. The guard's price is two durable rows of the ledger with their events and the read model; with many callers
// at once they share a synchronisation of the disk.
func BenchmarkRequest(b *testing.B) {
	h := open(b, b.TempDir())
	body := make([]byte, 1024)
	h.serve(b, "api.example.com", "93.184.216.34", true, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
	plain := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return h.dial(ctx, "tcp", "93.184.216.34:443")
		},
		TLSClientConfig: &tls.Config{RootCAs: h.roots}, ForceAttemptHTTP2: true,
	}}
	b.Run("plain", func(b *testing.B) {
		for b.Loop() {
			resp, err := plain.Get("https://api.example.com/")
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	})
	one := func() error {
		ctx := context.Background()
		x, err := h.Open(ctx, caller, anything{}, egress.Request{URL: "https://api.example.com/"})
		if err != nil {
			return err
		}
		defer x.Close()
		if _, err := x.Response(ctx); err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, reader{ctx, x})
		return err
	}
	b.Run("guard", func(b *testing.B) {
		for b.Loop() {
			if err := one(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("guard-64-callers", func(b *testing.B) {
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := one(); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("preview", func(b *testing.B) { // what the decision alone costs
		for b.Loop() {
			if p := h.Preview(context.Background(), caller, anything{}, egress.Request{URL: "https://api.example.com/"}); p.Decision != "allow" {
				b.Fatal(p.Message)
			}
		}
	})
}
