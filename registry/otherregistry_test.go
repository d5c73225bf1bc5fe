//go:build otherregistry

package registry_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/registry/layout"
)

var otherRegistry = flag.String("registry", "docker-registry", "program of the CNCF distribution registry")

// TestOtherRegistry holds the client to what it promises against a registry that others wrote, keep and run, and that has
// no referrers API: registry/other.sh fetches it and calls this.
func TestOtherRegistry(t *testing.T) {
	address := startOther(t)
	t.Run("round trip", func(t *testing.T) { testRoundTrip(t, address, registry.Options{}) })
	t.Run("tag fallback", func(t *testing.T) { testTagFallback(t, address) })
	t.Run("copy both ways", func(t *testing.T) { testCopyBothWays(t, address) })
	t.Run("large layer in pieces", func(t *testing.T) { testLarge(t, address) })
	t.Run("mirror of it", func(t *testing.T) { testMirrorOf(t, address) })
}

// startOther runs the program on a free port of loopback until the test ends.
func startOther(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	conf := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: warn}\nstorage: {filesystem: {rootdirectory: %s}, delete: {enabled: true}}\nhttp: {addr: %s}\n", filepath.Join(dir, "data"), address)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, *otherRegistry, "serve", conf)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(); _ = cmd.Wait() })
	deadline := time.Now().Add(20 * time.Second)
	for {
		resp, err := http.Get("http://" + address + "/v2/")
		if err == nil {
			resp.Body.Close()
			return address
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer: %v\n%s", *otherRegistry, err, out.String())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// testTagFallback: without a referrers API the list lies under the tag of the subject's digest, where cosign looks too.
func testTagFallback(t *testing.T, address string) {
	r := open(t, address, registry.Options{})
	digest, err := r.Push(t.Context(), "acme/fallback", "1.0.0", pack("fallback"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get("http://" + address + "/v2/acme/fallback/referrers/" + digest)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Fatalf("it has a referrers API (%s): this proves nothing", resp.Status)
	}
	for i, b := range []string{`{"dsseEnvelope":{"n":1}}`, `{"dsseEnvelope":{"n":2}}`} {
		if _, err := r.Attach(t.Context(), "acme/fallback", digest, []byte(b), "x"); err != nil {
			t.Fatal(err)
		}
		if got, err := r.Bundles(t.Context(), "acme/fallback", digest); err != nil || len(got) != i+1 {
			t.Fatalf("%d bundles, %v", len(got), err)
		}
	}
	req, err := http.NewRequest("GET", "http://"+address+"/v2/acme/fallback/manifests/"+strings.Replace(digest, ":", "-", 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/vnd.oci.image.index.v1+json")
	if resp, err = http.DefaultClient.Do(req); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("there is no fallback tag: %s", resp.Status)
	}
}

func testCopyBothWays(t *testing.T, address string) {
	there := open(t, address, registry.Options{})
	here := open(t, serve(t, layout.ServerOptions{}), registry.Options{})
	digest, err := here.Push(t.Context(), "acme/travel", "1.0.0", pack("travel"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := here.Attach(t.Context(), "acme/travel", digest, []byte(`{"dsseEnvelope":{}}`), "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := here.Copy(t.Context(), registry.Ref{Name: "acme/travel", Tag: "1.0.0"}, there, nil); err != nil {
		t.Fatal(err)
	}
	back := open(t, "dir:"+t.TempDir(), registry.Options{})
	got, err := there.Copy(t.Context(), registry.Ref{Name: "acme/travel", Tag: "1.0.0"}, back, nil)
	if err != nil || got != digest {
		t.Fatal(got, err)
	}
	if bundles, err := back.Bundles(t.Context(), "acme/travel", digest); err != nil || len(bundles) != 1 {
		t.Errorf("%d bundles came back, %v", len(bundles), err)
	}
}

func testLarge(t *testing.T, address string) {
	r := open(t, address, registry.Options{})
	files := append(pack("large"), registry.File{Name: "large.bin", Data: bytes.Repeat([]byte("0123456789abcdef"), 3*registry.ChunkSize/16+1)})
	digest, err := r.Push(t.Context(), "acme/large", "1.0.0", files, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := r.Pull(t.Context(), registry.Ref{Name: "acme/large", Tag: "1.0.0"}, nil)
	if err != nil || a.Digest != digest {
		t.Fatal(err)
	}
}

func testMirrorOf(t *testing.T, address string) {
	up, err := registry.Upstream(address, registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := open(t, serve(t, layout.ServerOptions{Upstream: up}), registry.Options{})
	a, err := m.Pull(t.Context(), registry.Ref{Name: "acme/fallback", Tag: "1.0.0"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := m.Bundles(t.Context(), "acme/fallback", a.Digest); err != nil || len(got) != 2 {
		t.Errorf("%d bundles through the mirror, %v", len(got), err)
	}
}
