package wasm

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm/rewrite"
)

// Runtimes a module can be made for.
const (
	RuntimeARW    = "arw"
	RuntimeExtism = "extism"
)

const (
	wasiModule   = "wasi_snapshot_preview1"
	extismPrefix = "extism:host/"
	extismUser   = "extism:host/user"
	extismEnv    = "extism:host/env"
)

// Import names one thing a module wants from its host.
type Import struct{ Module, Name string }

// String is module.name.
func (i Import) String() string { return i.Module + "." + i.Name }

// Shape is what a module is, from the outside.
type Shape struct {
	Runtime      string // RuntimeARW or RuntimeExtism
	Imports      []Import
	Exports      []string
	Capabilities []abi.Capability // what the imports reach, sorted; io is not listed, it carries no authority
	MemoryPages  uint32           // what it starts with, 64 KiB each
	WASI         bool
	Tools        []string // for RuntimeExtism: the exports that can be tools
}

// HasTool says whether a call of a tool finds something in the module; NotFound with what there is when it does not. A
// module of the ABI decides that itself, when it is called.
func (s Shape) HasTool(id string) error {
	if s.Runtime != RuntimeExtism {
		return nil
	}
	_, err := extismTool(s.Tools, id)
	return err
}

// Inspect reads a module without running or compiling it. Errors, all *abi.Error: Invalid for bytes that are not a sound
// module; Incompatible, with the names, for a component, an import this host does not have or whose signature differs,
// and a missing export.
func Inspect(module []byte) (Shape, error) {
	_, shape, err := inspect(module)
	return shape, err
}

func inspect(module []byte) (*rewrite.Module, Shape, error) {
	m, err := rewrite.Decode(module)
	switch {
	case errors.Is(err, rewrite.ErrComponent):
		return nil, Shape{}, abi.Errorf(abi.Incompatible, "inspect module: %w", err).
			WithHint("build a core module: target wasm32-wasip1 (Go: GOOS=wasip1 -buildmode=c-shared; Rust: --target wasm32-wasip1), without the component step")
	case err != nil:
		return nil, Shape{}, abi.Errorf(abi.Invalid, "inspect module: %w", err)
	}
	s := shapeOf(m)
	faults, hint := importFaults(m, s.Runtime)
	if s.Runtime == RuntimeARW {
		faults = append(faults, exportFaults(m)...)
	} else {
		s.Tools = extismExports(m)
		faults = append(faults, extismFaults(m)...)
	}
	if len(faults) > 0 {
		return nil, s, abi.Errorf(abi.Incompatible, "inspect module: %s", strings.Join(faults, "; ")).WithHint("%s", hint).WithDetail(faults)
	}
	return m, s, nil
}

func shapeOf(m *rewrite.Module) Shape {
	s := Shape{Runtime: RuntimeARW}
	if m.Memory != nil {
		s.MemoryPages = m.Memory.Min
	}
	caps := map[abi.Capability]bool{}
	for _, im := range m.Imports {
		s.Imports = append(s.Imports, Import{im.Module, im.Name})
		switch name, ok := strings.CutPrefix(im.Module, abi.ModulePrefix); {
		case ok && !abi.Capability(name).Ambient():
			caps[abi.Capability(name)] = true
		case im.Module == wasiModule:
			s.WASI = true
		case strings.HasPrefix(im.Module, extismPrefix):
			s.Runtime = RuntimeExtism
			if f, ok := extismFunc(im.Name); ok && im.Module == extismUser && !f.Capability.Ambient() {
				caps[f.Capability] = true
			}
		}
	}
	for _, e := range m.Exports {
		s.Exports = append(s.Exports, e.Name)
	}
	for c := range caps {
		s.Capabilities = append(s.Capabilities, c)
	}
	slices.Sort(s.Capabilities)
	return s
}

