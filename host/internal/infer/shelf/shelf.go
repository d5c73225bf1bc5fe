// Package shelf keeps one promise: a model file on the shelf has the bytes of its digest, a manifest that says what it is and
// where it came from, and is not taken away while something needs it.
//
// Files lie under their digest, mode 0400, and come there whole: what is written is written beside, hashed, looked into
// (GGUF and ONNX headers) and renamed. A download that breaks off leaves its part, and goes on from there. The quota
// counts whole files and parts. A Shelf is safe for concurrent use; one process at a time has the folder. Nothing here dials: a
// Fetch does, which the caller gives.
package shelf

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer/gguf"
	"github.com/arw-project/arw/host/internal/infer/onnx"
)

// Manifest says what a file is.
type Manifest struct {
	Digest       string    `json:"digest"`
	Size         int64     `json:"size"`
	Format       string    `json:"format"` // gguf or onnx
	License      string    `json:"license,omitempty"`
	Source       string    `json:"source,omitempty"` // where it came from, as whoever brought it said
	Architecture string    `json:"architecture,omitempty"`
	Quantisation string    `json:"quantisation,omitempty"`
	Context      uint64    `json:"context,omitempty"` // tokens it was trained for
	Parameters   uint64    `json:"parameters,omitempty"`
	Added        time.Time `json:"added"`
}

// Shelf is a folder of model files.
type Shelf struct {
	dir   string
	quota int64

	mu     sync.Mutex
	proven map[string]stamp // by digest
	busy   map[string]bool  // digests being written
}

// stamp is how a file looked when its digest was checked.
type stamp struct {
	size  int64
	mtime time.Time
}

var digestShape = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// Open makes the folder, mode 0700. Quota bounds the bytes in it; 0 is none. Errors: Unavailable.
func Open(dir string, quota int64) (*Shelf, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, abi.Errorf(abi.Unavailable, "open the models of %q: %w", dir, err)
	}
	return &Shelf{dir: dir, quota: quota, proven: map[string]stamp{}, busy: map[string]bool{}}, nil
}

func checkDigest(digest string) error {
	if !digestShape.MatchString(digest) {
		return abi.Errorf(abi.Invalid, `find model file %.80q: a digest is "sha256:" and 64 digits of 0-9 and a-f`, digest)
	}
	return nil
}

func (s *Shelf) name(digest string) string {
	return filepath.Join(s.dir, strings.TrimPrefix(digest, "sha256:"))
}

// Path is where a file lies, whether it is there or not. It is for whoever loads it, after Prove.
func (s *Shelf) Path(digest string) string { return s.name(digest) }

// Get gives a manifest. Errors: Invalid, NotFound, Corrupt.
func (s *Shelf) Get(digest string) (Manifest, error) {
	if err := checkDigest(digest); err != nil {
		return Manifest{}, err
	}
	text, err := os.ReadFile(s.name(digest) + ".json")
	var m Manifest
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return m, abi.Errorf(abi.NotFound, "find model file %q: it is not on the shelf", digest).WithHint("arw model list")
	case err != nil:
		return m, abi.Errorf(abi.Unavailable, "read the manifest of %q: %w", digest, err)
	}
	if err := json.Unmarshal(text, &m); err != nil || m.Digest != digest {
		return m, abi.Errorf(abi.Corrupt, "read the manifest of %q: it is not one of that file", digest)
	}
	return m, nil
}

// List gives every manifest, by digest. What cannot be read is left out.
func (s *Shelf) List() []Manifest {
	out := []Manifest{}
	names, _ := filepath.Glob(filepath.Join(s.dir, "*.json")) // the pattern is sound
	for _, n := range names {
		if m, err := s.Get("sha256:" + strings.TrimSuffix(filepath.Base(n), ".json")); err == nil {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b Manifest) int { return strings.Compare(a.Digest, b.Digest) })
	return out
}

// Used is how many bytes the folder holds.
func (s *Shelf) Used() (n int64) {
	entries, _ := os.ReadDir(s.dir) // one that cannot be read holds nothing that counts
	for _, e := range entries {
		if info, err := e.Info(); err == nil && !info.IsDir() {
			n += info.Size()
		}
	}
	return n
}

// room refuses what would not fit the quota.
func (s *Shelf) room(more int64) error {
	if used := s.Used(); s.quota > 0 && used+more > s.quota {
		return abi.Errorf(abi.StorageFull, "keep a model of %d bytes: the quota of %d holds %d already", more, s.quota, used).WithHint("arw model remove, then arw model gc; or raise the quota")
	}
	return nil
}

// claim keeps two writers off one digest.
func (s *Shelf) claim(digest string) (release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[digest] {
		return nil, abi.Errorf(abi.Conflict, "keep model file %q: it is being brought here already", digest)
	}
	s.busy[digest] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.busy, digest)
	}, nil
}

