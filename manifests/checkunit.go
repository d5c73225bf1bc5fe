package manifests

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Bounds of a unit.
const (
	maxSlots      = 8
	maxParameters = 64
	maxPatches    = 256
	maxUnitTests  = 64
	maxPriority   = 100
)

var (
	targetName    = regexp.MustCompile(`^[a-z][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)+$`)
	parameterName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
)

func (c *checker) unit(raw *rawUnit) *LogicUnit {
	if raw.Schema != 1 && c.lines.Has("schema") {
		c.bad(at{"schema"}, "", "this host reads version 1 of the unit manifest, found %d", raw.Schema)
	}
	u := &LogicUnit{
		ID: raw.ID, Title: raw.Title, Version: raw.Version, Category: raw.Category, License: raw.License,
		Description: strings.ReplaceAll(raw.Description, "\r\n", "\n"), Authors: slices.Clone(raw.Authors), Slots: slices.Clone(raw.Slots),
		Priority: raw.Priority, Conflicts: slices.Clone(raw.Compat.Conflicts), Requires: slices.Clone(raw.Compat.Requires),
	}
	if !c.lines.Has("priority") {
		u.Priority = maxPriority / 2
	}
	c.unitHead(raw, u)
	c.names(at{"slots"}, raw.Slots, maxSlots)
	c.names(at{"compat", "conflicts"}, u.Conflicts, maxFiles)
	c.names(at{"compat", "requires"}, u.Requires, maxFiles)
	for i, id := range u.Requires {
		if id == u.ID || slices.Contains(u.Conflicts, id) {
			c.bad(at{"compat", "requires", i}, "", "%q cannot be required here", id)
		}
	}
	if len(raw.Parameters) > maxParameters {
		c.bad(at{"parameters"}, "", "at most %d parameters, found %d", maxParameters, len(raw.Parameters))
	}
	for _, name := range slices.Sorted(maps.Keys(raw.Parameters)) {
		u.Parameters = append(u.Parameters, c.parameter(name, raw.Parameters[name]))
	}
	c.patches(u, raw.Patches)
	c.unitMore(u, raw)
	c.unitTests(u, raw.Tests)
	return u
}

func (c *checker) unitHead(raw *rawUnit, u *LogicUnit) {
	c.id(at{"id"}, raw.ID)
	c.text(at{"title"}, raw.Title, 1, maxTitle, false)
	c.version(raw.Version)
	c.oneOf(at{"category"}, raw.Category, Categories()...)
	c.text(at{"description"}, u.Description, 1, maxDescription, true)
	c.credits(raw.License, raw.Authors)
	if u.Priority < 0 || u.Priority > maxPriority {
		c.bad(at{"priority"}, "", "expected 0 to %d, found %d", maxPriority, u.Priority)
	}
}

// names checks a list of ids, each once.
func (c *checker) names(where at, ids []string, most int) {
	if len(ids) > most {
		c.bad(where, "", "at most %d, found %d", most, len(ids))
	}
	for i, id := range ids {
		c.id(where.key(i), id)
		if slices.Contains(ids[:i], id) {
			c.bad(where.key(i), "", "%q stands here twice", id)
		}
	}
}

func (c *checker) parameter(name string, raw rawParameter) Parameter {
	where := at{"parameters", name}
	if !parameterName.MatchString(name) {
		c.bad(where, "", "expected a lower-case letter and then letters, digits or '_', found %q", name)
	}
	c.oneOf(where.key("type"), raw.Type, "string", "number", "integer", "boolean")
	c.text(where.key("description"), raw.Description, 1, maxSummary, false)
	p := Parameter{Name: name, Type: raw.Type, Description: raw.Description}
	doc := map[string]any{"type": raw.Type}
	for key, bound := range map[string]any{"minimum": raw.Minimum, "maximum": raw.Maximum} {
		if bound == nil {
			continue
		}
		if raw.Type != "number" && raw.Type != "integer" {
			c.bad(where.key(key), "remove it", "a %s has no %s", raw.Type, key)
			continue
		}
		doc[key] = c.plain(where.key(key), bound)
	}
	if raw.Enum != nil {
		doc["enum"] = c.plain(where.key("enum"), raw.Enum)
	}
	value := c.plain(where.key("default"), raw.Default)
	if c.isBroken(where) || c.isBroken(where.key("type")) {
		return p
	}
	schema, faults := newSchema(doc)
	if len(faults) > 0 {
		c.badInside(where, doc, faults, "")
		return p
	}
	p.schema = schema
	if err := schema.validate(value); err != nil {
		c.bad(where.key("default"), "", "does not fit the parameter: %s", strings.TrimPrefix(err.Error(), "validate JSON: "))
		return p
	}
	p.Default = mustCanonical(value)
	return p
}

