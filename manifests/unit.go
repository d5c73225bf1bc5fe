package manifests

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests/strict"
)

// UnitFileName is the manifest of a logic unit inside a folder of its own.
const UnitFileName = "unit.toml"

// Categories are what a unit may be for.
func Categories() []string {
	return []string{"evaluation", "memory", "policy", "reasoning", "retrieval", "sampling"}
}

// LogicUnit is a unit.toml with its defaults filled in: a bundle of changes to named configuration documents, with
// parameters. It holds data only; what the documents are and what may be in them is the host's business.
type LogicUnit struct {
	ID          string
	Title       string
	Version     string // semantic version without a leading v
	Category    string // one of Categories
	Description string
	License     string
	Authors     []string
	Slots       []string // what the unit takes; two units in one slot are a conflict
	Priority    int      // 0 to 100; where two units touch one place, the higher one is applied later
	Conflicts   []string // ids of units it does not go with
	Requires    []string // ids of units that must be active with it
	Parameters  []Parameter
	Patches     []UnitPatch
	Tests       []UnitTest
	UnitMore
}

// Parameter is a knob of a unit. All values are canonical JSON of its type.
type Parameter struct {
	Name        string
	Type        string // "string", "number", "integer" or "boolean"
	Description string
	Default     json.RawMessage
	schema      *Schema
}

// UnitPatch is one change to one document. Value may hold references to parameters, see Resolve.
type UnitPatch struct {
	Target string // a document's name, such as "recipes/retrieval"
	Op     string // "merge" (RFC 7396) or "jsonpatch" (RFC 6902)
	Value  any    // a JSON tree: maps, slices, strings, json.Number, booleans, nil
}

// UnitTest states what the unit makes of a document.
type UnitTest struct {
	Title      string
	Parameters map[string]json.RawMessage
	Target     string
	Before     any // nil: the host's default
	After      any
}

// ParseUnit reads a unit.toml, as ParsePack reads a pack.toml: the same rules about unknown keys, lines and problems.
func ParseUnit(file string, src []byte) (*LogicUnit, error) {
	if len(src) > MaxSize {
		return nil, abi.Errorf(abi.Invalid, "read unit %q: it has %d bytes, at most %d are allowed", file, len(src), MaxSize)
	}
	var raw rawUnit
	lines, err := strict.Decode(file, src, &raw)
	problems, isProblems := err.(strict.Problems)
	if err != nil && !isProblems {
		return nil, abi.Errorf(abi.Internal, "read unit %q: %w", file, err)
	}
	if lines == nil {
		return nil, invalid(problems)
	}
	if err := unitABI(file, raw.ABI); err != nil {
		return nil, err
	}
	c := newChecker(lines, problems)
	u := c.unit(&raw)
	if err := c.problems.Err(); err != nil {
		return nil, invalid(err.(strict.Problems))
	}
	return u, nil
}

// Resolve gives the patches with every parameter put in: given values where there are some, else the defaults. A string
// that is exactly ${name} becomes the parameter's value with its type; inside a longer string ${name} becomes its text,
// and $${ stands for ${ itself. Nothing else is interpreted, so a value can never become more than one value. Errors:
// Invalid for a parameter the unit does not have or a value that does not fit it.
func (u *LogicUnit) Resolve(given map[string]json.RawMessage) ([]UnitPatch, error) {
	values, err := u.values(given)
	if err != nil {
		return nil, err
	}
	patches := make([]UnitPatch, len(u.Patches))
	for i, p := range u.Patches {
		value, bad := substitute(p.Value, values)
		if bad != "" {
			return nil, abi.Errorf(abi.Invalid, "resolve unit %q: there is no parameter %q", u.ID, bad)
		}
		patches[i] = UnitPatch{p.Target, p.Op, value}
	}
	return patches, nil
}

// Values are all parameters as Resolve uses them, canonical. Errors as Resolve.
func (u *LogicUnit) Values(given map[string]json.RawMessage) (map[string]json.RawMessage, error) {
	values, err := u.values(given)
	if err != nil {
		return nil, err
	}
	out := make(map[string]json.RawMessage, len(values))
	for name, v := range values {
		out[name] = mustCanonical(v)
	}
	return out, nil
}

