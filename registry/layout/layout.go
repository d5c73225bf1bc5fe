// Package layout promises a registry in a directory: one OCI image layout (image-spec 1.1, image-layout.md) for every
// repository below it, and the OCI distribution API (distribution-spec 1.1) over them as a plain net/http handler.
//
// What is published is published whole: bytes go to a temporary file, are synced, hashed again from the disk and only
// then renamed to the name of their digest; index.json, the one file that changes, is replaced by a rename. A process
// killed at any point leaves the previous state and at most a temporary file, which Expire removes. Any number of
// goroutines and processes may use one directory at the same time: writers of a repository take turns on a lock file,
// readers never wait. Nothing outside the directory is ever opened: symbolic links that lead out of a repository are
// refused by os.Root.
//
// The layouts are plain ones: a directory written here opens with any OCI tool, and a repository copied in from another
// tool is served as it stands.
package layout

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/arw-project/arw/abi"
)

// The files of an image layout and the drawer of our own beside them. Components of repository names never start with a
// dot, so that the drawer cannot be addressed as a repository.
const (
	layoutFile  = "oci-layout"
	indexFile   = "index.json"
	blobsDir    = "blobs"
	privateDir  = ".registry"
	uploadsDir  = privateDir + "/uploads"
	lockFile    = privateDir + "/lock"
	layoutBytes = `{"imageLayoutVersion":"1.0.0"}`
)

// maxName is the length limit of a repository name; the distribution specification asks clients to stay at or below 255
// with the host included.
const maxName = 200

var nameGrammar = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)

// Dir is a registry in a directory. It is safe for concurrent use and holds no open files, so that there is nothing to
// close.
type Dir struct {
	path  string
	turns sync.Map // repository name → chan struct{} of capacity 1: this process's turn at the repository
	known facts
}

// Open returns the registry in dir. A directory that does not exist yet is an empty registry and is made by the first
// write. Fails with abi.Invalid when something else stands at that path.
func Open(dir string) (*Dir, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "open registry directory %q: %w", dir, err)
	}
	info, err := os.Stat(abs)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, abi.Errorf(abi.Unavailable, "open registry directory %q: %w", dir, err)
	case !info.IsDir():
		return nil, abi.Errorf(abi.Invalid, "open registry directory %q: not a directory", dir).
			WithHint("name the directory that holds the repositories, not a file in it")
	}
	return &Dir{path: abs}, nil
}

// Path is the absolute path of the directory.
func (d *Dir) Path() string { return d.path }

// Repo is one repository: one image layout.
type Repo struct {
	dir  *Dir
	name string
}

// Repo returns the repository of that name without touching the disk. Fails with abi.Invalid for a name outside the
// grammar of the distribution specification and for the few that would collide with a layout's own files.
func (d *Dir) Repo(name string) (*Repo, error) {
	if len(name) > maxName || !nameGrammar.MatchString(name) {
		return nil, abi.Errorf(abi.Invalid, "open repository %q: not a repository name", name).
			WithHint("use lower-case letters, digits and single . _ - between them, parts joined by /, at most %d in all", maxName)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == blobsDir || part == indexFile || part == layoutFile {
			return nil, abi.Errorf(abi.Invalid, "open repository %q: %q is the name of a layout's own file", name, part).
				WithHint("choose another name")
		}
	}
	return &Repo{dir: d, name: name}, nil
}

// Dir is the registry the repository is part of.
func (r *Repo) Dir() *Dir { return r.dir }

// Name is the repository's name.
func (r *Repo) Name() string { return r.name }

// Names lists the repositories that hold a layout, in order. It walks the directory.
func (d *Dir) Names() ([]string, error) {
	top, err := os.OpenRoot(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault(err, "list registry directory %q", d.path)
	}
	defer top.Close()
	var names []string
	err = fs.WalkDir(top.FS(), ".", func(p string, e fs.DirEntry, err error) error {
		switch {
		case err != nil && p != ".":
			return fs.SkipDir // a folder that vanished or is closed to us is not a repository of ours
		case err != nil:
			return err
		case e.IsDir() && p != "." && (e.Name() == blobsDir || strings.HasPrefix(e.Name(), ".")):
			return fs.SkipDir
		case !e.IsDir() && e.Name() == layoutFile && p != layoutFile:
			names = append(names, path.Dir(p))
		}
		return nil
	})
	if err != nil {
		return nil, fault(err, "list registry directory %q", d.path)
	}
	names = slices.DeleteFunc(names, func(n string) bool { _, err := d.Repo(n); return err != nil })
	slices.Sort(names)
	return names, nil
}

// Exists reports whether the repository holds a layout.
func (r *Repo) Exists() bool {
	root, err := r.open()
	if err != nil {
		return false
	}
	root.Close()
	return true
}

// open gives the repository's folder for reading; abi.NotFound when it holds no layout.
func (r *Repo) open() (*os.Root, error) {
	top, err := os.OpenRoot(r.dir.path)
	if err != nil {
		return nil, r.missing(err)
	}
	defer top.Close()
	root, err := top.OpenRoot(filepath.FromSlash(r.name))
	if err != nil {
		return nil, r.missing(err)
	}
	if _, err := root.Stat(layoutFile); err != nil {
		root.Close()
		return nil, r.missing(err)
	}
	return root, nil
}

func (r *Repo) missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return abi.Errorf(abi.NotFound, "open repository %q: no such repository", r.name)
	}
	return fault(err, "open repository %q", r.name)
}

// fault gives an error of the operating system its code: a full disk, a missing thing, or a registry that cannot be
// reached.
func fault(err error, format string, args ...any) *abi.Error {
	code, hint := abi.Unavailable, ""
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		code = abi.StorageFull
	case errors.Is(err, fs.ErrNotExist):
		code = abi.NotFound
	case errors.Is(err, fs.ErrPermission):
		code = abi.Denied
	}
	if e, ok := errors.AsType[*abi.Error](err); ok {
		code, hint = e.Code, e.Hint
	} else if c := abi.CodeOf(err); c == abi.Deadline || c == abi.Cancelled {
		code = c
	}
	out := abi.Errorf(code, format+": %w", append(args, err)...)
	out.Hint = hint
	return out
}
