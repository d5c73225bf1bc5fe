package pack

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/policy"
	"github.com/arw-project/arw/host/internal/prompt"
	"github.com/arw-project/arw/host/internal/quota"
	"github.com/arw-project/arw/host/internal/wasm"
	"github.com/arw-project/arw/manifests/pattern"
)

// seat is the holder as this call uses it: in its project, its session, its action.
func (w *world) seat() lease.Seat { return w.v.holder.At(w.where()) }

func (w *world) where() lease.Where {
	at := lease.Where{Project: w.c.Project, Action: w.c.Action}
	if w.c.Session != "" {
		at.Session = w.c.Actor + "#" + w.c.Session
	}
	return at
}

// mayUse is what is asked before any lease: may this tool use the capability at all, and may the pack open that file.
func (w *world) mayUse(ctx context.Context, c abi.Capability, target string) error {
	if c != abi.Log && c != abi.Clock && c != abi.Rand { // a pure tool's clock and randomness are fixed
		w.outside = true
	}
	w.uses(c, target)
	if err := w.t.may(c); err != nil {
		return err
	}
	if c == abi.FS && w.m.Policy.Current().Asked(policy.ActionOpen) {
		return w.mayOpen(ctx, target)
	}
	return nil
}

// mayOpen asks Cedar about one file; only where a policy of the operator's speaks of it.
func (w *world) mayOpen(ctx context.Context, target string) error {
	mode, name, _ := strings.Cut(target, ":")
	d := w.m.Policy.Decide(policy.Request{
		Action: policy.ActionOpen, Pack: w.v.who, Path: path.Clean("/" + name), Write: mode == "write", Project: w.c.Project, Context: facts(w.v.row.Verdict),
	})
	w.m.oblige(ctx, w.c, policy.ActionOpen, d)
	if d.Allowed {
		return nil
	}
	return denied(d, "open %q for pack %q", target, w.c.Pack)
}

// maxAsks is how often one use asks: an answer may be meant for others who asked the same.
const maxAsks = 3

// take counts a use against a lease, and against the quotas, or against nobody's account; without a lease it asks a person, where the policies say so, and waits for the answer.
func (w *world) take(ctx context.Context, c abi.Capability, u use) (scope, id string, err error) {
	target := u.target
	if w.span != nil {
		step := w.span.Step("lease "+string(c), "arw.capability", string(c))
		defer func() { step.Say("arw.lease", id); step.End(err) }()
	}
	scope, id, lacks, err := w.attempt(ctx, c, u)
	for asked := 0; lacks && asked < maxAsks; asked++ {
		again, aerr := w.ask(ctx, c, u, err)
		if aerr != nil {
			return "", "", aerr
		}
		if !again {
			break
		}
		scope, id, lacks, err = w.attempt(ctx, c, u)
	}
	w.dirty = w.dirty || err == nil && w.t.Effects > abi.Reads && c != abi.Log && c != abi.Clock && c != abi.Rand && !strings.HasPrefix(target, "read:")
	return scope, id, err
}

// attempt has one use decided by everybody who may refuse it, in an order in which no refusal costs anything: whether a lease would
// serve, what else is asked, room in the quotas, the lease. lacks says that it is a lease that is missing.
func (w *world) attempt(ctx context.Context, c abi.Capability, u use) (scope, id string, lacks bool, err error) {
	if u.also != nil {
		if _, _, err := w.seat().Would(c, u.target, u.n); err != nil {
			return "", "", true, err
		}
		if err := u.also(); err != nil {
			return "", "", false, err
		}
	}
	room, err := w.m.Quotas.Reserve(ctx, string(c), &w.account, quota.Amount{Calls: 1, Bytes: u.n})
	if err != nil {
		return "", "", false, err
	}
	scope, id, err = w.seat().TakeWith(ctx, c, u.target, u.args, int(u.n))
	if err != nil && c == abi.FS {
		if lent, ok := w.lent(ctx, u.target, int(u.n)); ok {
			scope, err = lent, nil
		}
	}
	if err != nil {
		room.Cancel()
		return "", "", true, err
	}
	return scope, id, false, room.Commit(ctx)
}

