package db

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/arw-project/arw/abi"
)

// Explain turns an error of the database into an *abi.Error whose message starts with what was being done. Errors that
// already carry a code, and the context's own, keep it. Full disk, exceeded quota and file size limit are StorageFull;
// a damaged file is Corrupt and names the file; a broken constraint is Conflict; everything else the disk refuses is
// Unavailable. nil stays nil.
func (d *DB) Explain(doing string, err error) error { return explain(d.path, doing, err) }

func explain(path, doing string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*abi.Error](err); ok {
		return err
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return abi.Errorf(codeOfOS(err), "%s: %w", doing, err)
	}
	switch code := e.Code(); code & 0xff {
	case sqlite3.SQLITE_FULL:
		return full(path, doing, err)
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return abi.Errorf(abi.Corrupt, "%s: the file %q is damaged: %w", doing, path, err).
			WithHint("stop arw, keep a copy of %q and the files named like it, and restore it from a backup", path)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return abi.Errorf(abi.Busy, "%s: another process holds %q: %w", doing, path, err)
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN:
		if noRoom(path) {
			return full(path, doing, err)
		}
		return abi.Errorf(abi.Unavailable, "%s: the disk refuses %q: %w", doing, path, err).
			WithHint("check the disk and the permissions of %q", filepath.Dir(path))
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return abi.Errorf(abi.Unavailable, "%s: %q cannot be written: %w", doing, path, err).
			WithHint("check the permissions of %q", filepath.Dir(path))
	case sqlite3.SQLITE_CONSTRAINT:
		return abi.Errorf(abi.Conflict, "%s: %w", doing, err)
	case sqlite3.SQLITE_INTERRUPT: // how a query learns that its context ended
		return abi.Errorf(abi.Cancelled, "%s: %w", doing, err)
	case sqlite3.SQLITE_TOOBIG:
		return abi.Errorf(abi.TooLarge, "%s: %w", doing, err)
	}
	return abi.Errorf(abi.Internal, "%s: %w", doing, err)
}

// driverError is the part of err that came from SQLite, nil if none did.
func driverError(err error) error {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e
	}
	return nil
}

func full(path, doing string, err error) error {
	return abi.Errorf(abi.StorageFull, "%s: no room left for %q: %w", doing, path, err).
		WithHint("free space on the disk that holds %q; nothing that was acknowledged is lost", filepath.Dir(path))
}

// noRoom finds out whether the next block of the database or its log could be written. SQLite reports a quota or a file
// size limit as a plain I/O error and its errno is out of reach here, so ask the system the same question again: one
// byte at the offset where the larger file ends.
func noRoom(path string) bool {
	var end int64
	for _, name := range []string{path, path + "-wal"} {
		if st, err := os.Stat(name); err == nil {
			end = max(end, st.Size())
		}
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".room-*")
	if err != nil {
		return isFull(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	_, err = f.WriteAt(make([]byte, 4096), end)
	return isFull(err)
}

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// codeOfOS is the code of an error that did not come from SQLite.
func codeOfOS(err error) abi.Code {
	switch {
	case isFull(err):
		return abi.StorageFull
	case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrInvalid), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR):
		return abi.Unavailable
	}
	return abi.CodeOf(err)
}
