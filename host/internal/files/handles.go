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

	"github.com/arw-project/arw/abi"
)

// File is an open file, read from its beginning. What is at its path meanwhile does not matter to it. It is not for
// concurrent use.
type File struct {
	p *place
	f *os.File
}

// OpenFile opens a file to be read piece by piece. Errors are those of Read; the caller closes the file.
func (*Folders) OpenFile(ctx context.Context, scope, path string) (*File, error) {
	p, err := enter(ctx, "read", scope, path)
	if err != nil {
		return nil, err
	}
	defer p.root.Close()
	f, err := p.openFile()
	if err != nil {
		return nil, err
	}
	return &File{p, f}, nil
}

// Read fills buf from where the last Read ended; io.EOF is the end.
func (f *File) Read(ctx context.Context, buf []byte) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	n, err := f.f.Read(buf)
	if err == io.EOF {
		return n, err
	}
	return n, f.p.explain("read", err)
}

// Close lets go of the file.
func (f *File) Close() error { return f.p.explain("read", f.f.Close()) }

// Draft is a file in the making, beside the one that it replaces and under a name of its own (".arw-….tmp"), which no
// listing shows. It is not for concurrent use.
type Draft struct {
	p    *place
	old  fs.FileInfo // of the file that is replaced; nil when there is none
	temp string
	f    *os.File
	made bool // committed
}

// CreateFile begins a file that takes the place of what is at path when it is committed. Folders that are missing on the
// way are made at once. Errors are those of Write; the caller closes the draft.
func (*Folders) CreateFile(ctx context.Context, scope, path string) (*Draft, error) {
	p, err := enter(ctx, "write", scope, path)
	if err != nil {
		return nil, err
	}
	d, err := p.draft()
	if err != nil {
		_ = p.root.Close()
		return nil, err
	}
	return d, nil
}

func (p *place) draft() (*Draft, error) {
	if err := p.mayChange("write"); err != nil {
		return nil, err
	}
	old, err := p.root.Lstat(p.rel)
	switch {
	case err == nil && !old.Mode().IsRegular():
		return nil, p.noFile("write", old)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, p.explain("write", err)
	case err != nil:
		old = nil
	}
	dir := filepath.Dir(p.rel)
	if err := p.makeFolders(dir); err != nil {
		return nil, p.explain("write", err)
	}
	d := &Draft{p: p, old: old, temp: filepath.Join(dir, draftPrefix+strconv.FormatUint(rand.Uint64(), 36)+draftSuffix)}
	if d.f, err = p.root.OpenFile(d.temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644); err != nil {
		return nil, p.explain("write", err)
	}
	return d, nil
}

// A draft's name. Such names are the host's own: they are not listed.
const draftPrefix, draftSuffix = ".arw-", ".tmp"

// Write adds bytes at the end.
func (d *Draft) Write(ctx context.Context, part []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := d.f.Write(part)
	return d.p.explain("write", err)
}

// Commit puts the draft in its place: readers see the old bytes or the new ones, also after a crash. It is durable when
// Commit returns.
func (d *Draft) Commit(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d.made {
		return abi.Errorf(abi.Invalid, "write %q: it was committed before", d.p.path)
	}
	var err error
	if d.old != nil {
		err = d.f.Chmod(d.old.Mode().Perm())
	}
	if err == nil {
		err = d.f.Sync()
	}
	if err == nil {
		err = d.p.root.Rename(d.temp, d.p.rel)
	}
	if err != nil {
		return d.p.explain("write", err)
	}
	d.made = true
	return d.p.explain("write", d.p.syncFolder(filepath.Dir(d.p.rel)))
}

// Close throws away what was not committed.
func (d *Draft) Close() error {
	err := d.f.Close()
	if !d.made {
		if e := d.p.root.Remove(d.temp); err == nil {
			err = e
		}
	}
	if e := d.p.root.Close(); err == nil {
		err = e
	}
	return d.p.explain("write", err)
}
