package layout

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"github.com/arw-project/arw/abi"
)

// change runs fn over the index under the repository's lock and stores what it leaves.
func (r *Repo) change(ctx context.Context, fn func(root *os.Root, x *index) error) error {
	root, err := r.open()
	if err != nil {
		return err
	}
	defer root.Close()
	if err := makeDirs(root, uploadsDir); err != nil {
		return fault(err, "change repository %q", r.name)
	}
	unlock, err := r.lock(ctx, root)
	if err != nil {
		return err
	}
	defer unlock()
	x, err := readIndex(root)
	if err != nil {
		return err
	}
	return fn(root, x)
}

// DeleteTag takes a tag away; its manifest stays. abi.NotFound when there is none.
func (r *Repo) DeleteTag(ctx context.Context, tag string) error {
	return r.change(ctx, func(root *os.Root, x *index) error {
		if !x.untag(tag) {
			return abi.Errorf(abi.NotFound, "delete tag %q of repository %q: no such tag", tag, r.name)
		}
		if err := writeIndex(root, x); err != nil {
			return fault(err, "delete tag %q of repository %q", tag, r.name)
		}
		return nil
	})
}

// DeleteManifest takes a manifest and every tag that points to it away. Its blobs stay until a Sweep; manifests that refer
// to it stay too. abi.NotFound when there is none.
func (r *Repo) DeleteManifest(ctx context.Context, digest string) error {
	name, err := blobPath(digest)
	if err != nil {
		return err
	}
	return r.change(ctx, func(root *os.Root, x *index) error {
		if _, ok := x.byDigest(digest); !ok {
			return abi.Errorf(abi.NotFound, "delete manifest %q of repository %q: no such manifest", digest, r.name)
		}
		x.Manifests = slices.DeleteFunc(x.Manifests, func(m Descriptor) bool { return m.Digest == digest })
		if err := writeIndex(root, x); err != nil {
			return fault(err, "delete manifest %q of repository %q", digest, r.name)
		}
		if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fault(err, "delete manifest %q of repository %q", digest, r.name)
		}
		return nil
	})
}

// DeleteBlob removes a blob: abi.NotFound when there is none, abi.Conflict when a manifest stands on it.
func (r *Repo) DeleteBlob(ctx context.Context, digest string) error {
	name, err := blobPath(digest)
	if err != nil {
		return err
	}
	return r.change(ctx, func(root *os.Root, x *index) error {
		live, err := r.live(root, x)
		if err != nil {
			return err
		}
		if by, ok := live[digest]; ok {
			return abi.Errorf(abi.Conflict, "delete blob %q of repository %q: manifest %q stands on it", digest, r.name, by).
				WithHint("delete that manifest first")
		}
		if err := root.Remove(name); err != nil {
			return r.noBlob(digest, err)
		}
		return syncDir(root, path.Dir(name))
	})
}

// live maps every digest that is in use to the manifest that uses it.
func (r *Repo) live(root *os.Root, x *index) (map[string]string, error) {
	used := make(map[string]string)
	for _, m := range x.Manifests {
		used[m.Digest] = m.Digest
		f, err := r.fact(root, m)
		if err != nil {
			return nil, err
		}
		for _, b := range slices.Concat(f.blobs, f.children) {
			used[b] = m.Digest
		}
	}
	return used, nil
}

// Unused is a blob that no manifest of its repository stands on.
type Unused struct {
	Repo   string `json:"repository"`
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

// Sweep removes the blobs that no manifest of their repository stands on and that are older than grace, and returns how
// many. The grace is for pushes under way: their blobs come before their manifest. A push that is slower than that is
// refused for the missing blob, never published without it. What cannot be read is never taken for unused: a damaged
// manifest stops the sweep with its error.
func (d *Dir) Sweep(ctx context.Context, grace time.Duration) (int, error) {
	gone, err := d.collect(ctx, grace, func(root *os.Root, p string) error { return root.Remove(p) })
	return len(gone), err
}

// Unused lists what Sweep would remove now.
func (d *Dir) Unused(ctx context.Context, grace time.Duration) ([]Unused, error) {
	return d.collect(ctx, grace, func(*os.Root, string) error { return nil })
}

// collect runs do over every unused blob, each repository under its lock, and lists those it was done to.
func (d *Dir) collect(ctx context.Context, grace time.Duration, do func(root *os.Root, p string) error) ([]Unused, error) {
	names, err := d.Names()
	if err != nil {
		return nil, err
	}
	all := []Unused{}
	for _, name := range names {
		repo, err := d.Repo(name)
		if err != nil {
			return all, err
		}
		err = repo.change(ctx, func(root *os.Root, x *index) error {
			some, err := repo.collect(root, x, grace, do)
			all = append(all, some...)
			return err
		})
		if err != nil {
			return all, fault(err, "sweep repository %q", name)
		}
	}
	return all, nil
}

func (r *Repo) collect(root *os.Root, x *index, grace time.Duration, do func(root *os.Root, p string) error) ([]Unused, error) {
	used, err := r.live(root, x)
	if err != nil {
		return nil, err
	}
	var some []Unused
	err = fs.WalkDir(root.FS(), blobsDir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		digest := path.Base(path.Dir(p)) + ":" + e.Name()
		info, err := e.Info()
		if err != nil || used[digest] != "" || time.Since(info.ModTime()) < grace {
			return nil
		}
		if _, _, err := splitDigest(digest); err != nil {
			return nil // not a blob of ours
		}
		if err := do(root, p); err != nil {
			return err
		}
		some = append(some, Unused{r.name, digest, info.Size()})
		return nil
	})
	return some, err
}
