package manifests

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/arw-project/arw/manifests/strict"
)

// schemaDialect is the only $schema a pack's schemas may name; it may also be left out.
const schemaDialect = "https://json-schema.org/draft/2020-12/schema"

// shape says what a keyword's value holds.
type shape int

const (
	holdsData    shape = iota // no schemas
	holdsSchema               // one schema
	holdsSchemas              // an array of schemas
	holdsNamed                // an object of schemas
	refused                   // of the dialect, but not of our profile
)

// keyword gives the shape of a keyword of JSON Schema 2020-12, and false for a word that is none.
func keyword(name string) (shape, bool) {
	switch name {
	case "$schema", "$id", "$ref", "$anchor", "$comment", "type", "enum", "const", "multipleOf", "maximum", "exclusiveMaximum",
		"minimum", "exclusiveMinimum", "maxLength", "minLength", "pattern", "maxItems", "minItems", "uniqueItems", "maxContains",
		"minContains", "maxProperties", "minProperties", "required", "dependentRequired", "title", "description", "default",
		"deprecated", "readOnly", "writeOnly", "examples", "format", "contentEncoding", "contentMediaType":
		return holdsData, true
	case "items", "contains", "additionalProperties", "propertyNames", "unevaluatedItems", "unevaluatedProperties", "not", "if",
		"then", "else", "contentSchema":
		return holdsSchema, true
	case "allOf", "anyOf", "oneOf", "prefixItems":
		return holdsSchemas, true
	case "$defs", "properties", "patternProperties", "dependentSchemas":
		return holdsNamed, true
	case "$dynamicRef", "$dynamicAnchor", "$vocabulary":
		return refused, true
	}
	return holdsData, strings.HasPrefix(name, "x-")
}

// keywordNames are the words that a misspelt one may have meant.
var keywordNames = strings.Fields(`$schema $id $ref $anchor $comment $defs type enum const multipleOf maximum exclusiveMaximum
	minimum exclusiveMinimum maxLength minLength pattern maxItems minItems uniqueItems maxContains minContains maxProperties
	minProperties required dependentRequired title description default deprecated readOnly writeOnly examples format
	contentEncoding contentMediaType contentSchema items contains additionalProperties propertyNames unevaluatedItems
	unevaluatedProperties not if then else allOf anyOf oneOf prefixItems properties patternProperties dependentSchemas`)

// checkProfile walks a schema for what the dialect would let pass in silence: misspelt keywords (a "requierd" checks
// nothing), other dialects, references to anything but a schema of this document, and features that make the meaning of
// a part depend on who refers to it. With compilable it says that all faults are misspelt keywords, so that the compiler
// may be asked for what else is wrong.
func checkProfile(doc any) (faults []Fault, compilable bool) {
	w := profileWalk{compilable: true, targets: map[string]bool{}}
	w.schema(nil, doc)
	for _, ref := range w.refs {
		if !w.targets[ref.target] {
			w.fault(ref.at, "%q leads to no schema of this document", "#"+clip(ref.target))
			w.compilable = false
		}
	}
	return w.faults, w.compilable
}

type profileWalk struct {
	faults     []Fault
	compilable bool
	targets    map[string]bool // pointers and anchors of the schemas met
	refs       []localRef
}

type localRef struct {
	at     []string
	target string // fragment, decoded
}

func (w *profileWalk) fault(at []string, format string, args ...any) {
	w.faults = append(w.faults, Fault{pointer(at), fmt.Sprintf(format, args...)})
}

func (w *profileWalk) schema(at []string, v any) {
	w.targets[pointer(at)] = true
	object, ok := v.(map[string]any)
	if !ok {
		return // true and false are schemas; anything else is refused by the compiler
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		value, here := object[name], append(slices.Clip(at), name)
		shape, known := keyword(name)
		if msg := checkKeyword(name, shape, known, value, len(at) == 0); msg != "" {
			w.fault(here, "%s", msg)
			w.compilable = w.compilable && !known
			continue
		}
		w.name(here, name, value)
		switch value := value.(type) {
		case map[string]any:
			if shape == holdsNamed {
				for _, key := range slices.Sorted(maps.Keys(value)) {
					w.schema(append(slices.Clip(here), key), value[key])
				}
			}
		case []any:
			for i := range value {
				if shape == holdsSchemas {
					w.schema(append(slices.Clip(here), strconv.Itoa(i)), value[i])
				}
			}
		}
		if shape == holdsSchema {
			w.schema(here, value)
		}
	}
}

// name notes an anchor or a reference.
func (w *profileWalk) name(here []string, name string, value any) {
	text, ok := value.(string)
	if !ok {
		return
	}
	switch name {
	case "$anchor":
		if w.targets[text] {
			w.fault(here, "the anchor %q stands twice", clip(text))
			w.compilable = false
		}
		w.targets[text] = true
	case "$ref":
		target, err := url.PathUnescape(text[1:])
		if err != nil {
			target = text[1:]
		}
		w.refs = append(w.refs, localRef{here, target})
	}
}

func checkKeyword(name string, shape shape, known bool, value any, root bool) string {
	text, isText := value.(string)
	switch {
	case name == "definitions":
		return `this is no keyword of JSON Schema 2020-12; did you mean "$defs"?`
	case !known:
		if guess := strict.Closest(name, keywordNames); guess != "" {
			return fmt.Sprintf("this is no keyword of JSON Schema 2020-12; did you mean %q?", guess)
		}
		return `this is no keyword of JSON Schema 2020-12; keywords of your own start with "x-"`
	case shape == refused:
		return name + " is not supported in a pack's schema; use $ref"
	case name == "$ref" && isText && !strings.HasPrefix(text, "#"):
		return fmt.Sprintf("%q leaves the document: a schema may refer to itself only (#/$defs/…); copy what you need into $defs", clip(text))
	case (name == "$id" || name == "$schema") && !root:
		return name + " is allowed at the root of a schema only"
	case name == "$schema" && (!isText || strings.TrimSuffix(text, "#") != schemaDialect):
		return fmt.Sprintf("this host reads %s only", schemaDialect)
	}
	return ""
}
