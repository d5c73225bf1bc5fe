package pack

import (
	"context"
	"errors"

	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/policy"
)

// Shift is one answer that another set of policies would change.
type Shift struct {
	Pack       string          `json:"pack"`
	Action     string          `json:"action"`               // load, link, grant, call
	Capability string          `json:"capability,omitempty"` // of link and grant
	Lease      string          `json:"lease,omitempty"`      // of grant: the live one that a person gave
	Tool       string          `json:"tool,omitempty"`       // of call
	Actor      string          `json:"actor,omitempty"`      // of call
	Before     policy.Decision `json:"before"`
	After      policy.Decision `json:"after"`
}

// callers are on whose behalf Foretell asks about calls.
var callers = []string{"operator", "agent:local"}

// Foretell lists what another set would answer otherwise about the installed packs: whether they load, what they are leased, the leases
// that people gave them, and calls of their tools by the operator and by an agent. Nothing changes.
func (m *Manager) Foretell(set *policy.Set) []Shift {
	shifts := []Shift{}
	now := m.Policy.Current()
	for _, name := range m.names() {
		s := m.index.Load().packs[name]
		if s == nil || s.current() == nil || s.current().man == nil {
			continue
		}
		v := s.current()
		add := func(r policy.Request, id string) {
			if before, after := now.Decide(r), set.Decide(r); policy.Shifted(before, after) {
				shifts = append(shifts, Shift{name, r.Action, r.Capability, id, r.Tool, r.Actor, before, after})
			}
		}
		add(policy.Request{Action: policy.ActionLoad, Pack: v.who, Context: facts(v.row.Verdict)}, "")
		for _, c := range v.man.Capabilities {
			add(linkRequest(v.who, v.row.Verdict, c), "")
		}
		for _, l := range m.Leases.List(lease.Filter{Pack: v.row.Name, Digest: v.row.Digest, State: lease.Live}) {
			if l.By != byPolicy {
				add(grantRequest(v, l), l.ID)
			}
		}
		for _, t := range v.man.Tools {
			for _, actor := range callers {
				add(policy.Request{Action: policy.ActionCall, Pack: v.who, Tool: t.ID, Effects: t.Effects.String(), Actor: actor, Context: facts(v.row.Verdict)}, "")
			}
		}
	}
	return shifts
}

// grantRequest asks whether the operator might give a lease again.
func grantRequest(v *version, l lease.Lease) policy.Request {
	return policy.Request{
		Action: policy.ActionGrant, Pack: v.who, Capability: string(l.Capability), Scope: l.Scope, Actor: "operator", Project: l.Project, Context: facts(v.row.Verdict),
	}
}

// Repolicy holds every installed pack to the policies in force now, which have just been replaced: one that may not load any
// more is suspended, one that was suspended for that and may is resumed, and leases that would not be given any more are revoked.
// All are tried; the error joins what failed.
func (m *Manager) Repolicy(ctx context.Context, corr string) error {
	var errs []error
	for _, name := range m.names() {
		s := m.index.Load().packs[name]
		if s == nil || s.current() == nil || s.current().man == nil {
			continue
		}
		v := s.current()
		barred := v.standing().Suspended
		mine := barred != nil && barred.By == byPolicy
		d := m.mayLoad(v.who, v.row.Verdict)
		switch {
		case !d.Allowed && barred == nil:
			errs = append(errs, m.Suspend(ctx, name, Suspension{By: byPolicy, Reason: d.Reason}, corr))
		case d.Allowed && mine:
			errs = append(errs, m.Resume(ctx, name, byPolicy, "the policies admit it again", corr))
		}
		errs = append(errs, m.revokeDenied(ctx, v.who, v.row.Verdict, v.man), m.revokeForbidden(ctx, corr, v))
	}
	return errors.Join(errs...)
}

// revokeForbidden takes back what people gave and a forbid now keeps them from giving.
func (m *Manager) revokeForbidden(ctx context.Context, corr string, v *version) error {
	var errs []error
	for _, l := range m.Leases.List(lease.Filter{Pack: v.row.Name, Digest: v.row.Digest, State: lease.Live}) {
		if l.By == byPolicy {
			continue
		}
		d := m.Policy.Decide(grantRequest(v, l))
		if len(d.Forbids) == 0 {
			continue
		}
		errs = append(errs, m.revoke(ctx, corr, l, byPolicy, "the policies forbid it now: "+d.Reason))
	}
	return errors.Join(errs...)
}
