//go:build !wasip1

package guest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
)

// Check holds what a manifest declares of a tool against what the code says: the JSON Schemas of its input and output
// (nil where the manifest has none). It reports fields that only one of the two knows, types that cannot agree, and
// outputs that the manifest requires and the code may leave out. Bounds, formats and parts joined by anyOf and the like
// are the manifest's own business. The error is Invalid and lists all there is.
func (t ToolInfo) Check(input, output []byte) error {
	var faults []string
	for _, part := range []struct {
		name           string
		declared, code []byte
	}{{"input", input, t.Input}, {"output", output, t.Output}} {
		if part.declared == nil || part.code == nil {
			continue
		}
		c := checker{output: part.name == "output", note: func(at, format string, args ...any) {
			faults = append(faults, part.name+at+": "+fmt.Sprintf(format, args...))
		}}
		if err := json.Unmarshal(part.declared, &c.manifest); err != nil {
			return abi.Errorf(abi.Invalid, "check tool %q: the declared %s schema: %w", t.ID, part.name, err)
		}
		if err := json.Unmarshal(part.code, &c.code); err != nil {
			return abi.Errorf(abi.Internal, "check tool %q: the %s schema of the code: %w", t.ID, part.name, err)
		}
		c.compare("", c.manifest, c.code, 0)
	}
	if len(faults) > 0 {
		return abi.Errorf(abi.Invalid, "check tool %q: manifest and code differ: %s", t.ID, strings.Join(faults, "; ")).WithDetail(faults)
	}
	return nil
}

// checker compares one declared schema with the one derived from a type.
type checker struct {
	output         bool
	manifest, code map[string]any // the roots, for references
	note           func(at, format string, args ...any)
}

// compare walks both; at is the JSON pointer into the value they describe.
func (c *checker) compare(at string, declared, code map[string]any, depth int) {
	declared, code = follow(declared, c.manifest), follow(code, c.code)
	if len(code) == 0 || depth > 32 || joined(declared) {
		return
	}
	if some, ok := code["anyOf"].([]any); ok { // a pointer: its target or null
		code, _ = some[0].(map[string]any)
		code = follow(code, c.code)
	}
	c.types(at, declared, code)
	props, _ := code["properties"].(map[string]any)
	if said, ok := declared["properties"].(map[string]any); ok && code["properties"] != nil {
		c.properties(at, said, props, declared, depth)
		if c.output {
			c.required(at, declared, code)
		}
	}
	for _, inner := range []string{"items", "additionalProperties"} {
		d, declares := declared[inner].(map[string]any)
		k, has := code[inner].(map[string]any)
		if declares && has {
			c.compare(at+"/*", d, k, depth+1)
		}
	}
}

func (c *checker) properties(at string, said, props, declared map[string]any, depth int) {
	for _, name := range slices.Sorted(maps.Keys(said)) {
		code, ok := props[name].(map[string]any)
		if !ok {
			c.note(at+"/"+name, "the manifest declares it, the code has no such field")
			continue
		}
		if d, ok := said[name].(map[string]any); ok {
			c.compare(at+"/"+name, d, code, depth+1)
		}
	}
	if declared["additionalProperties"] != false {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(props)) {
		if _, ok := said[name]; !ok {
			c.note(at+"/"+name, "the code has this field, the manifest does not allow it")
		}
	}
}

// required reports what the manifest promises and the code may leave out.
func (c *checker) required(at string, declared, code map[string]any) {
	promised, _ := declared["required"].([]any)
	given, _ := code["required"].([]any)
	for _, name := range promised {
		if !slices.Contains(given, name) {
			c.note(at+"/"+fmt.Sprint(name), "the manifest requires it, the code may leave it out (omitempty, omitzero or a pointer)")
		}
	}
}

// types reports types that cannot agree: what goes in must be readable, what comes out allowed.
func (c *checker) types(at string, declared, code map[string]any) {
	said, has := typesOf(declared), typesOf(code)
	if said == nil || has == nil {
		return
	}
	from, to := said, has
	if c.output {
		from, to = has, said
	}
	for _, t := range from {
		if t != "null" && !slices.Contains(to, t) && !(t == "integer" && slices.Contains(to, "number")) {
			c.note(at, "the manifest says %s, the code %s", strings.Join(said, " or "), strings.Join(has, " or "))
			return
		}
	}
}

// typesOf is the types a schema names; nil when it names none.
func typesOf(schema map[string]any) []string {
	switch t := schema["type"].(type) {
	case string:
		return []string{t}
	case []any:
		var all []string
		for _, one := range t {
			all = append(all, fmt.Sprint(one))
		}
		return all
	}
	return nil
}

// joined says whether a schema is put together from others, which is more than this looks into.
func joined(schema map[string]any) bool {
	for _, key := range []string{"anyOf", "oneOf", "allOf", "not", "if", "$ref"} {
		if schema[key] != nil {
			return true
		}
	}
	return false
}

// follow resolves a reference to $defs.
func follow(schema, root map[string]any) map[string]any {
	ref, _ := schema["$ref"].(string)
	name, ok := strings.CutPrefix(ref, "#/$defs/")
	defs, _ := root["$defs"].(map[string]any)
	if target, found := defs[name].(map[string]any); ok && found {
		return target
	}
	return schema
}
