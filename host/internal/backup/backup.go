// Package backup keeps one promise: a backup that verifies restores to a host whose journal, leases, packs and blobs are
// those of one moment, whether or not the host was running. It is one tar file with a digest for everything in it; one that
// is damaged, cut off or of something else is refused before anything is written, and nothing that lives is ever overwritten.
//
// The format is docs/spec/backup.md. Functions are for one goroutine each; several backups of one state may run at once.
package backup

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
)

// The entries that every archive has: what it is, first, and what must be in it, last.
const (
	headName     = "arw-backup.json"
	manifestName = "manifest.json"
	database     = "arw.db"
	blobs        = "cas/sha256"
	schema       = 1
)

// File is one file of a backup.
type File struct {
	Path   string `json:"path"` // below the state directory, with slashes
	Size   int64  `json:"size"`
	Mode   uint32 `json:"mode"` // permissions alone
	Digest string `json:"digest"`
}

// Head says what an archive is.
type Head struct {
	Format  string    `json:"format"` // "arw-backup"
	Schema  int       `json:"schema"`
	Created time.Time `json:"created"`
	Host    string    `json:"host"` // version of the program
}

// Manifest is what a backup holds.
type Manifest struct {
	Head
	Journal journal.Report `json:"journal"` // of the database as it was
	Files   []File         `json:"files"`
}

// volatile are the names in a state directory that a host makes anew, or that are about the running process.
var volatile = []string{database, database + "-wal", database + "-shm", database + "-journal", "lock", "cas", "cache", "address", "operator.sock", "starts.json", "run"}

// Create writes a backup of a state directory to out, which must not exist. It appears whole or not at all; what a killed
// attempt left lies at out with ".part" behind it, and the next attempt writes over it. Errors: Conflict when out is there,
// NotFound when there is no state, Corrupt when the database or a blob is not what it was: a backup of that would hide it.
func Create(ctx context.Context, state, out, version string) (*Manifest, error) {
	if _, err := os.Lstat(out); err == nil {
		return nil, abi.Errorf(abi.Conflict, "write backup %q: there is a file of that name", out).WithHint("choose another name")
	}
	if _, err := os.Stat(filepath.Join(state, database)); err != nil {
		return nil, abi.Errorf(abi.NotFound, "back up %q: there is no %s in it", state, database).WithHint("name the state directory with --state")
	}
	part := out + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, explain("write backup "+part, err)
	}
	w := &writer{ctx: ctx, state: state, tar: tar.NewWriter(f), snapshot: part + ".db"}
	w.man.Head = Head{Format: "arw-backup", Schema: schema, Created: time.Now().UTC().Truncate(time.Millisecond), Host: version}
	err = errors.Join(w.all(), f.Sync(), f.Close())
	_ = os.Remove(w.snapshot)
	if err == nil {
		err = os.Link(part, out) // a rename would take the place of a file that came meanwhile
	}
	if err == nil {
		err = syncDir(filepath.Dir(out))
	}
	_ = os.Remove(part)
	if err != nil {
		return nil, explain("write backup "+out, err)
	}
	return &w.man, nil
}

// writer writes one archive.
type writer struct {
	ctx      context.Context
	state    string
	snapshot string
	tar      *tar.Writer
	man      Manifest
	seen     map[string]bool
}

// all writes everything. Blobs come before the database and again after it: whatever the database of that moment refers to
// was there before it, or is too young for the host to have swept it since.
func (w *writer) all() error {
	w.seen = map[string]bool{}
	for _, own := range []string{w.snapshot, strings.TrimSuffix(w.snapshot, ".db")} { // a backup into the state itself is not in itself
		if rel, err := filepath.Rel(w.state, own); err == nil {
			w.seen[filepath.ToSlash(rel)] = true
		}
	}
	if err := w.note(headName, w.man.Head); err != nil {
		return err
	}
	for _, step := range []func() error{w.blobs, w.database, w.blobs, w.rest} {
		if err := step(); err != nil {
			return err
		}
	}
	slices.SortFunc(w.man.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return errors.Join(w.note(manifestName, w.man), w.tar.Close())
}

// note writes a document.
func (w *writer) note(name string, doc any) error {
	raw, err := json.MarshalIndent(doc, "", " ")
	if err != nil {
		return err
	}
	raw = append(raw, '\n')
	if err := w.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(raw)), ModTime: w.man.Created, Format: tar.FormatPAX}); err != nil {
		return err
	}
	_, err = w.tar.Write(raw)
	return err
}