// lent finds the export of another project that lets the call read a path, within what the manifest asks for.
func (w *world) lent(ctx context.Context, target string, n int) (scope string, ok bool) {
	name, read := strings.CutPrefix(target, "read:")
	if !read || w.m.Projects == nil || !slices.ContainsFunc(scopeOf(w.v, abi.FS), func(entry string) bool { return lease.Reaches(abi.FS, entry, target, nil) }) {
		return "", false
	}
	scope, err := w.m.Projects.Folder(ctx, w.c.Pack, w.c.Project, name, n)
	return scope, err == nil
}

// ask turns a refusal into a question to a person. It reports whether the use may be tried again.
func (w *world) ask(ctx context.Context, c abi.Capability, u use, refused error) (again bool, err error) {
	switch abi.CodeOf(refused) {
	case abi.Denied, abi.LeaseExpired, abi.BudgetExhausted: // what a person took back is not asked for again
	default:
		return false, nil
	}
	a, ok := w.question(c, u)
	if !ok {
		return false, nil
	}
	if given, err := w.m.declared(ctx, w.v, a); given || err != nil {
		return given, err
	}
	if w.m.Prompts == nil || a.Hold == 0 {
		return false, nil
	}
	idle := w.c.Idle
	if idle == nil {
		idle = func(wait func() error) error { return wait() }
	}
	err = wasm.Hold(ctx, func(ctx context.Context) error {
		return idle(func() error { return w.m.Prompts.Wait(ctx, a) })
	})
	w.unanswered = errors.Is(err, prompt.ErrWaiting) && a.Clean
	return err == nil, err
}

// question is what a person would be asked about a use; false when nobody is to be asked.
func (w *world) question(c abi.Capability, u use) (prompt.Ask, bool) {
	target := u.target
	asked, ok := w.v.man.Capability(c)
	if !ok || w.v.waits("capability:", string(c)) {
		return prompt.Ask{}, false
	}
	scope, ok := proposal(c, asked.Scope, u)
	if !ok {
		return prompt.Ask{}, false
	}
	d := w.m.mayLink(w.v.who, w.v.row.Verdict, *asked)
	if d.Outcome != policy.Ask && !(d.Allowed && asked.Ask) {
		return prompt.Ask{}, false
	}
	g := leaseFor(w.v.who, *asked, d)
	return prompt.Ask{
		Pack: w.c.Pack, Version: w.v.row.Version, Digest: w.v.row.Digest, Tool: w.t.ID, Capability: c, Target: clip([]byte(w.hush("prompt", target))), Scope: scope,
		Why: w.hush("prompt", asked.Reason), Rule: d.Reason, Policies: d.Policies, TTL: g.TTL, Budget: g.Budget,
		Actor: cmp.Or(w.c.Actor, "agent:local"), Corr: w.c.Corr, Where: w.where(), Hold: d.Hold, Clean: !w.dirty && !w.c.Nested,
	}, true
}

// proposal is the scope that a question proposes: the manifest's entry that covers the target, or the target alone where that
// entry leaves the choice open. False when the manifest does not ask for it.
func proposal(c abi.Capability, asked []string, u use) ([]string, bool) {
	if len(asked) == 0 {
		return nil, true
	}
	for _, entry := range asked {
		narrow := []string{u.target}
		if _, _, conditional := pattern.Split(entry); conditional && c == abi.Action {
			if lease.Reaches(c, entry, u.target, u.args) {
				return []string{entry}, true
			}
			continue
		}
		if strings.Contains(entry, "*") && lease.CheckScope(c, narrow) == nil {
			if lease.Covers(c, []string{entry}, narrow) == nil {
				return narrow, true
			}
			continue
		}
		if lease.Reaches(c, entry, u.target, u.args) {
			return []string{entry}, true
		}
	}
	return nil, false
}

