package guest_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
)

// TestFilesByHandle copies a file in pieces natively, as a guest does, and puts nothing in its place before Commit.
func TestFilesByHandle(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	text := strings.Repeat("0123456789", 30_000)
	if err := os.WriteFile(from, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m := &guest.Memory{Folders: []string{dir}}
	f := m.Call().FS()
	r, err := f.OpenFile(from)
	if err != nil {
		t.Fatal(err)
	}
	w, err := f.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(w, r); n != int64(len(text)) || err != nil {
		t.Fatal(n, err)
	}
	if _, err := os.Stat(to); err == nil {
		t.Error("the file is there before it is committed")
	}
	if err := errors.Join(w.Commit(), r.Close()); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(to); string(got) != text || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := w.Commit(); abi.CodeOf(err) != abi.Invalid {
		t.Errorf("committed twice: %v", err)
	}
	if _, err := r.Read(make([]byte, 1)); abi.CodeOf(err) != abi.Invalid {
		t.Errorf("read after Close: %v", err)
	}
	if _, err := f.OpenFile("/elsewhere"); abi.CodeOf(err) != abi.Denied {
		t.Error(err)
	}
	for range abi.MaxHandles {
		if _, err := f.OpenFile(from); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.Create(to); abi.CodeOf(err) != abi.Busy {
		t.Error(err)
	}
}
