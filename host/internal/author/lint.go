package author

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
	"github.com/arw-project/arw/manifests"
	"github.com/arw-project/arw/manifests/strict"
)

// Severities of a finding.
const (
	SeverityError   = "error"   // the pack will be refused, fail, or asks for what it cannot use
	SeverityWarning = "warning" // somebody will wish that it were otherwise
)

// Finding is one thing to mend in pack.toml, and how.
type Finding struct {
	File     string `json:"file"`
	Line     int    `json:"line"`
	Severity string `json:"severity"`
	Rule     string `json:"rule"`
	Key      string `json:"key,omitempty"`
	Msg      string `json:"msg"`
	Add      string `json:"add,omitempty"`    // what to write
	Remove   string `json:"remove,omitempty"` // what to take out
	Fixable  bool   `json:"fixable,omitempty"`
}

// String is `pack.toml:12: error: capabilities.rand: MESSAGE`.
func (f Finding) String() string {
	s := fmt.Sprintf("%s:%d: %s: ", f.File, f.Line, f.Severity)
	if f.Key != "" {
		s += f.Key + ": "
	}
	return s + f.Msg
}

// Lint compares a built pack with its manifest and tells all that does not fit, in the order of the lines: imports and
// capabilities, effects, limits, schemas (also against those that the module's own SDK derives from its code), words for people,
// examples. The error is of reading, not of what was found.
func (f *Folder) Lint(ctx context.Context) ([]Finding, error) {
	module, err := f.Module()
	if err != nil {
		return nil, err
	}
	shape, err := wasm.Inspect(module)
	if err != nil {
		return nil, err
	}
	lines, err := strict.Decode(f.manifestPath(), f.TOML, &struct{}{})
	if lines == nil {
		return nil, abi.Errorf(abi.Invalid, "lint pack %q: %w", f.Manifest.Name, err)
	}
	l := &linter{Folder: f, lines: lines, shape: shape, used: map[abi.Capability][]abi.Func{}}
	for _, im := range shape.Imports {
		if fn, ok := functionOf(im); ok {
			l.used[fn.Capability] = append(l.used[fn.Capability], fn)
		}
	}
	for _, rule := range []func(){l.capabilities, l.scopes, l.effects, l.limits, l.words, l.contract, l.named, l.schemas, l.examples} {
		rule()
	}
	if err := l.described(ctx, module); err != nil {
		return nil, err
	}
	slices.SortStableFunc(l.found, func(a, b Finding) int { return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Rule, b.Rule)) })
	return l.found, nil
}

func (f *Folder) manifestPath() string { return filepath.ToSlash(filepath.Join(f.Dir, ManifestName)) }

// functionOf is the host function behind an import of either runtime.
func functionOf(im wasm.Import) (abi.Func, bool) {
	for _, f := range abi.Functions {
		if im.Module == abi.ModulePrefix+string(f.Capability) && im.Name == f.Name ||
			strings.HasPrefix(im.Module, "extism:") && im.Name == "arw_"+string(f.Capability)+"_"+f.Name {
			return f, true
		}
	}
	return abi.Func{}, false
}

type linter struct {
	*Folder
	lines *strict.Lines
	shape wasm.Shape
	used  map[abi.Capability][]abi.Func // what the module imports
	found []Finding
}

// add notes a finding about a key.
func (l *linter) add(severity, rule string, where []any, format string, args ...any) *Finding {
	l.found = append(l.found, Finding{
		File: l.manifestPath(), Line: l.lines.At(where...), Severity: severity, Rule: rule, Key: strict.Path(where...), Msg: fmt.Sprintf(format, args...),
	})
	return &l.found[len(l.found)-1]
}

func (l *linter) capabilities() {
	for _, c := range l.shape.Capabilities {
		if _, asked := l.Manifest.Capability(c); asked {
			continue
		}
		f := l.add(SeverityError, "capability-missing", []any{"capabilities", string(c)},
			"the module imports %s, and pack.toml does not ask for %q: each call would be denied", functionNames(l.used[c]), c)
		f.Line, f.Add = l.lastLine(), capabilityLines(l.Manifest, c)
	}
	for _, c := range l.Manifest.Capabilities {
		if len(l.used[c.Name]) > 0 || l.throughWASI(c.Name) {
			continue
		}
		f := l.add(SeverityError, "capability-unused", []any{"capabilities", string(c.Name)},
			"the module imports nothing of %q: people are asked for what it cannot use", c.Name)
		f.Remove, f.Fixable = "[capabilities."+string(c.Name)+"]", true
	}
}

