// Package cas keeps one promise: bytes asked for by their digest are exactly the bytes that have that digest, or an
// error.
//
// Blobs lie in files named by their SHA-256 (dir/sha256/ab/abcd…, mode 0600). A blob appears whole and durable or not at
// all, whatever kills the process. Every read is checked against the digest; a blob that rotted is reported as Corrupt
// and healed by the next Put of the same bytes.
package cas

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/arw-project/arw/abi"
)

// Store is one directory of blobs. All methods are safe for concurrent use; one process at a time may have it open
// (the state directory's lock sees to that).
type Store struct {
	dir  string
	root *os.Root
	// sweep keeps a blob that is just being published from being swept as old.
	sweep sync.RWMutex
}

const (
	algorithm = "sha256:"
	shards    = "sha256"
	temporary = "tmp"
)

// Open opens the store in dir, making it when absent and removing what a killed process left half written. The caller
// must Close it.
func Open(dir string) (*Store, error) {
	doing := `open blob store "` + dir + `"`
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, explain(doing, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, explain(doing, err)
	}
	s := &Store{dir: dir, root: root}
	if err := s.prepare(); err != nil {
		_ = root.Close()
		return nil, explain(doing, err)
	}
	return s, nil
}

// prepare makes every directory a blob can need, durably: a Put then has only its own name to make durable, and need not
// ask whether somebody else's directory is.
func (s *Store) prepare() error {
	if err := s.root.RemoveAll(temporary); err != nil {
		return err
	}
	made := []string{temporary, shards}
	for i := range 256 {
		made = append(made, path.Join(shards, hex.EncodeToString([]byte{byte(i)})))
	}
	for _, name := range made {
		if err := s.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return errors.Join(s.syncDir(shards), s.syncDir("."))
}

// Close gives the directory back. Readers that are open stay usable.
func (s *Store) Close() error { return s.root.Close() }

// Digest is the name of data.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return algorithm + hex.EncodeToString(sum[:])
}

// Put stores what r gives until its end and returns the digest and size. The blob is durable when Put returns. It costs
// the memory of one copy buffer, whatever the size. Errors: r's own, the context's, StorageFull, Unavailable; after any
// of them nothing is visible.
func (s *Store) Put(ctx context.Context, r io.Reader) (digest string, size int64, err error) {
	name := path.Join(temporary, strconv.FormatUint(rand.Uint64(), 36))
	f, err := s.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", 0, explain("store a blob", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = s.root.Remove(name)
			digest, size = "", 0
		}
	}()
	h := sha256.New()
	in := &input{ctx: ctx, r: r}
	if size, err = io.Copy(io.MultiWriter(f, h), in); err != nil {
		if in.err != nil {
			return "", 0, in.err
		}
		return "", 0, explain("store a blob", err)
	}
	if err = f.Sync(); err == nil {
		err = f.Close()
	}
	digest = algorithm + hex.EncodeToString(h.Sum(nil))
	if err == nil {
		err = s.publish(name, digest)
	}
	if err != nil {
		return "", 0, explain(`store blob "`+digest+`"`, err)
	}
	return digest, size, nil
}

// input tells the source's failures from the disk's and stops when the context ends.
type input struct {
	ctx context.Context
	r   io.Reader
	err error
}

func (in *input) Read(p []byte) (n int, err error) {
	if err = in.ctx.Err(); err == nil {
		n, err = in.r.Read(p)
	}
	if err != nil && err != io.EOF {
		in.err = err
	}
	return n, err
}

// publish moves a complete, synced file to its name. It replaces a blob that is there: the bytes are the same, unless
// the old ones rotted, and the new time of change keeps Sweep away.
func (s *Store) publish(temp, digest string) error {
	name, err := file(digest)
	if err != nil {
		return err
	}
	s.sweep.RLock()
	defer s.sweep.RUnlock()
	if err := s.root.Rename(temp, name); err != nil {
		return err
	}
	return s.syncDir(path.Dir(name))
}

