package files_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/files"
)

// tree is a leased folder with everything in it that could lead a pack out or hold it up, and a secret beside it.
type tree struct{ dir, secret string }

func (tr tree) path(rel string) string { return filepath.Join(tr.dir, rel) }
func (tr tree) read() string           { return "read:" + tr.dir }
func (tr tree) write() string          { return "write:" + tr.dir }

func grow(t testing.TB) tree {
	t.Helper()
	base := t.TempDir()
	tr := tree{filepath.Join(base, "lent"), filepath.Join(base, "secret")}
	err := errors.Join(
		os.MkdirAll(tr.path("sub/deep"), 0o755),
		os.Mkdir(tr.secret, 0o755),
		os.Mkdir(tr.dir+"-twin", 0o755),
		os.WriteFile(filepath.Join(tr.secret, "key"), []byte("secret"), 0o600),
		os.WriteFile(filepath.Join(tr.dir+"-twin", "key"), []byte("secret"), 0o600),
		os.WriteFile(tr.path("a.txt"), []byte("0123456789"), 0o640),
		os.WriteFile(tr.path("sub/b.txt"), []byte("b"), 0o644),
		os.Symlink("a.txt", tr.path("inside")),
		os.Symlink("sub", tr.path("insidedir")),
		os.Symlink("../secret/key", tr.path("relative")),
		os.Symlink(filepath.Join(tr.secret, "key"), tr.path("absolute")),
		os.Symlink(tr.secret, tr.path("linkeddir")),
		os.Symlink("../../secret", tr.path("sub/up")),
		os.Symlink(tr.path("a.txt"), tr.path("absoluteinside")),
		os.Symlink("loop", tr.path("loop")),
		special(tr.path("pipe")),
	)
	if err != nil {
		t.Fatal(err)
	}
	return tr
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

func TestPathsThatAreRefused(t *testing.T) {
	t.Parallel()
	tr := grow(t)
	cases := []struct {
		name, scope, path string
		code              abi.Code
	}{
		{"dots", tr.read(), tr.dir + "/../secret/key", abi.Denied},
		{"dots that come back", tr.read(), tr.dir + "/sub/../a.txt", abi.Denied},
		{"dots behind a link", tr.read(), tr.dir + "/insidedir/../a.txt", abi.Denied},
		{"another absolute path", tr.read(), tr.secret + "/key", abi.Denied},
		{"a twin whose name begins alike", tr.read(), tr.dir + "-twin/key", abi.Denied},
		{"relative path", tr.read(), "a.txt", abi.Denied},
		{"empty path", tr.read(), "", abi.Denied},
		{"zero byte", tr.read(), tr.dir + "/a.txt\x00", abi.Invalid},
		{"not UTF-8", tr.read(), tr.dir + "/\xff", abi.Invalid},
		{"relative link out", tr.read(), tr.path("relative"), abi.Denied},
		{"absolute link out", tr.read(), tr.path("absolute"), abi.Denied},
		{"absolute link to the inside", tr.read(), tr.path("absoluteinside"), abi.Denied},
		{"linked folder", tr.read(), tr.path("linkeddir/key"), abi.Denied},
		{"linked folder further down", tr.read(), tr.path("sub/up/key"), abi.Denied},
		{"link to itself", tr.read(), tr.path("loop"), abi.Unsupported},
		{"pipe", tr.read(), tr.path("pipe"), abi.Unsupported},
		{"device", "read:/dev", "/dev/zero", abi.Unsupported},
		{"folder", tr.read(), tr.path("sub"), abi.Unsupported},
		{"file as a folder", tr.read(), tr.path("a.txt/x"), abi.Unsupported},
		{"absent", tr.read(), tr.path("absent"), abi.NotFound},
		{"long name", tr.read(), tr.path(strings.Repeat("n", 300)), abi.Invalid},
		{"scope without a path", "read:", tr.path("a.txt"), abi.Denied},
		{"scope of everything", "read:*", tr.path("a.txt"), abi.Denied},
		{"scope with dots", "read:" + tr.dir + "/..", tr.path("a.txt"), abi.Denied},
		{"scope of another kind", "exec:" + tr.dir, tr.path("a.txt"), abi.Denied},
		{"no scope", "", tr.path("a.txt"), abi.Denied},
		{"scope that is gone", "read:" + tr.dir + "/gone", tr.path("gone/a.txt"), abi.NotFound},
	}
	f := files.New()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n, err := f.Read(t.Context(), c.scope, c.path, 0, make([]byte, 100))
			wantCode(t, err, c.code, "read ")
			if n != 0 {
				t.Errorf("%d bytes were read", n)
			}
		})
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	tr := grow(t)
	f := files.New()
	for _, c := range []struct {
		name, path string
		off        int64
		size       int
		want       string
	}{
		{"whole", "a.txt", 0, 100, "0123456789"},
		{"middle", "a.txt", 3, 4, "3456"},
		{"end", "a.txt", 10, 4, ""},
		{"far behind the end", "a.txt", math.MaxInt64, 4, ""},
		{"nothing asked", "a.txt", 0, 0, ""},
		{"link inside", "inside", 0, 100, "0123456789"},
		{"linked folder inside", "insidedir/b.txt", 0, 100, "b"},
		{"written unclean", "sub//./b.txt", 0, 100, "b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			buf := make([]byte, c.size)
			n, err := f.Read(t.Context(), tr.read(), tr.dir+"/"+c.path, c.off, buf)
			if err != nil || string(buf[:n]) != c.want {
				t.Errorf("read %q, %v; want %q", buf[:n], err, c.want)
			}
		})
	}
	_, err := f.Read(t.Context(), tr.read(), tr.path("a.txt"), -1, make([]byte, 1))
	wantCode(t, err, abi.Invalid, "-1")
	if _, err := f.Read(t.Context(), tr.write(), tr.path("a.txt"), 0, make([]byte, 1)); err != nil {
		t.Errorf("a lease for writing must read too: %v", err)
	}
}