// throughWASI reports whether a capability is reached by standard functions: what a program prints, reads of the clock,
// sleeps, or draws.
func (l *linter) throughWASI(c abi.Capability) bool {
	names := map[abi.Capability][]string{
		abi.Log: {"fd_write"}, abi.Clock: {"clock_time_get", "poll_oneoff"}, abi.Rand: {"random_get"},
	}[c]
	return slices.ContainsFunc(l.shape.Imports, func(im wasm.Import) bool {
		return strings.HasPrefix(im.Module, "wasi_") && slices.Contains(names, im.Name)
	})
}

func functionNames(fs []abi.Func) string {
	var names []string
	for _, f := range fs {
		names = append(names, string(f.Capability)+"."+f.Name)
	}
	return strings.Join(names, ", ")
}

// capabilityLines is what a manifest says to ask for a capability.
func capabilityLines(m *manifests.Pack, c abi.Capability) string {
	_, short, _ := strings.Cut(m.Name, "/")
	scope := map[abi.Capability]string{
		abi.FS: `scope = ["read:*"]` + "\nask = true\n", abi.Action: `scope = ["NAMESPACE/NAME:TOOL"]` + "\n",
		abi.HTTP:  `scope = ["https://HOST/PATH"]` + "\n",
		abi.Infer: `scope = ["*"]` + "\n",
		abi.Event: fmt.Sprintf("scope = [%q]\n", strings.ReplaceAll(short, "-", "_")+"."), abi.State: fmt.Sprintf("scope = [%q]\n", strings.ReplaceAll(short, "-", "_")+".NAME"),
	}[c]
	return fmt.Sprintf("[capabilities.%s]\n%sreason = \"…\"", c, scope)
}

func (l *linter) lastLine() int {
	return bytes.Count(bytes.TrimRight(l.TOML, "\n"), []byte("\n")) + 1
}

// scopes looks for what is asked for and cannot be used, and for what is wider than it need be.
func (l *linter) scopes() {
	for _, c := range l.Manifest.Capabilities {
		for i, s := range c.Scope {
			where := []any{"capabilities", string(c.Name), "scope", i}
			switch {
			case c.Name == abi.FS && strings.HasPrefix(s, "write:") && len(l.used[abi.FS]) > 0 && !slices.ContainsFunc(l.used[abi.FS], func(f abi.Func) bool { return f.Effect >= abi.Writes }):
				f := l.add(SeverityError, "scope-unused", where, "the module imports neither fs.write nor fs.remove, so it needs no folder for writing")
				f.Remove, f.Add = fmt.Sprintf("%q", s), fmt.Sprintf("%q", "read:"+strings.TrimPrefix(s, "write:"))
			case c.Name == abi.FS && strings.HasSuffix(s, ":*") && !c.Ask:
				l.add(SeverityWarning, "scope-wide", where, "any folder may be meant by %q: a person should be asked which", s).Add = "ask = true"
			case c.Name == abi.Action && strings.HasPrefix(s, "*/*:"):
				l.add(SeverityWarning, "scope-wide", where, "%q lets it call every tool there is; name the packs", s)
			case c.Name == abi.HTTP && strings.Contains(s, "://*") && !strings.Contains(s, "://*.") && !c.Ask:
				l.add(SeverityWarning, "scope-wide", where, "%q reaches every host there is: name the hosts, or have a person asked which", s).Add = "ask = true"
			}
		}
	}
}

// effects compares what tools declare with what the module can do at most. Which tool uses which function is not to be
// seen from outside; the tests of a pack show it.
func (l *linter) effects() {
	most := abi.Pure
	for _, t := range l.Manifest.Tools {
		most = max(most, t.Effects)
	}
	reach := abi.Pure
	for _, c := range l.shape.Capabilities {
		for _, f := range l.used[c] {
			reach = max(reach, f.Effect)
			if f.Effect > most {
				l.add(SeverityError, "effects-too-low", []any{"tools"}, "the module imports %s.%s, which needs effects = %q, and no tool declares it: each call would be denied",
					f.Capability, f.Name, f.Effect).Add = fmt.Sprintf("effects = %q", f.Effect)
			}
		}
	}
	for _, c := range []abi.Capability{abi.Clock, abi.Rand} { // standard functions read them in a tool that is not pure
		if _, asked := l.Manifest.Capability(c); asked && l.throughWASI(c) {
			reach = max(reach, abi.Reads)
		}
	}
	for i, t := range l.Manifest.Tools {
		// Calling another tool can do what that tool does, so what is declared above reach may be meant.
		if t.Effects > reach && len(l.used[abi.Action]) == 0 && t.Effects != abi.OpenWorld {
			f := l.add(SeverityWarning, "effects-too-high", []any{"tools", i, "effects"}, "%q declares %q, and the module imports nothing above %q", t.ID, t.Effects, reach)
			f.Remove, f.Add = fmt.Sprintf("effects = %q", t.Effects), fmt.Sprintf("effects = %q", reach)
		}
	}
}

