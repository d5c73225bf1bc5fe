package author

import (
	"cmp"
	"context"
	"os"
	"path/filepath"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
	"github.com/arw-project/arw/manifests"
)

// Built says what Build made.
type Built struct {
	Module  string   `json:"module"` // path of the module
	Bytes   int      `json:"bytes"`
	Imports []string `json:"imports"`
	Digest  string   `json:"digest"` // of the module
	// Provenance and SBOM are the files beside the module that push and sign attach.
	Provenance string `json:"provenance"`
	SBOM       string `json:"sbom"`
}

// BuildOptions say what provenance tells of the builder.
type BuildOptions struct {
	Builder string // a URI that names who vouches for the build; empty: DefaultBuilder
	Tool    string // version of arw
}

// Build compiles the folder's sources into the module that pack.toml names and checks the result against the manifest.
// Which language they are in is seen from the files; a folder of none is only checked. The same sources give the same
// bytes. Errors: Invalid with the compiler's own words, Unavailable without a toolchain, Incompatible when the module
// does not keep the contract or imports what the manifest does not ask for. The module before stays after an error.
// Beside the module it writes what was built of what (docs/spec/provenance.md).
func (f *Folder) Build(ctx context.Context, o BuildOptions) (*Built, error) {
	if l, ok := f.language(); ok && l.build != nil {
		if err := f.compile(ctx, l); err != nil {
			return nil, err
		}
	}
	module, err := f.Module()
	if err != nil {
		return nil, err
	}
	imports, err := hold(f.Manifest, module)
	if err != nil {
		return nil, err
	}
	if err := f.record(ctx, module, cmp.Or(o.Builder, DefaultBuilder), cmp.Or(o.Tool, "unknown")); err != nil {
		return nil, err
	}
	return &Built{
		Module: f.module(), Bytes: len(module), Imports: imports, Digest: "sha256:" + digestOf(module)["sha256"],
		Provenance: filepath.Join(f.Dir, f.provenanceName()), SBOM: filepath.Join(f.Dir, f.sbomName()),
	}, nil
}

// compile puts a whole module in place of the one before, or leaves that alone.
func (f *Folder) compile(ctx context.Context, l language) error {
	out, err := filepath.Abs(f.module())
	if err != nil {
		return err
	}
	tmp := out + ".building"
	defer os.Remove(tmp)
	if err := l.build(ctx, f, tmp); err != nil {
		return err
	}
	return os.Rename(tmp, out)
}

// hold holds a module to its manifest: the contract's exports, known imports only, and every capability it imports
// declared. It returns the imports as "arw:kv.get".
func hold(m *manifests.Pack, module []byte) ([]string, error) {
	shape, err := wasm.Inspect(module)
	if err != nil {
		return nil, err
	}
	if m.Module.Runtime != shape.Runtime {
		return nil, abi.Errorf(abi.Incompatible, "lint pack %q: pack.toml says runtime = %q, the module was made for %q", m.Name, m.Module.Runtime, shape.Runtime).
			WithHint("set runtime = %q in [module] of pack.toml", shape.Runtime)
	}
	for i := range m.Tools {
		if err := shape.HasTool(m.Tools[i].ID); err != nil {
			return nil, abi.Errorf(abi.Incompatible, "lint pack %q: %w", m.Name, err).WithHint("%s", abi.HintOf(err))
		}
	}
	declared := map[abi.Capability]bool{abi.IO: true, abi.Stream: true}
	for _, c := range m.Capabilities {
		declared[c.Name] = true
	}
	for _, c := range shape.Capabilities {
		if !declared[c] {
			return nil, abi.Errorf(abi.Incompatible, "build pack %q: the module imports %s%s, which pack.toml does not ask for", m.Name, abi.ModulePrefix, c).
				WithHint("add to pack.toml:\n%s", capabilityLines(m, c))
		}
	}
	var imports []string
	for _, i := range shape.Imports {
		imports = append(imports, i.Module+"."+i.Name)
	}
	return imports, nil
}
