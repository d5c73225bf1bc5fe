package pattern

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// Arguments are those of one call, read when a condition first looks at them. They are of one goroutine.
type Arguments struct {
	text []byte
	seen class
	root any // of what is not plain
	read bool
	good bool
}

// NewArguments does not read the text and does not keep it beyond the Arguments.
func NewArguments(text []byte) Arguments { return Arguments{text: text} }

func (a *Arguments) look() class {
	if a.seen == unseen {
		a.seen = classify(a.text)
	}
	return a.seen
}

func (a *Arguments) tree() (any, bool) {
	if !a.read {
		a.read = true
		a.root, a.good = parse(a.text)
	}
	return a.root, a.good
}

// Named is the value of one name of the arguments, an object, as JSON has it: float64, string, bool, nil, []any or map[string]any.
// sound is false where whoever reads the arguments next might read something else: they are no object, hold a name twice or one beside
// another that differs by case alone, or the value is a number or a text that is not exactly kept.
func (a *Arguments) Named(name string) (v any, there, sound bool) {
	root, ok := a.tree()
	all, isObject := root.(map[string]any)
	if !ok || !isObject {
		return nil, false, false
	}
	for other := range all {
		if other != name && strings.EqualFold(other, name) {
			return nil, true, false
		}
	}
	v, there = all[name]
	return v, there, !unsure(v)
}

// unsure reports whether a value is vague, or a list with one that is.
func unsure(v any) bool {
	if list, ok := v.([]any); ok {
		return slices.ContainsFunc(list, unsure)
	}
	_, is := v.(vague)
	return is
}

// vague is a value that no condition holds for: a number that a double does not hold, or a text with a broken character.
type vague struct{}

// parse reads one JSON value. False for what is not JSON, or has a name twice in one object.
func parse(text []byte) (any, bool) {
	if !utf8.Valid(text) || !json.Valid(text) {
		return nil, false
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	v, ok := value(dec, 0)
	if !ok {
		return nil, false
	}
	return v, true
}

// maxDepth of arguments; what nests deeper fulfils no condition.
const maxDepth = 128

func value(dec *json.Decoder, depth int) (any, bool) {
	t, err := dec.Token()
	if err != nil || depth > maxDepth {
		return nil, false
	}
	switch t := t.(type) {
	case json.Number:
		n, err := t.Float64()
		if err != nil || math.Abs(n) >= 1<<53 {
			return vague{}, true
		}
		return n, true
	case string:
		if strings.ContainsRune(t, utf8.RuneError) {
			return vague{}, true
		}
		return t, true
	case json.Delim:
		if t == '{' {
			return object(dec, depth)
		}
		return array(dec, depth)
	}
	return t, true // true, false, null
}

func object(dec *json.Decoder, depth int) (any, bool) {
	all := map[string]any{}
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, false
		}
		if _, twice := all[name]; twice {
			return nil, false
		}
		if all[name], ok = value(dec, depth+1); !ok {
			return nil, false
		}
	}
	_, err := dec.Token()
	return all, err == nil
}

func array(dec *json.Decoder, depth int) (any, bool) {
	all := []any{}
	for dec.More() {
		v, ok := value(dec, depth+1)
		if !ok {
			return nil, false
		}
		all = append(all, v)
	}
	_, err := dec.Token()
	return all, err == nil
}
