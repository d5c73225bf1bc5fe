package pack

import (
	"cmp"
	"context"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/policy"
)

// Grant is a lease that a person hands to an installed pack.
type Grant struct {
	Pack       string
	Capability abi.Capability
	Scope      []string // empty means what the manifest asks for
	TTL        time.Duration
	Calls      int64
	Bytes      int64
	Reason     string
	By         string // the actor, "operator"; Cedar decides whether it may
}

// defaultTTL is how long a person's grant holds when neither the person, the policy nor the manifest says.
const defaultTTL = time.Hour

// Grant leases a capability to the installed version of a pack, within what its manifest asks for: a wider scope, or a
// capability the manifest does not name, is refused, so that what a person read at the install stays the whole of it.
// Errors: NotFound (no such pack, no such capability in its manifest), Denied (Cedar, or beyond the manifest), Invalid.
func (m *Manager) Grant(ctx context.Context, corr string, g Grant) (lease.Lease, error) {
	s := m.index.Load().packs[g.Pack]
	if s == nil {
		return lease.Lease{}, notInstalled(g.Pack)
	}
	v := s.current()
	if v == nil || v.man == nil {
		return lease.Lease{}, notInstalled(g.Pack)
	}
	asked, ok := v.capability(g.Capability)
	if !ok {
		return lease.Lease{}, abi.Errorf(abi.Denied, "grant %q to pack %q: its manifest does not ask for it", g.Capability, g.Pack).
			WithHint("only its author can, in a new version: [capabilities.%s] in pack.toml", g.Capability)
	}
	if len(g.Scope) == 0 {
		g.Scope = asked.Scope
	}
	if err := lease.Covers(g.Capability, asked.Scope, g.Scope); err != nil {
		return lease.Lease{}, wrap(err, "grant %q to pack %q", g.Capability, g.Pack)
	}
	facts := facts(v.row.Verdict)
	facts["ask"], facts["optional"], facts["reason"], facts["ttl"] = asked.Ask, asked.Optional, g.Reason, g.TTL
	d := m.Policy.Decide(policy.Request{
		Action: policy.ActionGrant, Pack: v.who, Actor: g.By, Capability: string(g.Capability), Scope: g.Scope, Context: facts,
	})
	if !d.Allowed {
		return lease.Lease{}, denied(d, "grant %q to pack %q as %q", g.Capability, g.Pack, g.By)
	}
	want := cmp.Or(g.TTL, asked.TTL, d.TTL, defaultTTL)
	ttl, budget := d.Narrow(want, policy.Budget{Calls: cmp.Or(g.Calls, asked.Budget.Calls), Bytes: cmp.Or(g.Bytes, asked.Budget.Bytes)})
	return m.Leases.Grant(ctx, corr, lease.Grant{
		Pack: v.who.Name, Digest: v.who.Digest, Capability: g.Capability, Scope: g.Scope, TTL: ttl,
		Budget: lease.Budget{Calls: budget.Calls, Bytes: budget.Bytes}, By: g.By, Reason: g.Reason, Policies: d.Policies,
	})
}