// syncDir makes the names in a directory durable.
func (s *Store) syncDir(name string) error {
	d, err := s.root.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// PutBytes is Put for bytes in memory. Storing what is already there costs a read instead of two disk synchronisations.
func (s *Store) PutBytes(ctx context.Context, data []byte) (digest string, err error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	digest = Digest(data)
	if s.touch(digest, int64(len(data))) {
		return digest, nil
	}
	digest, _, err = s.Put(ctx, bytes.NewReader(data))
	return digest, err
}

// touch reports whether the blob is there and sound, and makes it young for Sweep.
func (s *Store) touch(digest string, size int64) bool {
	name, err := file(digest)
	if err != nil {
		return false
	}
	s.sweep.RLock()
	defer s.sweep.RUnlock()
	if st, err := s.root.Lstat(name); err != nil || st.Size() != size || !st.Mode().IsRegular() {
		return false
	}
	if _, err := s.Get(digest); err != nil {
		return false
	}
	return s.root.Chtimes(name, time.Time{}, time.Now()) == nil
}

// Get reads a whole blob into memory and checks it. Errors: Invalid for a malformed digest, NotFound, Corrupt.
func (s *Store) Get(digest string) ([]byte, error) {
	r, err := s.Open(digest)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data := make([]byte, r.size)
	if _, err := io.ReadFull(r, data); err != nil && err != io.EOF {
		return nil, r.explain(err)
	}
	if _, err := r.Read(make([]byte, 1)); err != io.EOF { // the end is where the digest is checked
		return nil, r.explain(err)
	}
	return data, nil
}

// Open opens a blob for reading. Errors as for Get, but Corrupt comes from Read: see Reader.
func (s *Store) Open(digest string) (*Reader, error) {
	name, err := file(digest)
	if err != nil {
		return nil, err
	}
	f, err := s.root.Open(name)
	if err != nil {
		return nil, explain(`read blob "`+digest+`"`, err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = abi.Errorf(abi.Corrupt, "read blob %q: %q is no file", digest, f.Name())
	}
	if err != nil {
		_ = f.Close()
		return nil, explain(`read blob "`+digest+`"`, err)
	}
	return &Reader{f: f, digest: digest, size: st.Size(), sum: sha256.New()}, nil
}

// Reader reads one blob from its beginning to its end. It gives io.EOF only if the whole blob had its digest, else
// Corrupt: what was read before that is not yet proven. A Reader is for one goroutine.
type Reader struct {
	f      *os.File
	digest string
	size   int64
	sum    hash.Hash
}

// Size is the length of the blob.
func (r *Reader) Size() int64 { return r.size }

// Read is io.Reader's.
func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.f.Read(p)
	r.sum.Write(p[:n])
	if err == nil || err == io.EOF && r.digest == algorithm+hex.EncodeToString(r.sum.Sum(nil)) {
		return n, err
	}
	return n, r.explain(err)
}

// Proven reads the blob once to its end and gives back its bytes for reading in any order, which are those of the digest:
// what is not is Corrupt here and never seen by anybody. It needs the memory of one buffer. The blob is read anew on every
// use, so one that rots between now and then goes unnoticed; closing r closes it. Call it before the first Read.
func (r *Reader) Proven() (*io.SectionReader, error) {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, err
	}
	return io.NewSectionReader(r.f, 0, r.size), nil
}

// Close closes the file.
func (r *Reader) Close() error { return r.f.Close() }

func (r *Reader) explain(err error) error {
	switch err {
	case nil, io.EOF, io.ErrUnexpectedEOF:
		return abi.Errorf(abi.Corrupt, "read blob %q: the file %q has other bytes", r.digest, r.f.Name()).
			WithHint("fetch it again from where it came, or restore %q from a backup", r.f.Name())
	}
	return explain(`read blob "`+r.digest+`"`, err)
}

// CheckFile holds a file to its name, which is the digest of what is in it; Corrupt. It needs no open store.
func CheckFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return explain(`check blob "`+name+`"`, err)
	}
	defer f.Close()
	r := &Reader{f: f, digest: algorithm + path.Base(name), sum: sha256.New()}
	_, err = io.Copy(io.Discard, r)
	return err
}

// Has reports whether there is a blob of that digest, without reading it. Errors: Invalid, Unavailable.
func (s *Store) Has(digest string) (bool, error) {
	name, err := file(digest)
	if err != nil {
		return false, err
	}
	switch _, err := s.root.Lstat(name); {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	default:
		return false, explain(`look for blob "`+digest+`"`, err)
	}
}

// file is where a blob lies. Only lower-case SHA-256 digests are names, so no digest can reach another place.
func file(digest string) (string, error) {
	sum, ok := strings.CutPrefix(digest, algorithm)
	if b, err := hex.DecodeString(sum); !ok || err != nil || len(b) != sha256.Size || strings.ToLower(sum) != sum {
		return "", abi.Errorf(abi.Invalid, "name a blob %.100q: a digest is %q and 64 digits of 0-9 and a-f", digest, algorithm)
	}
	return path.Join(shards, sum[:2], sum), nil
}

func explain(doing string, err error) error {
	if _, ok := errors.AsType[*abi.Error](err); ok {
		return err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return abi.Errorf(abi.NotFound, "%s: there is no such blob", doing)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return abi.Errorf(abi.StorageFull, "%s: %w", doing, err)
	case errors.Is(err, syscall.EIO):
		return abi.Errorf(abi.Corrupt, "%s: %w", doing, err)
	}
	return abi.Errorf(abi.Unavailable, "%s: %w", doing, err)
}
