package layout

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// create makes the repository's folders and its empty layout when they are not there and returns the folder.
func (r *Repo) create(ctx context.Context) (*os.Root, error) {
	if root, err := r.open(); err == nil {
		if err := makeDirs(root, uploadsDir); err != nil {
			root.Close()
			return nil, fault(err, "write repository %q", r.name)
		}
		return root, nil
	}
	if err := os.MkdirAll(r.dir.path, 0o755); err != nil {
		return nil, fault(err, "create registry directory %q", r.dir.path)
	}
	top, err := os.OpenRoot(r.dir.path)
	if err != nil {
		return nil, fault(err, "create repository %q", r.name)
	}
	defer top.Close()
	if err := makeDirs(top, r.name); err != nil {
		return nil, fault(err, "create repository %q", r.name)
	}
	root, err := top.OpenRoot(filepath.FromSlash(r.name))
	if err != nil {
		return nil, fault(err, "create repository %q", r.name)
	}
	if err := r.initialise(ctx, root); err != nil {
		root.Close()
		return nil, fault(err, "create repository %q", r.name)
	}
	return root, nil
}

// initialise writes an empty layout under the repository's lock, so that it never replaces one that another process has
// just filled. The oci-layout file comes last: it is what makes the repository exist.
func (r *Repo) initialise(ctx context.Context, root *os.Root) error {
	for _, dir := range []string{blobsDir + "/sha256", uploadsDir} {
		if err := makeDirs(root, dir); err != nil {
			return err
		}
	}
	unlock, err := r.lock(ctx, root)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := root.Stat(indexFile); errors.Is(err, fs.ErrNotExist) {
		if err := writeIndex(root, &index{}); err != nil {
			return err
		}
	}
	if _, err := root.Stat(layoutFile); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return publish(root, layoutFile, []byte(layoutBytes))
}

// makeDirs makes every missing folder of a slash-separated path and syncs the folder each was made in.
func makeDirs(root *os.Root, dir string) error {
	if info, err := root.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	at := ""
	for part := range strings.SplitSeq(dir, "/") {
		parent := at
		at = path.Join(at, part)
		err := root.Mkdir(at, 0o755)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := syncDir(root, parent); err != nil {
			return err
		}
	}
	return nil
}

// publish puts a small file in place whole: temporary file, sync, rename, sync of the folder.
func publish(root *os.Root, name string, data []byte) error {
	temp := uploadsDir + "/" + newID()
	f, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = root.Rename(temp, name)
	}
	if err != nil {
		root.Remove(temp)
		return err
	}
	return syncDir(root, path.Dir(name))
}

// syncDir makes the names in a folder durable.
func syncDir(root *os.Root, dir string) error {
	if dir == "" {
		dir = "."
	}
	f, err := root.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// newID names an upload or a temporary file: 128 random bits, not to be guessed.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// lock takes the repository for writing, in this process and against others, and returns what gives it back. It waits as
// long as ctx allows.
func (r *Repo) lock(ctx context.Context, root *os.Root) (func(), error) {
	v, _ := r.dir.turns.LoadOrStore(r.name, make(chan struct{}, 1))
	turn := v.(chan struct{})
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fault(context.Cause(ctx), "wait for repository %q", r.name)
	}
	f, err := root.OpenFile(lockFile, os.O_RDWR|os.O_CREATE, 0o644)
	if err == nil {
		if err = flock(ctx, f); err != nil {
			f.Close()
		}
	}
	if err != nil {
		<-turn
		return nil, fault(err, "lock repository %q", r.name)
	}
	return func() { release(f); <-turn }, nil
}

// release gives a lock back and closes its file. Closing alone would not do: a process that another part of this one is
// just starting holds every open file for a moment, and the lock with it.
func release(f *os.File) {
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
	f.Close()
}

// flock takes the lock of an open file. The system call that waits cannot be told to stop, so this one asks again and
// again: other processes hold the lock for the milliseconds of one index write.
func flock(ctx context.Context, f *os.File) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
