// Package tree changes JSON values and tells what changed: RFC 7396 merge patches, RFC 6902 JSON patches, the exact
// difference of two values as a JSON patch. Its promise: nothing it is given is ever modified, and a difference that it
// tells, applied to the first value, gives the second.
//
// A tree is nil, bool, string, json.Number, []any or map[string]any, as encoding/json decodes with UseNumber. Trees are
// values: functions share what did not change with their result, so neither may be modified afterwards.
package tree

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/arw-project/arw/abi"
)

// Parse reads one JSON value. Invalid for anything else, also for a name that stands twice in one object.
func Parse(src []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(src))
	d.UseNumber()
	v, err := value(d)
	if err == nil && d.More() {
		return nil, abi.Errorf(abi.Invalid, "read JSON: there is more behind the value")
	}
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "read JSON: %w", err)
	}
	return v, nil
}

// value is d's next value; the standard decoder would let the last of two equal names win in silence.
func value(d *json.Decoder) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('['):
		items := []any{}
		for d.More() {
			item, err := value(d)
			if err != nil {
				return nil, err
			}
			items = append(items, item)
		}
		_, err := d.Token()
		return items, err
	case json.Delim('{'):
		fields := map[string]any{}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			key := name.(string)
			if _, twice := fields[key]; twice {
				return nil, abi.Errorf(abi.Invalid, "the name %q stands twice in one object", key)
			}
			if fields[key], err = value(d); err != nil {
				return nil, err
			}
		}
		_, err := d.Token()
		return fields, err
	}
	return token, nil
}

// Equal reports whether two trees are the same JSON value. Numbers are equal when their values are, so 1.0 is 1.
func Equal(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, Equal)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, Equal)
	case json.Number:
		b, ok := b.(json.Number)
		return ok && (a == b || sameNumber(a, b))
	}
	switch b.(type) {
	case map[string]any, []any, json.Number:
		return false
	}
	return a == b
}

func sameNumber(a, b json.Number) bool {
	x, errX := a.Float64()
	y, errY := b.Float64()
	return errX == nil && errY == nil && x == y
}

var (
	escaper   = strings.NewReplacer("~", "~0", "/", "~1")
	unescaper = strings.NewReplacer("~1", "/", "~0", "~")
)

// Pointer is the RFC 6901 pointer to a member of what parent points to.
func Pointer(parent, name string) string { return parent + "/" + escaper.Replace(name) }

// split is the reference tokens of a pointer; Invalid when it is none.
func split(pointer string) ([]string, error) {
	if pointer == "" {
		return nil, nil
	}
	if pointer[0] != '/' {
		return nil, abi.Errorf(abi.Invalid, "%q is no JSON pointer: it does not begin with a slash", pointer)
	}
	tokens := strings.Split(pointer[1:], "/")
	for i, token := range tokens {
		for at := strings.IndexByte(token, '~'); at >= 0; {
			if at+1 == len(token) || token[at+1] != '0' && token[at+1] != '1' {
				return nil, abi.Errorf(abi.Invalid, "%q is no JSON pointer: ~ stands before something else than 0 or 1", pointer)
			}
			next := strings.IndexByte(token[at+1:], '~')
			if next < 0 {
				break
			}
			at += 1 + next
		}
		tokens[i] = unescaper.Replace(token)
	}
	return tokens, nil
}

// index reads an array index as RFC 6901 §4 writes it; most is the largest allowed.
func index(token string, most int) (int, bool) {
	if token == "" || len(token) > 1 && token[0] == '0' || token[0] == '+' || token[0] == '-' {
		return 0, false
	}
	n, err := strconv.Atoi(token)
	return n, err == nil && n <= most
}

// Get is the value that pointer points to.
func Get(root any, pointer string) (any, bool) {
	tokens, err := split(pointer)
	if err != nil {
		return nil, false
	}
	for _, token := range tokens {
		next, ok := child(root, token)
		if !ok {
			return nil, false
		}
		root = next
	}
	return root, true
}

func child(n any, token string) (any, bool) {
	switch n := n.(type) {
	case map[string]any:
		v, ok := n[token]
		return v, ok
	case []any:
		if i, ok := index(token, len(n)-1); ok {
			return n[i], true
		}
	}
	return nil, false
}

// Merge applies an RFC 7396 merge patch.
func Merge(root, patch any) any {
	fields, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	old, _ := root.(map[string]any)
	out := make(map[string]any, len(old)+len(fields))
	maps.Copy(out, old)
	for name, v := range fields {
		if v == nil {
			delete(out, name)
		} else {
			out[name] = Merge(out[name], v)
		}
	}
	return out
}
