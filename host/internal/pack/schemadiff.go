package pack

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
)

// compareSchemas says whether the second schema allows the same values as the first, fewer, or (also when nobody can
// tell) others. What a keyword says to people is no difference.
func compareSchemas(a, b []byte) Class {
	if bytes.Equal(a, b) {
		return Same
	}
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return Wider
	}
	switch down, up := within(x, y), within(y, x); {
	case down && up:
		return Same
	case down:
		return Narrower
	}
	return Wider
}

// told are keywords that say something and forbid nothing.
var told = []string{"title", "description", "$comment", "examples", "default", "deprecated", "readOnly", "writeOnly", "$schema", "$id"}

// within reports whether everything b allows, a allows; false also when that cannot be seen keyword by keyword. Every
// keyword narrows what the others leave, so a keyword that is only in b does no harm, except where it takes values out of
// the reach of another: see looser.
func within(a, b any) bool {
	x, y, ok := schemas(a, b)
	if !ok {
		return a == true || b == false || reflect.DeepEqual(a, b)
	}
	for key, was := range x {
		if slices.Contains(told, key) {
			continue
		}
		is, there := y[key]
		if !there && !dropped(key, was, y) {
			return false
		}
		if there && !reflect.DeepEqual(was, is) && !keywordWithin(key, was, is, x, y) {
			return false
		}
	}
	return !looser(x, y)
}

// schemas are two schemas as objects; true is the one without keywords.
func schemas(a, b any) (x, y map[string]any, ok bool) {
	x, okA := object(a)
	y, okB := object(b)
	return x, y, okA && okB
}

func object(s any) (map[string]any, bool) {
	if s == true {
		return map[string]any{}, true
	}
	m, ok := s.(map[string]any)
	return m, ok
}

// dropped reports whether a keyword that b does not have any more forbade nothing.
func dropped(key string, was any, y map[string]any) bool {
	switch key {
	case "additionalProperties", "items":
		return was == true
	case "required":
		list, ok := was.([]any)
		return ok && len(list) == 0
	case "properties": // closed against others, b forbids what a described
		return y["additionalProperties"] == false
	case "enum":
		_, constant := y["const"]
		return constant && contains(was, y["const"])
	}
	return false
}

// looser reports whether a keyword that only b has lets values through that a stops: a property that is named is no
// additional one any more.
func looser(x, y map[string]any) bool {
	closed, has := x["additionalProperties"]
	if _, patterns := y["patternProperties"]; patterns && !reflect.DeepEqual(x["patternProperties"], y["patternProperties"]) {
		return true
	}
	for _, key := range []string{"prefixItems", "unevaluatedProperties", "unevaluatedItems"} {
		if !reflect.DeepEqual(x[key], y[key]) || x[key] != nil && key != "prefixItems" && !reflect.DeepEqual(x, y) {
			return true
		}
	}
	if !has || closed == true {
		return false
	}
	was, _ := x["properties"].(map[string]any)
	is, _ := y["properties"].(map[string]any)
	for name, s := range is {
		if _, known := was[name]; !known && (closed == false && s != false || closed != false && !within(closed, s)) {
			return true
		}
	}
	return false
}

// keywordWithin compares one keyword that both have and that differs.
func keywordWithin(key string, was, is any, x, y map[string]any) bool {
	switch key {
	case "type", "enum":
		return subset(list(is), list(was))
	case "required":
		return subset(list(was), list(is))
	case "minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties":
		return less(was, is)
	case "maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties":
		return less(is, was)
	case "uniqueItems":
		return was == false
	case "items":
		return within(was, is)
	case "additionalProperties":
		return within(was, is)
	case "properties":
		return propertiesWithin(was, is, y)
	}
	return false // another pattern, another reference, another branch: nobody can tell
}

func propertiesWithin(was, is any, y map[string]any) bool {
	a, okA := was.(map[string]any)
	b, okB := is.(map[string]any)
	if !okA || !okB {
		return false
	}
	for name, s := range a {
		t, there := b[name]
		if !there && s != true && y["additionalProperties"] != false {
			return false
		}
		if there && !within(s, t) {
			return false
		}
	}
	return true
}

func list(v any) []any {
	if l, ok := v.([]any); ok {
		return l
	}
	return []any{v}
}

func subset(small, large []any) bool {
	return !slices.ContainsFunc(small, func(v any) bool { return !contains(large, v) })
}

func contains(all, v any) bool {
	return slices.ContainsFunc(list(all), func(w any) bool { return reflect.DeepEqual(v, w) || w == "number" && v == "integer" })
}

func less(a, b any) bool {
	x, okX := a.(float64)
	y, okY := b.(float64)
	return okX && okY && x <= y
}
