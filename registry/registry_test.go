package registry_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry"
)

// pack is a small pack of a given seed.
func pack(seed string) []registry.File {
	return []registry.File{
		{Name: "schemas/z.json", Data: []byte(`{"type":"object"}`)},
		{Name: "policy.cedar", Data: []byte("permit(principal, action, resource);")},
		{Name: "pack.toml", Data: []byte("name = \"acme/echo\"\n# " + seed)},
		{Name: "echo.wasm", MediaType: registry.MediaWasm, Data: []byte("\x00asm\x01\x00\x00\x00" + seed)},
		{Name: "empty.txt"},
	}
}

func open(t *testing.T, location string, o registry.Options) *registry.Registry {
	t.Helper()
	r, err := registry.Open(location, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func push(t *testing.T, r *registry.Registry, version string, files []registry.File) string {
	t.Helper()
	digest, err := r.Push(t.Context(), "acme/echo", version, files, map[string]string{"org.opencontainers.image.licenses": "MIT"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// wantCode fails the test unless err has the code and its message holds all the parts.
func wantCode(t *testing.T, err error, code abi.Code, parts ...string) {
	t.Helper()
	if got := abi.CodeOf(err); got != code {
		t.Fatalf("error %v has code %s, want %s", err, got, code)
	}
	for _, p := range parts {
		if !bytes.Contains([]byte(err.Error()), []byte(p)) {
			t.Errorf("error %q does not say %q", err, p)
		}
	}
	if abi.HintOf(err) == "" && !errors.Is(err, context.Canceled) {
		t.Errorf("error %q has no next step", err)
	}
}

// testRoundTrip is what holds for every kind of registry.
func testRoundTrip(t *testing.T, location string, o registry.Options) {
	r := open(t, location, o)
	files := pack("one")
	digest := push(t, r, "0.1.0", files)
	if again := push(t, r, "0.1.0", files); again != digest {
		t.Errorf("the same pack pushed again has digest %s, not %s", again, digest)
	}
	for _, ref := range []registry.Ref{
		{Name: "acme/echo", Tag: "0.1.0"},
		{Name: "acme/echo", Digest: digest},
		{Name: "acme/echo", Tag: "0.1.0", Digest: digest},
		{Name: "acme/echo"},
	} {
		a, err := r.Pull(t.Context(), ref, nil)
		if err != nil {
			t.Fatalf("pull %v: %v", ref, err)
		}
		checkPulled(t, a, files, digest)
		if got, err := r.Resolve(t.Context(), ref); err != nil || got != digest {
			t.Errorf("resolve %v: %s, %v", ref, got, err)
		}
	}
	testVersions(t, r, digest)
	testBundles(t, r, digest)
}

func checkPulled(t *testing.T, a *registry.Artifact, files []registry.File, digest string) {
	t.Helper()
	order := []string{"echo.wasm", "pack.toml", "empty.txt", "policy.cedar", "schemas/z.json"}
	types := []string{registry.MediaWasm, registry.MediaPackTOML, registry.MediaFile, registry.MediaPolicy, registry.MediaFile}
	if a.Digest != digest || a.Ref.Digest != digest || len(a.Files) != len(order) {
		t.Fatalf("pulled %s with %d files", a.Digest, len(a.Files))
	}
	for i, f := range a.Files {
		if f.Name != order[i] || f.MediaType != types[i] {
			t.Errorf("file %d is %q of type %q", i, f.Name, f.MediaType)
		}
		for _, want := range files {
			if want.Name == f.Name && !bytes.Equal(want.Data, f.Data) {
				t.Errorf("file %q has other bytes", f.Name)
			}
		}
	}
}

func testVersions(t *testing.T, r *registry.Registry, digest string) {
	t.Helper()
	_, err := r.Push(t.Context(), "acme/echo", "0.1.0", pack("two"), nil, nil)
	wantCode(t, err, abi.Conflict, "acme/echo:0.1.0", r.Location(), digest)
	for _, v := range []string{"0.10.0", "0.2.0", "0.2.0-rc.1", "1.0.0-beta", "0.2.0+build.5"} {
		push(t, r, v, pack(v))
	}
	tags, err := r.Tags(t.Context(), "acme/echo")
	want := []string{"0.1.0", "0.2.0-rc.1", "0.2.0", "0.2.0+build.5", "0.10.0", "1.0.0-beta"}
	if err != nil || len(tags) != len(want) {
		t.Fatalf("tags %v, %v", tags, err)
	}
	for i := range want {
		if tags[i] != want[i] {
			t.Errorf("tags %v, want %v", tags, want)
			break
		}
	}
	a, err := r.Pull(t.Context(), registry.Ref{Name: "acme/echo"}, nil)
	if err != nil || a.Ref.Tag != "0.10.0" {
		t.Errorf("the newest release is %v, %v", a, err)
	}
	names, err := r.Names(t.Context())
	if err != nil || len(names) != 1 || names[0] != "acme/echo" {
		t.Errorf("names %v, %v", names, err)
	}
	_, err = r.Pull(t.Context(), registry.Ref{Name: "acme/echo", Tag: "9.9.9"}, nil)
	wantCode(t, err, abi.NotFound, "acme/echo:9.9.9", r.Location())
	_, err = r.Pull(t.Context(), registry.Ref{Name: "acme/none", Tag: "1.0.0"}, nil)
	wantCode(t, err, abi.NotFound, "acme/none:1.0.0")
}

func testBundles(t *testing.T, r *registry.Registry, digest string) {
	t.Helper()
	if b, err := r.Bundles(t.Context(), "acme/echo", digest); err != nil || len(b) != 0 {
		t.Fatalf("bundles before any: %d, %v", len(b), err)
	}
	one, two := []byte(`{"dsseEnvelope":{"n":1}}`), []byte(`{"messageSignature":{"n":2}}`)
	for _, b := range [][]byte{one, two, one} {
		if _, err := r.Attach(t.Context(), "acme/echo", digest, b, "https://sigstore.dev/cosign/sign/v1"); err != nil {
			t.Fatal(err)
		}
	}
	got, err := r.Bundles(t.Context(), "acme/echo", digest)
	if err != nil || len(got) != 2 {
		t.Fatalf("%d bundles, %v", len(got), err)
	}
	if !(bytes.Equal(got[0], one) && bytes.Equal(got[1], two)) && !(bytes.Equal(got[0], two) && bytes.Equal(got[1], one)) {
		t.Errorf("bundles %s", got)
	}
	_, err = r.Attach(t.Context(), "acme/echo", "sha256:"+string(bytes.Repeat([]byte("0"), 64)), one, "x")
	wantCode(t, err, abi.NotFound)
	_, err = r.Attach(t.Context(), "acme/echo", digest, make([]byte, registry.MaxBundle+1), "x")
	wantCode(t, err, abi.TooLarge)
}

func TestRoundTripDirectory(t *testing.T) {
	t.Parallel()
	testRoundTrip(t, "dir:"+t.TempDir(), registry.Options{})
}
