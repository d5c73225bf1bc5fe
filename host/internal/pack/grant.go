package pack

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/policy"
	"github.com/arw-project/arw/host/internal/project"
)

// Grant is what a person wants to give a pack.
type Grant struct {
	Pack       string
	Capability abi.Capability
	Scope      []string      // empty: what the manifest asks for
	TTL        time.Duration // 0: what the manifest asks for, at most what the policy lets the person give
	Calls      int64         // 0: as the manifest says
	Bytes      int64
	Budget     lease.Budget // sides beside Calls and Bytes; those two are added to it
	Reason     string
	Digest     string // when set, it must be the installed version's
	lease.Where
}

// Grant gives an installed pack a lease on behalf of an actor. A pack can be given no more than its manifest asks for, and
// an actor can give no more than Cedar lets it (action "grant"); the edge must have made sure who the actor is. Errors:
// NotFound; Denied, with the manifest line or the deciding policies; Invalid.
func (m *Manager) Grant(ctx context.Context, corr, actor string, g Grant) (lease.Lease, error) {
	corr = cmp.Or(corr, newCorr())
	if m.Projects != nil && g.Project != project.Default {
		if err := m.Projects.Known(g.Project); err != nil {
			return lease.Lease{}, wrap(err, "grant %q to pack %q", g.Capability, g.Pack)
		}
	}
	l, err := m.mayGrantAlone(ctx, corr, actor, g)
	if err != nil {
		return lease.Lease{}, err
	}
	given, err := m.Leases.Grant(ctx, corr, l)
	if err == nil {
		m.granted(ctx, corr, m.index.Load().packs[g.Pack].current(), given)
	}
	return given, err
}

// mayGrantAlone is mayGrant for whoever asks nobody else: Denied where more than one person has to agree.
func (m *Manager) mayGrantAlone(ctx context.Context, corr, actor string, g Grant) (lease.Grant, error) {
	l, people, err := m.mayGrant(ctx, corr, actor, g)
	if err == nil && people > 1 {
		err = abi.Errorf(abi.Denied, "grant %q to pack %q as %q: %d different people have to agree, and this grant is one's", g.Capability, g.Pack, actor, people).
			WithHint("let the pack ask and have each answer the prompt: arw prompts watch")
	}
	if err != nil {
		return lease.Grant{}, err
	}
	return l, nil
}

// mayGrant judges a grant, makes it ready for the book and says how many people have to agree: the most that the policies of the grant, or
// of the link that it stands for, want.
func (m *Manager) mayGrant(ctx context.Context, corr, actor string, g Grant) (lease.Grant, int, error) {
	s := m.index.Load().packs[g.Pack]
	if s == nil {
		return lease.Grant{}, 0, notInstalled(g.Pack)
	}
	v := s.current()
	if v == nil || v.man == nil {
		return lease.Grant{}, 0, notInstalled(g.Pack)
	}
	if g.Digest != "" && g.Digest != v.row.Digest {
		return lease.Grant{}, 0, abi.Errorf(abi.Conflict, "grant %q to pack %q: version %s has taken the place of the one that asked", g.Capability, g.Pack, v.row.Version)
	}
	c, ok := v.man.Capability(g.Capability)
	if !ok {
		return lease.Grant{}, 0, abi.Errorf(abi.Denied, "grant %q to pack %q: its manifest does not ask for it", g.Capability, g.Pack).
			WithHint("its author would add to pack.toml: [capabilities.%s]", g.Capability)
	}
	if len(g.Scope) == 0 {
		if slices.ContainsFunc(c.Scope, func(s string) bool { return strings.HasSuffix(s, ":*") }) {
			return lease.Grant{}, 0, abi.Errorf(abi.Invalid, "grant %q to pack %q: the manifest asks for a folder of your choice, %q; name it", g.Capability, g.Pack, c.Scope).
				WithHint("such as the scope read:/path/of/the/folder")
		}
		g.Scope = c.Scope
	}
	if err := lease.Covers(c.Name, c.Scope, g.Scope); err != nil {
		return lease.Grant{}, 0, wrap(err, "grant %q to pack %q", g.Capability, g.Pack)
	}
	facts := facts(v.row.Verdict)
	facts["reason"], facts["ttl"] = g.Reason, g.TTL
	d := m.Policy.Decide(policy.Request{
		Action: policy.ActionGrant, Pack: v.who, Capability: string(c.Name), Scope: g.Scope, Actor: actor, Project: g.Project, Context: facts,
	})
	call := &Call{Pack: g.Pack, Actor: actor, Corr: corr, Project: g.Project}
	m.oblige(ctx, call, policy.ActionGrant, d)
	if !d.Allowed {
		m.note(ctx, "policy.denied", call, map[string]any{
			"action": policy.ActionGrant, "capability": g.Capability, "scope": g.Scope, "actor": actor, "decision": d,
		})
		return lease.Grant{}, 0, denied(d, "grant %q to pack %q as %q", g.Capability, g.Pack, actor)
	}
	if d.NeedsReason && strings.TrimSpace(g.Reason) == "" {
		return lease.Grant{}, 0, abi.Errorf(abi.Invalid, "grant %q to pack %q as %q: the policies %q want to know why", g.Capability, g.Pack, actor, d.Policies).
			WithHint("say it with --reason")
	}
	l := leaseFor(v.who, *c, d)
	l.Scope, l.By, l.Reason, l.Renewable, l.Where = g.Scope, actor, g.Reason, false, g.Where
	g.bound(&l, d)
	return l, max(d.Approvals, m.mayLink(v.who, v.row.Verdict, *c).Approvals), nil
}

// bound replaces what the manifest asked for by what the person said, within what the decision lets the person give.
func (g Grant) bound(l *lease.Grant, d policy.Decision) {
	want := g.Budget
	want.Calls, want.Bytes = cmp.Or(g.Calls, want.Calls), cmp.Or(g.Bytes, want.Bytes)
	ttl, budget := d.Narrow(g.TTL, policy.Budget(want))
	if g.TTL > 0 {
		l.TTL = ttl
	}
	for _, side := range []struct {
		want     int64
		set, got *int64
	}{
		{want.Calls, &l.Budget.Calls, &budget.Calls}, {want.Bytes, &l.Budget.Bytes, &budget.Bytes}, {want.Tokens, &l.Budget.Tokens, &budget.Tokens},
		{want.Gas, &l.Budget.Gas, &budget.Gas}, {want.Money, &l.Budget.Money, &budget.Money},
	} {
		if side.want > 0 {
			*side.set = *side.got
		}
	}
}