// importFaults names every import this host does not have, and the next step.
func importFaults(m *rewrite.Module, runtime string) (faults []string, hint string) {
	hint = fmt.Sprintf("build the module against ABI %s: docs/spec/abi.md lists every import and export", abi.Version)
	for _, im := range m.Imports {
		name := Import{im.Module, im.Name}.String()
		want, known := importType(im, runtime)
		switch {
		case im.Kind != rewrite.KindFunc:
			faults = append(faults, fmt.Sprintf("it imports the %s %q; only functions can be imported", im.Kind, name))
		case !known:
			faults = append(faults, fmt.Sprintf("it imports %q, which this host does not have", name))
			if im.Module == "env" && im.Name == "abort" {
				hint = "compile AssemblyScript with --use abort= so that it does not import env.abort"
			}
		case !im.Type.Is(want.params, want.results):
			faults = append(faults, fmt.Sprintf("it imports %q with another signature than %s", name, want))
		}
	}
	return faults, hint
}

type signature struct{ params, results string }

func (s signature) String() string {
	word := func(types string) string {
		var out []string
		for _, t := range []byte(types) {
			out = append(out, map[byte]string{rewrite.I32: "i32", rewrite.I64: "i64"}[t])
		}
		return "(" + strings.Join(out, " ") + ")"
	}
	return word(s.params) + " -> " + word(s.results)
}

const (
	i32 = string(rune(rewrite.I32))
	i64 = string(rune(rewrite.I64))
)

// importType finds the signature of an import.
func importType(im rewrite.Import, runtime string) (want *signature, known bool) {
	switch {
	case im.Module == wasiModule:
		sig, ok := wasiTypes()[im.Name]
		return &sig, ok
	case runtime == RuntimeExtism && im.Module == extismEnv:
		sig, ok := extismEnvTypes()[im.Name]
		return &sig, ok
	case runtime == RuntimeExtism && im.Module == extismUser:
		f, ok := extismFunc(im.Name)
		args, _ := extismShape(f)
		return &signature{strings.Repeat(i64, len(args)), i64}, ok
	case strings.HasPrefix(im.Module, abi.ModulePrefix):
		for _, f := range abi.Functions {
			if im.Module == abi.ModulePrefix+string(f.Capability) && im.Name == f.Name {
				return &signature{strings.Repeat(i32, len(f.Params)), i64}, true
			}
		}
	}
	return nil, false
}

func exportFaults(m *rewrite.Module) []string {
	want := []struct {
		name     string
		kind     rewrite.Kind
		sig      signature
		optional bool
	}{
		{abi.ExportMemory, rewrite.KindMemory, signature{}, false},
		{abi.ExportAlloc, rewrite.KindFunc, signature{i32, i32}, false},
		{abi.ExportCall, rewrite.KindFunc, signature{i32 + i32 + i32 + i32, i64}, false},
		{abi.ExportInitialize, rewrite.KindFunc, signature{}, true},
		{abi.ExportInit, rewrite.KindFunc, signature{}, true},
	}
	var faults []string
	for _, w := range want {
		i := slices.IndexFunc(m.Exports, func(e rewrite.Export) bool { return e.Name == w.name })
		switch {
		case i < 0 && w.optional:
		case i < 0:
			faults = append(faults, fmt.Sprintf("it does not export %q", w.name))
		case m.Exports[i].Kind != w.kind:
			faults = append(faults, fmt.Sprintf("its export %q is a %s, not a %s", w.name, m.Exports[i].Kind, w.kind))
		case w.kind == rewrite.KindFunc && !m.Exports[i].Type.Is(w.sig.params, w.sig.results):
			faults = append(faults, fmt.Sprintf("its export %q has another signature than %s", w.name, w.sig))
		}
	}
	for _, e := range m.Exports {
		if strings.HasPrefix(e.Name, rewrite.Reserved) {
			faults = append(faults, fmt.Sprintf("its export %q begins with %q, which is reserved", e.Name, rewrite.Reserved))
		}
	}
	return faults
}
