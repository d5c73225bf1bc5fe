package logic

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/logic/safety"
	"github.com/arw-project/arw/host/internal/logic/tree"
)

// Plan is a change of the configuration that may happen, or has happened: exactly what it does to each document.
type Plan struct {
	Version   int64       `json:"version"` // of the configuration: the one it was made on, or once it happened the new one
	Done      bool        `json:"done"`
	Docs      []DocChange `json:"docs"`
	Units     []PlanUnit  `json:"units,omitempty"`
	Permits   []Permit    `json:"permits,omitempty"`   // what may be done more, or no more
	Gates     []Gated     `json:"gates,omitempty"`     // of a promotion: what must hold, and whether it does
	Shadow    *Shadow     `json:"shadow,omitempty"`    // of a promotion: what was recorded, done again
	Conflicts []Conflict  `json:"conflicts,omitempty"` // with any of these it cannot happen
	Notes     []string    `json:"notes,omitempty"`
	// Safety is what was seen in the values that join; SafetyDigest names it, for whoever answers for it.
	Safety       []safety.Finding `json:"safety,omitempty"`
	SafetyDigest string           `json:"safety_digest,omitempty"`
}

// PlanUnit is a unit that a plan applies, with every parameter.
type PlanUnit struct {
	ID       string                     `json:"id"`
	Version  string                     `json:"version"`
	Digest   string                     `json:"digest"`
	Params   map[string]json.RawMessage `json:"params"`
	Replaces string                     `json:"replaces,omitempty"` // digest of the revision that was active
	Share    int                        `json:"share,omitempty"`    // percent of runs that have it
	Computed *Computed                  `json:"computed,omitempty"` // what made its patches, where that is a transform
}

// DocChange is what happens to one document in one scope. Applying Patch to the document with digest Before gives the
// one with digest After, byte for byte once both are canonical.
type DocChange struct {
	Target  string        `json:"target"`
	Scope   Scope         `json:"scope"`
	Before  string        `json:"before"`
	After   string        `json:"after"`
	Changes []ValueChange `json:"changes"`
	Patch   []tree.Op     `json:"patch"`
}

// ValueChange is one value that changes, and to what it was and will be due.
type ValueChange struct {
	tree.Change
	From Origin `json:"from"`
	To   Origin `json:"to"`
}

// Conflict is a reason why a plan cannot happen.
type Conflict struct {
	Kind    string `json:"kind"` // see docs/spec/config.md
	Unit    string `json:"unit"`
	With    string `json:"with,omitempty"`
	Target  string `json:"target,omitempty"`
	Pointer string `json:"pointer,omitempty"`
	Text    string `json:"text"`
}

// differences compares all documents that a change of layers can reach. The error is that of a document which cannot be
// made of the new layers.
func (s *Store) differences(before, after []*layer, changed []*layer) ([]DocChange, error) {
	docs := []DocChange{}
	if bare := inRun(after, noRun); len(bare) < len(after) {
		if _, err := s.differences(bare, bare, changed); err != nil {
			return nil, err // what the other runs have must be possible too
		}
	}
	for _, name := range reach(changed) {
		t := s.targets[name]
		for _, scopes := range chains(name, append(slices.Clone(before), after...), changed) {
			now, err := fold(t, after, scopes)
			if err != nil {
				return nil, err
			}
			old, err := fold(t, before, scopes)
			if err != nil {
				return nil, err
			}
			if len(scopes) > 2 || old.Digest == now.Digest {
				continue // an agent within a project must only be possible: it shows the changes of both
			}
			docs = append(docs, compare(old, now))
		}
	}
	return docs, nil
}

