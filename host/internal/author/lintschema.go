package author

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// schemas looks for schemas that let through what their author did not mean, and that tell a model nothing.
func (l *linter) schemas() {
	for i, t := range l.Manifest.Tools {
		l.schema(t.ID, "input", t.Input.JSON(), i)
		l.schema(t.ID, "output", t.Output.JSON(), i)
	}
}

// schemaNode is the part of a JSON Schema that the rules look at.
type schemaNode struct {
	Type       any                        `json:"type"`
	Properties map[string]json.RawMessage `json:"properties"`
	Required   []string                   `json:"required"`
	Additional json.RawMessage            `json:"additionalProperties"`
	Uneval     json.RawMessage            `json:"unevaluatedProperties"`
	Patterns   map[string]json.RawMessage `json:"patternProperties"`
	Ref        string                     `json:"$ref"`
	AllOf      []json.RawMessage          `json:"allOf"`
	AnyOf      []json.RawMessage          `json:"anyOf"`
	OneOf      []json.RawMessage          `json:"oneOf"`
}

func (n schemaNode) combined() bool {
	return n.Ref != "" || len(n.AllOf)+len(n.AnyOf)+len(n.OneOf) > 0
}

func (l *linter) schema(tool, which string, doc []byte, i int) {
	where := []any{"tools", i, which}
	var n schemaNode
	if bytes.Equal(doc, []byte("true")) || bytes.Equal(doc, []byte("{}")) {
		what := map[string]string{"input": "send", "output": "expect"}[which]
		l.add(SeverityWarning, "schema-missing", where, "%q says nothing about its %s: any JSON passes, and a model cannot tell what to %s", tool, which, what).
			Add = which + ` = { type = "object", properties = { … } }`
		return
	}
	if json.Unmarshal(doc, &n) != nil || n.combined() {
		return // a schema of another kind; its author knows more than these rules
	}
	if which == "input" && n.Type != "object" {
		l.add(SeverityWarning, "schema-root", append(where, "type"), "the input of %q is no object: tools are called with named arguments, and MCP knows no others", tool).
			Add = `type = "object"`
		return
	}
	for _, name := range n.Required {
		if _, ok := n.Properties[name]; !ok && len(n.Patterns) == 0 && which == "input" {
			l.add(SeverityError, "schema-required", append(where, "required"), "%q is required and no property has that name", name).
				Add = fmt.Sprintf("properties.%s = { … }", name)
		}
	}
	if which == "input" && len(n.Additional) == 0 && len(n.Uneval) == 0 {
		l.add(SeverityWarning, "schema-open", where, "the input of %q lets keys through that it does not know, so a misspelt one is dropped in silence", tool).
			Add = "additionalProperties = false"
	}
	if which == "output" && n.Type == "object" && len(n.Properties) == 0 && len(n.Patterns) == 0 {
		l.add(SeverityWarning, "schema-empty", where, "the output of %q names no properties: a caller cannot tell what is in it", tool)
	}
}

// examples wants every tool to be shown at work, by an example that every host runs or a case that only the author does.
func (l *linter) examples() {
	tests, _ := filepath.Glob(filepath.Join(l.Dir, TestsDir, "*.txtar"))
	var texts [][]byte
	for _, name := range tests {
		if b, err := os.ReadFile(name); err == nil {
			texts = append(texts, b)
		}
	}
	for i, t := range l.Manifest.Tools {
		id := []byte(fmt.Sprintf("%q", t.ID))
		if len(t.Examples) > 0 || slices.ContainsFunc(texts, func(b []byte) bool { return bytes.Contains(b, id) }) {
			continue
		}
		l.add(SeverityWarning, "example-missing", []any{"tools", i, "id"}, "nothing shows %q at work: no example here, no case in %s/", t.ID, TestsDir).
			Add = "[[tools.examples]]\ninput = { … }\noutput = { … }"
	}
}

// Fix takes out what can be taken out safely: capabilities that the module does not use. Only a table of its own, under a
// header, is touched; the result must read as a manifest and ask for just that much less, or nothing is written. It
// returns the findings it settled.
func (f *Folder) Fix(found []Finding) ([]Finding, error) {
	text := f.TOML
	var fixed []Finding
	for _, x := range found {
		if !x.Fixable {
			continue
		}
		next, ok := cutTable(text, x.Remove)
		if !ok {
			continue
		}
		text, fixed = next, append(fixed, x)
	}
	if len(fixed) == 0 {
		return nil, nil
	}
	return fixed, f.rewrite(text, len(fixed))
}
