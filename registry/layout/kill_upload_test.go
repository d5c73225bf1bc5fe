package layout_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arw-project/arw/registry/layout"
)

// childServe is how a killed server learns what to serve.
const childServe = "ARW_TEST_SERVE"

// serveForever serves a folder on a free port, says which, and waits to be killed.
func serveForever(dir string) {
	d, err := layout.Open(dir)
	if err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	panic(d.Serve(context.Background(), l, layout.ServerOptions{}))
}

// startServer runs a server in a process of its own; kill ends it at once.
func startServer(t *testing.T, dir string) (base string, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childServe+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + strings.TrimSpace(line), kill
}

// TestKillServerInMidUpload: a server killed while the bytes of a chunk are coming in keeps what came; the client asks where
// the upload stands, goes on from there, and the blob is whole. Nobody sees the blob before.
func TestKillServerInMidUpload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	blob := bytes.Repeat([]byte("0123456789abcdef"), 256<<10) // 4 MiB
	digest := sha256Of(blob)
	base, kill := startServer(t, dir)
	location := start(t, base)
	sent := 0
	for round := range 3 {
		body, feed := io.Pipe()
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			req, _ := http.NewRequest("PATCH", base+location, body)
			if resp, err := http.DefaultClient.Do(req); err == nil {
				resp.Body.Close()
			}
		}()
		half := blob[sent : sent+1<<20]
		if _, err := feed.Write(half); err != nil {
			t.Fatal(err)
		}
		waitUntil(t, func() bool { return stands(t, base+location) > sent }) // some of it is on the disk
		kill()
		feed.Close()
		<-answered
		base, kill = startServer(t, dir)
		at := stands(t, base+location)
		if at <= sent || at > sent+len(half) {
			t.Fatalf("round %d: the upload stands at %d, %d were there and %d were sent", round, at, sent, len(half))
		}
		sent = at
		if resp, err := http.Head(base + "/v2/acme/echo/blobs/" + digest); err != nil || resp.StatusCode != http.StatusNotFound {
			t.Fatalf("the blob can be seen already: %v, %v", resp, err)
		}
	}
	req, _ := http.NewRequest("PUT", base+location+"?digest="+digest, bytes.NewReader(blob[sent:]))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("the rest is answered with %s", resp.Status)
	}
	if resp, err = http.Get(base + "/v2/acme/echo/blobs/" + digest); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || !bytes.Equal(got, blob) {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
}

func start(t *testing.T, base string) string {
	t.Helper()
	resp, err := http.Post(base+"/v2/acme/echo/blobs/uploads/", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("an upload is answered with %s", resp.Status)
	}
	return resp.Header.Get("Location")
}

// stands is how much of an upload has arrived.
func stands(t *testing.T, url string) int {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	_, last, ok := strings.Cut(resp.Header.Get("Range"), "-")
	n, err := strconv.Atoi(last)
	if !ok || err != nil {
		t.Fatalf("an upload says %s, %q", resp.Status, resp.Header.Get("Range"))
	}
	if n > 0 {
		n++
	}
	return n
}

func waitUntil(t *testing.T, so func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("it did not happen")
		}
	}
}

// TestSweepBesidePushes: garbage is collected with no grace at all while packs are pushed. A push may be refused for a blob
// that went; what is published is whole.
func TestSweepBesidePushes(t *testing.T) {
	t.Parallel()
	dir := openDir(t, t.TempDir())
	r := repo(t, dir, "acme/echo")
	putImage(t, r, "first", "0.0.0")
	ctx, stop := context.WithCancel(t.Context())
	var sweeper sync.WaitGroup
	sweeper.Go(func() {
		for ctx.Err() == nil {
			if _, err := dir.Sweep(ctx, 0); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	published := 0
	for i := range 25 {
		layer := fmt.Sprintf("layer %d", i)
		for _, b := range []string{"{}", layer} {
			if err := r.PutBlob(t.Context(), sha256Of([]byte(b)), strings.NewReader(b)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := r.PutManifest(t.Context(), mediaManifest, imageOf(layer), layout.Put{Tag: fmt.Sprintf("1.%d.0", i)}); err == nil {
			published++
		}
	}
	stop()
	sweeper.Wait()
	tags, err := r.Tags()
	if err != nil || len(tags) != published+1 {
		t.Fatalf("%d tags of %d, %v", len(tags), published+1, err)
	}
	for i := range 25 {
		if _, _, err := r.Manifest(fmt.Sprintf("1.%d.0", i)); err != nil {
			continue
		}
		if err := r.CheckBlob(sha256Of([]byte(fmt.Sprintf("layer %d", i)))); err != nil {
			t.Errorf("1.%d.0 is published and %v", i, err)
		}
	}
	t.Logf("%d of 25 were published beside the sweeps", published)
}
