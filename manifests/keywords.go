package manifests

import (
	"fmt"
	"maps"
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
// nothing), other dialects, references that leave the document and features that make the meaning of a part depend on
// who refers to it. With compilable it says that all faults are misspelt keywords, so that the compiler may be asked for
// what else is wrong.
func checkProfile(doc any) (faults []Fault, compilable bool) {
	compilable = true
	var walk func(at []string, v any)
	fault := func(at []string, format string, args ...any) {
		faults = append(faults, Fault{pointer(at), fmt.Sprintf(format, args...)})
	}
	walk = func(at []string, v any) {
		object, ok := v.(map[string]any)
		if !ok {
			return // true and false are schemas; anything else is refused by the compiler
		}
		for _, name := range slices.Sorted(maps.Keys(object)) {
			value, here := object[name], append(slices.Clip(at), name)
			shape, known := keyword(name)
			if msg := checkKeyword(name, shape, known, value, len(at) == 0); msg != "" {
				fault(here, "%s", msg)
				compilable = compilable && !known
			}
			switch value := value.(type) {
			case map[string]any:
				if shape == holdsSchema {
					walk(here, value)
				} else if shape == holdsNamed {
					for _, key := range slices.Sorted(maps.Keys(value)) {
						walk(append(slices.Clip(here), key), value[key])
					}
				}
			case []any:
				for i := range value {
					if shape == holdsSchemas {
						walk(append(slices.Clip(here), strconv.Itoa(i)), value[i])
					}
				}
			}
		}
	}
	walk(nil, doc)
	return faults, compilable
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
