package pack

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/wasm"
	"github.com/arw-project/arw/manifests"
)

// Class says which way one thing of a pack moved from one version to the next.
type Class string

// The classes. What cannot be shown to be narrower is wider.
const (
	Same     Class = "same"
	Narrower Class = "narrower"
	Wider    Class = "wider"
)

// Diff is what one version of a pack asks for and offers, compared with another.
type Diff struct {
	Class Class  `json:"class"` // wider when anything is, else narrower when anything is
	Items []Item `json:"items"` // what changed; what stayed the same is not listed
}

// Item is one difference.
type Item struct {
	// ID names what differs: "capability:fs/scope", "tool:a.b/effects", "state:a.b", "signer". What stands before the
	// slash is what a person accepts as one.
	ID    string `json:"id"`
	Class Class  `json:"class"`
	// Holds says that the new version goes without this until a person accepts it.
	Holds  bool     `json:"holds,omitempty"`
	Before string   `json:"before,omitempty"`
	After  string   `json:"after,omitempty"`
	Added  []string `json:"added,omitempty"` // of a capability: the scope that the version before did not have
	Bound  int64    `json:"bound,omitempty"` // of a limit that is held: what stays in force, in bytes, gas or nanoseconds
	Words  string   `json:"words"`
}

// Subject is the part of an item's id that is accepted as one: "capability:fs", "tool:a.b".
func (i Item) Subject() string {
	subject, _, _ := strings.Cut(i.ID, "/")
	return subject
}

// Held are the subjects that wait for a person, each once, in the order of the diff.
func (d *Diff) Held() []string {
	held := []string{}
	if d == nil {
		return held
	}
	for _, i := range d.Items {
		if s := i.Subject(); i.Holds && !slices.Contains(held, s) {
			held = append(held, s)
		}
	}
	return held
}

// Compare tells what the second manifest has that the first has not, and the other way round. It knows nothing of
// policies: something wider may still be refused by them, or given without a question.
func Compare(before, after *manifests.Pack) *Diff {
	d := &Diff{Class: Same, Items: []Item{}}
	d.module(before.Module, after.Module)
	d.capabilities(before, after)
	d.tools(before, after)
	d.models(before, after)
	d.files("unit", ids(before.Units), ids(after.Units))
	d.files("recipe", ids(before.Recipes), ids(after.Recipes))
	d.files("panel", ids(before.Panels), ids(after.Panels))
	return d
}

// add puts an item into the diff unless nothing moved.
func (d *Diff) add(i Item, format string, args ...any) {
	i.Words = fmt.Sprintf(format, args...)
	d.Items = append(d.Items, i)
	if i.Class == Wider || d.Class == Same {
		d.Class = i.Class
	}
}

func (d *Diff) module(a, b manifests.Module) {
	if a.Runtime != b.Runtime {
		d.add(Item{ID: "runtime", Class: Wider, Before: a.Runtime, After: b.Runtime}, "it runs as %s, not as %s", b.Runtime, a.Runtime)
	}
	if a.ABI != b.ABI {
		d.add(Item{ID: "abi", Class: Same, Before: a.ABI, After: b.ABI}, "it is made for ABI %s, not %s", b.ABI, a.ABI)
	}
}

func (d *Diff) capabilities(before, after *manifests.Pack) {
	for i := range after.Capabilities {
		b := &after.Capabilities[i]
		id := "capability:" + string(b.Name)
		if a, ok := before.Capability(b.Name); ok {
			d.capability(id, a, b)
			continue
		}
		d.add(Item{ID: id, Class: Wider, Holds: true, After: strings.Join(b.Scope, " "), Added: b.Scope},
			"it wants %s%s, which it did not before: %s", b.Name, onScope(b.Scope), b.Reason)
	}
	for _, a := range before.Capabilities {
		if _, ok := after.Capability(a.Name); !ok {
			d.add(Item{ID: "capability:" + string(a.Name), Class: Narrower, Before: strings.Join(a.Scope, " ")}, "it no longer wants %s", a.Name)
		}
	}
}

func onScope(scope []string) string {
	if len(scope) == 0 {
		return ""
	}
	return " on " + strings.Join(scope, ", ")
}

