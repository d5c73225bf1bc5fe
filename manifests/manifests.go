// Package manifests reads pack.toml: bytes in, a checked value or every problem with its line out.
//
// A manifest is the contract that a signature covers: which tools a pack has, what goes in and out of them, what they do
// to the world, and which capabilities the pack asks for and why. ParsePack accepts a manifest only when nothing in it is
// unknown, mistyped, dangling or self-contradictory; Canonical turns it into bytes of which there is one form only
// (RFC 8785 of the manifest with all defaults filled in) and Digest names it. The normative text is
// docs/spec/manifest.md; pack.schema.json is the same for editors.
//
// Nothing here does I/O, follows a reference or knows the host that will run the pack. All functions are safe for
// concurrent use; a Pack is not changed after ParsePack returns it, and its callers must not change it either.
package manifests

import (
	"encoding/json"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests/strict"
)

// FileName is the manifest's name inside a pack.
const FileName = "pack.toml"

// MaxSize bounds the text of a manifest, in bytes.
const MaxSize = 256 << 10

// Pack is a manifest with its defaults filled in.
type Pack struct {
	Name         string // namespace/name
	Version      string // semantic version without a leading v
	Description  string
	License      string // SPDX expression, or ""
	Authors      []string
	Homepage     string
	Repository   string
	Module       Module
	Tools        []Tool       // in the order of the file, at least one
	Capabilities []Capability // sorted by name
	Units        []Unit
	Recipes      []Recipe
	Panels       []Panel
	State        []State
}

// Module names the WebAssembly module and the contract it was built for.
type Module struct {
	File    string // relative path inside the pack
	Runtime string // "arw" or "extism"
	ABI     string // range of ABI versions, see Supports
}

// Tool is one function of the pack that others may call.
type Tool struct {
	ID          string
	Title       string
	Description string
	Input       *Schema // never nil
	Output      *Schema // never nil; holds for JSON replies, bytes pass unchecked
	Effects     abi.Effect
	Isolation   string   // "fresh" or "session"
	Streams     []string // what it uses of "input" and "output", in this order; nil: none
	// Capabilities are those of the pack's that the tool may use, sorted; nil is all of them, an empty list none.
	Capabilities []abi.Capability
	Limits       Limits
	Recall       *Recall // nil: an answer is never given again for another question
	Examples     []Example
}

// Recall lets a host give an answer again: for the same input, and where Near is set for a question that means the same.
type Recall struct {
	Question string        // JSON pointer into the input: the text that is compared; the rest must be equal
	Near     float64       // cosine from which on questions may mean the same, in [0.5, 1); 0: never
	Empty    string        // JSON pointer into the output: the list that is empty when nothing was found; "" when there is none
	Same     string        // JSON pointer into the output: what two answers that agree have in common; "" is all of it
	TTL      time.Duration // age at which an answer is no longer given
}

// Limits bound one call. Zero leaves the bound to the host.
type Limits struct {
	Memory int64 // bytes of linear memory
	Gas    uint64
	Time   time.Duration
	Input  int64 // bytes
	Output int64 // bytes
	Stream int64 // bytes given out as a stream
}

// Ceilings are the largest limits that a manifest may ask for. A host may grant less.
func Ceilings() Limits {
	return Limits{Memory: 4 << 30, Gas: 1e13, Time: time.Hour, Input: 256 << 20, Output: 256 << 20, Stream: 1 << 40}
}

// Example is a call whose outcome the author states. The input fits the tool's input schema and the output, where there
// is one, its output schema; both are canonical JSON.
type Example struct {
	Title  string
	Input  json.RawMessage
	Output json.RawMessage // nil when not stated
}

// Capability is one family of host functions that the pack asks for.
type Capability struct {
	Name     abi.Capability
	Scope    []string // as written; the grammar is the capability's own, see docs/spec/manifest.md
	Reason   string   // for the person who decides
	Ask      bool     // a person must be asked even where policy would allow it
	Optional bool     // the pack works without it
	TTL      time.Duration
	Budget   Budget
}

// Budget bounds the use of a capability. Zero is unlimited.
type Budget struct {
	Calls, Bytes int64
	Tokens       int64 // of models, in and out
	Money        int64 // millionths of a US dollar
}

// Unit, Recipe and Panel are files that the pack contributes to the host's collections of logic units, recipes and
// panels.
type (
	Unit   struct{ ID, Title, File string }
	Recipe struct{ ID, Title, File string }
	Panel  struct{ ID, Title, File string }
)

// State is a read model that the pack contributes.
type State struct {
	ID          string // dotted, below the pack's own prefix
	Description string
	Schema      *Schema // never nil
}

// ParsePack reads a manifest. The file name is used in problems only. The error is an *abi.Error with code Invalid whose
// cause (errors.AsType) and Detail are strict.Problems: all there are, sorted by line. ParsePack keeps nothing of src.
func ParsePack(file string, src []byte) (*Pack, error) {
	if len(src) > MaxSize {
		return nil, abi.Errorf(abi.Invalid, "read manifest %q: it has %d bytes, at most %d are allowed", file, len(src), MaxSize)
	}
	var raw rawPack
	lines, err := strict.Decode(file, src, &raw)
	problems, isProblems := err.(strict.Problems)
	if err != nil && !isProblems {
		return nil, abi.Errorf(abi.Internal, "read manifest %q: %w", file, err)
	}
	if lines == nil {
		return nil, invalid(problems)
	}
	c := newChecker(lines, problems)
	p := c.pack(&raw)
	if err := c.problems.Err(); err != nil {
		return nil, invalid(err.(strict.Problems))
	}
	return p, nil
}

func invalid(problems strict.Problems) *abi.Error {
	if len(problems) == 1 {
		return abi.Errorf(abi.Invalid, "read manifest: %w", problems).WithDetail(problems)
	}
	return abi.Errorf(abi.Invalid, "read manifest: %d problems\n%w", len(problems), problems).WithDetail(problems)
}

// Tool finds a tool by its id. The tool belongs to the pack.
func (p *Pack) Tool(id string) (*Tool, bool) {
	for i := range p.Tools {
		if p.Tools[i].ID == id {
			return &p.Tools[i], true
		}
	}
	return nil, false
}

// Capability finds what the pack asks of a capability. It belongs to the pack.
func (p *Pack) Capability(name abi.Capability) (*Capability, bool) {
	for i := range p.Capabilities {
		if p.Capabilities[i].Name == name {
			return &p.Capabilities[i], true
		}
	}
	return nil, false
}

// Files are the relative paths that the manifest names, each once, the module first. A pack is complete when it holds
// them all.
func (p *Pack) Files() []string {
	files, seen := []string{p.Module.File}, map[string]bool{p.Module.File: true}
	add := func(file string) {
		if !seen[file] {
			seen[file] = true
			files = append(files, file)
		}
	}
	for _, u := range p.Units {
		add(u.File)
	}
	for _, r := range p.Recipes {
		add(r.File)
	}
	for _, v := range p.Panels {
		add(v.File)
	}
	return files
}
