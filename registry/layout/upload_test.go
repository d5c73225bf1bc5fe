package layout_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry/layout"
)

func anywhere() layout.Chunk { return layout.Chunk{At: -1, Length: -1, Max: -1} }

func startUpload(t *testing.T, r *layout.Repo) *layout.Upload {
	t.Helper()
	up, err := r.StartUpload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return up
}

func TestUploadGoesOn(t *testing.T) {
	t.Parallel()
	d := openDir(t, t.TempDir())
	up := startUpload(t, repo(t, d, "acme/echo"))
	broken := errors.New("connection lost")
	n, err := up.Append(t.Context(), anywhere(), io.MultiReader(strings.NewReader("hello "), iotest.ErrReader(broken)))
	if n != 6 || !errors.Is(err, broken) {
		t.Fatalf("%d bytes, %v", n, err)
	}
	// Another process, later.
	again, err := repo(t, openDir(t, d.Path()), "acme/echo").Upload(up.ID())
	if err != nil {
		t.Fatal(err)
	}
	if size, err := again.Size(); err != nil || size != 6 {
		t.Fatalf("the upload stands at %d, %v", size, err)
	}
	if n, err := again.Append(t.Context(), layout.Chunk{At: 6, Length: 5, Max: -1}, strings.NewReader("world")); n != 11 || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
	digest := sha256Of([]byte("hello world"))
	if err := again.Commit(t.Context(), digest); err != nil {
		t.Fatal(err)
	}
	if err := repo(t, d, "acme/echo").CheckBlob(digest); err != nil {
		t.Error(err)
	}
	_, err = up.Append(t.Context(), anywhere(), strings.NewReader("more"))
	wantCode(t, err, abi.NotFound)
}

// TestDiskFull: the system's word for a full disk becomes the code for it, and nothing stays behind.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	r := repo(t, openDir(t, t.TempDir()), "acme/echo")
	full := &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
	err := r.PutBlob(t.Context(), sha256Of([]byte("x")), io.MultiReader(strings.NewReader("x"), iotest.ErrReader(full)))
	wantCode(t, err, abi.StorageFull)
	if left, err := os.ReadDir(filepath.Join(dirOf(r, t), ".registry", "uploads")); err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

func TestUploadRefusals(t *testing.T) {
	t.Parallel()
	r := repo(t, openDir(t, t.TempDir()), "acme/echo")
	for _, c := range []struct {
		name  string
		chunk layout.Chunk
		body  string
		code  abi.Code
		left  int64
	}{
		{"ahead of where it stands", layout.Chunk{At: 4, Length: 1, Max: -1}, "x", abi.Invalid, 3},
		{"behind where it stands", layout.Chunk{At: 0, Length: 1, Max: -1}, "x", abi.Invalid, 3},
		{"more than announced", layout.Chunk{At: 3, Length: 2, Max: -1}, "xyz", abi.Invalid, 3},
		{"less than announced", layout.Chunk{At: 3, Length: 4, Max: -1}, "xyz", abi.Invalid, 6},
		{"above the limit", layout.Chunk{At: 3, Length: -1, Max: 5}, "xyz", abi.TooLarge, 3},
	} {
		up := startUpload(t, r)
		if _, err := up.Append(t.Context(), anywhere(), strings.NewReader("abc")); err != nil {
			t.Fatal(err)
		}
		n, err := up.Append(t.Context(), c.chunk, iotest.OneByteReader(strings.NewReader(c.body)))
		if size, _ := up.Size(); abi.CodeOf(err) != c.code || n != c.left || size != c.left {
			t.Errorf("%s: stands at %d (says %d), %v", c.name, size, n, err)
		}
	}
	up := startUpload(t, r)
	wantCode(t, up.Commit(t.Context(), "sha256:x"), abi.Invalid)
	wantCode(t, up.Commit(t.Context(), sha256Of([]byte("x"))), abi.DigestMismatch)
	wantCode(t, up.Commit(t.Context(), sha256Of(nil)), abi.NotFound)
	for _, id := range []string{"", "..", "../../index.json", strings.Repeat("0", 32), strings.Repeat("g", 32)} {
		_, err := r.Upload(id)
		wantCode(t, err, abi.NotFound)
	}
}

func TestUploadHasOneWriter(t *testing.T) {
	t.Parallel()
	r := repo(t, openDir(t, t.TempDir()), "acme/echo")
	up := startUpload(t, r)
	body, feed := io.Pipe()
	first := make(chan error, 1)
	go func() {
		_, err := up.Append(t.Context(), anywhere(), body)
		first <- err
	}()
	if _, err := feed.Write([]byte("a")); err != nil { // returns when the writer has the upload and reads
		t.Fatal(err)
	}
	_, err := up.Append(t.Context(), anywhere(), strings.NewReader("b"))
	wantCode(t, err, abi.Conflict)
	wantCode(t, up.Commit(t.Context(), sha256Of([]byte("a"))), abi.Conflict)
	wantCode(t, up.Cancel(), abi.Conflict)
	feed.Close()
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	if err := up.Commit(t.Context(), sha256Of([]byte("a"))); err != nil {
		t.Error(err)
	}
}

func TestExpire(t *testing.T) {
	t.Parallel()
	r := repo(t, openDir(t, t.TempDir()), "acme/echo")
	old, young := startUpload(t, r), startUpload(t, r)
	long := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(filepath.Join(dirOf(r, t), ".registry", "uploads", old.ID()), long, long); err != nil {
		t.Fatal(err)
	}
	if n, err := r.Dir().Expire(t.Context(), 24*time.Hour); n != 1 || err != nil {
		t.Errorf("%d expired, %v", n, err)
	}
	_, err := r.Upload(old.ID())
	wantCode(t, err, abi.NotFound)
	if _, err := r.Upload(young.ID()); err != nil {
		t.Error(err)
	}
}

func TestMount(t *testing.T) {
	t.Parallel()
	d := openDir(t, t.TempDir())
	from, to := repo(t, d, "acme/echo"), repo(t, d, "acme/other")
	digest := putBlob(t, from, "shared")
	for range 2 {
		if err := to.Mount(t.Context(), from, digest); err != nil {
			t.Fatal(err)
		}
	}
	if err := to.CheckBlob(digest); err != nil {
		t.Error(err)
	}
	wantCode(t, to.Mount(t.Context(), from, sha256Of([]byte("none"))), abi.NotFound)
	wantCode(t, to.Mount(t.Context(), repo(t, d, "no/such"), digest), abi.NotFound)
	file := filepath.Join(dirOf(from, t), "blobs", "sha256", strings.TrimPrefix(putBlob(t, from, "broken"), "sha256:"))
	if err := os.WriteFile(file, []byte("brokem"), 0o644); err != nil {
		t.Fatal(err)
	}
	wantCode(t, to.Mount(t.Context(), from, sha256Of([]byte("broken"))), abi.Corrupt)
}