// limits looks for bounds that no call can keep.
func (l *linter) limits() {
	const page = 64 << 10
	start := int64(l.shape.MemoryPages) * page
	for i, t := range l.Manifest.Tools {
		memory := cmp.Or(t.Limits.Memory, wasm.DefaultLimits().MemoryBytes)
		where := []any{"tools", i, "limits", "memory"}
		if memory < start {
			l.add(SeverityError, "limit-memory", where, "%q may have %s, and the module starts with %s", t.ID, strict.Size(memory), strict.Size(start)).
				Add = fmt.Sprintf("memory = %q", strict.Size(roundUp(start*2)).String())
		} else if memory < start+start/2 && l.shape.WASI {
			l.add(SeverityWarning, "limit-memory", where, "%q may have %s, and the module starts with %s: little is left to work with", t.ID, strict.Size(memory), strict.Size(start)).
				Add = fmt.Sprintf("memory = %q", strict.Size(roundUp(start*2)).String())
		}
		for key, n := range map[string]int64{"input": t.Limits.Input, "output": t.Limits.Output} {
			if n > memory {
				l.add(SeverityWarning, "limit-"+key, []any{"tools", i, "limits", key}, "%s can never fit into the memory of %s", strict.Size(n), strict.Size(memory))
			}
		}
	}
}

// roundUp is the next power of two, from 1 MiB.
func roundUp(n int64) int64 {
	size := int64(1 << 20)
	for size < n {
		size *= 2
	}
	return size
}

// words are those that people read before they install.
func (l *linter) words() {
	m := l.Manifest
	if m.License == "" {
		l.add(SeverityWarning, "license-missing", []any{"license"}, "nobody can tell whether they may use it").Add = `license = "Apache-2.0"`
	}
	if len(m.Authors) == 0 || slices.Contains(m.Authors, "you") {
		l.add(SeverityWarning, "authors-missing", []any{"authors"}, "it does not say who wrote it").Add = `authors = ["NAME <MAIL>"]`
	}
	if len(strings.Fields(m.Description)) < 3 {
		l.add(SeverityWarning, "description-thin", []any{"description"}, "a person decides by it; say what the pack does in a sentence")
	}
	for i, t := range m.Tools {
		if len(strings.Fields(t.Description)) < 3 {
			l.add(SeverityWarning, "description-thin", []any{"tools", i, "description"}, "models choose tools by it; say what %q does and when to use it", t.ID)
		}
	}
	for _, c := range m.Capabilities {
		if r := strings.ToLower(c.Reason); len(strings.Fields(r)) < 2 || strings.Contains(r, "todo") || strings.Contains(r, "why the pack needs it") || r == "…" {
			l.add(SeverityWarning, "reason-thin", []any{"capabilities", string(c.Name), "reason"}, "a person grants by it; say what the pack does with %q", c.Name)
		}
	}
}

// contract asks whether this host could run it at all.
func (l *linter) contract() {
	if err := manifests.Supports(l.Manifest.Module.ABI); err != nil {
		l.add(SeverityError, "abi", []any{"module", "abi"}, "%v", err).Add = fmt.Sprintf("abi = %q", "^"+abi.Version)
	}
	if cmp.Or(l.Manifest.Module.Runtime, wasm.RuntimeARW) != l.shape.Runtime {
		f := l.add(SeverityError, "runtime", []any{"module", "runtime"}, "the module was made for %q", l.shape.Runtime)
		f.Remove, f.Add = fmt.Sprintf("runtime = %q", l.Manifest.Module.Runtime), fmt.Sprintf("runtime = %q", l.shape.Runtime)
	}
}

// named looks for the files that would travel with the pack.
func (l *linter) named() {
	check := func(list string, i int, file string) {
		if _, err := os.Stat(filepath.Join(l.Dir, filepath.FromSlash(file))); err != nil {
			l.add(SeverityError, "file-missing", []any{list, i, "file"}, "the file %q is not there", file)
		}
	}
	for i, u := range l.Manifest.Units {
		check("units", i, u.File)
	}
	for i, r := range l.Manifest.Recipes {
		check("recipes", i, r.File)
	}
	for i, p := range l.Manifest.Panels {
		check("panels", i, p.File)
	}
}
