package layout_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"

	"github.com/arw-project/arw/registry/layout"
)

// streamMB is how large the streamed layer is; the 2 GB take a while: make load-registry.
var streamMB = flag.Int64("stream-mb", 256, "size of the layer in TestStreams")

func copyTo(w io.Writer, r io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, make([]byte, 64<<10))
}

// TestStreams: a layer passes in and out through fixed buffers. What all of both transfers allocate together, garbage
// included, stays far below the layer.
func TestStreams(t *testing.T) {
	size := *streamMB << 20
	h := sha256.New()
	if _, err := copyTo(h, &zeros{size}); err != nil {
		t.Fatal(err)
	}
	digest := "sha256:" + hex.EncodeToString(h.Sum(nil))
	dir, err := layout.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- dir.Serve(ctx, l, layout.ServerOptions{}) }()
	defer func() { stop(); <-done }()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	base := "http://" + l.Addr().String() + "/v2/acme/big/blobs/"
	req, err := http.NewRequestWithContext(t.Context(), "POST", base+"uploads/?digest="+digest, &zeros{size})
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = size
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("the upload answers %s", resp.Status)
	}
	if resp, err = http.Get(base + digest); err != nil {
		t.Fatal(err)
	}
	n, err := copyTo(io.Discard, resp.Body)
	resp.Body.Close()
	if err != nil || n != size {
		t.Fatalf("%d bytes came back, %v", n, err)
	}
	runtime.ReadMemStats(&after)
	total := after.TotalAlloc - before.TotalAlloc
	t.Logf("%d MB in and out allocated %d KiB in all, heap from the system %d MiB", *streamMB, total>>10, after.HeapSys>>20)
	if total > 16<<20 {
		t.Errorf("%d MB in and out allocated %d MiB", *streamMB, total>>20)
	}
}

// zeros is a body of zeros.
type zeros struct{ left int64 }

func (z *zeros) Read(b []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), z.left))
	clear(b[:n])
	z.left -= int64(n)
	return n, nil
}
