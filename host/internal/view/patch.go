package view

import (
	"encoding/json"
	"strings"

	"github.com/arw-project/arw/abi"
)

// op is one operation of an RFC 6902 patch. Only add, replace and remove are made, and only on members of objects or on
// the whole document (path ""), so every applier agrees about them.
type op struct {
	kind string // "add", "replace" or "remove"
	path string // RFC 6901 pointer
	val  *node  // nil for remove
}

func (o op) size() int {
	n := len(`{"op":"","path":}`) + len(o.kind) + quotedSize(o.path)
	if o.val != nil {
		n += len(`,"value":`) + o.val.size
	}
	return n
}

func patchSize(ops []op) int {
	n := 2 + max(0, len(ops)-1)
	for _, o := range ops {
		n += o.size()
	}
	return n
}

func appendPatch(dst []byte, ops []op) []byte {
	dst = append(dst, '[')
	for i, o := range ops {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, `{"op":"`...), o.kind...), `","path":`...)
		dst = appendQuoted(dst, o.path)
		if o.val != nil {
			dst = o.val.appendTo(append(dst, `,"value":`...))
		}
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// pointer joins keys to an RFC 6901 pointer.
func pointer(keys []string) string {
	var b strings.Builder
	for _, k := range keys {
		b.WriteByte('/')
		b.WriteString(escapePointer(k))
	}
	return b.String()
}

func escapePointer(key string) string {
	if !strings.ContainsAny(key, "~/") {
		return key
	}
	return strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}

func splitPointer(p string) []string {
	if p == "" {
		return nil
	}
	keys := strings.Split(p[1:], "/")
	for i, k := range keys {
		keys[i] = strings.ReplaceAll(strings.ReplaceAll(k, "~1", "/"), "~0", "~")
	}
	return keys
}

// diff appends the operations that turn one value into another: exact on objects, whole for everything else.
func diff(ops []op, at string, from, to *node) []op {
	if from.equal(to) {
		return ops
	}
	if !from.object || !to.object {
		return append(ops, op{"replace", at, to})
	}
	i, j := 0, 0
	for i < len(from.members) || j < len(to.members) {
		switch {
		case j == len(to.members) || i < len(from.members) && from.members[i].key < to.members[j].key:
			ops = append(ops, op{"remove", at + "/" + escapePointer(from.members[i].key), nil})
			i++
		case i == len(from.members) || to.members[j].key < from.members[i].key:
			ops = append(ops, op{"add", at + "/" + escapePointer(to.members[j].key), to.members[j].val})
			j++
		default:
			ops = diff(ops, at+"/"+escapePointer(to.members[j].key), from.members[i].val, to.members[j].val)
			i, j = i+1, j+1
		}
	}
	return ops
}

// apply replays a stored patch. An operation that does not fit is an error: the patches are our own.
func apply(root *node, patch []byte) (*node, error) {
	var ops []struct {
		Op    string          `json:"op"`
		Path  string          `json:"path"`
		Value json.RawMessage `json:"value"`
	}
	if err := json.Unmarshal(patch, &ops); err != nil {
		return nil, err
	}
	for _, o := range ops {
		var val *node
		if o.Op != "remove" {
			var err error
			if val, err = parse(o.Value); err != nil {
				return nil, err
			}
		}
		var ok bool
		if root, ok = put(root, splitPointer(o.Path), val); !ok {
			return nil, abi.Errorf(abi.Corrupt, "%s %q: no object holds that member", o.Op, o.Path)
		}
	}
	return root, nil
}

// put is root with the value at keys set, or removed when val is nil; false when an object on the way is missing.
func put(root *node, keys []string, val *node) (*node, bool) {
	if len(keys) == 0 {
		return val, true
	}
	if root == nil || !root.object {
		return nil, false
	}
	if len(keys) == 1 {
		if val == nil {
			return root.without(keys[0]), true
		}
		return root.with(keys[0], val), true
	}
	child, ok := put(root.get(keys[0]), keys[1:], val)
	if !ok {
		return nil, false
	}
	return root.with(keys[0], child), true
}
