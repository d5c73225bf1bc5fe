package tree

import (
	"maps"
	"slices"
)

// Change is one place where two trees differ. Op says how Before became After: "add", "replace" or "remove".
type Change struct {
	Op     string `json:"op"`
	Path   string `json:"path"`
	Before any    `json:"before,omitempty"`
	After  any    `json:"after,omitempty"`
}

// Diff tells how a became b: the smallest changes by members of objects, in the order of their pointers. Arrays are
// values: one that differs is replaced as a whole, which is what a person reads best and what keeps patches from
// depending on each other's indices.
func Diff(a, b any) []Change {
	var changes []Change
	diff("", a, b, &changes)
	return changes
}

func diff(at string, a, b any, changes *[]Change) {
	old, okOld := a.(map[string]any)
	now, okNow := b.(map[string]any)
	if !okOld || !okNow {
		if !Equal(a, b) || !sameText(a, b) {
			*changes = append(*changes, Change{"replace", at, a, b})
		}
		return
	}
	names := slices.Collect(maps.Keys(old))
	for name := range now {
		if _, both := old[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		before, had := old[name]
		after, has := now[name]
		switch path := Pointer(at, name); {
		case !had:
			*changes = append(*changes, Change{Op: "add", Path: path, After: after})
		case !has:
			*changes = append(*changes, Change{Op: "remove", Path: path, Before: before})
		default:
			diff(path, before, after, changes)
		}
	}
}

// sameText tells numbers apart that are equal and written differently, so that a difference leads to the same bytes.
// Canonical writing makes them one, so trees from canonical text never meet this.
func sameText(a, b any) bool {
	switch a := a.(type) {
	case []any:
		return slices.EqualFunc(a, b.([]any), sameText)
	case map[string]any:
		return maps.EqualFunc(a, b.(map[string]any), sameText)
	}
	return a == b
}

// Patch is the JSON patch that makes the changes.
func Patch(changes []Change) []Op {
	ops := make([]Op, len(changes))
	for i, c := range changes {
		ops[i] = Op{Op: c.Op, Path: c.Path, Value: c.After}
	}
	return ops
}

// Touches are the pointers that a merge patch sets or removes: its leaves. An empty table touches its own place.
func Touches(merge any) []string {
	var out []string
	touches("", merge, &out)
	return out
}

func touches(at string, patch any, out *[]string) {
	fields, ok := patch.(map[string]any)
	if !ok || len(fields) == 0 && at != "" {
		*out = append(*out, at)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		touches(Pointer(at, name), fields[name], out)
	}
}