func TestReadAtAnOffsetOfAHugeFile(t *testing.T) {
	t.Parallel()
	tr := grow(t)
	const end = 64 << 30 // sparse: it takes no room
	h, err := os.Create(tr.path("huge"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.WriteAt([]byte("tail"), end)
	if err = errors.Join(err, h.Close()); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 8)
	n, err := files.New().Read(t.Context(), tr.read(), tr.path("huge"), end-2, buf)
	if err != nil || string(buf[:n]) != "\x00\x00tail" {
		t.Errorf("read %q, %v", buf[:n], err)
	}
}

func TestStat(t *testing.T) {
	t.Parallel()
	tr := grow(t)
	f := files.New()
	for rel, want := range map[string]string{"": "dir", "a.txt": "file", "sub": "dir", "pipe": "other", "relative": "symlink", "linkeddir": "symlink"} {
		e, err := f.Stat(t.Context(), tr.read(), tr.path(rel))
		if err != nil || e.Mode != want || e.Path != tr.path(rel) {
			t.Errorf("%q: %+v, %v; want mode %q", rel, e, err, want)
		}
		if (e.Size == 10) != (rel == "a.txt") || e.MTimeMS == 0 {
			t.Errorf("%q: %+v", rel, e)
		}
	}
	_, err := f.Stat(t.Context(), tr.read(), tr.path("linkeddir/key"))
	wantCode(t, err, abi.Denied)
}

func TestWriteReplacesAWholeFile(t *testing.T) {
	t.Parallel()
	tr := grow(t)
	f := files.New()
	for _, rel := range []string{"a.txt", "new.txt", "made/on/the/way.txt", "insidedir/through"} {
		if err := f.Write(t.Context(), tr.write(), tr.path(rel), []byte("new")); err != nil {
			t.Fatalf("%s: %v", rel, err)
		}
		if got, err := os.ReadFile(tr.path(rel)); err != nil || string(got) != "new" {
			t.Errorf("%s holds %q, %v", rel, got, err)
		}
	}
	if st, err := os.Stat(tr.path("a.txt")); err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("the mode became %v, %v", st.Mode(), err)
	}
	left, err := filepath.Glob(tr.path(".arw-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestChangesThatAreRefused(t *testing.T) {
	t.Parallel()
	tr := grow(t)
	cases := []struct {
		name, scope, path string
		code              abi.Code
	}{
		{"lease for reading", tr.read(), tr.path("a.txt"), abi.Denied},
		{"the folder itself", tr.write(), tr.dir, abi.Denied},
		{"dots", tr.write(), tr.dir + "/../secret/new", abi.Denied},
		{"another absolute path", tr.write(), tr.secret + "/new", abi.Denied},
		{"linked folder", tr.write(), tr.path("linkeddir/new"), abi.Denied},
		{"new folder in a linked folder", tr.write(), tr.path("linkeddir/x/new"), abi.Denied},
		{"link further down", tr.write(), tr.path("sub/up/new"), abi.Denied},
	}
	f := files.New()
	before := snapshot(t, filepath.Dir(tr.dir))
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			wantCode(t, f.Write(t.Context(), c.scope, c.path, []byte("x")), c.code, "write ")
			wantCode(t, f.Remove(t.Context(), c.scope, c.path), c.code, "remove ")
		})
	}
	for _, rel := range []string{"absolute", "relative", "inside", "linkeddir", "sub", "pipe"} {
		t.Run("write "+rel, func(t *testing.T) {
			wantCode(t, f.Write(t.Context(), tr.write(), tr.path(rel), []byte("x")), abi.Unsupported)
		})
	}
	wantCode(t, f.Write(t.Context(), tr.write(), tr.path("a.txt/x"), nil), abi.Unsupported)
	wantCode(t, f.Remove(t.Context(), tr.write(), tr.path("sub")), abi.Conflict)
	wantCode(t, f.Remove(t.Context(), tr.write(), tr.path("absent")), abi.NotFound)
	if after := snapshot(t, filepath.Dir(tr.dir)); !slices.Equal(before, after) {
		t.Errorf("refused calls changed the disk:\n%q\n%q", before, after)
	}
}

