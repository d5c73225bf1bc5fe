package files_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/files"
)

// read takes a file to its end in pieces of 3 bytes.
func read(t *testing.T, f *files.File) string {
	t.Helper()
	var all []byte
	buf := make([]byte, 3)
	for {
		n, err := f.Read(t.Context(), buf)
		if err == io.EOF {
			return string(all)
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, buf[:n]...)
	}
}

// TestOpenFile reads piece by piece what was opened, whatever takes its place meanwhile.
func TestOpenFile(t *testing.T) {
	t.Parallel()
	tr, f := grow(t), files.New()
	open, err := f.OpenFile(t.Context(), tr.read(), tr.path("a.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Write(t.Context(), tr.write(), tr.path("a.txt"), []byte("other")); err != nil {
		t.Fatal(err)
	}
	if got := read(t, open); got != "0123456789" {
		t.Errorf("it reads %q", got)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := open.Read(gone, make([]byte, 1)); err == nil {
		t.Error("a call that is over still reads")
	}
	if err := open.Close(); err != nil {
		t.Error(err)
	}
	for path, code := range map[string]abi.Code{
		"absolute": abi.Denied, "sub/up/key": abi.Denied, "pipe": abi.Unsupported, "sub": abi.Unsupported, "none": abi.NotFound,
		"../secret/key": abi.Denied,
	} {
		if _, err := f.OpenFile(t.Context(), tr.read(), tr.dir+"/"+path); abi.CodeOf(err) != code {
			t.Errorf("open %q: %v, want %s", path, err, code)
		}
	}
}

// TestDraft replaces a file as a whole when it is committed, and leaves nothing when it is not.
func TestDraft(t *testing.T) {
	t.Parallel()
	tr, f := grow(t), files.New()
	create := func(rel string) *files.Draft {
		d, err := f.CreateFile(t.Context(), tr.write(), tr.path(rel))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := d.Write(t.Context(), []byte("part ")); err != nil {
				t.Fatal(err)
			}
		}
		return d
	}
	content := func(rel string) string {
		raw, err := os.ReadFile(tr.path(rel))
		if err != nil {
			return err.Error()
		}
		return string(raw)
	}
	d := create("a.txt")
	if got := content("a.txt"); got != "0123456789" {
		t.Errorf("before it is committed the file holds %q", got)
	}
	listed, _, err := f.List(t.Context(), tr.read(), abi.FSList{Path: tr.dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range listed {
		if filepath.Ext(e.Path) == ".tmp" {
			t.Errorf("the file in the making is listed: %s", e.Path)
		}
	}
	if err := d.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if abi.CodeOf(d.Commit(t.Context())) != abi.Invalid {
		t.Error("it is committed twice")
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if got := content("a.txt"); got != "part part part " {
		t.Errorf("it holds %q", got)
	}
	if st, err := os.Stat(tr.path("a.txt")); err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("its mode is %v %v", st.Mode(), err)
	}
	if err := create("new/er/file").Close(); err != nil {
		t.Error(err)
	}
	for _, pattern := range []string{".arw-*", "new/er/*"} {
		if left, _ := filepath.Glob(tr.path(pattern)); len(left) > 0 {
			t.Errorf("%s is left", left)
		}
	}
	for path, code := range map[string]abi.Code{"absolute": abi.Unsupported, "sub/up/x": abi.Denied, "pipe": abi.Unsupported, "sub": abi.Unsupported, "../x": abi.Denied, "": abi.Denied} {
		if _, err := f.CreateFile(t.Context(), tr.write(), tr.dir+"/"+path); abi.CodeOf(err) != code {
			t.Errorf("create %q: %v, want %s", path, err, code)
		}
	}
	if _, err := f.CreateFile(t.Context(), tr.read(), tr.path("x")); abi.CodeOf(err) != abi.Denied {
		t.Error(err)
	}
	if raw, err := os.ReadFile(filepath.Join(tr.secret, "key")); err != nil || !bytes.Equal(raw, []byte("secret")) {
		t.Error("the secret was touched", err)
	}
}