// database takes a copy of the database as it is at one moment, checks it, and writes it.
func (w *writer) database() error {
	_ = os.Remove(w.snapshot)
	r, err := db.OpenReadOnly(w.ctx, filepath.Join(w.state, database))
	if err != nil {
		return err
	}
	if err := errors.Join(r.CopyTo(w.ctx, w.snapshot), r.Close()); err != nil {
		return err
	}
	if err := os.Chmod(w.snapshot, 0o600); err != nil {
		return err
	}
	if w.man.Journal, err = proven(w.ctx, w.state, w.snapshot); err != nil {
		return err
	}
	return w.file(database, w.snapshot, "")
}

// proven checks every page of a database, and the chain of its journal by the keys of a state directory.
func proven(ctx context.Context, state, file string) (journal.Report, error) {
	if err := db.CheckFile(ctx, file); err != nil {
		return journal.Report{}, err
	}
	keys, err := journal.KeysIn(state)
	if err != nil {
		return journal.Report{}, err
	}
	return journal.VerifyFile(ctx, file, keys)
}

// blobs writes the blobs that are not written yet, each held to its name.
func (w *writer) blobs() error {
	return w.walk(blobs, func(name string) error {
		return w.file(name, filepath.Join(w.state, filepath.FromSlash(name)), path.Base(name))
	})
}

// rest writes the settings and keys beside them.
func (w *writer) rest() error {
	entries, err := os.ReadDir(w.state)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if slices.Contains(volatile, e.Name()) || strings.HasPrefix(e.Name(), ".") || strings.HasSuffix(e.Name(), ".lock") {
			continue
		}
		if err := w.walk(e.Name(), func(name string) error { return w.file(name, filepath.Join(w.state, filepath.FromSlash(name)), "") }); err != nil {
			return err
		}
	}
	return nil
}

// walk gives the regular files below a name that are not written yet. Links are not followed: what they name is not of the
// state.
func (w *writer) walk(top string, do func(name string) error) error {
	return filepath.WalkDir(filepath.Join(w.state, filepath.FromSlash(top)), func(at string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it went while we looked, or there is none
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(w.state, at)
		if name := filepath.ToSlash(rel); err == nil && !w.seen[name] {
			err = do(name)
		}
		return err
	})
}

// file writes one file; sum, when not empty, is what its SHA-256 has to be. One that went meanwhile is left out.
func (w *writer) file(name, at, sum string) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	f, err := os.Open(at)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	mode := st.Mode().Perm()
	if err := w.tar.WriteHeader(&tar.Header{Name: name, Mode: int64(mode), Size: st.Size(), ModTime: st.ModTime(), Format: tar.FormatPAX}); err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(w.tar, h), io.LimitReader(f, st.Size())); err != nil {
		return err
	}
	got := hex.EncodeToString(h.Sum(nil))
	if sum != "" && got != sum {
		return abi.Errorf(abi.Corrupt, "back up blob %q: the file %q has other bytes", "sha256:"+sum, at).
			WithHint("install the pack it is of again, or remove the file if nothing needs it")
	}
	w.seen[name] = true
	w.man.Files = append(w.man.Files, File{Path: name, Size: st.Size(), Mode: uint32(mode), Digest: "sha256:" + got})
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// explain gives errors of the system a code; ours keep theirs.
func explain(doing string, err error) error {
	if _, ok := errors.AsType[*abi.Error](err); ok {
		return err
	}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return abi.Errorf(abi.CodeOf(err), "%s: %w", doing, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return abi.Errorf(abi.StorageFull, "%s: %w", doing, err)
	case errors.Is(err, fs.ErrExist):
		return abi.Errorf(abi.Conflict, "%s: %w", doing, err)
	case errors.Is(err, fs.ErrNotExist):
		return abi.Errorf(abi.NotFound, "%s: %w", doing, err)
	}
	return abi.Errorf(abi.Unavailable, "%s: %w", doing, err)
}
