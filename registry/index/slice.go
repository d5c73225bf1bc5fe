package index

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry"
)

// Slice gives the files that a reader without a network needs to believe this state of the index about some packs: every
// root, the metadata, and their pages. Other packs' pages are left out. Errors: those of Pack.
func (c *Client) Slice(ctx context.Context, names []string) ([]registry.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, err := c.current()
	if err != nil {
		return nil, err
	}
	var files []registry.File
	set := v.up.GetTrustedMetadataSet()
	for n := int64(1); n <= set.Root.Signed.Version; n++ {
		raw, err := v.tree.Read(ctx, numbered(n, metadata.ROOT), maxRoot)
		if err != nil {
			return nil, refusal(err, "take a slice of the index")
		}
		files = append(files, registry.File{Name: numbered(n, metadata.ROOT), Data: raw})
	}
	for file, meta := range set.Snapshot.Signed.Meta {
		raw, err := os.ReadFile(filepath.Join(c.dir, file)) // verified and put there by the refresh
		if err == nil {
			err = meta.VerifyLengthHashes(raw)
		}
		if err != nil {
			return nil, abi.Errorf(abi.Conflict, "take a slice of the index: its cache has moved on: %w", err).WithHint("try again")
		}
		files = append(files, registry.File{Name: numbered(meta.Version, strings.TrimSuffix(file, ".json")), Data: raw})
	}
	for local, name := range map[string]string{"timestamp.json": "timestamp.json", "snapshot.json": numbered(set.Snapshot.Signed.Version, metadata.SNAPSHOT)} {
		raw, err := os.ReadFile(filepath.Join(c.dir, local))
		if err != nil {
			return nil, abi.Errorf(abi.Unavailable, "take a slice of the index: %w", err)
		}
		files = append(files, registry.File{Name: name, Data: raw})
	}
	for _, name := range names {
		e, ok := v.packs[name]
		if !ok {
			continue // an index may say nothing of a namespace it does not cover
		}
		raw, err := c.page(ctx, v.tree, e.file)
		if err != nil {
			return nil, refusal(err, "read the index's page of %q", name)
		}
		files = append(files, registry.File{Name: "targets/" + hashed(e.file.Path, e.file.Hashes["sha256"]), Data: raw})
	}
	slices.SortFunc(files, func(a, b registry.File) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(files, func(a, b registry.File) bool { return a.Name == b.Name }), nil
}

// Install puts files of an index into a folder that Clients read, the timestamp last. They must have been verified.
func Install(dir string, files []registry.File) error {
	var stamp []byte
	for _, f := range files {
		if !fs.ValidPath(f.Name) {
			return abi.Errorf(abi.Invalid, "put the index into %q: %q is no file's name", dir, f.Name)
		}
		if f.Name == "timestamp.json" {
			stamp = f.Data
			continue
		}
		if err := writeFile(filepath.Join(dir, filepath.FromSlash(f.Name)), f.Data); err != nil {
			return abi.Errorf(abi.Unavailable, "put the index into %q: %w", dir, err)
		}
	}
	if stamp == nil {
		return nil
	}
	if err := writeFile(filepath.Join(dir, "timestamp.json"), stamp); err != nil {
		return abi.Errorf(abi.Unavailable, "put the index into %q: %w", dir, err)
	}
	return nil
}
