package author

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk"
)

// What the builders of languages other than Go share: an SDK to compile with, tools, and their words.

// unpackNativeSDK lays a language's SDK down in a new pack.
func unpackNativeSDK(lang string) func(dir string) error {
	return func(dir string) error { return unpackLanguage(lang, filepath.Join(dir, sdkDir, lang)) }
}

func unpackLanguage(lang, dir string) error {
	src, err := fs.Sub(sdk.Source, lang)
	if err != nil {
		return err
	}
	return unpackSource(src, dir)
}

// workshop is where one build keeps its files: the SDK, objects, libraries. done removes it.
type workshop struct {
	f   *Folder
	dir string // of this build alone
	sdk string // the pack's own copy of the SDK, or else this program's
}

func (f *Folder) workshop(lang string) (w *workshop, done func(), err error) {
	dir, err := os.MkdirTemp("", "arw-build-")
	if err != nil {
		return nil, nil, abi.Errorf(abi.Unavailable, "build pack %q: %w", f.Manifest.Name, err)
	}
	done = func() { os.RemoveAll(dir) }
	own, err := filepath.Abs(filepath.Join(f.Dir, sdkDir, lang))
	if err == nil {
		if _, statErr := os.Stat(own); statErr == nil {
			return &workshop{f, dir, own}, done, nil
		}
		own = filepath.Join(dir, "sdk")
		err = unpackLanguage(lang, own)
	}
	if err != nil {
		done()
		return nil, nil, err
	}
	return &workshop{f, dir, own}, done, nil
}

// run runs a tool in the pack's folder; its words are the error's when it fails.
func (w *workshop) run(ctx context.Context, tool string, args ...string) error {
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Dir = w.f.Dir
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return abi.Errorf(abi.Invalid, "build pack %q: %s: %s", w.f.Manifest.Name, filepath.Base(tool), cmpText(said.String(), err.Error())).
			WithHint("mend the source; the toolchain's own words are above")
	}
	return nil
}

// toolchains is the folder into which sdk/toolchains.sh puts what is no system package; "" when nobody named one.
func toolchains() string { return os.Getenv("ARW_TOOLCHAINS") }

// findTool looks for a tool at places (relative ones below the pack's folder), then on the PATH, then below the toolchains' folder.
func (f *Folder) findTool(name string, inPack, inToolchains string) (string, bool) {
	if inPack != "" {
		if p, err := filepath.Abs(filepath.Join(f.Dir, inPack)); err == nil && isFile(p) {
			return p, true
		}
	}
	if p, err := exec.LookPath(name); err == nil {
		return p, true
	}
	if dir := toolchains(); dir != "" && inToolchains != "" {
		if p, err := filepath.Abs(filepath.Join(dir, inToolchains)); err == nil && isFile(p) {
			return p, true
		}
	}
	return "", false
}

func isFile(p string) bool {
	info, err := os.Stat(p)
	return err == nil && !info.IsDir()
}

// noToolchain says what is missing and how to get it.
func (f *Folder) noToolchain(what, install string) error {
	return abi.Errorf(abi.Unavailable, "build pack %q: no %s toolchain was found", f.Manifest.Name, what).
		WithHint("install it: %s; or put a built %s beside pack.toml", install, f.Manifest.Module.File)
}

// compiled are the folder's files of one ending, here and below src.
func (f *Folder) compiled(ending string) []string {
	var found []string
	for _, pattern := range []string{"*" + ending, filepath.Join("src", "*"+ending)} {
		names, err := filepath.Glob(filepath.Join(f.Dir, pattern))
		if err != nil {
			continue
		}
		for _, n := range names {
			if rel, err := filepath.Rel(f.Dir, n); err == nil {
				found = append(found, rel)
			}
		}
	}
	return found
}

func hasAny(names ...string) func(dir string) bool {
	return func(dir string) bool {
		for _, n := range names {
			if found, err := filepath.Glob(filepath.Join(dir, n)); err == nil && len(found) > 0 {
				return true
			}
		}
		return false
	}
}

// subTemplate is a language's folder of an embedded tree.
func subTemplate(all fs.FS, dir string) fs.FS {
	files, err := fs.Sub(all, dir)
	if err != nil {
		panic(err) // the name is a constant beside the embedding
	}
	return files
}