// plain takes a TOML value as the JSON value it looks like; unlike document, a string is that string.
func (c *checker) plain(where at, raw any) any {
	doc, faults := fromTOML(where, raw)
	for _, fault := range faults {
		c.bad(fault.where, "", "%s", fault.msg)
	}
	return doc
}

func (c *checker) patches(u *LogicUnit, raw []rawPatch) {
	if len(raw) > maxPatches {
		c.bad(at{"patches"}, "", "a unit has at most %d patches, found %d", maxPatches, len(raw))
	}
	known := map[string]any{}
	for _, p := range u.Parameters {
		known[p.Name] = ""
	}
	for i, r := range raw {
		where := at{"patches", i}
		op := r.Op
		if op == "" && !c.lines.Has(where.key("op")...) {
			op = "merge"
		}
		c.target(where.key("target"), r.Target)
		c.oneOf(where.key("op"), op, "merge", "jsonpatch")
		value, ok := c.document(where.key("value"), r.Value)
		if ok && depth(value) > maxDepth {
			c.bad(where.key("value"), "", "nested deeper than %d levels", maxDepth)
		} else if ok {
			c.patchValue(where.key("value"), op, value)
			if _, unknown := substitute(value, known); unknown != "" {
				c.bad(where.key("value"), "declare it: [parameters."+unknown+"]; write $${ for the characters ${", "there is no parameter %q", unknown)
			}
		}
		u.Patches = append(u.Patches, UnitPatch{r.Target, op, value})
	}
}

func (c *checker) target(where at, name string) {
	if !targetName.MatchString(name) || len(name) > 2*maxID {
		c.bad(where, `such as "recipes/retrieval"`, "expected the name of a configuration document in lower case with slashes, found %q", clip(name))
	}
}

// patchOps are the operations of RFC 6902 and what each needs beside op and path.
var patchOps = map[string]string{"add": "value", "replace": "value", "test": "value", "remove": "", "move": "from", "copy": "from"}

// patchValue checks the form of a patch; whether it applies is for the document to say.
func (c *checker) patchValue(where at, op string, value any) {
	if op == "merge" {
		if _, ok := value.(map[string]any); !ok {
			c.bad(where, "", "a merge patch is a table, found another value: it would replace the whole document")
		}
		return
	}
	list, ok := value.([]any)
	if !ok || len(list) == 0 {
		c.bad(where, `such as [{ op = "replace", path = "/k", value = 5 }]`, "a JSON patch is a list of operations")
		return
	}
	for i, item := range list {
		fields, _ := item.(map[string]any)
		name, _ := fields["op"].(string)
		needs, known := patchOps[name]
		path, hasPath := fields["path"].(string)
		switch {
		case !known:
			c.bad(where.key(i), "", "operation %d has op %q; the operations are add, copy, move, remove, replace and test", i+1, name)
		case !hasPath || path != "" && !strings.HasPrefix(path, "/"):
			c.bad(where.key(i), "", `operation %d needs a path, a JSON pointer such as "/k"`, i+1)
		case needs != "" && !has(fields, needs):
			c.bad(where.key(i), "", "operation %d (%s) needs %q", i+1, name, needs)
		}
	}
}

func has(fields map[string]any, key string) bool { _, ok := fields[key]; return ok }

func (c *checker) unitTests(u *LogicUnit, raw []rawUnitTest) {
	if len(raw) > maxUnitTests {
		c.bad(at{"tests"}, "", "at most %d tests, found %d", maxUnitTests, len(raw))
	}
	for i, r := range raw {
		where := at{"tests", i}
		c.text(where.key("title"), r.Title, 1, maxTitle, false)
		if !slices.Contains(u.Documents(), r.Target) {
			c.bad(where.key("target"), "", "no patch of this unit changes %q", clip(r.Target))
		}
		t := UnitTest{Title: r.Title, Target: r.Target, Parameters: map[string]json.RawMessage{}}
		if r.Before != nil {
			t.Before, _ = c.document(where.key("before"), r.Before)
		}
		t.After, _ = c.document(where.key("after"), r.After)
		for _, name := range slices.Sorted(maps.Keys(r.Parameters)) {
			if v := c.plain(where.key("parameters", name), r.Parameters[name]); !c.isBroken(where.key("parameters", name)) {
				t.Parameters[name] = mustCanonical(v)
			}
		}
		if len(c.problems) == 0 {
			if _, err := u.values(t.Parameters); err != nil {
				c.bad(where.key("parameters"), "", "%s", err)
			}
		}
		u.Tests = append(u.Tests, t)
	}
}
