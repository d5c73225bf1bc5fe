package pack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/memo"
	"github.com/arw-project/arw/host/internal/wasm"
)

// memoised gives what the same call gave before, or runs it. Policy, holds and leases were asked already: a kept answer opens
// nothing that a run would not. Only a tool whose signed manifest says pure is looked up, and only a run that saw nothing
// but its input and was refused nothing is kept. A call of another tool counts as seeing something: that tool's version is
// not in the key.
func (m *Manager) memoised(ctx context.Context, p *wasm.Program, w *world) (Reply, error) {
	c := w.c
	if m.Memo == nil || w.t.Effects != abi.Pure || len(w.t.Streams) > 0 || c.Session != "" || c.Record || c.In != nil || c.Out != nil || c.Config != nil {
		r, err := m.run(ctx, p, w)
		r.Cache = string(memo.Bypass)
		return r, err
	}
	var r Reply
	v, outcome, err := m.Memo.Do(ctx, memo.Call{
		Key: memo.Key{
			Pack: w.v.row.Digest, Tool: w.t.ID, Input: c.Input, Project: c.Project,
			Env: m.Policy.Digest() + "\x00" + abi.Version, Scope: m.scope(w.v),
		},
		Name: w.v.row.Name, Corr: c.Corr, Action: c.Action, NoWait: c.Nested,
		Run: func(ctx context.Context) (memo.Value, bool, error) {
			var err error
			r, err = m.run(ctx, p, w)
			return memo.Value{Kind: r.Kind, Body: r.Body}, !w.denied && !w.outside, err
		},
	})
	r.Cache = string(outcome)
	switch outcome {
	case memo.Coalesced, memo.Hit:
		r = Reply{Kind: v.Kind, Body: v.Body, Cache: string(memo.Hit)}
	}
	return r, err
}

// scope is the leases in force for a version: when one ends or is granted, the answers before are another key's.
func (m *Manager) scope(v *version) string {
	var all []string
	for _, l := range m.Leases.List(lease.Filter{Pack: v.row.Name, Digest: v.row.Digest, State: lease.Live}) {
		scope := slices.Sorted(slices.Values(l.Scope))
		all = append(all, string(l.Capability)+"\x00"+strings.Join(scope, "\x00"))
	}
	slices.Sort(all)
	sum := sha256.Sum256([]byte(strings.Join(all, "\x01")))
	return hex.EncodeToString(sum[:])
}
