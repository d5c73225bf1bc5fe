package pack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/memo"
	"github.com/arw-project/arw/host/internal/project"
	"github.com/arw-project/arw/host/internal/recall"
	"github.com/arw-project/arw/host/internal/view"
	"github.com/arw-project/arw/host/internal/wasm"
)

// What an answer can stand on.
const (
	onUse    = "use"    // a capability and what of it, which may be refused later
	onKeys   = "kv"     // the pack's keys in the project, by how often they were written
	onState  = "state"  // a read model of its own, by version
	onConfig = "config" // a document of the configuration, by digest: shares of runs see others
)

// maxGround bounds what one answer is remembered to stand on.
const maxGround = 64

// cacheNear is Reply.Cache of an answer to another question.
const cacheNear = "near"

// answer gives what was answered to a question that means the same, where the tool's signed manifest lets it, or goes on to
// memoised. Calls that another tool makes are not answered so: for which person they are made is not known.
func (m *Manager) answer(ctx context.Context, p *wasm.Program, w *world) (Reply, error) {
	c := w.c
	if m.Recall == nil || w.t.Recall == nil || c.Nested || w.t.Effects > abi.Reads || c.Session != "" || c.Record || c.In != nil || c.Out != nil || c.Config != nil {
		return m.memoised(ctx, p, w)
	}
	var r Reply
	a, out, err := m.Recall.Do(ctx, recall.Call{
		Space: recall.Space{Pack: w.v.row.Name, Digest: w.v.row.Digest, Tool: w.t.ID, Project: c.Project, Person: c.Actor},
		Input: c.Input, Rule: w.t.Recall, Env: m.Policy.Digest() + "\x00" + abi.Version + "\x00" + m.scope(w.v), Corr: c.Corr, Action: c.Action,
		Holds: w.stillStands,
		Run: func(ctx context.Context) (recall.Answer, error) {
			var err error
			r, err = m.memoised(ctx, p, w)
			keep := err == nil && !w.denied && !w.bottom && len(w.taint.places()) == 0
			return recall.Answer{Kind: r.Kind, Body: r.Body, Deps: w.ground, Keep: keep}, err
		},
	})
	switch {
	case out == recall.Near:
		return Reply{Kind: a.Kind, Body: a.Body, Cache: cacheNear}, nil
	case out.Hit():
		return Reply{Kind: a.Kind, Body: a.Body, Cache: string(memo.Hit)}, nil
	case out != recall.Bypass && r.Cache == string(memo.Bypass):
		r.Cache = string(memo.Miss)
	}
	return r, err
}

// uses notes a use of a capability. What cannot be looked at again later (files, the network, the time, another tool) leaves
// the answer to this call alone.
func (w *world) uses(c abi.Capability, target string) {
	switch c {
	case abi.KV, abi.State, abi.Config, abi.Log:
		w.standsOn(onUse, string(c), target, false)
	default:
		w.bottom = true
	}
}

// standsOn notes what the answer is made from. The first look counts: what changed since makes the answer one of this moment.
func (w *world) standsOn(what, name, mark string, elsewhere bool) {
	if w.t.Recall == nil {
		return
	}
	for _, d := range w.ground {
		if d.What == what && d.Name == name && (what != onUse || d.Mark == mark) {
			w.bottom = w.bottom || d.Mark != mark
			return
		}
	}
	if elsewhere || len(w.ground) == maxGround { // an export may end at any time
		w.bottom = true
		return
	}
	w.ground = append(w.ground, recall.Dep{What: what, Name: name, Mark: mark})
}

// standsOnKeys notes how often the keys had been written before they are read.
func (w *world) standsOnKeys(ctx context.Context, elsewhere bool) {
	if w.t.Recall == nil {
		return
	}
	for _, d := range w.ground {
		if d.What == onKeys && !elsewhere {
			return // the mark of the first look is the older one: a write since is seen when the answer is looked up
		}
	}
	mark, err := w.writes(ctx)
	w.bottom = w.bottom || err != nil
	w.standsOn(onKeys, "", mark, elsewhere)
}

func (w *world) writes(ctx context.Context) (string, error) {
	n, err := (*keys)(w).space().Writes(ctx)
	return strconv.FormatInt(n, 10), err
}

func versionOf(d view.Doc, err error) string {
	if err != nil {
		return abi.CodeOf(err).String()
	}
	return strconv.FormatInt(d.Version, 10)
}

func digestOfDoc(doc []byte, err error) string {
	if err != nil {
		return abi.CodeOf(err).String()
	}
	sum := sha256.Sum256(doc)
	return hex.EncodeToString(sum[:])
}

// stillStands reports whether a run would meet now what an answer was made from. It spends nothing of a lease.
func (w *world) stillStands(ctx context.Context, ground []recall.Dep) bool {
	for _, d := range ground {
		mark := ""
		switch d.What {
		case onUse:
			if c := abi.Capability(d.Name); w.v.halted.Load() != nil || w.t.may(c) != nil || w.railed(c, d.Mark) != nil {
				return false
			}
			continue
		case onKeys:
			n, err := w.writes(ctx)
			if err != nil {
				return false
			}
			mark = n
		case onState:
			mark = versionOf(w.m.View.Get(ctx, project.DocID(w.c.Project, d.Name)))
		case onConfig:
			mark = digestOfDoc(w.m.Config.Effective(ctx, d.Name, w.c.Project, agentOf(w.c.Actor), w.c.Corr))
		}
		if mark != d.Mark {
			return false
		}
	}
	return true
}
