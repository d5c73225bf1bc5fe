package layout

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/arw-project/arw/abi"
)

// Upload is a blob on its way in: a file that grows chunk by chunk and outlives the process, so that an upload cut off
// by a lost connection or a restart goes on where it stopped. One writer at a time; a second one fails with
// abi.Conflict.
type Upload struct {
	repo *Repo
	id   string
}

// Chunk says where the bytes of one Append belong.
type Chunk struct {
	At     int64 // offset of the first byte, which must be where the upload stands; negative = there, wherever that is
	Length int64 // number of bytes; negative = until the reader ends
	Max    int64 // the upload may not grow beyond this; negative = no limit
}

// StartUpload opens a new upload. It creates the repository when there is none.
func (r *Repo) StartUpload(ctx context.Context) (*Upload, error) {
	root, err := r.create(ctx)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	up := &Upload{repo: r, id: newID()}
	f, err := root.OpenFile(up.path(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, fault(err, "start an upload to repository %q", r.name)
	}
	return up, f.Close()
}

// Upload finds an upload by the id it was started with: abi.NotFound when it ended, expired or never was.
func (r *Repo) Upload(id string) (*Upload, error) {
	up := &Upload{repo: r, id: id}
	if len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" {
		return nil, up.gone()
	}
	if _, err := up.Size(); err != nil {
		return nil, err
	}
	return up, nil
}

// ID names the upload; who knows it may write to it.
func (u *Upload) ID() string { return u.id }

func (u *Upload) path() string { return uploadsDir + "/" + u.id }

func (u *Upload) gone() error {
	return abi.Errorf(abi.NotFound, "find upload %q of repository %q: no such upload", u.id, u.repo.name).
		WithHint("start the upload again")
}

// Size is how much has arrived.
func (u *Upload) Size() (int64, error) {
	root, err := u.repo.open()
	if err != nil {
		return 0, err
	}
	defer root.Close()
	info, err := root.Lstat(u.path())
	if err != nil {
		return 0, u.gone()
	}
	return info.Size(), nil
}

// hold opens the file and takes it for this caller alone; release gives it back.
func (u *Upload) hold() (*os.Root, *os.File, error) {
	root, err := u.repo.open()
	if err != nil {
		return nil, nil, err
	}
	f, err := root.OpenFile(u.path(), os.O_RDWR, 0)
	if err != nil {
		root.Close()
		return nil, nil, u.gone()
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		// Between the two calls the file may have become a blob: what is held must still be the upload.
		held, e1 := f.Stat()
		named, e2 := root.Lstat(u.path())
		if e1 == nil && e2 == nil && os.SameFile(held, named) {
			return root, f, nil
		}
		err = fs.ErrNotExist
	}
	release(f)
	root.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, nil, abi.Errorf(abi.Conflict, "write upload %q of repository %q: another request is writing it", u.id, u.repo.name).
			WithHint("ask where the upload stands and go on from there")
	}
	return nil, nil, u.gone()
}

// Append adds bytes and returns how much there is then. What arrived before a reader failed stays, so that the upload
// can go on from there. Fails with abi.Invalid and changes nothing when the chunk does not start where the upload stands
// or is longer than it says, and with abi.TooLarge beyond the limit.
func (u *Upload) Append(ctx context.Context, c Chunk, src io.Reader) (int64, error) {
	root, f, err := u.hold()
	if err != nil {
		return 0, err
	}
	defer root.Close()
	defer release(f)
	start, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, fault(err, "write upload %q", u.id)
	}
	if c.At >= 0 && c.At != start {
		return start, abi.Errorf(abi.Invalid, "write upload %q: the chunk starts at %d, the upload stands at %d", u.id, c.At, start).
			WithHint("go on from %d", start)
	}
	n, err := io.CopyBuffer(onlyWriter{f}, c.bound(&contextReader{ctx, src}, start), make([]byte, 256<<10))
	switch {
	case err != nil && n == 0, err != nil && !isOver(err):
		return start + n, fault(err, "write upload %q", u.id)
	case err == nil && (c.Length < 0 || n == c.Length):
		return start + n, nil
	case err == nil:
		return start + n, abi.Errorf(abi.Invalid, "write upload %q: %d bytes came of the %d announced", u.id, n, c.Length).
			WithHint("go on from %d", start+n)
	}
	if e := f.Truncate(start); e != nil {
		return start, fault(e, "write upload %q", u.id)
	}
	return start, fault(err, "write upload %q", u.id)
}

