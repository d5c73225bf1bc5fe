package cas_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/cas"
)

func open(t testing.TB, dir string) *cas.Store {
	t.Helper()
	s, err := cas.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func wantCode(t *testing.T, err error, code abi.Code, parts ...string) {
	t.Helper()
	if abi.CodeOf(err) != code {
		t.Fatalf("error %v has code %v, want %v", err, abi.CodeOf(err), code)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not mention %q", err, p)
		}
	}
}

func put(t testing.TB, s *cas.Store, data []byte) string {
	t.Helper()
	digest, n, err := s.Put(t.Context(), bytes.NewReader(data))
	if err != nil || n != int64(len(data)) || digest != cas.Digest(data) {
		t.Fatalf("put %d bytes: %s, %d, %v", len(data), digest, n, err)
	}
	return digest
}

// blobs lists every file of the store.
func blobs(t testing.TB, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestBlobsComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	for _, data := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("0123456789abcdef"), 1<<16)} {
		digest := put(t, s, data)
		got, err := open(t, dir).Get(digest)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes came back as %d, %v", len(data), len(got), err)
		}
		r, err := s.Open(digest)
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(io.NewSectionReader(bytes.NewReader(data), 0, r.Size()), data); err != nil {
			t.Error(err)
		}
		streamed, err := io.ReadAll(iotest.OneByteReader(io.LimitReader(r, 1000)))
		if err != nil || !bytes.Equal(streamed, data[:min(1000, len(data))]) {
			t.Errorf("streamed %d bytes, %v", len(streamed), err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if ok, err := s.Has(digest); !ok || err != nil {
			t.Errorf("Has: %v, %v", ok, err)
		}
	}
	if n := len(blobs(t, dir)); n != 3 {
		t.Errorf("%d files for 3 blobs", n)
	}
}

func TestFilesAreForTheOwnerOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, open(t, dir), []byte("x"))
	for _, f := range blobs(t, dir) {
		if st, err := os.Stat(f); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", st.Mode(), err)
		}
	}
}

func TestRottenBlobsAreNamedAndHealed(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte("arw"), 50_000)
	cases := []struct {
		name string
		rot  func([]byte) []byte
	}{
		{"one bit", func(b []byte) []byte { b[77_777] ^= 1; return b }},
		{"short", func(b []byte) []byte { return b[:len(b)-1] }},
		{"long", func(b []byte) []byte { return append(b, 0) }},
		{"empty", func([]byte) []byte { return nil }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := open(t, dir)
			digest, err := s.PutBytes(t.Context(), data)
			if err != nil {
				t.Fatal(err)
			}
			file := blobs(t, dir)[0]
			if err := os.WriteFile(file, c.rot(bytes.Clone(data)), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err = s.Get(digest)
			wantCode(t, err, abi.Corrupt, digest, file)
			r, err := s.Open(digest)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			_, err = io.Copy(io.Discard, r)
			wantCode(t, err, abi.Corrupt, digest)

			if _, err := s.PutBytes(t.Context(), data); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Get(digest); err != nil || !bytes.Equal(got, data) {
				t.Errorf("storing the blob again did not heal it: %v", err)
			}
		})
	}
}

func TestNamesThatAreNoDigests(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	good := cas.Digest(nil)
	for _, name := range []string{"", "sha256:", good[:70], good + "0", strings.ToUpper(good), "sha512:" + good[7:], "sha256:../../../../etc/passwd", "sha256:" + strings.Repeat("g", 64), strings.TrimPrefix(good, "sha256:")} {
		_, err := s.Get(name)
		wantCode(t, err, abi.Invalid)
		_, err = s.Has(name)
		wantCode(t, err, abi.Invalid)
	}
	_, err := s.Get(good)
	wantCode(t, err, abi.NotFound, good)
	if ok, err := s.Has(good); ok || err != nil {
		t.Errorf("Has: %v, %v", ok, err)
	}
}

func TestALinkOutOfTheStoreIsNotFollowed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	digest := put(t, s, []byte("secret"))
	file := blobs(t, dir)[0]
	if err := errors.Join(os.Remove(file), os.Symlink(secret, file)); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(digest); err == nil {
		t.Errorf("read %q through a link", got)
	}
}

func TestAFailedPutLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	boom := errors.New("boom")
	_, _, err := s.Put(t.Context(), io.MultiReader(strings.NewReader("some"), iotest.ErrReader(boom)))
	if !errors.Is(err, boom) {
		t.Errorf("the source's error was lost: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, _, err = s.Put(ctx, io.MultiReader(strings.NewReader("some"), readerFunc(func([]byte) (int, error) { cancel(); return 0, nil })))
	wantCode(t, err, abi.Cancelled)
	if files := blobs(t, dir); len(files) != 0 {
		t.Errorf("left behind: %q", files)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestSweepKeepsWhatIsLiveOrYoung(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	live, dead, young, again := put(t, s, []byte("live")), put(t, s, []byte("dead")), put(t, s, []byte("young")), put(t, s, []byte("again"))
	old := time.Now().Add(-2 * time.Hour)
	for _, f := range blobs(t, dir) {
		if !strings.HasSuffix(f, strings.TrimPrefix(young, "sha256:")) {
			if err := os.Chtimes(f, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := s.PutBytes(t.Context(), []byte("again")); err != nil {
		t.Fatal(err)
	}
	got, err := s.Sweep(t.Context(), func(d string) bool { return d == live }, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if want := (cas.Swept{Scanned: 4, Kept: 3, Deleted: 1, DeletedBytes: 4}); got != want {
		t.Errorf("swept %+v, want %+v", got, want)
	}
	for digest, want := range map[string]bool{live: true, dead: false, young: true, again: true} {
		if ok, _ := s.Has(digest); ok != want {
			t.Errorf("%s: there is %v, want %v", digest, ok, want)
		}
	}
}

// TestPutAgainstSweep has blobs stored while everything old is swept: what a Put answered for must be there.
func TestPutAgainstSweep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			if _, err := s.Sweep(ctx, func(string) bool { return false }, time.Hour); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	data := []byte("the same bytes every time")
	old := time.Now().Add(-2 * time.Hour)
	name := filepath.Join(dir, "sha256", cas.Digest(data)[7:9], cas.Digest(data)[7:])
	for range 200 {
		digest, err := s.PutBytes(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := s.Has(digest); !ok || err != nil {
			t.Fatalf("a blob that was just stored is gone: %v", err)
		}
		if err := os.Chtimes(name, old, old); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	cancel()
	wg.Wait()
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 20 {
				data := fmt.Appendf(nil, "blob %d", (i+w)%25)
				digest, err := s.PutBytes(t.Context(), data)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := s.Get(digest); err != nil || !bytes.Equal(got, data) {
					t.Errorf("got %q, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(blobs(t, dir)); n != 25 {
		t.Errorf("%d files, want 25", n)
	}
}