func (d *Diff) capability(id string, a, b *manifests.Capability) {
	added, gone := outside(a.Name, a.Scope, b.Scope), outside(a.Name, b.Scope, a.Scope)
	scope := Item{ID: id + "/scope", Before: strings.Join(a.Scope, " "), After: strings.Join(b.Scope, " ")}
	switch {
	case len(added) > 0:
		scope.Class, scope.Holds, scope.Added = Wider, true, added
		d.add(scope, "its %s reaches further: %s", a.Name, strings.Join(added, ", "))
	case len(gone) > 0:
		scope.Class = Narrower
		d.add(scope, "its %s no longer reaches %s", a.Name, strings.Join(gone, ", "))
	}
	d.bound(id+"/calls", fmt.Sprintf("calls of %s", a.Name), a.Budget.Calls, b.Budget.Calls, number)
	d.bound(id+"/bytes", fmt.Sprintf("bytes through %s", a.Name), a.Budget.Bytes, b.Budget.Bytes, number)
	d.bound(id+"/tokens", fmt.Sprintf("tokens of %s", a.Name), a.Budget.Tokens, b.Budget.Tokens, number)
	d.bound(id+"/usd_micros", fmt.Sprintf("millionths of a USD of %s", a.Name), a.Budget.Money, b.Budget.Money, number)
	d.bound(id+"/ttl", fmt.Sprintf("time of a lease on %s", a.Name), int64(a.TTL), int64(b.TTL), duration)
	if a.Ask != b.Ask {
		class, words := Narrower, "a person must be asked for its %s now"
		if a.Ask {
			class, words = Wider, "it no longer wants a person to be asked for its %s"
		}
		d.add(Item{ID: id + "/ask", Class: class, Holds: class == Wider, Before: fmt.Sprint(a.Ask), After: fmt.Sprint(b.Ask)}, words, a.Name)
	}
	if a.Optional != b.Optional {
		class, words := Narrower, "it now works without %s"
		if a.Optional {
			class, words = Same, "it no longer works without %s"
		}
		d.add(Item{ID: id + "/optional", Class: class, Before: fmt.Sprint(a.Optional), After: fmt.Sprint(b.Optional)}, words, a.Name)
	}
}

// outside are the entries of want that no entry of have covers. For a capability whose grammar this host does not know an
// entry is covered by its equal.
func outside(c abi.Capability, have, want []string) []string {
	var out []string
	for _, entry := range want {
		if slices.Contains(have, entry) || len(have) > 0 && lease.Covers(c, have, []string{entry}) == nil {
			continue
		}
		out = append(out, entry)
	}
	return out
}

// bound compares a bound of which 0 means none.
func (d *Diff) bound(id, what string, a, b int64, show func(int64) string) {
	if a == b {
		return
	}
	i := Item{ID: id, Class: Narrower, Before: show(a), After: show(b)}
	if a != 0 && (b == 0 || b > a) {
		i.Class, i.Holds = Wider, true
	}
	d.add(i, "%s: %s instead of %s", what, i.After, i.Before)
}

func number(n int64) string {
	if n == 0 {
		return "as the host allows"
	}
	return fmt.Sprint(n)
}

func duration(n int64) string {
	if n == 0 {
		return "as the host allows"
	}
	return time.Duration(n).String()
}

func (d *Diff) tools(before, after *manifests.Pack) {
	for i := range after.Tools {
		b := &after.Tools[i]
		id := "tool:" + b.ID
		if a, ok := before.Tool(b.ID); ok {
			d.tool(id, a, b)
			continue
		}
		d.add(Item{ID: id, Class: Wider, Holds: true, After: b.Effects.String()}, "it has a new tool %s (%s): %s", b.ID, b.Effects, b.Description)
	}
	for _, a := range before.Tools {
		if _, ok := after.Tool(a.ID); !ok {
			d.add(Item{ID: "tool:" + a.ID, Class: Narrower, Before: a.Effects.String()}, "the tool %s is gone", a.ID)
		}
	}
}

func (d *Diff) tool(id string, a, b *manifests.Tool) {
	if a.Effects != b.Effects {
		i := Item{ID: id + "/effects", Class: Narrower, Before: a.Effects.String(), After: b.Effects.String()}
		if b.Effects > a.Effects {
			i.Class, i.Holds = Wider, true
		}
		d.add(i, "%s says it %s, not %s", a.ID, b.Effects, a.Effects)
	}
	d.uses(id, a, b)
	if a.Isolation != b.Isolation {
		i := Item{ID: id + "/isolation", Class: Narrower, Before: a.Isolation, After: b.Isolation}
		if b.Isolation != "fresh" {
			i.Class, i.Holds = Wider, true
		}
		d.add(i, "%s keeps state per %s, not %s", a.ID, b.Isolation, a.Isolation)
	}
	d.limits(a, b)
	// Schemas are the contract with callers, not authority: shown, but nothing waits for them.
	d.schema(id+"/input", "the input of "+a.ID, a.Input.JSON(), b.Input.JSON())
	d.schema(id+"/output", "the output of "+a.ID, a.Output.JSON(), b.Output.JSON())
}

