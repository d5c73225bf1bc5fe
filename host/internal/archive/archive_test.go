package archive_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/archive"
)

// item is one entry of an archive that a test makes.
type item struct {
	name string
	body string
	mode fs.FileMode
	link string
	hard bool
}

func zipOf(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, it := range items {
		h := &zip.FileHeader{Name: it.name, Method: zip.Deflate}
		h.SetMode(it.mode | 0o644)
		if it.link != "" {
			h.SetMode(fs.ModeSymlink | 0o777)
			it.body = it.link
		}
		w, err := z.CreateHeader(h)
		if err == nil {
			_, err = io.WriteString(w, it.body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tarOf(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, it := range items {
		h := &tar.Header{Name: it.name, Mode: int64(it.mode.Perm() | 0o644), Size: int64(len(it.body)), Typeflag: tar.TypeReg, Linkname: it.link}
		switch {
		case it.hard:
			h.Typeflag = tar.TypeLink
		case it.link != "":
			h.Typeflag = tar.TypeSymlink
		case it.mode&fs.ModeDevice != 0:
			h.Typeflag = tar.TypeBlock
		case it.mode&fs.ModeNamedPipe != 0:
			h.Typeflag = tar.TypeFifo
		case strings.HasSuffix(it.name, "/"):
			h.Typeflag = tar.TypeDir
		}
		err := w.WriteHeader(h)
		if err == nil {
			_, err = io.WriteString(w, it.body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzOf(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func open(t testing.TB, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root
}

// TestHostile: nothing gets out, nothing is left behind, and the error says which entry and why.
func TestHostile(t *testing.T) {
	for name, c := range hostile(t) {
		t.Run(name, func(t *testing.T) {
			above := t.TempDir()
			dir := filepath.Join(above, "jail")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			_, err := archive.Unpack(t.Context(), bytes.NewReader(c.data), open(t, dir), "out", c.opt)
			var e *abi.Error
			if !errors.As(err, &e) {
				t.Fatalf("it was unpacked: %v %v", err, tree(t, dir))
			}
			if d, ok := e.Detail.(archive.Detail); !ok || d.Reason != c.reason || e.Code != c.code {
				t.Errorf("%s %+v: %v; want %s %s", e.Code, e.Detail, e, c.code, c.reason)
			}
			if left := tree(t, above); len(left) != 1 {
				t.Errorf("it left %v", left)
			}
		})
	}
}

// tree is every path below dir with the content of files.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		if d.IsDir() {
			all[rel+"/"] = ""
			return nil
		}
		data, err := os.ReadFile(p)
		all[rel] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestGood unpacks what honest people make.
func TestGood(t *testing.T) {
	items := []item{{name: "top/"}, {name: "top/a.txt", body: "alpha"}, {name: "top/bin/run", body: "#!", mode: 0o755}, {name: "top/sub/é.txt", body: "é"}}
	want := map[string]string{"top/": "", "top/a.txt": "alpha", "top/bin/": "", "top/bin/run": "#!", "top/sub/": "", "top/sub/é.txt": "é"}
	stripped := map[string]string{"a.txt": "alpha", "bin/": "", "bin/run": "#!", "sub/": "", "sub/é.txt": "é"}
	bz, err := os.ReadFile("testdata/good.tar.bz2")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data []byte
		opt  archive.Options
		want map[string]string
		rep  archive.Report
	}{
		"zip":    {zipOf(t, items...), archive.Options{}, want, archive.Report{Format: "zip", Files: 3, Folders: 3, Bytes: 9, Depth: 1}},
		"tar":    {tarOf(t, items...), archive.Options{}, want, archive.Report{Format: "tar", Files: 3, Folders: 3, Bytes: 9, Depth: 1}},
		"tar.gz": {gzOf(t, tarOf(t, items...)), archive.Options{}, want, archive.Report{Format: "tar.gz", Files: 3, Folders: 3, Bytes: 9, Depth: 1}},
		"strip":  {gzOf(t, tarOf(t, items...)), archive.Options{Strip: 1}, stripped, archive.Report{Format: "tar.gz", Files: 3, Folders: 2, Bytes: 9, Skipped: 1, Depth: 1}},
		"bz2":    {bz, archive.Options{}, map[string]string{"good/": "", "good/a": "alpha\n"}, archive.Report{Format: "tar.bz2", Files: 1, Folders: 1, Bytes: 6, Depth: 1}},
		"gzip":   {gzOf(t, []byte("alone")), archive.Options{}, map[string]string{"content": "alone"}, archive.Report{Format: "gzip", Files: 1, Bytes: 5, Depth: 1}},
		"links left out": {tarOf(t, item{name: "a", body: "x"}, item{name: "l", link: "a"}, item{name: "h", link: "a", hard: true}), archive.Options{Links: true},
			map[string]string{"a": "x"}, archive.Report{Format: "tar", Files: 1, Bytes: 1, Skipped: 2, Depth: 1}},
		"nested kept":           {nest(t, 2), archive.Options{}, map[string]string{"level0.zip": string(nest(t, 1))}, archive.Report{Format: "zip", Files: 1, Bytes: int64(len(nest(t, 1))), Depth: 1}},
		"nested":                {nest(t, 2), archive.Options{Nested: true}, map[string]string{"level0.zip/": "", "level0.zip/core.txt": "core"}, archive.Report{Format: "zip", Files: 1, Folders: 1, Bytes: 4, Depth: 2}},
		"another name in front": {twoNames(t, "../", "abc"), archive.Options{}, map[string]string{"abc": "x"}, archive.Report{Format: "zip", Files: 1, Bytes: 1, Depth: 1}},
		"look of other scripts": {zipOf(t, item{name: "第一章：序/読む？.txt", body: "x"}, item{name: "½…", body: "y"}), archive.Options{},
			map[string]string{"第一章：序/": "", "第一章：序/読む？.txt": "x", "½…": "y"}, archive.Report{Format: "zip", Files: 2, Folders: 1, Bytes: 2, Depth: 1}},
		"empty zip": {zipOf(t), archive.Options{}, map[string]string{}, archive.Report{Format: "zip", Depth: 1}},
		"2 MB packed well": {zipOf(t, item{name: "log", body: strings.Repeat("a line of a log that says little\n", 30_000)}), archive.Options{},
			map[string]string{"log": strings.Repeat("a line of a log that says little\n", 30_000)}, archive.Report{Format: "zip", Files: 1, Bytes: 990_000, Depth: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			rep, err := archive.Unpack(t.Context(), bytes.NewReader(c.data), open(t, dir), "out", c.opt)
			if err != nil {
				t.Fatal(err)
			}
			if got := tree(t, filepath.Join(dir, "out")); !maps.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if rep != c.rep {
				t.Errorf("report %+v, want %+v", rep, c.rep)
			}
			if st, err := os.Stat(filepath.Join(dir, "out", "top/bin/run")); err == nil && st.Mode().Perm()&0o100 == 0 {
				t.Error("the program lost its mode")
			}
		})
	}
}

// TestTarget: what is there already is not touched, and an empty folder is taken.
func TestTarget(t *testing.T) {
	data := zipOf(t, item{name: "a", body: "x"})
	dir := t.TempDir()
	root := open(t, dir)
	for _, name := range []string{"full/keep", "file"} {
		_ = os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700)
		if err := os.WriteFile(filepath.Join(dir, name), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, to := range []string{"full", "file"} {
		if _, err := archive.Unpack(t.Context(), bytes.NewReader(data), root, to, archive.Options{}); abi.CodeOf(err) != abi.Conflict {
			t.Errorf("%s: %v", to, err)
		}
	}
	if err := root.Mkdir("empty", 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Unpack(t.Context(), bytes.NewReader(data), root, "empty", archive.Options{}); err != nil {
		t.Error(err)
	}
	want := map[string]string{"full/": "", "full/keep": "mine", "file": "mine", "empty/": "", "empty/a": "x"}
	if got := tree(t, dir); !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if _, err := archive.Unpack(t.Context(), bytes.NewReader(data), root, "../out", archive.Options{}); err == nil {
		t.Error("it unpacked beside its root")
	}
}

// slow is an archive on a disk that takes a second for each read.
type slow struct{ *bytes.Reader }

func (s slow) ReadAt(p []byte, off int64) (int, error) {
	time.Sleep(time.Second) // synctest's clock
	return s.Reader.ReadAt(p, off)
}

func TestTimeout(t *testing.T) {
	dir := t.TempDir()
	root := open(t, dir)
	data := tarOf(t, many(100)...)
	synctest.Test(t, func(t *testing.T) {
		_, err := archive.Unpack(t.Context(), slow{bytes.NewReader(data)}, root, "out", archive.Options{})
		var e *abi.Error
		if !errors.As(err, &e) || e.Code != abi.Deadline || e.Detail.(archive.Detail).Reason != archive.ReasonTimeout {
			t.Errorf("after the time: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := archive.Unpack(ctx, bytes.NewReader(data), root, "out", archive.Options{}); abi.CodeOf(err) != abi.Cancelled {
			t.Errorf("cancelled: %v", err)
		}
	})
	if left := tree(t, dir); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
}

// FuzzUnpack: whatever the bytes, what comes out lies in the target and within the bounds, or nothing does.
func FuzzUnpack(f *testing.F) {
	for _, c := range hostile(f) {
		if len(c.data) < 8<<10 {
			f.Add(c.data, c.opt.Nested)
		}
	}
	f.Add(gzOf(f, tarOf(f, item{name: "a/b", body: "x"})), true)
	f.Fuzz(func(t *testing.T, data []byte, nested bool) {
		above := t.TempDir()
		dir := filepath.Join(above, "jail")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		limits := archive.Limits{Bytes: 1 << 20, Entries: 50}
		rep, err := archive.Unpack(t.Context(), bytes.NewReader(data), open(t, dir), "out", archive.Options{Limits: limits, Nested: nested})
		left := tree(t, above)
		if err != nil {
			if len(left) != 1 {
				t.Fatalf("%v left %v", err, left)
			}
			return
		}
		files, size := 0, 0
		for name, body := range left {
			if name != "jail/" && name != "jail/out/" && !strings.HasPrefix(name, "jail/out/") {
				t.Fatalf("%q lies outside", name)
			}
			if !strings.HasSuffix(name, "/") {
				files, size = files+1, size+len(body)
			}
		}
		if files != rep.Files || int64(size) != rep.Bytes || size > 1<<20 || files > 50 {
			t.Fatalf("%d files of %d bytes, reported as %+v", files, size, rep)
		}
	})
}