// Import copies a file that is here already. about says what is known of it; a Digest in it must be that of the bytes. Errors:
// DigestMismatch, Corrupt and Unsupported for what is no model file, StorageFull, Unavailable.
func (s *Shelf) Import(ctx context.Context, r io.Reader, size int64, about Manifest) (Manifest, error) {
	if about.Digest != "" {
		if err := checkDigest(about.Digest); err != nil {
			return about, err
		}
	}
	if err := s.room(size); err != nil {
		return about, err
	}
	f, err := os.CreateTemp(s.dir, ".import-*")
	if err != nil {
		return about, failed("keep a model file", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(cancellable{ctx, r}, size+1)); err != nil {
		return about, failed("keep a model file", err)
	}
	got := "sha256:" + hex.EncodeToString(h.Sum(nil))
	if about.Digest != "" && got != about.Digest {
		return about, abi.Errorf(abi.DigestMismatch, "keep model file: its bytes are %s, not %s", got, about.Digest)
	}
	about.Digest = got
	return s.settle(f, about)
}

// settle looks into a file whose digest is proven and puts it under it.
func (s *Shelf) settle(f *os.File, m Manifest) (Manifest, error) {
	info, err := f.Stat()
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return m, failed("keep model file", err)
	}
	m.Size, m.Added = info.Size(), time.Now().UTC().Truncate(time.Second)
	if err := m.inspect(f); err != nil {
		return m, err
	}
	text, err := json.Marshal(m)
	if err != nil {
		return m, err
	}
	name := s.name(m.Digest)
	if err = errors.Join(f.Chmod(0o400), f.Sync()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err == nil { // after the bytes: a manifest never stands alone
		err = whole(name+".json", text)
	}
	if err != nil {
		return m, failed("keep model file", err)
	}
	s.note(m.Digest, info)
	return m, nil
}

// inspect fills in what the header says, and refuses a file that has none that adds up.
func (m *Manifest) inspect(f *os.File) error {
	var magic [4]byte
	if _, err := f.ReadAt(magic[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return failed("look into model file", err)
	}
	if string(magic[:]) == "GGUF" {
		h, err := gguf.Read(f, m.Size)
		if err != nil {
			return err
		}
		m.Format, m.Architecture, m.Quantisation, m.Context, m.Parameters = "gguf", h.Architecture, h.Quantisation, h.Context, h.Parameters
		if m.License == "" {
			m.License = h.License
		}
		return nil
	}
	h, err := onnx.Inspect(f, m.Size)
	if err != nil {
		return abi.Errorf(abi.CodeOf(err), "keep model file: it is neither GGUF nor ONNX: %w", err)
	}
	m.Format, m.Architecture, m.Quantisation, m.Parameters = "onnx", h.Graph, strings.Join(h.Types, ","), h.Parameters
	return nil
}

// whole writes a small file at once, or not at all.
func whole(name string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".write-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

func (s *Shelf) note(digest string, info fs.FileInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proven[digest] = stamp{info.Size(), info.ModTime()}
}

// Prove opens a file whose bytes are known to be those of its digest: they are read when it is new or has changed. The caller
// closes it. Errors: Invalid, NotFound, DigestMismatch, Unavailable, those of ctx.
func (s *Shelf) Prove(ctx context.Context, digest string) (*os.File, Manifest, error) {
	m, err := s.Get(digest)
	if err != nil {
		return nil, m, err
	}
	f, err := os.Open(s.name(digest))
	if err != nil {
		return nil, m, abi.Errorf(abi.NotFound, "open model file %q: %w", digest, err)
	}
	info, err := f.Stat()
	if err == nil {
		s.mu.Lock()
		known := s.proven[digest] == stamp{info.Size(), info.ModTime()}
		s.mu.Unlock()
		if known {
			return f, m, nil
		}
		h := sha256.New()
		if _, err = io.Copy(h, cancellable{ctx, f}); err == nil {
			if got := "sha256:" + hex.EncodeToString(h.Sum(nil)); got != digest {
				err = abi.Errorf(abi.DigestMismatch, "open model file %q: its bytes are %s now", digest, got).WithHint("remove it and bring it again")
			} else if _, err = f.Seek(0, io.SeekStart); err == nil {
				s.note(digest, info)
				return f, m, nil
			}
		}
	}
	return nil, m, errors.Join(failed("open model file", err), f.Close())
}

// Sweep removes files that keep does not keep, and what broken downloads left that are older than grace; it gives what is gone.
// keep is asked while nothing can be brought here under the digest. Errors: Unavailable, with what was removed until then.
func (s *Shelf) Sweep(keep func(digest string) bool, grace time.Duration) (gone []Manifest, err error) {
	for _, m := range s.List() {
		release, busy := s.claim(m.Digest)
		if busy != nil {
			continue
		}
		if !keep(m.Digest) && time.Since(m.Added) >= grace {
			// The manifest last: a file without one would be found by nobody.
			if err = errors.Join(os.Remove(s.name(m.Digest)), os.Remove(s.name(m.Digest)+".json")); err == nil {
				gone = append(gone, m)
			}
		}
		release()
		if err != nil {
			return gone, failed("remove model file", err)
		}
	}
	left, _ := filepath.Glob(filepath.Join(s.dir, "*.part*")) // the pattern is sound
	for _, name := range left {
		digest := "sha256:" + strings.TrimSuffix(strings.TrimSuffix(filepath.Base(name), ".to"), ".part")
		if info, err := os.Stat(name); err != nil || time.Since(info.ModTime()) < grace {
			continue
		}
		if release, busy := s.claim(digest); busy == nil {
			_ = os.Remove(name) // the next sweep tries again
			release()
		}
	}
	return gone, nil
}

// failed names what the disk said.
func failed(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return abi.Errorf(abi.StorageFull, "%s: %w", doing, err).WithHint("free space and try again: what came is kept")
	}
	if e, ok := errors.AsType[*abi.Error](err); ok {
		return e
	}
	if code := abi.CodeOf(err); code == abi.Cancelled || code == abi.Deadline {
		return abi.Errorf(code, "%s: %w", doing, err)
	}
	return abi.Errorf(abi.Unavailable, "%s: %w", doing, err)
}

type cancellable struct {
	ctx context.Context
	r   io.Reader
}

func (c cancellable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
