package registry_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/registry/layout"
)

func TestCopy(t *testing.T) {
	t.Parallel()
	stops := []string{"dir:" + t.TempDir(), serve(t, layout.ServerOptions{}), serveHandler(t, plain(handler(t, layout.ServerOptions{}))),
		"dir:" + t.TempDir()}
	from := open(t, stops[0], registry.Options{})
	digest := push(t, from, "1.0.0", pack("one"))
	for _, b := range []string{`{"n":1}`, `{"n":2}`} {
		if _, err := from.Attach(t.Context(), "acme/echo", digest, []byte(b), "x"); err != nil {
			t.Fatal(err)
		}
	}
	for _, stop := range stops[1:] {
		to := open(t, stop, registry.Options{})
		got, err := from.Copy(t.Context(), registry.Ref{Name: "acme/echo"}, to, nil)
		if err != nil || got != digest {
			t.Fatalf("to %s: %s, %v", stop, got, err)
		}
		a, err := to.Pull(t.Context(), registry.Ref{Name: "acme/echo", Tag: "1.0.0"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		checkPulled(t, a, pack("one"), digest)
		if bundles, err := to.Bundles(t.Context(), "acme/echo", digest); err != nil || len(bundles) != 2 {
			t.Errorf("%s: %d bundles, %v", stop, len(bundles), err)
		}
		from = to
	}
}

func TestCopyRefusals(t *testing.T) {
	t.Parallel()
	from, to := open(t, "dir:"+t.TempDir(), registry.Options{}), open(t, "dir:"+t.TempDir(), registry.Options{})
	push(t, from, "1.0.0", pack("one"))
	taken := push(t, to, "1.0.0", pack("two"))
	_, err := from.Copy(t.Context(), registry.Ref{Name: "acme/echo", Tag: "1.0.0"}, to, nil)
	wantCode(t, err, abi.Conflict, "acme/echo:1.0.0", from.Location(), to.Location(), taken)
	_, err = from.Copy(t.Context(), registry.Ref{Name: "acme/echo", Tag: "2.0.0"}, to, nil)
	wantCode(t, err, abi.NotFound, "acme/echo:2.0.0")
	location, digest := liar(t, onModule(body(200, nil, strings.ToUpper(string(pack("one")[3].Data)))))
	_, err = open(t, location, registry.Options{}).Copy(t.Context(), registry.Ref{Name: "acme/echo", Digest: digest},
		open(t, "dir:"+t.TempDir(), registry.Options{}), nil)
	wantCode(t, err, abi.DigestMismatch, location)
}

// large is how big the file is that must not be held in memory.
const large = 200 << 20

// pattern is an endless reader that costs little: each kilobyte holds its number.
type pattern struct{ at int64 }

func (p *pattern) Read(b []byte) (int, error) {
	for n := 0; n < len(b); {
		part := b[n:min(len(b), n+1024-int(p.at%1024))]
		copy(part, bytes.Repeat([]byte{byte(p.at >> 10)}, len(part)))
		n += len(part)
		p.at += int64(len(part))
	}
	return len(b), nil
}

// TestLargeLayerStreams moves a pack with a file of 200 MB from a directory through our client and our server into
// another directory, all in this process, and watches the heap.
func TestLargeLayerStreams(t *testing.T) {
	o := registry.Options{MaxLayer: large, MaxTotal: 2 * large}
	dir := t.TempDir()
	digest := putLarge(t, dir)
	location := serve(t, layout.ServerOptions{})
	stops := []*registry.Registry{open(t, "dir:"+dir, o), open(t, location, o), open(t, "dir:"+t.TempDir(), o)}
	peak := watchHeap(t)
	for i, to := range stops[1:] {
		begun := time.Now()
		got, err := stops[i].Copy(t.Context(), registry.Ref{Name: "acme/echo", Digest: digest}, to, nil)
		if err != nil || got != digest {
			t.Fatalf("%s, %v", got, err)
		}
		t.Logf("%s to %s: %.2f s", kind(stops[i]), kind(to), time.Since(begun).Seconds())
	}
	if grown := peak(); grown > 24<<20 {
		t.Errorf("the heap grew by %d MB for a file of %d MB", grown>>20, large>>20)
	} else {
		t.Logf("the heap grew by %.1f MB for a file of %d MB", float64(grown)/(1<<20), large>>20)
	}
}

func kind(r *registry.Registry) string {
	if strings.HasPrefix(r.Location(), "dir:") {
		return "directory"
	}
	return "server"
}

// putLarge stores a pack with a large file through the layout, which takes a reader.
func putLarge(t *testing.T, dir string) string {
	t.Helper()
	d, err := layout.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	repo, err := d.Repo("acme/echo")
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	if _, err := io.CopyN(h, &pattern{}, large); err != nil {
		t.Fatal(err)
	}
	blob := "sha256:" + hex.EncodeToString(h.Sum(nil))
	if err := repo.PutBlob(t.Context(), blob, io.LimitReader(&pattern{}, large)); err != nil {
		t.Fatal(err)
	}
	for _, small := range [][]byte{[]byte("{}"), pack("one")[3].Data, pack("one")[2].Data} {
		if err := repo.PutBlob(t.Context(), sha256Of(small), strings.NewReader(string(small))); err != nil {
			t.Fatal(err)
		}
	}
	doc := manifest()
	doc["layers"].([]any)[2] = map[string]any{"mediaType": registry.MediaFile, "digest": blob, "size": large,
		"annotations": map[string]any{"org.opencontainers.image.title": "model.bin"}}
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	m, err := repo.PutManifest(t.Context(), mediaManifest, raw, layout.Put{})
	if err != nil {
		t.Fatal(err)
	}
	return m.Digest
}

// watchHeap samples the live heap until the returned function is called, which gives the growth.
func watchHeap(t *testing.T) func() uint64 {
	t.Helper()
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before := m.HeapAlloc
	var top atomic.Uint64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				top.Store(max(top.Load(), m.HeapAlloc))
			case <-stop:
				return
			}
		}
	}()
	return func() uint64 {
		close(stop)
		<-done
		return top.Load() - min(before, top.Load())
	}
}

// TestServerNeedsNoMemoryPerClient: eight clients at once, each with a blob of 25 MB.
func TestServerNeedsNoMemoryPerClient(t *testing.T) {
	location := serve(t, layout.ServerOptions{})
	peak := watchHeap(t)
	const clients, size = 8, 25 << 20
	failed := make(chan error, clients)
	for i := range clients {
		go func() { failed <- uploadPattern(t, location, int64(i), size) }()
	}
	for range clients {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	if grown := peak(); grown > 32<<20 {
		t.Errorf("the heap grew by %d MB for %d clients", grown>>20, clients)
	} else {
		t.Logf("the heap grew by %.1f MB for %d clients of %d MB each", float64(grown)/(1<<20), clients, size>>20)
	}
}

func uploadPattern(t *testing.T, location string, from, size int64) error {
	h := sha256.New()
	if _, err := io.CopyN(h, &pattern{from << 20}, size); err != nil {
		return err
	}
	url := fmt.Sprintf("http://%s/v2/acme/c%d/blobs/uploads/?digest=sha256:%x", location, from, h.Sum(nil))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, io.LimitReader(&pattern{from << 20}, size))
	if err != nil {
		return err
	}
	req.ContentLength = size
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}
