package tufroot_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/signing/tufroot"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// repository is a TUF repository of a Sigstore deployment, all roles by one key.
type repository struct {
	t       *testing.T
	dir     string
	signer  signature.Signer
	key     *metadata.Key
	version int64
	life    time.Duration
	root    []byte
}

func newRepository(t *testing.T) *repository {
	r := &repository{t: t, dir: t.TempDir(), life: time.Hour}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	r.signer, err = signature.LoadSigner(private, crypto.Hash(0))
	check(t, err)
	r.key, err = metadata.KeyFromPublicKey(private.Public())
	check(t, err)
	root := metadata.Root(time.Now().Add(24 * time.Hour))
	for _, role := range []string{"root", "targets", "snapshot", "timestamp"} {
		check(t, root.Signed.AddKey(r.key, role))
	}
	_, err = root.Sign(r.signer)
	check(t, err)
	r.root, err = root.ToBytes(true)
	check(t, err)
	check(t, os.WriteFile(filepath.Join(r.dir, "1.root.json"), r.root, 0o644))
	return r
}

func (r *repository) sign(m any, name string) []byte {
	r.t.Helper()
	var raw []byte
	var err error
	switch m := m.(type) {
	case *metadata.Metadata[metadata.TargetsType]:
		m.Signed.Version = r.version
		_, err = m.Sign(r.signer)
		check(r.t, err)
		raw, err = m.ToBytes(true)
	case *metadata.Metadata[metadata.SnapshotType]:
		m.Signed.Version = r.version
		_, err = m.Sign(r.signer)
		check(r.t, err)
		raw, err = m.ToBytes(true)
	case *metadata.Metadata[metadata.TimestampType]:
		m.Signed.Version = r.version
		_, err = m.Sign(r.signer)
		check(r.t, err)
		raw, err = m.ToBytes(true)
	}
	check(r.t, err)
	check(r.t, os.WriteFile(filepath.Join(r.dir, name), raw, 0o644))
	return raw
}

// publish makes the next version with these targets.
func (r *repository) publish(files map[string]string) {
	r.t.Helper()
	r.version++
	end := time.Now().Add(r.life)
	targets := metadata.Targets(end)
	for name, text := range files {
		info, err := metadata.TargetFile().FromBytes(name, []byte(text), "sha256")
		check(r.t, err)
		targets.Signed.Targets[name] = info
		sum := sha256.Sum256([]byte(text))
		at := filepath.Join(r.dir, "targets", hex.EncodeToString(sum[:])+"."+name)
		check(r.t, os.MkdirAll(filepath.Dir(at), 0o755))
		check(r.t, os.WriteFile(at, []byte(text), 0o644))
	}
	r.sign(targets, fmt.Sprintf("%d.targets.json", r.version))
	snapshot := metadata.Snapshot(end)
	snapshot.Signed.Meta["targets.json"] = metadata.MetaFile(r.version)
	r.sign(snapshot, fmt.Sprintf("%d.snapshot.json", r.version))
	timestamp := metadata.Timestamp(end)
	timestamp.Signed.Meta["snapshot.json"] = metadata.MetaFile(r.version)
	r.sign(timestamp, "timestamp.json")
}

var both = map[string]string{"trusted_root.json": `{"a":1}`, "signing_config.v0.2.json": `{"b":1}`}

func (r *repository) source() tufroot.Source {
	return tufroot.Source{From: r.dir, Root: r.root, Cache: r.t.TempDir()}
}

func TestFetchFromADirectory(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.publish(both)
	src := r.source()
	got, err := tufroot.Fetch(t.Context(), src)
	check(t, err)
	if string(got.TrustedRoot) != both["trusted_root.json"] || string(got.SigningConfig) != both["signing_config.v0.2.json"] {
		t.Fatalf("%s %s", got.TrustedRoot, got.SigningConfig)
	}
	r.publish(map[string]string{"trusted_root.json": `{"a":2}`})
	got, err = tufroot.Fetch(t.Context(), src)
	check(t, err)
	if string(got.TrustedRoot) != `{"a":2}` || got.SigningConfig != nil {
		t.Fatalf("%s %s", got.TrustedRoot, got.SigningConfig)
	}
}

func TestFetchOverHTTP(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.publish(both)
	src := r.source()
	files := http.FileServer(http.Dir(r.dir))
	src.From, src.Transport = "https://tuf.example/", handler{files}
	got, err := tufroot.Fetch(t.Context(), src)
	check(t, err)
	if string(got.TrustedRoot) != both["trusted_root.json"] {
		t.Fatalf("%s", got.TrustedRoot)
	}
	src.Transport = handler{http.NotFoundHandler()}
	if _, err := tufroot.Fetch(t.Context(), src); abi.CodeOf(err) != abi.Unavailable {
		t.Errorf("%v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tufroot.Fetch(gone, src); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// handler is a transport to a handler: no socket, no name.
type handler struct{ h http.Handler }

func (h handler) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	h.h.ServeHTTP(w, r)
	return w.Result(), nil
}

func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(r *repository, src *tufroot.Source)
		code  abi.Code
	}{
		"older than seen": {func(r *repository, src *tufroot.Source) {
			old := t.TempDir()
			check(t, os.CopyFS(old, os.DirFS(r.dir)))
			r.publish(both)
			_, err := tufroot.Fetch(r.t.Context(), *src)
			check(r.t, err)
			old2, err := os.ReadFile(filepath.Join(old, "timestamp.json"))
			check(r.t, err)
			check(r.t, os.WriteFile(filepath.Join(r.dir, "timestamp.json"), old2, 0o644))
		}, abi.Untrusted},
		"expired":        {func(r *repository, _ *tufroot.Source) { r.life = -time.Hour; r.publish(both) }, abi.Untrusted},
		"another's root": {func(r *repository, src *tufroot.Source) { src.Root = newRepository(r.t).root }, abi.Untrusted},
		"tampered target": {func(r *repository, _ *tufroot.Source) {
			names, _ := filepath.Glob(filepath.Join(r.dir, "targets", "*.trusted_root.json"))
			check(r.t, os.WriteFile(names[0], []byte(`{"a":9}`), 0o644))
		}, abi.Untrusted},
		"tampered metadata": {func(r *repository, _ *tufroot.Source) {
			check(r.t, os.WriteFile(filepath.Join(r.dir, "timestamp.json"), []byte("{}"), 0o644))
		}, abi.Untrusted},
		"no trusted root":  {func(r *repository, _ *tufroot.Source) { r.publish(map[string]string{"x": "y"}) }, abi.Untrusted},
		"no root.json":     {func(_ *repository, src *tufroot.Source) { src.Root = nil }, abi.Invalid},
		"root is nonsense": {func(_ *repository, src *tufroot.Source) { src.Root = []byte("{") }, abi.Untrusted},
		"no cache":         {func(_ *repository, src *tufroot.Source) { src.Cache = "" }, abi.Invalid},
		"no directory":     {func(_ *repository, src *tufroot.Source) { src.From = "/nowhere" }, abi.NotFound},
		"no network":       {func(_ *repository, src *tufroot.Source) { src.From = "https://tuf.example" }, abi.Invalid},
		"a password":       {func(_ *repository, src *tufroot.Source) { src.From = "https://a:b@tuf.example" }, abi.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepository(t)
			r.publish(both)
			src := r.source()
			c.spoil(r, &src)
			got, err := tufroot.Fetch(t.Context(), src)
			if abi.CodeOf(err) != c.code || got != nil {
				t.Errorf("%v (%s)", err, abi.CodeOf(err))
			}
		})
	}
}