// Answer is a person's answer to a prompt. The edge must have made sure who answers: whoever can call this can grant. An
// allowing answer makes leases as Grant would, in the write that ends the prompt. Scope, when given, replaces what the prompt
// proposes, within the manifest. Errors: those of Grant and of prompt.Book.Settle.
func (m *Manager) Answer(ctx context.Context, corr, actor, id string, allow bool, terms, reason string, scope []string) (prompt.Prompt, error) {
	if m.Prompts == nil {
		return prompt.Prompt{}, abi.Errorf(abi.NotFound, "answer prompt %q: this host asks nobody", id)
	}
	corr = cmp.Or(corr, newCorr())
	a := prompt.Answer{Allow: allow, For: terms, By: actor, Reason: reason}
	return m.Prompts.Settle(ctx, corr, id, a, func(p *prompt.Prompt, t prompt.Terms) (func(*sql.Tx) ([]string, error), error) {
		if len(scope) > 0 {
			p.Scope = scope
		}
		var grants []lease.Grant
		for _, want := range t.Leases(p) {
			if want.Capability == abi.FS { // a folder belongs to one project
				want.Where.Project = p.Project
			}
			g, err := m.mayGrant(ctx, corr, actor, Grant{
				Pack: want.Pack, Digest: want.Digest, Capability: want.Capability, Scope: want.Scope, TTL: want.TTL, Budget: want.Budget,
				Reason: reason, Where: want.Where,
			})
			if err != nil {
				return nil, err
			}
			g.Reason = cmp.Or(g.Reason, "prompt "+p.ID)
			grants = append(grants, g)
		}
		return func(tx *sql.Tx) ([]string, error) { return m.giveTx(tx, corr, grants) }, nil
	})
}

func (m *Manager) giveTx(tx *sql.Tx, corr string, grants []lease.Grant) ([]string, error) {
	ids := make([]string, len(grants))
	for i, g := range grants {
		l, err := m.Leases.GrantTx(tx, corr, g)
		if err != nil {
			return nil, err
		}
		ids[i] = l.ID
	}
	return ids, nil
}

// Declare puts the grants in force that the operator wrote down beforehand.
func (m *Manager) Declare(g *prompt.Grants) { m.declaredGrants.Store(g) }

// declared gives what the operator declared, when it answers the question; it reports whether it did. The policies judge it like
// any grant of the operator's.
func (m *Manager) declared(ctx context.Context, v *version, a prompt.Ask) (bool, error) {
	d, ok := m.declaredGrants.Load().For(a)
	if !ok {
		return false, nil
	}
	scope := a.Scope
	if len(d.Scope) > 0 && lease.Covers(a.Capability, scopeOf(v, a.Capability), d.Scope) == nil {
		scope = d.Scope // all of it at once, so that the next target needs no lease of its own
	}
	in := d.Project
	if a.Capability == abi.FS { // a folder belongs to one project: that of the call that asks
		in = a.Project
	}
	_, err := m.Grant(ctx, a.Corr, "operator", Grant{
		Pack: a.Pack, Digest: a.Digest, Capability: a.Capability, Scope: scope, TTL: d.TTL, Budget: d.Budget,
		Reason: prompt.GrantsFile + ": " + d.Reason, Where: lease.Where{Project: in},
	})
	return err == nil, err
}

func scopeOf(v *version, c abi.Capability) []string {
	asked, ok := v.man.Capability(c)
	if !ok {
		return nil
	}
	return asked.Scope
}

// may refuses what the manifest keeps this tool from using.
func (t *tool) may(c abi.Capability) error {
	if t.Capabilities == nil || slices.Contains(t.Capabilities, c) {
		return nil
	}
	return abi.Errorf(abi.Denied, "use %q in tool %q: its manifest confines it to %q", c, t.ID, t.Capabilities).
		WithHint("its author would add %q to capabilities of the tool in pack.toml", c)
}

// oblige journals a decision whose policies ask for it.
func (m *Manager) oblige(ctx context.Context, c *Call, action string, d policy.Decision) {
	if d.Log {
		m.note(ctx, "policy.decision", c, map[string]any{"action": action, "tool": c.Tool, "actor": c.Actor, "decision": d})
	}
}
