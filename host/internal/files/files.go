// Package files keeps one promise: a pack that was lent a folder reaches the files in that folder and nothing else.
//
// Every call names the lease's scope ("read:/data" or "write:/data") and an absolute path. The path must lie in the
// scope by its words, and is then opened through os.Root, so that no link inside the folder leads out of it, whatever
// changes on the disk in the meantime. Only regular files and folders are opened: a pipe or a device is refused, because
// reading one can block, rewind a tape or answer for ever. Hard links cannot be told from files: do not lend a folder
// that strangers can link files into.
package files

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests/pattern"
)

// Folders serves all leases; it holds nothing and is safe for concurrent use. A folder is opened anew at each call, so
// that what is removed or replaced by its owner is seen at once.
type Folders struct{}

// New makes a Folders.
func New() *Folders { return &Folders{} }

// place is a path that was found to lie in a scope.
type place struct {
	root     *os.Root
	folder   string // the leased folder, clean and absolute
	named    string // of a scope with stars: the part before them, the only one that somebody named; else ""
	rel      string // path below it, "." for the folder itself
	path     string // as the guest wrote it, for messages
	writable bool
}

// enter checks scope and path by their words and opens the leased folder. The caller closes root.
func enter(ctx context.Context, doing, scope, path string) (*place, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	mode, folder, ok := strings.Cut(scope, ":")
	if !ok || mode != "read" && mode != "write" || !filepath.IsAbs(folder) || hasDots(folder) {
		return nil, abi.Errorf(abi.Denied, "%s %q: the lease's scope %q names no folder", doing, path, scope).
			WithHint("lease %q followed by an absolute path", "read:")
	}
	p := &place{folder: filepath.Clean(folder), path: path, writable: mode == "write"}
	if err := p.within(doing); err != nil {
		return nil, err
	}
	root, err := p.open(p.folder)
	if err != nil && p.rel == "." {
		if st, serr := os.Lstat(p.folder); errors.Is(serr, fs.ErrNotExist) || serr == nil && !st.IsDir() { // OpenRoot names no errno for a file
			return p.alone(doing)
		}
	}
	if err != nil {
		return nil, p.explain(doing, err)
	}
	p.root = root
	return p, nil
}

// alone opens the folder around a scope that names a single file. A link there could lead to another one, so it is refused.
func (p *place) alone(doing string) (*place, error) {
	root, err := p.open(filepath.Dir(p.folder))
	if err != nil {
		return nil, p.explain(doing, err)
	}
	p.rel = filepath.Base(p.folder)
	if st, err := root.Lstat(p.rel); err == nil && st.Mode()&fs.ModeSymlink != 0 {
		return nil, errors.Join(abi.Errorf(abi.Denied, "%s %q: it is a symbolic link, and the lease covers this one file", doing, p.path), root.Close())
	}
	p.root, p.folder = root, filepath.Dir(p.folder)
	return p, nil
}

// within sets rel, or says why the path is refused. A path is judged as it is written: resolving ".." first would judge
// another path than the one the lease was checked for.
func (p *place) within(doing string) error {
	outside := func(why string) error {
		return abi.Errorf(abi.Denied, "%s %q: the path %s", doing, p.path, why).WithHint("the lease covers %q", p.folder)
	}
	switch {
	case strings.ContainsRune(p.path, 0) || !utf8.ValidString(p.path):
		return abi.Errorf(abi.Invalid, "%s %q: the path is not text", doing, p.path)
	case !filepath.IsAbs(p.path):
		return outside("is not absolute")
	case hasDots(p.path):
		return outside(`climbs with ".."`)
	}
	if strings.Contains(p.folder, "*") {
		named, _ := pattern.Fixed(p.folder)
		folder, ok := pattern.Concrete(p.folder, filepath.Clean(p.path))
		if !ok {
			return outside("lies outside of the leased folders")
		}
		p.folder, p.named = folder, named
	}
	rel, err := filepath.Rel(p.folder, filepath.Clean(p.path))
	if err != nil || !filepath.IsLocal(rel) {
		return outside("lies outside of the leased folder")
	}
	p.rel = rel
	return nil
}

