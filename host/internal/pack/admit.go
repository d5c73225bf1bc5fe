package pack

import (
	"context"
	"slices"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/policy"
	"github.com/arw-project/arw/manifests"
	"github.com/arw-project/arw/signing"
)

// byPolicy is who gives the leases that Cedar permits without a person.
const byPolicy = "policy"

// admit is step 6.
func (in *install) admit(context.Context) error {
	v := in.verdict
	in.who = principal(in.man.Name, in.man.Version, in.digest, v.Signature)
	load := in.mayLoad(in.who, v)
	v.Load = &load
	if !load.Allowed {
		return denied(load, "admit pack %q", in.man.Name)
	}
	for _, c := range in.man.Capabilities {
		d := in.mayLink(in.who, v, c)
		_, budget := d.Narrow(0, wished(c))
		link := Link{
			Capability: string(c.Name), Scope: c.Scope, Reason: c.Reason, Optional: c.Optional,
			Used:  slices.Contains(in.shape.Capabilities, c.Name),
			Calls: budget.Calls, Bytes: budget.Bytes, Tokens: budget.Tokens, Money: budget.Money, Decision: d,
		}
		switch {
		case d.Outcome == policy.Ask || d.Allowed && c.Ask:
			link.Outcome = Asked
		case d.Allowed:
			link.Outcome = Granted
			in.grants = append(in.grants, grant{leaseFor(in.who, c, d), len(v.Links)})
		case c.Optional:
			link.Outcome = Denied
		default:
			v.Links = append(v.Links, link)
			return denied(d, "link %q to pack %q", c.Name, in.man.Name)
		}
		v.Links = append(v.Links, link)
	}
	return nil
}

// principal is a pack as Cedar sees it: its name and digest, and those whose signatures counted.
func principal(name, version, digest string, sig *signing.Verdict) policy.Pack {
	p := policy.Pack{Name: name, Version: version, Digest: digest}
	if sig == nil || !sig.Allowed {
		return p
	}
	for _, s := range sig.Signers {
		p.Signers = append(p.Signers, s.Name)
		if s.KeyID != "" {
			p.KeyIDs = append(p.KeyIDs, s.KeyID)
		}
		if s.Identity != "" {
			p.Identities = append(p.Identities, s.Identity)
		}
	}
	return p
}

// facts are what a verdict contributes to a question about its pack.
func facts(v *Verdict) map[string]any {
	return map[string]any{"verified": v.Signature != nil && v.Signature.Allowed, "override": v.Override != ""}
}

func (m *Manager) mayLoad(who policy.Pack, v *Verdict) policy.Decision {
	return m.Policy.Decide(policy.Request{Action: policy.ActionLoad, Pack: who, Context: facts(v)})
}

func (m *Manager) mayLink(who policy.Pack, v *Verdict, c manifests.Capability) policy.Decision {
	return m.Policy.Decide(linkRequest(who, v, c))
}

func linkRequest(who policy.Pack, v *Verdict, c manifests.Capability) policy.Request {
	ctx := facts(v)
	ctx["ask"], ctx["optional"], ctx["reason"], ctx["ttl"] = c.Ask, c.Optional, c.Reason, c.TTL
	return policy.Request{Action: policy.ActionLink, Pack: who, Capability: string(c.Name), Scope: c.Scope, Context: ctx}
}

// wished is how much a manifest asks for.
func wished(c manifests.Capability) policy.Budget {
	return policy.Budget{Calls: c.Budget.Calls, Bytes: c.Budget.Bytes, Tokens: c.Budget.Tokens, Money: c.Budget.Money}
}

// leaseFor is the lease an allowed link becomes: the narrower of what was asked for and what the policy gives.
func leaseFor(who policy.Pack, c manifests.Capability, d policy.Decision) lease.Grant {
	ttl, budget := d.Narrow(c.TTL, wished(c))
	return lease.Grant{
		Pack: who.Name, Digest: who.Digest, Capability: c.Name, Scope: c.Scope, TTL: ttl,
		Budget: lease.Budget(budget),
		By:     byPolicy, Reason: d.Reason, Policies: d.Policies, Renewable: true,
	}
}

// denied is a decision as an error.
func denied(d policy.Decision, format string, args ...any) *abi.Error {
	e := wrap(abi.Errorf(abi.Denied, "%s", d.Reason), format, args...).WithDetail(d)
	if len(d.Policies) > 0 {
		return e.WithHint("the deciding policies are %q; arw policy explains them", d.Policies)
	}
	return e.WithHint("no policy permits it; add one to the policy folder if it should")
}
