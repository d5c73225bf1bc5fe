package author

import (
	"bytes"
	"context"
	"embed"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
)

//go:embed all:template/go
var goTemplate embed.FS

func goLanguage() language {
	files, err := fs.Sub(goTemplate, "template/go")
	if err != nil {
		panic(err) // the name is right above
	}
	return language{name: "go", title: "Go", template: files, sdk: unpackGoSDK, owns: hasGo, build: buildGo, recipe: goRecipe, endings: []string{".go", ".mod", ".sum", ".work"}}
}

func hasGo(dir string) bool {
	found, err := filepath.Glob(filepath.Join(dir, "*.go"))
	return err == nil && len(found) > 0
}

// unpackGoSDK lays the SDK down as the module it is, so that imports read the same as in the SDK's own documentation.
func unpackGoSDK(dir string) error {
	dir = filepath.Join(dir, sdkDir)
	mod := "module github.com/arw-project/arw\n\ngo 1.26.0\n"
	if err := write(filepath.Join(dir, "go.mod"), []byte(mod)); err != nil {
		return err
	}
	if err := unpackSource(abi.Source, filepath.Join(dir, "abi")); err != nil {
		return err
	}
	return unpackSource(guest.Source, filepath.Join(dir, "sdk", "go", "guest"))
}

func unpackSource(src fs.FS, dir string) error {
	return fs.WalkDir(src, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(p, "_test.go") || path.Base(p) == "source.go" {
			return err
		}
		data, err := fs.ReadFile(src, p)
		if err != nil {
			return err
		}
		return write(filepath.Join(dir, filepath.FromSlash(p)), data)
	})
}

// goBuildFlags make a wasip1 reactor, stripped and without paths of this machine.
func goBuildFlags() []string {
	return []string{"-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid="}
}

// goEnvironment is the target.
func goEnvironment() map[string]string {
	return map[string]string{"GOOS": "wasip1", "GOARCH": "wasm", "CGO_ENABLED": "0"}
}

// goRecipe names the toolchain as it names itself in the pack's folder, where a go.mod may choose another.
func goRecipe(ctx context.Context, f *Folder) recipe {
	r := recipe{command: append(append([]string{"go", "build"}, goBuildFlags()...), "-o", f.Manifest.Module.File, "."), environment: goEnvironment(), reproducible: true}
	cmd := exec.CommandContext(ctx, "go", "env", "GOVERSION")
	cmd.Dir = f.Dir
	if out, err := cmd.Output(); err == nil {
		r.toolchain = map[string]string{"go": strings.TrimSpace(string(out))}
	}
	return r
}

func buildGo(ctx context.Context, f *Folder, out string) error {
	gotool, err := exec.LookPath("go")
	if err != nil {
		return abi.Errorf(abi.Unavailable, "build pack %q: no Go toolchain on the PATH", f.Manifest.Name).
			WithHint("install Go, or put a built %s beside pack.toml", f.Manifest.Module.File)
	}
	cmd := exec.CommandContext(ctx, gotool, append(append([]string{"build"}, goBuildFlags()...), "-o", out, ".")...)
	cmd.Dir = f.Dir
	cmd.Env = os.Environ()
	for name, value := range goEnvironment() {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return abi.Errorf(abi.Invalid, "build pack %q: %s", f.Manifest.Name, cmpText(said.String(), err.Error())).
			WithHint("mend the source; the toolchain's own words are above")
	}
	return nil
}

func cmpText(said, otherwise string) string {
	if said = strings.TrimSpace(said); said != "" {
		return said
	}
	return otherwise
}