func hasDots(path string) bool {
	for part := range strings.SplitSeq(filepath.ToSlash(path), "/") {
		if part == ".." {
			return true
		}
	}
	return false
}

// Stat describes one file or folder. A symbolic link is described itself, not what it leads to. Errors: Denied outside
// of the scope, NotFound, Unavailable.
func (*Folders) Stat(ctx context.Context, scope, path string) (abi.FSEntry, error) {
	p, err := enter(ctx, "describe", scope, path)
	if err != nil {
		return abi.FSEntry{}, err
	}
	defer p.root.Close()
	st, err := p.root.Lstat(p.rel)
	if err != nil {
		return abi.FSEntry{}, p.explain("describe", err)
	}
	return entry(filepath.Join(p.folder, p.rel), st), nil
}

func entry(path string, st fs.FileInfo) abi.FSEntry {
	e := abi.FSEntry{Path: path, MTimeMS: st.ModTime().UnixMilli(), Mode: "other"}
	switch m := st.Mode(); {
	case m.IsRegular():
		e.Mode, e.Size = "file", st.Size()
	case m.IsDir():
		e.Mode = "dir"
	case m&fs.ModeSymlink != 0:
		e.Mode = "symlink"
	}
	return e
}

// Read reads up to len(buf) bytes at an offset; 0 bytes and no error is the end of the file. It costs no more for a file
// of any size. Links are followed inside of the folder. Errors: Denied outside of the scope, NotFound, Unsupported for
// what is not a regular file, Invalid for a negative offset, Unavailable.
func (*Folders) Read(ctx context.Context, scope, path string, off int64, buf []byte) (int, error) {
	p, err := enter(ctx, "read", scope, path)
	if err != nil {
		return 0, err
	}
	defer p.root.Close()
	if off < 0 {
		return 0, abi.Errorf(abi.Invalid, "read %q: the offset %d is negative", path, off)
	}
	f, err := p.openFile()
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, err := f.ReadAt(buf, off)
	if err == io.EOF || errors.Is(err, syscall.EINVAL) && off > maxOffset { // no file reaches there: it is behind the end
		err = nil
	}
	return n, p.explain("read", err)
}

// maxOffset is where file systems may begin to refuse an offset as such.
const maxOffset = 1 << 40

// openFile opens a regular file. It looks before it opens, because opening alone can move a device; it opens without
// waiting, because what it looked at can have been replaced by a pipe; and it looks again at what it opened.
func (p *place) openFile() (*os.File, error) {
	st, err := p.root.Stat(p.rel)
	if err != nil {
		return nil, p.explain("read", err)
	}
	if !st.Mode().IsRegular() {
		return nil, p.noFile("read", st)
	}
	f, err := p.root.OpenFile(p.rel, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, p.explain("read", err)
	}
	if st, err = f.Stat(); err == nil && !st.Mode().IsRegular() {
		err = p.noFile("read", st)
	}
	if err != nil {
		_ = f.Close()
		return nil, p.explain("read", err)
	}
	return f, nil
}

func (p *place) noFile(doing string, st fs.FileInfo) error {
	what := map[fs.FileMode]string{fs.ModeDir: "a folder", fs.ModeNamedPipe: "a pipe", fs.ModeSocket: "a socket", fs.ModeSymlink: "a symbolic link"}[st.Mode().Type()]
	if what == "" {
		what = "a device"
	}
	return abi.Errorf(abi.Unsupported, "%s %q: it is %s, not a file", doing, p.path, what)
}

