// Package author turns a folder of sources into a signed pack in a registry: init, build, test, assemble, push, sign.
// It is the authors' half of arw and needs no running host.
//
// A pack's folder holds pack.toml, the sources, and after Build the module that pack.toml names. The functions may be
// called concurrently for different folders.
package author

import (
	"cmp"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests"
	"github.com/arw-project/arw/registry"
)

// ManifestName is the file that makes a folder a pack.
const ManifestName = "pack.toml"

// Folder is a pack in the making.
type Folder struct {
	Dir      string
	Manifest *manifests.Pack
	TOML     []byte // pack.toml as it is on disk: what is published and signed
}

// Open reads a folder's manifest. Errors: NotFound without a pack.toml, Invalid with every problem and its line.
func Open(dir string) (*Folder, error) {
	path := filepath.Join(dir, ManifestName)
	src, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil, abi.Errorf(abi.NotFound, "open pack %q: there is no %s", dir, ManifestName).
			WithHint(`make one with "arw pack init NAMESPACE/NAME"`)
	}
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "open pack %q: %w", dir, err)
	}
	m, err := manifests.ParsePack(path, src)
	if err != nil {
		return nil, err
	}
	return &Folder{Dir: dir, Manifest: m, TOML: src}, nil
}

// module is the path of the built module.
func (f *Folder) module() string {
	return filepath.Join(f.Dir, filepath.FromSlash(f.Manifest.Module.File))
}

// Module reads the built module; NotFound with the command that builds it.
func (f *Folder) Module() ([]byte, error) {
	b, err := os.ReadFile(f.module())
	if os.IsNotExist(err) {
		return nil, abi.Errorf(abi.NotFound, "read module %q of pack %q: it is not built", f.Manifest.Module.File, f.Manifest.Name).
			WithHint(`run "arw pack build %s"`, f.Dir)
	}
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "read module of pack %q: %w", f.Manifest.Name, err)
	}
	return b, nil
}

// Files assembles what is published: the module, pack.toml, then whatever the manifest names (units, recipes, panels)
// and policy.cedar when there is one, by name. A named file that is missing is an error; nothing else of the folder
// travels.
func (f *Folder) Files() ([]registry.File, error) {
	module, err := f.Module()
	if err != nil {
		return nil, err
	}
	files := []registry.File{
		{Name: f.Manifest.Module.File, MediaType: registry.MediaWasm, Data: module},
		{Name: ManifestName, MediaType: registry.MediaPackTOML, Data: f.TOML},
	}
	rest, err := f.named()
	if err != nil {
		return nil, err
	}
	return append(files, rest...), nil
}

func (f *Folder) named() ([]registry.File, error) {
	names := map[string]string{}
	for _, u := range f.Manifest.Units {
		names[u.File] = registry.MediaFile
	}
	for _, r := range f.Manifest.Recipes {
		names[r.File] = registry.MediaFile
	}
	for _, p := range f.Manifest.Panels {
		names[p.File] = registry.MediaFile
	}
	const policy = "policy.cedar"
	if _, err := os.Stat(filepath.Join(f.Dir, policy)); err == nil {
		names[policy] = registry.MediaPolicy
	}
	root, err := os.OpenRoot(f.Dir) // a name that leads out of the folder, by whatever trick, does not travel
	if err != nil {
		return nil, abi.Errorf(abi.NotFound, "open pack %q: %w", f.Dir, err)
	}
	defer root.Close()
	var files []registry.File
	for name, media := range names {
		data, err := fs.ReadFile(root.FS(), filepath.ToSlash(name))
		if err != nil {
			return nil, abi.Errorf(abi.NotFound, "read file %q that pack.toml of %q names: %w", name, f.Manifest.Name, err)
		}
		files = append(files, registry.File{Name: name, MediaType: media, Data: data})
	}
	slices.SortFunc(files, func(a, b registry.File) int { return cmp.Compare(a.Name, b.Name) })
	return files, nil
}

// Annotations are the OCI annotations of the artifact, from the manifest alone, so that the same sources give the same
// digest.
func (f *Folder) Annotations() map[string]string {
	m := f.Manifest
	ann := map[string]string{
		"org.opencontainers.image.title":       m.Name,
		"org.opencontainers.image.version":     m.Version,
		"org.opencontainers.image.description": m.Description,
		"org.opencontainers.image.licenses":    m.License,
		"org.opencontainers.image.authors":     strings.Join(m.Authors, ", "),
		"org.opencontainers.image.url":         m.Homepage,
		"org.opencontainers.image.source":      m.Repository,
	}
	for key, value := range ann {
		if value == "" {
			delete(ann, key)
		}
	}
	return ann
}

// Push publishes the folder under its own name and version and returns the digest of the artifact.
func (f *Folder) Push(ctx context.Context, r *registry.Registry, p registry.Progress) (string, error) {
	files, err := f.Files()
	if err != nil {
		return "", err
	}
	return r.Push(ctx, f.Manifest.Name, f.Manifest.Version, files, f.Annotations(), p)
}
