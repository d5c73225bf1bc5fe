package pack

import (
	"context"
	"slices"
	"sync"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/policy"
	"github.com/arw-project/arw/host/internal/review"
	"github.com/arw-project/arw/host/internal/wasm"
)

// taint is what a call, and every call that it makes or is part of, has seen of the network. Whoever sees something passes it
// on to all of them: a tool may have told its caller, and its caller may tell the next.
type taint struct {
	mu   sync.Mutex
	from []string
}

// maxFrom bounds the places that are remembered by name.
const maxFrom = 16

func (t *taint) add(places ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range places {
		if len(t.from) < maxFrom && !slices.Contains(t.from, p) {
			t.from = append(t.from, p)
		}
	}
}

func (t *taint) places() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.from)
}

type taintKey struct{}

// tainted gives the calls that begin under ctx one taint, that of the call around them when there is one.
func tainted(ctx context.Context) (context.Context, *taint) {
	if t, ok := ctx.Value(taintKey{}).(*taint); ok {
		return ctx, t
	}
	t := &taint{}
	return context.WithValue(ctx, taintKey{}, t), t
}

// saw notes that the call hears from a place.
func (w *world) saw(place string) {
	if w.taint != nil {
		w.taint.add(place)
	}
}

// A session's guest keeps what it saw from one call to the next, so its taint stays as long as its version.

func (v *version) recall(session string, t *taint) {
	v.mu.Lock()
	seen := v.seen[session]
	v.mu.Unlock()
	t.add(seen...)
}

func (v *version) note(session string, t *taint) {
	places := t.places()
	if len(places) == 0 {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.seen == nil {
		v.seen = map[string][]string{}
	}
	v.seen[session] = places
}

// Reviews lets writes wait for a person.
type Reviews interface {
	Queue(ctx context.Context, h api.Held, changes []api.Change) (api.Held, error)
}

// remember asks the policies whether a write may be kept unseen. When not it waits for a person, and the error is
// wasm.Quarantined, which is none to the guest.
func (w *world) remember(ctx context.Context, c abi.Capability, changes []api.Change) error {
	if w.m.Reviews == nil {
		return nil
	}
	var from []string
	if w.taint != nil {
		from = w.taint.places()
	}
	if len(from) == 0 && !w.m.Policy.Current().Asked(policy.ActionRemember) {
		return nil // the shipped policies speak of what came from outside
	}
	var texts [][]byte
	for _, change := range changes {
		texts = append(texts, []byte(change.Name), change.Value)
	}
	found := review.Markers(texts...)
	facts := facts(w.v.row.Verdict)
	facts["by"], facts["tainted"], facts["markers"], facts["risky"] = kindOf(w.c.Actor), len(from) > 0, found, len(found) > 0
	got := w.m.Policy.Decide(policy.Request{
		Action: policy.ActionRemember, Pack: w.v.who, Capability: string(c), Effects: w.t.Effects.String(), Project: w.c.Project, Context: facts,
	})
	w.m.oblige(ctx, w.c, policy.ActionRemember, got)
	if got.Allowed {
		return nil
	}
	_, err := w.m.Reviews.Queue(ctx, api.Held{
		Kind: review.Memory, Project: w.c.Project, Pack: w.c.Pack, Source: "tool", From: w.c.Actor, Tool: w.t.ID, Corr: w.c.Corr, Action: w.c.Action,
		Reason: got.Reason, Policies: got.Policies, Provenance: api.Provenance{Tainted: len(from) > 0, From: from}, Markers: found,
	}, changes)
	if err != nil {
		(*world)(w).said(err)
		return err
	}
	return wasm.Quarantined
}

// kindOf is the first word of an actor.
func kindOf(actor string) string {
	for i, c := range actor {
		if c == ':' {
			return actor[:i]
		}
	}
	return actor
}

// Fits refuses a change that a pack could not make itself: of a pack that is not installed, or of a read model that its manifest
// does not contribute or that would not fit its schema.
func (m *Manager) Fits(name string, c api.Change) error {
	s := m.index.Load().packs[name]
	if s == nil || s.current() == nil || s.current().man == nil {
		return notInstalled(name)
	}
	if c.Store != "state" {
		return nil
	}
	model := s.current().models[c.Name]
	if model == nil {
		return noModel(c.Name)
	}
	if err := model.Schema.Validate(c.Value); err != nil {
		return wrap(err, "put read model %q", c.Name)
	}
	return nil
}