// snapshot lists every path below dir.
func snapshot(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil {
			all = append(all, p+" "+d.Type().String())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestRemove(t *testing.T) {
	t.Parallel()
	tr := grow(t)
	f := files.New()
	for _, rel := range []string{"a.txt", "sub/deep", "absolute", "linkeddir", "pipe"} {
		if err := f.Remove(t.Context(), tr.write(), tr.path(rel)); err != nil {
			t.Errorf("%s: %v", rel, err)
		}
		if _, err := os.Lstat(tr.path(rel)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", rel, err)
		}
	}
	if _, err := os.Stat(filepath.Join(tr.secret, "key")); err != nil {
		t.Errorf("removing a link removed what it led to: %v", err)
	}
}

func TestListDoesNotFollowLinks(t *testing.T) {
	t.Parallel()
	tr := grow(t)
	entries, more, err := files.New().List(t.Context(), tr.read(), abi.FSList{Path: tr.dir, Recursive: true})
	if err != nil || more {
		t.Fatal(more, err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, strings.TrimPrefix(e.Path, tr.dir+"/")+":"+e.Mode)
	}
	want := "a.txt:file absolute:symlink absoluteinside:symlink inside:symlink insidedir:symlink linkeddir:symlink loop:symlink pipe:other relative:symlink sub:dir sub/b.txt:file sub/deep:dir sub/up:symlink"
	if strings.Join(got, " ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
	}
	for path, code := range map[string]abi.Code{tr.path("linkeddir"): abi.Denied, tr.path("a.txt"): abi.Unsupported, tr.path("absent"): abi.NotFound, tr.secret: abi.Denied} {
		_, _, err := files.New().List(t.Context(), tr.read(), abi.FSList{Path: path})
		wantCode(t, err, code, "list ")
	}
}

// TestListPagesInByteOrder compares pages of every size with a sorted list of a random tree.
func TestListPagesInByteOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rnd := rand.New(rand.NewPCG(3, 4))
	names := []string{"a", "a-b", "a.b", "a0", "b", "é", "B", "~"}
	for range 120 {
		parts := make([]string, 1+rnd.IntN(4))
		for i := range parts {
			parts[i] = names[rnd.IntN(len(names))]
		}
		p := filepath.Join(append([]string{dir}, parts...)...)
		if rnd.IntN(3) == 0 {
			_ = os.MkdirAll(p, 0o755)
		} else if os.MkdirAll(filepath.Dir(p), 0o755) == nil {
			_ = os.WriteFile(p, nil, 0o644) // where a folder has the name already it fails, which is as good
		}
	}
	for _, recursive := range []bool{true, false} {
		var want []string
		for _, line := range snapshot(t, dir)[1:] {
			p, _, _ := strings.Cut(line, " ")
			if recursive || filepath.Dir(p) == dir {
				want = append(want, p)
			}
		}
		slices.Sort(want)
		for _, limit := range []int{1, 2, 7, 50, 0} {
			t.Run(fmt.Sprintf("recursive=%v/limit=%d", recursive, limit), func(t *testing.T) {
				t.Parallel()
				var got []string
				for after, more := "", true; more; {
					var entries []abi.FSEntry
					var err error
					entries, more, err = files.New().List(t.Context(), "read:"+dir, abi.FSList{Path: dir, Recursive: recursive, After: after, Limit: limit})
					if err != nil {
						t.Fatal(err)
					}
					if more && len(entries) != limit {
						t.Fatalf("a page of %d entries, but there are more", len(entries))
					}
					for _, e := range entries {
						got = append(got, e.Path)
						after = e.Path
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("got  %q\nwant %q", got, want)
				}
			})
		}
	}
}

func TestListOfALargeFolderIsBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const n = 4000
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%05d", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	entries, more, err := files.New().List(t.Context(), "read:"+dir, abi.FSList{Path: dir, Limit: 5000, After: filepath.Join(dir, "01999")})
	if err != nil || !more || len(entries) != 1000 || entries[0].Path != filepath.Join(dir, "02000") {
		t.Errorf("%d entries, more %v, %v", len(entries), more, err)
	}
}

func TestAFolderThatMayNotBeReadIsListedButNotEntered(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("nothing is forbidden to root")
	}
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "shut"), 0), os.WriteFile(filepath.Join(dir, "z"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	entries, _, err := files.New().List(t.Context(), "read:"+dir, abi.FSList{Path: dir, Recursive: true})
	if err != nil || len(entries) != 2 {
		t.Errorf("%+v, %v", entries, err)
	}
}

func FuzzPathsStayInside(f *testing.F) {
	tr := grow(f)
	for _, seed := range []string{"/../secret/key", "/sub/../../secret/key", "//..//secret", "/relative", "/linkeddir/key", "-twin/key", "/a.txt", "/./a.txt", "/\x00", "/sub/up/key", "/inside"} {
		f.Add(seed)
	}
	fs := files.New()
	f.Fuzz(func(t *testing.T, tail string) {
		buf := make([]byte, 64)
		for _, path := range []string{tr.dir + tail, tail, tr.dir + "/" + tail} {
			if n, err := fs.Read(t.Context(), tr.read(), path, 0, buf); err == nil && bytes.Contains(buf[:n], []byte("secret")) {
				t.Errorf("%q leads to the secret", path)
			}
			if err := fs.Write(t.Context(), tr.read(), path, nil); err == nil {
				t.Errorf("%q was written through a lease for reading", path)
			}
		}
	})
}

// A scope may name a single file; it covers that file and nothing beside it, and no link leads elsewhere.
func TestScopeOfOneFile(t *testing.T) {
	t.Parallel()
	ctx, f, dir := t.Context(), files.New(), t.TempDir()
	name, beside, link := filepath.Join(dir, "a.txt"), filepath.Join(dir, "b.txt"), filepath.Join(dir, "link")
	for _, err := range []error{os.WriteFile(name, []byte("hello"), 0o600), os.WriteFile(beside, []byte("secret"), 0o600), os.Symlink(beside, link)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 16)
	if n, err := f.Read(ctx, "read:"+name, name, 0, buf); err != nil || string(buf[:n]) != "hello" {
		t.Fatalf("got %q, %v", buf[:n], err)
	}
	for _, tc := range [][2]string{{name, beside}, {name, dir}, {link, link}, {name, name + "/x"}, {name, name + "/../b.txt"}} {
		if n, err := f.Read(ctx, "read:"+tc[0], tc[1], 0, buf); err == nil {
			t.Errorf("read %s under %s: %q", tc[1], tc[0], buf[:n])
		}
	}
	if err := f.Write(ctx, "read:"+name, name, nil); abi.CodeOf(err) != abi.Denied {
		t.Errorf("write under read: %v", err)
	}
	fresh := filepath.Join(dir, "new.txt")
	if _, err := f.Read(ctx, "write:"+fresh, fresh, 0, buf); abi.CodeOf(err) != abi.NotFound {
		t.Errorf("read what is not there: %v", err)
	}
	if err := f.Write(ctx, "write:"+fresh, fresh, []byte("n")); err != nil {
		t.Error(err)
	}
}

// TestAStarLendsFoldersAlone: what only a star stands for is entered when it is a folder; a link that whoever owns the folder
// above could put there is not.
func TestAStarLendsFoldersAlone(t *testing.T) {
	t.Parallel()
	tr := grow(t)
	err := errors.Join(
		os.MkdirAll(tr.path("homes/ann/docs"), 0o755), os.MkdirAll(tr.path("homes/bob/private"), 0o755),
		os.WriteFile(tr.path("homes/ann/docs/a.txt"), []byte("ann's"), 0o644),
		os.WriteFile(tr.path("homes/bob/private/b.txt"), []byte("bob's"), 0o644),
		os.Symlink("private", tr.path("homes/bob/docs")), // stays inside of homes, and leads to what no star stands for
		os.Symlink("bob", tr.path("homes/mallory")),      // a link on the way
		os.Symlink(tr.secret, tr.path("homes/eve")),      // out of everything
		os.Symlink("ann/docs/a.txt", tr.path("homes/c.txt")),
		os.WriteFile(tr.path("homes/d.txt"), []byte("plain"), 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
	f, ctx := files.New(), t.Context()
	for _, c := range []struct {
		scope, path string
		code        abi.Code
		want        string
	}{
		{"homes/*/docs", "homes/ann/docs/a.txt", abi.OK, "ann's"},
		{"homes/*/docs", "homes/bob/docs/b.txt", abi.Denied, ""},
		{"homes/*/private", "homes/mallory/private/b.txt", abi.Denied, ""},
		{"homes/*/private", "homes/bob/private/b.txt", abi.OK, "bob's"},
		{"homes/*", "homes/eve/key", abi.Denied, ""},
		{"homes/*/docs", "homes/ann/private/x", abi.Denied, ""},
		{"homes/*.txt", "homes/d.txt", abi.OK, "plain"},
		{"homes/*.txt", "homes/c.txt", abi.Denied, ""},
		{"homes/*/docs", "homes/ann/docs/none.txt", abi.NotFound, ""},
		{"homes/*/docs", "homes/zoe/docs/a.txt", abi.NotFound, ""},
	} {
		buf := make([]byte, 100)
		n, err := f.Read(ctx, "read:"+tr.path(c.scope), tr.path(c.path), 0, buf)
		if abi.CodeOf(err) != c.code || string(buf[:n]) != c.want {
			t.Errorf("%s in %s: %q, %v; want %q, %v", c.path, c.scope, buf[:n], err, c.want, c.code)
		}
	}
	if err := f.Write(ctx, "write:"+tr.path("homes/*/docs"), tr.path("homes/ann/docs/new/x.txt"), []byte("x")); err != nil {
		t.Error(err)
	}
	if err := f.Write(ctx, "write:"+tr.path("homes/*.out"), tr.path("homes/n.out"), []byte("x")); err != nil {
		t.Error(err)
	}
	if err := f.Write(ctx, "write:"+tr.path("homes/*/docs"), tr.path("homes/bob/docs/x.txt"), []byte("x")); abi.CodeOf(err) != abi.Denied {
		t.Error(err)
	}
}