// limits compares what two versions of a tool may use, the host's defaults filled in. They are a subject of their own: a
// tool whose limits wait for a person runs under those it had.
func (d *Diff) limits(a, b *manifests.Tool) {
	was, is := effective(limitsOf(a)), effective(limitsOf(b))
	id := "limits:" + a.ID
	for _, l := range []struct {
		id, words string
		was, is   int64
		show      func(int64) string
	}{
		{"memory", "memory of " + a.ID, was.MemoryBytes, is.MemoryBytes, number},
		{"gas", "gas of " + a.ID, int64(was.Gas), int64(is.Gas), number},
		{"time", "time of " + a.ID, int64(was.Time), int64(is.Time), duration},
		{"input", "bytes into " + a.ID, was.Input, is.Input, number},
		{"output", "bytes out of " + a.ID, was.Output, is.Output, number},
		{"stream", "bytes streamed by " + a.ID, was.Streamed, is.Streamed, number},
	} {
		if l.was == l.is {
			continue
		}
		i := Item{ID: id + "/" + l.id, Class: Narrower, Before: l.show(l.was), After: l.show(l.is)}
		if l.is > l.was {
			i.Class, i.Holds, i.Bound = Wider, true, l.was
		}
		d.add(i, "%s: %s instead of %s", l.words, i.After, i.Before)
	}
}

func limitsOf(t *manifests.Tool) wasm.Limits {
	return wasm.Limits{MemoryBytes: t.Limits.Memory, Gas: t.Limits.Gas, Time: t.Limits.Time, Input: t.Limits.Input, Output: t.Limits.Output, Streamed: t.Limits.Stream}
}

// effective fills in what the host gives where the manifest says nothing.
func effective(l wasm.Limits) wasm.Limits {
	d := wasm.DefaultLimits()
	return wasm.Limits{
		MemoryBytes: cmp.Or(l.MemoryBytes, d.MemoryBytes), Gas: cmp.Or(l.Gas, d.Gas), Time: cmp.Or(l.Time, d.Time),
		Input: cmp.Or(l.Input, d.Input), Output: cmp.Or(l.Output, d.Output), Streamed: cmp.Or(l.Streamed, d.Streamed),
	}
}

func (d *Diff) schema(id, what string, a, b []byte) {
	words := map[Class]string{Narrower: "%s allows less", Wider: "%s allows more, or other things"}
	if class := compareSchemas(a, b); class != Same {
		d.add(Item{ID: id, Class: class, Before: clip(a), After: clip(b)}, words[class], what)
	}
}

func (d *Diff) models(before, after *manifests.Pack) {
	old := map[string]*manifests.State{}
	for i := range before.State {
		old[before.State[i].ID] = &before.State[i]
	}
	for i := range after.State {
		b := &after.State[i]
		a := old[b.ID]
		if a == nil {
			d.add(Item{ID: "state:" + b.ID, Class: Wider, Holds: true}, "it contributes a new read model %s", b.ID)
			continue
		}
		delete(old, b.ID)
		d.schema("state:"+b.ID+"/schema", "the read model "+b.ID, a.Schema.JSON(), b.Schema.JSON())
	}
	for _, a := range before.State {
		if old[a.ID] != nil {
			d.add(Item{ID: "state:" + a.ID, Class: Narrower}, "the read model %s is gone", a.ID)
		}
	}
}

func ids[T manifests.Unit | manifests.Recipe | manifests.Panel](list []T) []string {
	var out []string
	for _, x := range list {
		out = append(out, manifests.Unit(x).ID)
	}
	return out
}

func (d *Diff) files(kind string, before, after []string) {
	for _, id := range after {
		if !slices.Contains(before, id) {
			d.add(Item{ID: kind + ":" + id, Class: Wider}, "it brings a new %s %s", kind, id)
		}
	}
	for _, id := range before {
		if !slices.Contains(after, id) {
			d.add(Item{ID: kind + ":" + id, Class: Narrower}, "the %s %s is gone", kind, id)
		}
	}
}

// uses compares which of the pack's capabilities a tool may use; leaving the list out is all of them.
func (d *Diff) uses(id string, a, b *manifests.Tool) {
	words := func(t *manifests.Tool) string {
		if t.Capabilities == nil {
			return "all"
		}
		return fmt.Sprint(t.Capabilities)
	}
	wider := b.Capabilities == nil && a.Capabilities != nil
	for _, c := range b.Capabilities {
		wider = wider || a.Capabilities != nil && !slices.Contains(a.Capabilities, c)
	}
	if words(a) == words(b) {
		return
	}
	i := Item{ID: id + "/capabilities", Class: Narrower, Before: words(a), After: words(b)}
	if wider {
		i.Class, i.Holds = Wider, true
	}
	d.add(i, "%s may use the capabilities %s, not %s", a.ID, words(b), words(a))
}
