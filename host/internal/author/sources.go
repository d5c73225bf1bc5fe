package author

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
)

// source is one file that goes into a pack.
type source struct {
	path   string // relative, with slashes
	sha256 string
}

// maxSources bounds a walk, so that a wrong folder ends in words and not in an hour.
const maxSources = 20_000

// sources lists what the pack is made of, by path: pack.toml, what it names, and the files with the endings of the
// folder's language; of a folder of no known language, every file. Tests, what build writes, and the folders of other
// tools are not among them.
func (f *Folder) sources() ([]source, error) {
	l, known := f.language()
	var found []source
	err := filepath.WalkDir(f.Dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(f.Dir, p)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		if d.IsDir() {
			if name != "." && foreign(name) {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || f.made(name) || strings.HasSuffix(name, "_test.go") || !f.travels(name) && known && !slices.Contains(l.endings, path.Ext(name)) {
			return nil
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		if len(found) == maxSources {
			return abi.Errorf(abi.TooLarge, "it holds more than %d files", maxSources).WithHint("is it the right folder?")
		}
		sum := sha256.Sum256(data)
		found = append(found, source{name, hex.EncodeToString(sum[:])})
		return nil
	})
	if err != nil {
		return nil, abi.Errorf(abi.CodeOf(err), "read the sources of pack %q: %w", f.Manifest.Name, err).WithHint("%s", abi.HintOf(err))
	}
	slices.SortFunc(found, func(a, b source) int { return strings.Compare(a.path, b.path) })
	return found, nil
}

// foreign names folders whose content is not the author's: tests, other tools' output, hidden ones but the SDK's.
func foreign(name string) bool {
	base := path.Base(name)
	return base == TestsDir || base == "node_modules" || base == "target" || base == "zig-out" || strings.HasPrefix(base, ".") && base != sdkDir
}

// made reports whether build wrote a file.
func (f *Folder) made(name string) bool {
	module := path.Clean(f.Manifest.Module.File)
	return name == module || strings.HasPrefix(name, module+".") || name == f.provenanceName() || name == f.sbomName()
}

// travels reports whether a file travels with the pack whatever its ending is.
func (f *Folder) travels(name string) bool {
	return name == ManifestName || name == "policy.cedar" || slices.Contains(f.Manifest.Files(), name)
}

func (f *Folder) stem() string {
	return strings.TrimSuffix(path.Clean(f.Manifest.Module.File), ".wasm")
}
func (f *Folder) provenanceName() string { return f.stem() + ".provenance.json" }
func (f *Folder) sbomName() string       { return f.stem() + ".sbom.json" }
