package db_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
)

// systemChild does what needs a process of its own.
func systemChild(what, dir string) error {
	switch what {
	case "limit":
		return fillDisk(dir, limitFiles)
	case "tmpfs":
		return fillDisk(dir, func() (func() error, error) { return tinyDisk(dir) })
	case "readonly":
		return readOnlyMedium(dir)
	}
	return fmt.Errorf("no such task: %q", what)
}

// mount is tmpfs on dir. Some systems give a namespace but forbid this in it.
func mount(dir string) error {
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m")
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		os.Exit(mountForbidden)
	}
	return err
}

const mountForbidden = 77

// fillDisk runs in a process of its own, because it takes room away from itself: by a file size limit, which works for
// everybody, or in a file system of 8 MiB, which needs a user namespace.
func fillDisk(dir string, room func() (func() error, error)) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	makeRoom, err := room()
	if err != nil {
		return err
	}
	d, err := db.Open(context.Background(), filepath.Join(dir, "arw.db"), schema)
	if err != nil {
		return err
	}
	acked, err := fillUntilFull(d)
	if err != nil {
		return err
	}
	if err := countIs(d, acked); err != nil {
		return fmt.Errorf("while full: %w", err)
	}
	if err := makeRoom(); err != nil {
		return err
	}
	if err := put(context.Background(), d, "after"); err != nil {
		return fmt.Errorf("with room again: %w", err)
	}
	if err := d.Close(); err != nil {
		return err
	}
	if d, err = db.Open(context.Background(), filepath.Join(dir, "arw.db"), schema); err != nil {
		return err
	}
	defer d.Close()
	return countIs(d, acked+1)
}

// fillUntilFull has eight writers fill the disk until each has been told so, and counts what was acknowledged.
func fillUntilFull(d *db.DB) (acked int, err error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 100_000 {
				e := d.Write(context.Background(), func(tx *sql.Tx) error {
					_, err := tx.Exec("INSERT INTO item VALUES (?, zeroblob(20000))", fmt.Sprintf("%d/%d", w, i))
					return err
				})
				mu.Lock()
				if e == nil {
					acked++
					mu.Unlock()
					continue
				}
				if abi.CodeOf(e) != abi.StorageFull {
					err = fmt.Errorf("a full disk was reported as %v: %w", abi.CodeOf(e), e)
				}
				mu.Unlock()
				return
			}
		})
	}
	wg.Wait()
	if err == nil && acked == 0 {
		err = fmt.Errorf("nothing fitted at all")
	}
	return acked, err
}

func countIs(d *db.DB, want int) error {
	var n int
	if err := d.Read().QueryRow("SELECT count(*) FROM item").Scan(&n); err != nil {
		return err
	}
	if n != want {
		return fmt.Errorf("%d rows, but %d were acknowledged", n, want)
	}
	return nil
}

// limitFiles lets no file grow beyond 2 MiB; the room it gives back is the old limit.
func limitFiles() (func() error, error) {
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		return nil, err
	}
	err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 2 << 20, Max: old.Max})
	return func() error { return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old) }, err
}

// tinyDisk mounts 8 MiB on dir, 5 of which are ballast: enough for the log to be folded into the file once they are gone.
func tinyDisk(dir string) (func() error, error) {
	if err := mount(dir); err != nil {
		return nil, err
	}
	ballast := filepath.Join(dir, "ballast")
	return func() error { return os.Remove(ballast) }, os.WriteFile(ballast, make([]byte, 5<<20), 0o600)
}

// readOnlyMedium makes a database on a small file system and takes the right to write away from all of it.
func readOnlyMedium(dir string) error {
	if err := mount(dir); err != nil {
		return err
	}
	d, err := db.Open(context.Background(), filepath.Join(dir, "arw.db"), schema)
	if err != nil {
		return err
	}
	if err := errors.Join(put(context.Background(), d, "a"), d.Close()); err != nil {
		return err
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		return err
	}
	return countReadOnly(dir)
}

// runMounting runs a child that mounts, as root of a user namespace of its own.
func runMounting(t *testing.T, what string) {
	t.Helper()
	cmd := childCommand(t, what, t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Skipf("this system gives no user namespace: %v", err)
	}
	err := cmd.Wait()
	if cmd.ProcessState.ExitCode() == mountForbidden {
		t.Skip("this system forbids mounting in a user namespace")
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out.Bytes())
	}
}

func TestReadOnlyMedium(t *testing.T) {
	t.Parallel()
	runMounting(t, "readonly")
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	t.Run("file size limit", func(t *testing.T) {
		t.Parallel()
		if out, err := childCommand(t, "limit", t.TempDir()).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("small file system", func(t *testing.T) {
		t.Parallel()
		runMounting(t, "tmpfs")
	})
}