func reach(changed []*layer) []string {
	names := map[string]bool{}
	for _, l := range changed {
		for name := range l.docs {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// chains are the ways of seeing a document that changed layers can alter: each scope that has layers of it, and each
// agent within each project.
func chains(target string, all, changed []*layer) [][]Scope {
	wide := slices.ContainsFunc(changed, func(l *layer) bool { return l.scope == Workspace })
	seen := map[Scope]bool{}
	for _, l := range all {
		if l.docs[target] != nil {
			seen[l.scope] = true
		}
	}
	var projects, agents []Scope
	for _, scope := range slices.Sorted(maps.Keys(seen)) {
		switch {
		case scope == Workspace:
		case scope.project():
			projects = append(projects, scope)
		default:
			agents = append(agents, scope)
		}
	}
	touched := func(scope Scope) bool {
		return wide || slices.ContainsFunc(changed, func(l *layer) bool { return l.scope == scope })
	}
	var out [][]Scope
	if wide {
		out = append(out, chain())
	}
	for _, scope := range slices.Concat(projects, agents) {
		if touched(scope) {
			out = append(out, chain(scope))
		}
	}
	for _, p := range projects {
		for _, a := range agents {
			if touched(p) || touched(a) {
				out = append(out, chain(p, a))
			}
		}
	}
	return out
}

func compare(old, now Doc) DocChange {
	a, _ := tree.Parse(old.Body) // both were written by canonical
	b, _ := tree.Parse(now.Body)
	changes := tree.Diff(a, b)
	d := DocChange{Target: now.Target, Scope: now.Scope, Before: old.Digest, After: now.Digest, Patch: tree.Patch(changes)}
	for _, c := range changes {
		to := now.originOf(c.Path)
		if c.Op == "remove" {
			to = now.removedBy(old)
		}
		d.Changes = append(d.Changes, ValueChange{c, old.originOf(c.Path), to})
	}
	return d
}

// removedBy is the newest origin of the document after a value went: what took it away.
func (d Doc) removedBy(old Doc) Origin {
	var newest Origin
	for at, o := range d.Origins {
		if o.seq > newest.seq && old.Origins[at].seq != o.seq {
			newest = o
		}
	}
	return newest
}

// conflicts says why new layers cannot join those that hold.
func (s *Store) conflicts(joining, holding []*layer, keepHand bool) (found []Conflict, notes []string) {
	for i, n := range joining {
		man := s.revision(n)
		others := slices.Concat(holding, joining[:i])
		found = append(found, s.declared(n, others)...)
		for _, id := range man.Requires {
			if !slices.ContainsFunc(slices.Concat(holding, joining), func(l *layer) bool { return l.unit == id && sees(n.scope, l.scope) }) {
				found = append(found, Conflict{Kind: "requires", Unit: n.unit, With: id, Text: fmt.Sprintf("%s requires %s, which is not active in %s", n.unit, id, n.scope)})
			}
		}
		for _, l := range others {
			if target := bothShared(n, l); target != "" {
				found = append(found, Conflict{Kind: "share", Unit: n.unit, With: l.unit, Target: target,
					Text: fmt.Sprintf("%s and %s would both change %s for a share of runs, so that nobody could tell which did what", n.unit, l.unit, target)})
			}
			if l.scope != n.scope {
				continue
			}
			c, note := s.between(n, l, keepHand)
			found = append(found, c...)
			if note != "" {
				notes = append(notes, note)
			}
		}
	}
	return found, notes
}

// bothShared is a document that two layers change, each for a share of runs.
func bothShared(a, b *layer) string {
	if a.share < 100 && b.share < 100 {
		for _, p := range a.patches {
			if b.docs[p.Target] != nil {
				return p.Target
			}
		}
	}
	return ""
}

// sees reports whether what is active in one scope holds in another too.
func sees(from, in Scope) bool { return in == from || in == Workspace }

// declared are the conflicts that either of two units names in its manifest.
func (s *Store) declared(n *layer, others []*layer) (found []Conflict) {
	for _, l := range others {
		if l.unit == "" || !sees(n.scope, l.scope) && !sees(l.scope, n.scope) {
			continue
		}
		if slices.Contains(s.revision(n).Conflicts, l.unit) || slices.Contains(s.revision(l).Conflicts, n.unit) {
			found = append(found, Conflict{Kind: "declared", Unit: n.unit, With: l.unit, Text: fmt.Sprintf("%s and %s do not go together, says the manifest", n.unit, l.unit)})
		}
	}
	return found
}

// between compares two layers of one scope by slots and places. Units of different priority have an order, so theirs are
// no conflicts but worth a note.
func (s *Store) between(n, l *layer, keepHand bool) (found []Conflict, note string) {
	target, place := meeting(n, l)
	if l.unit == "" {
		if target != "" && !keepHand {
			found = append(found, Conflict{Kind: "hand", Unit: n.unit, With: l.origin().String(), Target: target, Pointer: place,
				Text: fmt.Sprintf("%s %s was changed by hand (%s) and would hide what %s sets", target, place, l.actor, n.unit)})
		}
		return found, ""
	}
	if n.rank != l.rank {
		if target == "" {
			return nil, ""
		}
		over, under := n, l
		if l.rank > n.rank {
			over, under = l, n
		}
		return nil, fmt.Sprintf("%s (priority %d) goes over %s (priority %d) at %s %s", over.unit, over.rank, under.unit, under.rank, target, place)
	}
	for _, slot := range s.revision(n).Slots {
		if slices.Contains(s.revision(l).Slots, slot) {
			found = append(found, Conflict{Kind: "slot", Unit: n.unit, With: l.unit, Text: fmt.Sprintf("%s and %s both take the slot %q", n.unit, l.unit, slot)})
		}
	}
	if target != "" {
		found = append(found, Conflict{Kind: "place", Unit: n.unit, With: l.unit, Target: target, Pointer: place,
			Text: fmt.Sprintf("%s and %s both change %s %s and have the same priority %d", n.unit, l.unit, target, place, n.rank)})
	}
	return found, ""
}

// meeting is the first place that two layers both touch.
func meeting(a, b *layer) (target, place string) {
	for _, p := range a.patches {
		for _, q := range b.docs[p.Target] {
			for _, x := range p.touches() {
				for _, y := range q.touches() {
					if tree.Overlap(x, y) {
						return p.Target, longer(x, y)
					}
				}
			}
		}
	}
	return "", ""
}

func longer(a, b string) string {
	if len(a) > len(b) {
		return a
	}
	return b
}

// Err is nil for a plan that can happen, else a Conflict that names every reason.
func (p Plan) Err(doing string) error {
	if len(p.Conflicts) == 0 {
		return nil
	}
	code := abi.Conflict
	if p.denied() {
		code = abi.Denied
	}
	texts := make([]string, len(p.Conflicts))
	hint := "revert the other unit first, or give one of the two another priority"
	for i, c := range p.Conflicts {
		texts[i] = c.Text
		switch c.Kind {
		case "hand":
			hint = "take the hand edit back (arw config revert), or apply beneath it with --keep-hand"
		case "permission":
			hint = "look at what it may do more and say so: --accept-permissions"
		case "safety":
			hint = "look at what was found; a person who answers for it says so: --accept-findings " + p.SafetyDigest
		case "denied":
			hint = "arw policy explain says which policies decide; the pack's manifest says what it asks for"
		case "model":
			hint = "configure one: arw model add"
		case "pack":
			hint = "arw pack install, then apply the unit"
		case "gate":
			hint = "arw unit gates " + c.Unit + " shows what is missing"
		case "requires":
			hint = "apply both at once: arw unit apply " + c.Unit + " " + c.With
		}
	}
	return abi.Errorf(code, "%s: %s", doing, strings.Join(texts, "; ")).WithHint("%s", hint).WithDetail(p)
}
