package pack

import (
	"bytes"
	"cmp"
	"context"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/kv"
	"github.com/arw-project/arw/host/internal/project"
	"github.com/arw-project/arw/host/internal/view"
)

// What a call keeps lies in its project. What it names with two slashes at the beginning is another project's, to be read where
// an export lets it and to be written never.

func (k *keys) space() *kv.Space { return k.m.KV.Space(k.c.Pack, k.c.Project) }

// foreign is the space of another project that a name leads to, with the rest of the name; nil for a name of the call's own.
func (w *world) foreign(ctx context.Context, kind, name string) (from, rest string, is bool, err error) {
	from, rest, is, err = project.Foreign(name)
	if !is || err != nil || from == w.c.Project {
		return from, rest, is, err
	}
	if w.m.Projects == nil {
		err = abi.Errorf(abi.Denied, "read %q: this host exports nothing", name)
	} else {
		err = w.m.Projects.May(ctx, w.c.Pack, w.c.Project, from, kind, rest, 0)
	}
	if err != nil {
		w.deny(ctx, capabilityOf(kind), name, err)
	}
	return from, rest, is, err
}

func capabilityOf(kind string) abi.Capability {
	if kind == project.State {
		return abi.State
	}
	return abi.KV
}

// ownOnly refuses to change what another project's names lead to, exported or not.
func (w *world) ownOnly(ctx context.Context, c abi.Capability, name string) error {
	if !strings.HasPrefix(name, "//") {
		return nil
	}
	err := abi.Errorf(abi.Denied, "write %q: what begins with // belongs to another project, which is only ever read", name).
		WithHint("write it under a name of this project's own")
	w.deny(ctx, c, name, err)
	return err
}

// Get implements wasm.KV.
func (k *keys) Get(ctx context.Context, key []byte) ([]byte, error) {
	from, rest, is, err := (*world)(k).foreign(ctx, project.KV, string(key))
	if err != nil {
		return nil, err
	}
	(*world)(k).standsOnKeys(ctx, is)
	if is {
		return k.m.KV.Space(k.c.Pack, from).Get(ctx, []byte(rest))
	}
	return k.space().Get(ctx, key)
}

// Put implements wasm.KV.
func (k *keys) Put(ctx context.Context, key, val []byte) error {
	return k.Batch(ctx, []abi.KVOp{{Key: key, Val: val}})
}

// Delete implements wasm.KV.
func (k *keys) Delete(ctx context.Context, key []byte) error {
	return k.Batch(ctx, []abi.KVOp{{Delete: true, Key: key}})
}

// Batch implements wasm.KV.
func (k *keys) Batch(ctx context.Context, ops []abi.KVOp) error {
	for _, op := range ops {
		if err := (*world)(k).ownOnly(ctx, abi.KV, string(op.Key)); err != nil {
			return err
		}
	}
	if err := kv.CheckBatch(ops); err != nil {
		return err
	}
	for _, op := range ops {
		doing := "put a key"
		if err := cmp.Or((*world)(k).ownSecret(ctx, abi.KV, "kv", doing, op.Key), (*world)(k).ownSecret(ctx, abi.KV, "kv", doing, op.Val)); err != nil {
			return err
		}
	}
	if err := (*world)(k).remember(ctx, abi.KV, changesOf(ops)); err != nil {
		return err
	}
	return k.space().Batch(ctx, ops)
}

// changesOf is a batch as a person would see it: of operations on one key, the last one counts.
func changesOf(ops []abi.KVOp) []api.Change {
	at := map[string]int{}
	changes := make([]api.Change, 0, len(ops))
	for _, op := range ops {
		c := api.Change{Op: "put", Store: "kv", Name: string(op.Key), Value: op.Val}
		if op.Delete {
			c.Op, c.Value = "delete", nil
		}
		if i, twice := at[c.Name]; twice {
			changes[i] = c
			continue
		}
		at[c.Name] = len(changes)
		changes = append(changes, c)
	}
	return changes
}

// List implements wasm.KV. Keys of another project carry its name before them.
func (k *keys) List(ctx context.Context, prefix, after []byte, limit int) ([]abi.KVEntry, bool, error) {
	from, rest, is, err := (*world)(k).foreign(ctx, project.KV, string(prefix))
	if err != nil {
		return nil, false, err
	}
	(*world)(k).standsOnKeys(ctx, is)
	if !is {
		return k.space().List(ctx, prefix, after, limit)
	}
	head := prefix[:len(prefix)-len(rest)]
	entries, more, err := k.m.KV.Space(k.c.Pack, from).List(ctx, []byte(rest), bytes.TrimPrefix(after, head), limit)
	for i := range entries {
		entries[i].Key = append(bytes.Clone(head), entries[i].Key...)
	}
	return entries, more, err
}

// Get implements wasm.State.
func (s *states) Get(ctx context.Context, name string) ([]byte, error) {
	from, rest, is, err := (*world)(s).foreign(ctx, project.State, name)
	if err != nil {
		return nil, err
	}
	if !is {
		from, rest = s.c.Project, name
	}
	if s.v.models[rest] == nil {
		return nil, noModel(rest)
	}
	doc, err := s.m.View.Get(ctx, project.DocID(from, rest))
	(*world)(s).standsOn(onState, rest, versionOf(doc, err), is)
	if abi.CodeOf(err) == abi.NotFound {
		return nil, abi.Errorf(abi.NotFound, "read document %q: there is none of that name", name)
	}
	if err != nil {
		return nil, err
	}
	return doc.Body, nil
}

// Put implements wasm.State.
func (s *states) Put(ctx context.Context, name string, doc []byte) error {
	if err := (*world)(s).ownOnly(ctx, abi.State, name); err != nil {
		return err
	}
	model := s.v.models[name]
	if model == nil {
		return noModel(name)
	}
	if err := s.v.holding("state:", name); err != nil {
		(*world)(s).deny(ctx, abi.State, name, err)
		return err
	}
	doc = (*world)(s).hushJSON("state", bytes.Clone(doc))
	if err := model.Schema.Validate(doc); err != nil {
		return wrap(err, "put read model %q", name)
	}
	if err := (*world)(s).remember(ctx, abi.State, []api.Change{{Op: "put", Store: "state", Name: name, Value: doc}}); err != nil {
		return err
	}
	_, err := s.m.View.Put(ctx, (*world)(s).cause(), project.DocID(s.c.Project, name), doc)
	return err
}

// cause is on whose behalf the call changes a document.
func (w *world) cause() view.Cause {
	return view.Cause{Corr: w.c.Corr, Actor: "pack:" + w.c.Pack, Project: w.c.Project, Pack: w.c.Pack, Action: w.c.Action}
}
