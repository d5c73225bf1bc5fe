package db

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/arw-project/arw/abi"
)

// lockFile is an exclusive lock on a directory, held by the kernel for as long as the process lives: a killed daemon
// leaves the file behind but never the lock.
type lockFile struct{ f *os.File }

// errHeld is what the system's part of the lock answers when another holder exists.
var errHeld = errors.New("held")

// takeLock locks dir, or says who has it. The file is never removed: removing it would let two processes lock two
// files of the same name.
func takeLock(dir string) (*lockFile, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, abi.Errorf(codeOfOS(err), "lock state directory %q: %w", dir, err)
	}
	if err := lockExclusive(f); err != nil {
		holder := readPID(f)
		_ = f.Close()
		if !errors.Is(err, errHeld) {
			return nil, abi.Errorf(abi.Unavailable, "lock state directory %q: %w", dir, err)
		}
		return nil, abi.Errorf(abi.Conflict, "open state directory %q: process %s is using it", dir, holder).
			WithHint("stop process %s, or give this one another state directory", holder)
	}
	if err := writePID(f); err != nil {
		_ = f.Close()
		return nil, abi.Errorf(codeOfOS(err), "lock state directory %q: %w", dir, err)
	}
	return &lockFile{f}, nil
}

func writePID(f *os.File) error {
	text := strconv.Itoa(os.Getpid()) + "\n"
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		return err
	}
	return f.Truncate(int64(len(text)))
}

func readPID(f *os.File) string {
	b, _ := io.ReadAll(io.NewSectionReader(f, 0, 32))
	if pid := strings.TrimSpace(string(b)); pid != "" {
		return pid
	}
	return "(unknown)"
}

// release lets the next process in. It unlocks by name: a child that this process has forked and that has not yet reached
// its exec holds a copy of the descriptor, so closing ours alone would leave the lock behind for a moment.
func (l *lockFile) release() error { return errors.Join(unlock(l.f), l.f.Close()) }