// Write replaces a file as a whole: readers see the old bytes or the new ones, also after a crash, and it is durable
// when Write returns. Folders that are missing on the way are made. The mode of a file that is replaced is kept. Errors:
// Denied outside of the scope or when the scope is for reading, Unsupported when the path is a folder, a link, a pipe or
// a device, StorageFull, Unavailable.
func (*Folders) Write(ctx context.Context, scope, path string, data []byte) error {
	p, err := enter(ctx, "write", scope, path)
	if err != nil {
		return err
	}
	defer p.root.Close()
	if err := p.mayChange("write"); err != nil {
		return err
	}
	old, err := p.root.Lstat(p.rel)
	switch {
	case err == nil && !old.Mode().IsRegular():
		return p.noFile("write", old)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return p.explain("write", err)
	}
	if err := p.makeFolders(filepath.Dir(p.rel)); err != nil {
		return p.explain("write", err)
	}
	return p.explain("write", p.replace(data, old))
}

func (p *place) mayChange(doing string) error {
	if !p.writable {
		return abi.Errorf(abi.Denied, "%s %q: the lease is for reading", doing, p.path).
			WithHint(`ask for "write:%s" in pack.toml and have the operator grant it`, p.folder)
	}
	if p.rel == "." {
		return abi.Errorf(abi.Denied, "%s %q: it is the leased folder itself", doing, p.path)
	}
	return nil
}

// makeFolders makes what is missing of dir, each durable in its parent.
func (p *place) makeFolders(dir string) error {
	if dir == "." {
		return nil
	}
	if st, err := p.root.Stat(dir); err == nil && st.IsDir() {
		return nil
	}
	if err := p.makeFolders(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := p.root.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return p.syncFolder(filepath.Dir(dir))
}

// replace puts data in the place of old, which is nil when there is no such file.
func (p *place) replace(data []byte, old fs.FileInfo) error {
	temp := filepath.Join(filepath.Dir(p.rel), ".arw-"+strconv.FormatUint(rand.Uint64(), 36)+".tmp")
	f, err := p.root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && old != nil {
		err = f.Chmod(old.Mode().Perm())
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = p.root.Rename(temp, p.rel)
	}
	if err != nil {
		_ = p.root.Remove(temp)
		return err
	}
	return p.syncFolder(filepath.Dir(p.rel))
}

func (p *place) syncFolder(dir string) error {
	d, err := p.root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Remove removes a file, a link or an empty folder. Errors: Denied outside of the scope or when the scope is for
// reading, NotFound, Conflict for a folder that is not empty, Unavailable.
func (*Folders) Remove(ctx context.Context, scope, path string) error {
	p, err := enter(ctx, "remove", scope, path)
	if err != nil {
		return err
	}
	defer p.root.Close()
	if err := p.mayChange("remove"); err != nil {
		return err
	}
	if err := p.root.Remove(p.rel); err != nil {
		return p.explain("remove", err)
	}
	return p.explain("remove", p.syncFolder(filepath.Dir(p.rel)))
}

// explain gives an error of the system its code. Everything os.Root refuses because it leads outside is Denied.
func (p *place) explain(doing string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*abi.Error](err); ok {
		return e
	}
	code := abi.Unavailable
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return abi.Errorf(abi.NotFound, "%s %q: there is no such file", doing, p.path)
	case escapes(err):
		return abi.Errorf(abi.Denied, "%s %q: a link on the way leads out of the leased folder", doing, p.path).WithHint("the lease covers %q", p.folder)
	case errors.Is(err, fs.ErrPermission):
		code = abi.Denied
	case errors.Is(err, syscall.ENOTEMPTY), errors.Is(err, fs.ErrExist):
		code = abi.Conflict
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENXIO), errors.Is(err, syscall.ELOOP):
		code = abi.Unsupported
	case errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.EINVAL):
		code = abi.Invalid
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		code = abi.StorageFull
	}
	// The system's error would show how the host joined the path; the words say the same.
	var cause error = err
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		cause = pe.Err
	} else if le, ok := errors.AsType[*os.LinkError](err); ok {
		cause = le.Err
	}
	return abi.Errorf(code, "%s %q: %w", doing, p.path, cause)
}

// escapes recognises os.Root's refusal, which has no exported value.
func escapes(err error) bool { return strings.HasSuffix(err.Error(), "path escapes from parent") }
