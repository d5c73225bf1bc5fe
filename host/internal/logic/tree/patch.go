package tree

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/arw-project/arw/abi"
)

// Op is one operation of an RFC 6902 patch. Value holds for add, replace and test; From for move and copy.
type Op struct {
	Op    string
	Path  string
	From  string
	Value any
}

// MarshalJSON writes the members that the operation has; a value that is null is written, not left out.
func (o Op) MarshalJSON() ([]byte, error) {
	m := map[string]any{"op": o.Op, "path": o.Path}
	switch o.Op {
	case "add", "replace", "test":
		m["value"] = o.Value
	case "move", "copy":
		m["from"] = o.From
	}
	return json.Marshal(m)
}

// Ops reads the operations of a JSON patch from its tree. Unknown members are ignored, as RFC 6902 §4 asks.
func Ops(patch any) ([]Op, error) {
	list, ok := patch.([]any)
	if !ok {
		return nil, abi.Errorf(abi.Invalid, "read JSON patch: it is no list")
	}
	ops := make([]Op, len(list))
	for i, item := range list {
		fields, _ := item.(map[string]any)
		op := Op{Value: fields["value"]}
		var okOp, okPath, okFrom bool
		op.Op, okOp = fields["op"].(string)
		op.Path, okPath = fields["path"].(string)
		op.From, okFrom = fields["from"].(string)
		_, hasValue := fields["value"]
		switch op.Op {
		case "add", "replace", "test":
			okOp = okOp && hasValue
		case "move", "copy":
			okOp = okOp && okFrom
		case "remove":
		default:
			okOp = false
		}
		if !okOp || !okPath {
			return nil, abi.Errorf(abi.Invalid, "read JSON patch: operation %d is none of RFC 6902 or lacks a member", i+1)
		}
		ops[i] = op
	}
	return ops, nil
}

// Apply applies operations in order: all of them or, with an error that names the first that does not apply, none.
// The error is Invalid for a bad pointer, NotFound for a missing place and Conflict for a failed test.
func Apply(root any, ops []Op) (any, error) {
	for i, op := range ops {
		var err error
		if root, err = applyOne(root, op); err != nil {
			return nil, abi.Errorf(abi.CodeOf(err), "operation %d (%s %q): %w", i+1, op.Op, op.Path, err)
		}
	}
	return root, nil
}

func applyOne(root any, op Op) (any, error) {
	switch op.Op {
	case "test":
		if v, ok := Get(root, op.Path); !ok || !Equal(v, op.Value) {
			return nil, abi.Errorf(abi.Conflict, "the value there is another")
		}
		return root, nil
	case "add":
		return edit(root, op.Path, add, op.Value)
	case "replace":
		return edit(root, op.Path, replace, op.Value)
	case "remove":
		return edit(root, op.Path, remove, nil)
	}
	v, ok := Get(root, op.From)
	if !ok {
		return nil, abi.Errorf(abi.NotFound, "there is nothing at %q", op.From)
	}
	if op.Op == "move" {
		if op.From == op.Path {
			return root, nil
		}
		if inside(op.Path, op.From) {
			return nil, abi.Errorf(abi.Invalid, "a value cannot be moved into itself")
		}
		var err error
		if root, err = edit(root, op.From, remove, nil); err != nil {
			return nil, err
		}
	}
	return edit(root, op.Path, add, v)
}

// inside reports whether a pointer leads below another.
func inside(pointer, above string) bool {
	return len(pointer) > len(above) && pointer[:len(above)] == above && pointer[len(above)] == '/'
}

// Overlap reports whether two pointers name the same place or one lies inside the other.
func Overlap(a, b string) bool { return a == b || inside(a, b) || inside(b, a) }

type mode int

const (
	add mode = iota
	replace
	remove
)

func edit(root any, pointer string, m mode, v any) (any, error) {
	tokens, err := split(pointer)
	if err != nil {
		return nil, err
	}
	if len(tokens) == 0 {
		if m == remove {
			return nil, abi.Errorf(abi.Invalid, "the whole document cannot be removed")
		}
		return v, nil
	}
	return editAt(root, tokens, m, v)
}

func editAt(n any, tokens []string, m mode, v any) (any, error) {
	token := tokens[0]
	if len(tokens) > 1 {
		below, ok := child(n, token)
		if !ok {
			return nil, abi.Errorf(abi.NotFound, "there is no %q on the way", token)
		}
		changed, err := editAt(below, tokens[1:], m, v)
		if err != nil {
			return nil, err
		}
		return with(n, token, changed), nil
	}
	switch n := n.(type) {
	case map[string]any:
		if _, there := n[token]; !there && m != add {
			return nil, abi.Errorf(abi.NotFound, "there is no %q", token)
		}
		if m != remove {
			return with(n, token, v), nil
		}
		out := maps.Clone(n)
		delete(out, token)
		return out, nil
	case []any:
		return editArray(n, token, m, v)
	}
	return nil, abi.Errorf(abi.NotFound, "%q is asked of a value that has no members", token)
}

func editArray(n []any, token string, m mode, v any) (any, error) {
	if m == add && token == "-" {
		token = strconv.Itoa(len(n))
	}
	most := len(n) - 1
	if m == add {
		most = len(n)
	}
	i, ok := index(token, most)
	switch {
	case !ok:
		return nil, abi.Errorf(abi.NotFound, "the list has %d items and no place %q", len(n), token)
	case m == add:
		return slices.Insert(slices.Clone(n), i, v), nil
	case m == remove:
		return slices.Delete(slices.Clone(n), i, i+1), nil
	}
	return with(n, token, v), nil
}

// with is n with one member set; the member of an array exists.
func with(n any, token string, v any) any {
	switch n := n.(type) {
	case []any:
		out := slices.Clone(n)
		i, _ := index(token, len(n)-1)
		out[i] = v
		return out
	case map[string]any:
		out := make(map[string]any, len(n)+1)
		maps.Copy(out, n)
		out[token] = v
		return out
	}
	return n
}
