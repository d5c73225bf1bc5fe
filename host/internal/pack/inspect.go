package pack

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
	"github.com/arw-project/arw/manifests"
	"github.com/arw-project/arw/registry"
)

// manifest is step 4.
func (in *install) manifest(ctx context.Context) error {
	for _, f := range in.artifact.Files {
		switch f.MediaType {
		case registry.MediaPackTOML:
			in.toml = f.Data
		case registry.MediaWasm:
			in.module = f.Data
		}
	}
	if in.toml == nil || in.module == nil {
		return abi.Errorf(abi.Invalid, "read the artifact: a pack has a file of media type %s and one of %s", registry.MediaPackTOML, registry.MediaWasm)
	}
	in.verdict.Digests.PackTOML, in.verdict.Digests.Module = sum(in.toml), sum(in.module)
	man, err := manifests.ParsePack("pack.toml", in.toml)
	if err != nil {
		return err
	}
	in.man = man
	in.verdict.Version, in.verdict.Digests.Canonical = man.Version, man.Digest()
	if err := in.matches(); err != nil {
		return err
	}
	if err := manifests.Supports(man.Module.ABI); err != nil {
		return err
	}
	in.slot = in.index.Load().packs[man.Name]
	if err := in.units(ctx); err != nil {
		return err
	}
	return in.collides()
}

// matches refuses a manifest that belongs to another artifact than the one that was asked for: a registry may not answer
// a request for one version with another, not even with a well-signed one.
func (in *install) matches() error {
	version, tagged := registry.Version(in.artifact.Ref.Tag)
	switch man := in.man; {
	case man.Name != in.ref.Name:
		return abi.Errorf(abi.Invalid, "read pack.toml: it names %q, but lies in the repository %q", man.Name, in.ref.Name)
	case tagged && version != man.Version:
		return abi.Errorf(abi.Invalid, "read pack.toml: it says version %q, but lies there as %q", man.Version, version)
	case !slices.ContainsFunc(in.artifact.Files, func(f registry.File) bool { return f.MediaType == registry.MediaWasm && f.Name == man.Module.File }):
		return abi.Errorf(abi.Invalid, "read pack.toml: its module %q is not the module of the artifact", man.Module.File)
	}
	for _, name := range in.man.Files() {
		if !slices.ContainsFunc(in.artifact.Files, func(f registry.File) bool { return f.Name == name }) {
			return abi.Errorf(abi.Invalid, "read pack.toml: it names the file %q, which the artifact does not hold", name)
		}
	}
	return nil
}

// collides refuses tools and read models that another installed pack has.
func (in *install) collides() error {
	idx := in.index.Load()
	for _, t := range in.man.Tools {
		if s := idx.tools[t.ID]; s != nil && s != in.slot {
			return abi.Errorf(abi.Conflict, "add tool %q: the pack %q has one of that name", t.ID, s.name).
				WithHint("remove %s, or rename the tool", s.name)
		}
	}
	for _, s := range idx.packs {
		if v := s.current(); v != nil && s != in.slot {
			for _, st := range in.man.State {
				if v.models[st.ID] != nil {
					return abi.Errorf(abi.Conflict, "add read model %q: the pack %q has one of that name", st.ID, s.name)
				}
			}
		}
	}
	return nil
}

// inspect is step 5.
func (in *install) inspect(context.Context) (err error) {
	if in.shape, err = wasm.Inspect(in.module); err != nil {
		return err
	}
	if in.shape.Runtime != in.man.Module.Runtime {
		return abi.Errorf(abi.Incompatible, "inspect module %q: pack.toml says runtime %q, the module is made for %q",
			in.man.Module.File, in.man.Module.Runtime, in.shape.Runtime).WithHint("set runtime = %q in [module]", in.shape.Runtime)
	}
	for _, im := range in.shape.Imports {
		if name, ok := strings.CutPrefix(im.Module, abi.ModulePrefix); ok {
			in.verdict.Imports = append(in.verdict.Imports, name+"."+im.Name)
		}
	}
	var missing []string
	for _, used := range in.shape.Capabilities {
		if !slices.ContainsFunc(in.man.Capabilities, func(c manifests.Capability) bool { return c.Name == used }) {
			missing = append(missing, string(used))
		}
	}
	if len(missing) > 0 {
		var lines []string
		for _, name := range missing {
			lines = append(lines, fmt.Sprintf("[capabilities.%s]\nreason = \"…\"", name))
		}
		return abi.Errorf(abi.Denied, "inspect module %q: it imports host functions that pack.toml does not ask for: %s",
			in.man.Module.File, strings.Join(missing, ", ")).
			WithHint("add to pack.toml:\n%s", strings.Join(lines, "\n")).WithDetail(missing)
	}
	return nil
}