func (u *LogicUnit) values(given map[string]json.RawMessage) (map[string]any, error) {
	values := map[string]any{}
	known := make([]string, 0, len(u.Parameters))
	for _, p := range u.Parameters {
		known = append(known, p.Name)
		raw, ok := given[p.Name]
		if !ok {
			raw = p.Default
		}
		v, err := readJSON(raw)
		if err == nil {
			err = p.schema.validate(v)
		}
		if err != nil {
			return nil, abi.Errorf(abi.Invalid, "resolve unit %q: parameter %q: %s", u.ID, p.Name, strings.TrimPrefix(err.Error(), "validate JSON: "))
		}
		values[p.Name] = v
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !slices.Contains(known, name) {
			hint := "its parameters are " + strings.Join(known, ", ")
			if len(known) == 0 {
				hint = "it has no parameters"
			}
			return nil, abi.Errorf(abi.Invalid, "resolve unit %q: it has no parameter %q", u.ID, name).WithHint("%s", hint)
		}
	}
	return values, nil
}

// substitute puts values into a tree. It gives the first name that is not among them.
func substitute(tree any, values map[string]any) (out any, unknown string) {
	switch t := tree.(type) {
	case string:
		return interpolate(t, values)
	case []any:
		items := make([]any, len(t))
		for i, item := range t {
			if items[i], unknown = substitute(item, values); unknown != "" {
				return nil, unknown
			}
		}
		return items, ""
	case map[string]any:
		fields := make(map[string]any, len(t))
		for key, v := range t {
			if fields[key], unknown = substitute(v, values); unknown != "" {
				return nil, unknown
			}
		}
		return fields, ""
	}
	return tree, ""
}

func interpolate(s string, values map[string]any) (any, string) {
	if name, whole := strings.CutPrefix(s, "${"); whole && len(name) > 0 && strings.IndexByte(name, '}') == len(name)-1 {
		name = name[:len(name)-1]
		v, ok := values[name]
		if !ok {
			return nil, cmp.Or(name, "(no name)")
		}
		return v, ""
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, "${")
		if !found {
			b.WriteString(s)
			return b.String(), ""
		}
		if strings.HasSuffix(before, "$") { // $${ is ${
			b.WriteString(before[:len(before)-1] + "${")
			s = rest
			continue
		}
		name, after, closed := strings.Cut(rest, "}")
		v, ok := values[name]
		if !closed || !ok {
			return nil, cmp.Or(name, "(no name)")
		}
		b.WriteString(before)
		if text, isText := v.(string); isText {
			b.WriteString(text)
		} else {
			b.Write(mustCanonical(v))
		}
		s = after
	}
}

// Canonical is the unit as RFC 8785 JSON, as of Pack.Canonical.
func (u *LogicUnit) Canonical() []byte { return mustCanonical(u.tree()) }

// Digest is "sha256:" and the hash of Canonical in hexadecimal.
func (u *LogicUnit) Digest() string {
	sum := sha256.Sum256(u.Canonical())
	return "sha256:" + hex.EncodeToString(sum[:])
}

// MarshalJSON implements json.Marshaler with the members of the canonical form.
func (u *LogicUnit) MarshalJSON() ([]byte, error) { return u.Canonical(), nil }

func (u *LogicUnit) tree() any {
	text := func(s string) any { return s }
	parameters := map[string]any{}
	for _, p := range u.Parameters {
		parameters[p.Name] = map[string]any{"type": p.Type, "description": p.Description, "default": reread(p.Default), "schema": p.schema.doc}
	}
	tree := map[string]any{
		"schema": integer(1), "id": u.ID, "title": u.Title, "version": u.Version, "category": u.Category, "description": u.Description,
		"license": u.License, "authors": listOf(u.Authors, text), "slots": listOf(u.Slots, text), "priority": integer(int64(u.Priority)),
		"compat":     map[string]any{"conflicts": listOf(u.Conflicts, text), "requires": listOf(u.Requires, text)},
		"parameters": parameters,
		"patches": listOf(u.Patches, func(p UnitPatch) any {
			return map[string]any{"target": p.Target, "op": p.Op, "value": p.Value}
		}),
		"tests": listOf(u.Tests, func(t UnitTest) any {
			given := map[string]any{}
			for name, raw := range t.Parameters {
				given[name] = reread(raw)
			}
			return map[string]any{"title": t.Title, "parameters": given, "target": t.Target, "before": t.Before, "after": t.After}
		}),
	}
	u.more(tree)
	return tree
}

func mustCanonical(tree any) []byte {
	canonical, err := appendCanonical(nil, tree)
	if err != nil {
		panic("manifests: a value that was not checked: " + err.Error())
	}
	return bytes.Clone(canonical)
}
