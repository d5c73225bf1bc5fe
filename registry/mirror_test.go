package registry_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/registry/layout"
)

// far is an upstream that can be switched off and can lie.
type far struct {
	*httptest.Server
	down atomic.Bool
	lie  atomic.Bool
	hits atomic.Int64
}

func newFar(t *testing.T) *far {
	t.Helper()
	dir, err := layout.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	inner := dir.Handler(layout.ServerOptions{})
	f := &far{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.hits.Add(1)
		switch {
		case f.down.Load():
			http.Error(w, "down", http.StatusInternalServerError)
		case f.lie.Load() && strings.Contains(r.URL.Path, "/blobs/sha256:"):
			rec := httptest.NewRecorder()
			inner.ServeHTTP(rec, r)
			if b := rec.Body.Bytes(); len(b) > 0 {
				b[len(b)-1] ^= 1
			}
			w.Header().Set("Content-Length", rec.Header().Get("Content-Length"))
			w.WriteHeader(rec.Code)
			_, _ = w.Write(rec.Body.Bytes())
		default:
			inner.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *far) host() string { return strings.TrimPrefix(f.URL, "http://") }

// mirror serves a mirror of an upstream and returns its address.
func mirror(t *testing.T, f *far) string {
	t.Helper()
	up, err := registry.Upstream(f.host(), registry.Options{Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, layout.ServerOptions{Upstream: up})
}

// TestMirror: what is asked for is fetched, checked and kept, signatures too, and served when upstream is gone.
func TestMirror(t *testing.T) {
	t.Parallel()
	f := newFar(t)
	there := open(t, f.host(), registry.Options{})
	files := append(pack("one"), registry.File{Name: "large.bin", Data: bytes.Repeat([]byte("large"), 100_000)})
	digest, err := there.Push(t.Context(), "acme/echo", "1.0.0", files, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	bundle := []byte(`{"dsseEnvelope":{}}`)
	if _, err := there.Attach(t.Context(), "acme/echo", digest, bundle, "x"); err != nil {
		t.Fatal(err)
	}
	address := mirror(t, f)
	here := open(t, address, registry.Options{Retries: -1})
	ref := registry.Ref{Name: "acme/echo", Tag: "1.0.0"}
	check := func(when string) {
		t.Helper()
		a, err := here.Pull(t.Context(), ref, nil)
		if err != nil || a.Digest != digest || len(a.Files) != len(files) {
			t.Fatalf("%s: %v, %v", when, a, err)
		}
		if got, err := here.Bundles(t.Context(), "acme/echo", digest); err != nil || len(got) != 1 || !bytes.Equal(got[0], bundle) {
			t.Fatalf("%s: bundles %q, %v", when, got, err)
		}
		if tags, err := here.Tags(t.Context(), "acme/echo"); err != nil || len(tags) != 1 {
			t.Fatalf("%s: tags %v, %v", when, tags, err)
		}
	}
	check("upstream is up")
	_, err = here.Push(t.Context(), "acme/echo", "2.0.0", files, nil, nil)
	if abi.CodeOf(err) != abi.Unsupported {
		t.Errorf("a push to a mirror: %v", err)
	}
	f.down.Store(true)
	check("upstream is down")
	resp, err := http.Get("http://" + address + "/v2/acme/echo/manifests/1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 || !strings.Contains(resp.Header.Get("Warning"), "110") {
		t.Errorf("a stale answer says %s, %v", resp.Status, resp.Header)
	}
	_, err = here.Pull(t.Context(), registry.Ref{Name: "acme/echo", Tag: "9.0.0"}, nil)
	if abi.CodeOf(err) != abi.Unavailable {
		t.Errorf("what a mirror never saw, upstream down: %v", err)
	}
	f.down.Store(false)
	_, err = here.Pull(t.Context(), registry.Ref{Name: "acme/echo", Tag: "9.0.0"}, nil)
	wantCode(t, err, abi.NotFound, "9.0.0")
}

// TestMirrorMoves: a tag that moves upstream moves here, and what is asked by digest is not asked for again.
func TestMirrorMoves(t *testing.T) {
	t.Parallel()
	f := newFar(t)
	there := open(t, f.host(), registry.Options{Replace: true})
	one := push(t, there, "1.0.0", pack("one"))
	here := open(t, mirror(t, f), registry.Options{Retries: -1})
	if got, err := here.Resolve(t.Context(), registry.Ref{Name: "acme/echo", Tag: "1.0.0"}); err != nil || got != one {
		t.Fatal(got, err)
	}
	two := push(t, there, "1.0.0", pack("two"))
	if got, err := here.Resolve(t.Context(), registry.Ref{Name: "acme/echo", Tag: "1.0.0"}); err != nil || got != two {
		t.Errorf("it is %s, %v; upstream has %s", got, err, two)
	}
	if _, err := here.Pull(t.Context(), registry.Ref{Name: "acme/echo", Digest: two}, nil); err != nil {
		t.Fatal(err)
	}
	before := f.hits.Load()
	if _, err := here.Pull(t.Context(), registry.Ref{Name: "acme/echo", Digest: two}, nil); err != nil {
		t.Fatal(err)
	}
	if n := f.hits.Load() - before; n != 0 {
		t.Errorf("upstream was asked %d times for what is here", n)
	}
}

// TestMirrorLie: what upstream swaps reaches nobody whole, and is not kept.
func TestMirrorLie(t *testing.T) {
	t.Parallel()
	f := newFar(t)
	files := append(pack("one"), registry.File{Name: "large.bin", Data: bytes.Repeat([]byte("large"), 100_000)})
	push(t, open(t, f.host(), registry.Options{}), "1.0.0", files)
	f.lie.Store(true)
	here := open(t, mirror(t, f), registry.Options{Retries: -1})
	if _, err := here.Pull(t.Context(), registry.Ref{Name: "acme/echo", Tag: "1.0.0"}, nil); err == nil {
		t.Fatal("a swapped blob was pulled")
	}
	f.lie.Store(false)
	a, err := here.Pull(t.Context(), registry.Ref{Name: "acme/echo", Tag: "1.0.0"}, nil)
	if err != nil || len(a.Files) != len(files) {
		t.Errorf("after the lie: %v", err)
	}
}
