package view

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/arw-project/arw/abi"
)

// Edit is a change to one document that is being described. Each call changes the document as the Edit sees it and notes
// the matching patch operation, so the patch costs what was changed, not the size of the document. A path is the list of
// member names from the top; arrays are values that are set as a whole. An Edit is for one goroutine and ends with the
// function it was given to.
type Edit struct {
	root  *node
	ops   []op
	err   error
	clean func([]byte) []byte
}

// Get decodes the value at path into into (nil: only look) and reports whether there is one.
func (e *Edit) Get(into any, path ...string) (bool, error) {
	n := e.root
	for _, key := range path {
		n = n.get(key)
	}
	if n == nil || into == nil {
		return n != nil, nil
	}
	return true, json.Unmarshal(n.appendTo(nil), into)
}

// Set puts a value, marshalled to JSON, at path; no path is the whole document. Objects that are missing on the way are
// made. Setting what is already there changes nothing. A value that cannot be put there (it does not marshal, a name on
// the way is no object) makes the whole change fail with Invalid.
func (e *Edit) Set(value any, path ...string) {
	if e.err != nil {
		return
	}
	path = e.cleaned(path)
	val, err := encode(value, e.clean)
	if err != nil {
		e.err = abi.Errorf(abi.Invalid, "set %q: %w", pointer(path), err)
		return
	}
	// Find the deepest value that exists: what is missing below is made in one operation.
	n, depth := e.root, 0
	for depth < len(path) && n != nil {
		if !n.object {
			e.err = abi.Errorf(abi.Invalid, "set %q: %q is not an object", pointer(path), pointer(path[:depth]))
			return
		}
		n = n.get(path[depth])
		depth++
	}
	if n != nil {
		if !n.equal(val) {
			e.put("replace", path, val)
		}
		return
	}
	for i := len(path); i > depth; i-- {
		val = object([]member{{path[i-1], val}})
	}
	e.put("add", path[:depth], val)
}

// Remove takes away the value at path; removing what is not there changes nothing. The document as a whole is removed
// with View.Delete.
func (e *Edit) Remove(path ...string) {
	if e.err != nil {
		return
	}
	if len(path) == 0 {
		e.err = abi.Errorf(abi.Invalid, "remove \"\": a change cannot remove the whole document")
		return
	}
	path = e.cleaned(path)
	if ok, _ := e.Get(nil, path...); ok {
		e.put("remove", path, nil)
	}
}

// Keep leaves at most n members in the object at path and removes the first ones in the order of their names. It makes a
// window of an object whose names grow with time (ids of version 7, numbers written by Ordinal).
func (e *Edit) Keep(n int, path ...string) {
	at := e.root
	for _, key := range path {
		at = at.get(key)
	}
	if at == nil || !at.object {
		return
	}
	for i := range len(at.members) - n {
		e.Remove(append(slices.Clone(path), at.members[i].key)...)
	}
}

// Len is how many members the object at path has; 0 when there is none.
func (e *Edit) Len(path ...string) int {
	at := e.root
	for _, key := range path {
		at = at.get(key)
	}
	if at == nil {
		return 0
	}
	return len(at.members)
}

// Ordinal writes the number of a record so that names sort as the numbers do.
func Ordinal(id int64) string { return fmt.Sprintf("%016d", id) }

// minDirty is the shortest name that is cleaned, in bytes: in a shorter one nothing is found.
const minDirty = 8

// cleaned is path without what its names must not tell. It is path itself nearly always.
func (e *Edit) cleaned(path []string) []string {
	if e.clean == nil {
		return path
	}
	for i, name := range path {
		if len(name) < minDirty {
			continue
		}
		was := appendQuoted(make([]byte, 0, len(name)+2), name)
		now := e.clean(was)
		var other string
		if string(now) != string(was) && json.Unmarshal(now, &other) == nil {
			path = slices.Clone(path)
			path[i] = other
		}
	}
	return path
}

func (e *Edit) put(kind string, path []string, val *node) {
	e.root, _ = put(e.root, path, val) // the callers have found every object on the way
	e.ops = append(e.ops, op{kind, pointer(path), val})
}