// bound makes a reader fail that gives more than the chunk may hold.
func (c Chunk) bound(src io.Reader, start int64) io.Reader {
	if c.Max >= 0 {
		src = &boundedReader{src, c.Max - start, abi.Errorf(abi.TooLarge, "more than %d bytes", c.Max)}
	}
	if c.Length >= 0 {
		src = &boundedReader{src, c.Length, abi.Errorf(abi.Invalid, "more than the %d bytes announced", c.Length)}
	}
	return src
}

func isOver(err error) bool {
	c := abi.CodeOf(err)
	return c == abi.TooLarge || c == abi.Invalid
}

// boundedReader fails instead of handing out a byte too many.
type boundedReader struct {
	src  io.Reader
	left int64
	over *abi.Error
}

func (b *boundedReader) Read(p []byte) (int, error) {
	n, err := b.src.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, b.over
	}
	return n, err
}

// contextReader stops reading when its context ends.
type contextReader struct {
	ctx context.Context
	src io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.src.Read(p)
}

// Commit ends the upload: the bytes are synced, hashed from the disk and published under their digest. On
// abi.DigestMismatch the upload is gone, since nothing sent later could mend it.
func (u *Upload) Commit(ctx context.Context, digest string) error {
	name, err := blobPath(digest)
	if err != nil {
		return err
	}
	root, f, err := u.hold()
	if err != nil {
		return err
	}
	defer root.Close()
	defer release(f)
	if err := f.Sync(); err != nil {
		return fault(err, "store blob %q", digest)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fault(err, "store blob %q", digest)
	}
	ok, err := hashAll(&contextReader{ctx, f}, digest)
	if err != nil {
		return fault(err, "store blob %q", digest)
	}
	if !ok {
		root.Remove(u.path())
		return abi.Errorf(abi.DigestMismatch, "store blob %q in repository %q: the bytes that came do not have that digest", digest, u.repo.name).
			WithHint("send it again; if it fails again the source is damaged")
	}
	if err := makeDirs(root, path.Dir(name)); err != nil {
		return fault(err, "store blob %q", digest)
	}
	if err := root.Rename(u.path(), name); err != nil {
		return fault(err, "store blob %q", digest)
	}
	if err := syncDir(root, path.Dir(name)); err != nil {
		return fault(err, "store blob %q", digest)
	}
	return nil
}

// Cancel throws the upload away; one that is gone already is no error.
func (u *Upload) Cancel() error {
	root, f, err := u.hold()
	if abi.CodeOf(err) == abi.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	defer release(f)
	if err := root.Remove(u.path()); err != nil {
		return fault(err, "cancel upload %q", u.id)
	}
	return nil
}

// Expire removes uploads and temporary files that nobody has written to for that long, in every repository, and returns
// how many.
func (d *Dir) Expire(ctx context.Context, idle time.Duration) (int, error) {
	names, err := d.Names()
	if err != nil {
		return 0, err
	}
	removed := 0
	for _, name := range names {
		if ctx.Err() != nil {
			return removed, fault(context.Cause(ctx), "expire uploads in %q", d.path)
		}
		repo, err := d.Repo(name)
		if err != nil {
			return removed, err
		}
		n, err := repo.expire(idle)
		removed += n
		if err != nil {
			return removed, err
		}
	}
	return removed, nil
}

func (r *Repo) expire(idle time.Duration) (int, error) {
	root, err := r.open()
	if err != nil {
		return 0, err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), uploadsDir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fault(err, "expire uploads of repository %q", r.name)
	}
	removed := 0
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < idle {
			continue
		}
		up := &Upload{repo: r, id: e.Name()}
		if up.Cancel() == nil {
			removed++
		}
	}
	return removed, nil
}
