package author

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
	"github.com/arw-project/arw/manifests"
)

// Built says what Build made.
type Built struct {
	Module  string   `json:"module"` // path of the module
	Bytes   int      `json:"bytes"`
	Imports []string `json:"imports"`
}

// Build compiles the folder's sources into the module that pack.toml names and checks the result against the manifest.
// Go sources (a main package beside pack.toml) are built with the Go toolchain as a wasip1 reactor, stripped and without
// paths of this machine, so that the same sources give the same bytes. Any other language builds its module itself;
// Build then only checks it. Errors: Invalid with the compiler's own words, Unavailable without a toolchain,
// Incompatible when the module does not keep the contract or imports what the manifest does not ask for.
func (f *Folder) Build(ctx context.Context) (*Built, error) {
	goFiles, err := filepath.Glob(filepath.Join(f.Dir, "*.go"))
	if err != nil {
		return nil, err
	}
	if len(goFiles) > 0 {
		if err := f.buildGo(ctx); err != nil {
			return nil, err
		}
	}
	module, err := f.Module()
	if err != nil {
		return nil, err
	}
	imports, err := Lint(f.Manifest, module)
	if err != nil {
		return nil, err
	}
	return &Built{Module: f.module(), Bytes: len(module), Imports: imports}, nil
}

func (f *Folder) buildGo(ctx context.Context) error {
	gotool, err := exec.LookPath("go")
	if err != nil {
		return abi.Errorf(abi.Unavailable, "build pack %q: no Go toolchain on the PATH", f.Manifest.Name).
			WithHint("install Go, or put a built %s beside pack.toml", f.Manifest.Module.File)
	}
	out, err := filepath.Abs(f.module())
	if err != nil {
		return err
	}
	tmp := out + ".building"
	defer os.Remove(tmp)
	cmd := exec.CommandContext(ctx, gotool, "build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", tmp, ".")
	cmd.Dir = f.Dir
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return abi.Errorf(abi.Invalid, "build pack %q: %s", f.Manifest.Name, cmpText(said.String(), err.Error())).
			WithHint("mend the source; the toolchain's own words are above")
	}
	return os.Rename(tmp, out)
}

func cmpText(said, otherwise string) string {
	if said = strings.TrimSpace(said); said != "" {
		return said
	}
	return otherwise
}

// Lint holds a module to its manifest: the contract's exports, known imports only, and every capability it imports
// declared. It returns the imports as "arw:kv.get".
func Lint(m *manifests.Pack, module []byte) ([]string, error) {
	if m.Module.Runtime == "extism" {
		return nil, nil // the Extism kernel decides what such a module may import
	}
	shape, err := wasm.Inspect(module)
	if err != nil {
		return nil, err
	}
	declared := map[abi.Capability]bool{abi.IO: true, abi.Stream: true}
	for _, c := range m.Capabilities {
		declared[c.Name] = true
	}
	for _, c := range shape.Capabilities {
		if !declared[c] {
			return nil, abi.Errorf(abi.Incompatible, "lint pack %q: the module imports %s%s, which pack.toml does not ask for", m.Name, abi.ModulePrefix, c).
				WithHint("add to pack.toml:  [capabilities.%s]  with  reason = \"why the pack needs it\"", c)
		}
	}
	var imports []string
	for _, i := range shape.Imports {
		imports = append(imports, i.Module+"."+i.Name)
	}
	return imports, nil
}
