package author

import (
	"fmt"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests"
)

// Change is one difference between two manifests of a pack, in words.
type Change struct {
	Wider bool   `json:"wider"` // the pack asks for more than before
	What  string `json:"what"`
}

// Changes tells what a person who granted something to the pack should know of its next build: capabilities, scopes,
// effects and tools. before may be nil: then everything asked for is new.
func Changes(before, after *manifests.Pack) []Change {
	if before == nil {
		before = &manifests.Pack{}
	}
	var out []Change
	add := func(wider bool, format string, args ...any) {
		out = append(out, Change{wider, fmt.Sprintf(format, args...)})
	}
	for _, c := range after.Capabilities {
		old, had := before.Capability(c.Name)
		switch {
		case !had:
			add(true, "asks for %s: %s", named(c.Name, c.Scope), c.Reason)
		case !within(c.Scope, old.Scope):
			add(true, "asks for more of %s: %s", c.Name, strings.Join(c.Scope, " "))
		case !within(old.Scope, c.Scope):
			add(false, "asks for less of %s: %s", c.Name, strings.Join(c.Scope, " "))
		}
	}
	for _, c := range before.Capabilities {
		if _, has := after.Capability(c.Name); !has {
			add(false, "asks for %s no more", c.Name)
		}
	}
	for _, t := range after.Tools {
		old, had := before.Tool(t.ID)
		switch {
		case !had:
			add(false, "has the tool %s (%s)", t.ID, t.Effects)
		case old.Effects != t.Effects:
			add(t.Effects > old.Effects, "%s has effects %q, it had %q", t.ID, t.Effects, old.Effects)
		}
	}
	for _, t := range before.Tools {
		if _, has := after.Tool(t.ID); !has {
			add(false, "has the tool %s no more", t.ID)
		}
	}
	return out
}

func named(c abi.Capability, scope []string) string {
	return strings.Join(append([]string{string(c)}, scope...), " ")
}

// within reports whether every entry of a stands in b too.
func within(a, b []string) bool {
	return !slices.ContainsFunc(a, func(s string) bool { return !slices.Contains(b, s) })
}
