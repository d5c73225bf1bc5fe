package layout

import (
	"context"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/arw-project/arw/abi"
)

// Blob is an open blob. Read checks: the bytes are hashed as they pass and the last of them are handed out only when the
// whole has its digest, so that a damaged blob is never read to its end; ReadAt gives a part and checks nothing. Not safe
// for concurrent use; Close it.
type Blob struct {
	file   *os.File
	digest string
	sum    string
	hash   hash.Hash
	size   int64
	read   int64
	failed error
}

// OpenBlob opens the bytes of a digest: abi.NotFound when the repository does not have them.
func (r *Repo) OpenBlob(digest string) (*Blob, error) {
	alg, sum, err := splitDigest(digest)
	if err != nil {
		return nil, err
	}
	root, err := r.open()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.Open(path.Join(blobsDir, alg, sum))
	if err != nil {
		return nil, r.noBlob(digest, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, abi.Errorf(abi.Corrupt, "open blob %q of repository %q: %w", digest, r.name, err)
	}
	return &Blob{file: f, digest: digest, sum: sum, hash: algorithms[alg].new(), size: info.Size()}, nil
}

func (r *Repo) noBlob(digest string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return abi.Errorf(abi.NotFound, "open blob %q of repository %q: no such blob", digest, r.name)
	}
	return fault(err, "open blob %q of repository %q", digest, r.name)
}

// Size is the number of bytes on the disk.
func (b *Blob) Size() int64 { return b.size }

// Read gives the next bytes; abi.Corrupt instead of the last ones when the whole does not have the digest.
func (b *Blob) Read(p []byte) (int, error) {
	if b.failed != nil {
		return 0, b.failed
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := b.file.Read(p)
	b.hash.Write(p[:n])
	b.read += int64(n)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		b.failed = fault(err, "read blob %q", b.digest)
	case b.read >= b.size || err != nil: // the end, or a file cut short since it was opened
		b.failed = io.EOF
		if hex.EncodeToString(b.hash.Sum(nil)) != b.sum {
			b.failed = abi.Errorf(abi.Corrupt, "read blob %q: the %d bytes on disk do not have that digest", b.digest, b.read).
				WithHint("push it again: a pushed blob replaces the damaged one")
			return 0, b.failed
		}
	}
	if n == 0 {
		return 0, b.failed
	}
	return n, nil
}

// ReadAt gives bytes from an offset without checking them.
func (b *Blob) ReadAt(p []byte, off int64) (int, error) { return b.file.ReadAt(p, off) }

// Close closes the file.
func (b *Blob) Close() error { return b.file.Close() }

// CheckBlob reads a blob through and fails with abi.Corrupt when it does not have its digest.
func (r *Repo) CheckBlob(digest string) error {
	b, err := r.OpenBlob(digest)
	if err != nil {
		return err
	}
	defer b.Close()
	_, err = io.CopyBuffer(onlyWriter{io.Discard}, b, make([]byte, 256<<10))
	return err
}

// PutBlob streams a blob in and publishes it when it has the digest: abi.DigestMismatch when it has another. A blob that
// was there is replaced, which mends a damaged one.
func (r *Repo) PutBlob(ctx context.Context, digest string, src io.Reader) error {
	if _, _, err := splitDigest(digest); err != nil {
		return err
	}
	up, err := r.StartUpload(ctx)
	if err != nil {
		return err
	}
	if _, err = up.Append(ctx, Chunk{At: 0, Length: -1, Max: -1}, src); err == nil {
		err = up.Commit(ctx, digest)
	}
	if err != nil {
		up.Cancel()
	}
	return err
}

// Mount makes a blob of another repository of the same directory part of this one without copying it, after reading it
// through. Fails with abi.NotFound when the other does not have it.
func (r *Repo) Mount(ctx context.Context, from *Repo, digest string) error {
	name, err := blobPath(digest)
	if err != nil {
		return err
	}
	if err := from.CheckBlob(digest); err != nil {
		return err
	}
	root, err := r.create(ctx)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := makeDirs(root, path.Dir(name)); err != nil {
		return fault(err, "mount blob %q into repository %q", digest, r.name)
	}
	top, err := os.OpenRoot(r.dir.path)
	if err != nil {
		return fault(err, "mount blob %q into repository %q", digest, r.name)
	}
	defer top.Close()
	err = top.Link(path.Join(from.name, name), path.Join(r.name, name))
	switch {
	case err == nil, errors.Is(err, fs.ErrExist):
		return syncDir(root, path.Dir(name))
	case errors.Is(err, fs.ErrNotExist):
		return from.noBlob(digest, err)
	}
	b, err := from.OpenBlob(digest) // a file system without hard links
	if err != nil {
		return err
	}
	defer b.Close()
	return r.PutBlob(ctx, digest, b)
}
