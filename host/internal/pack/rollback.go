package pack

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/policy"
	"github.com/arw-project/arw/manifests"
)

// RollbackOptions say where to and for whom.
type RollbackOptions struct {
	Version string // "1.2.0", or empty: the last one that was replaced and not rolled back itself
	Digest  string // instead of Version
	By      string
	Reason  string
	Corr    string
	// Step hears the name of each step as it begins, and "done" when the commit is durable; it may be nil.
	Step func(name string)
	// from, when set, is the digest that must be installed; a rollback that comes too late does nothing.
	from string
}

func (o RollbackOptions) step(name string) {
	if o.Step != nil {
		o.Step(name)
	}
}

// Rollback puts a version back that an upgrade replaced, from what this host kept of it: no registry is asked. The version
// comes back as it stood, with the same verdict and what it held, as far as the policies still give it: the trust policy
// judges its signatures and Cedar its capabilities as they are now. What it leaves is held back: its digest is not installed
// again until a person says so. The swap is that of an upgrade. Errors: NotFound when the pack is not installed or the
// version not kept; Denied when the version is revoked; those of steps 3, 6, 9 and of the database. After an error nothing
// has changed.
func (m *Manager) Rollback(ctx context.Context, name string, o RollbackOptions) (*Change, error) {
	done, err := m.take(ctx)
	if err != nil {
		return nil, abi.Errorf(abi.CodeOf(err), "roll back pack %q: %w", name, err)
	}
	defer done()
	if err := m.held(); err != nil {
		return nil, wrap(err, "roll back pack %q", name)
	}
	o.By, o.Corr = cmp.Or(o.By, "operator"), cmp.Or(o.Corr, newCorr())
	s := m.index.Load().packs[name]
	if s == nil || s.current() == nil {
		return nil, notInstalled(name)
	}
	c, err := m.rollback(ctx, s, o)
	if err != nil {
		return nil, wrap(err, "roll back pack %q", name)
	}
	return c, nil
}

func (m *Manager) rollback(ctx context.Context, s *slot, o RollbackOptions) (*Change, error) {
	bad := s.current()
	if o.from != "" && bad.row.Digest != o.from {
		return nil, abi.Errorf(abi.Conflict, "another version was installed meanwhile").WithHint("see arw pack history %s", s.name)
	}
	r, err := m.target(ctx, s.name, o)
	if err != nil {
		return nil, err
	}
	if rev, is := m.revoked(r.Name, r.Digest); is {
		return nil, abi.Errorf(abi.Denied, "version %s was revoked: %s", r.Version, rev.Reason).WithHint("choose another: arw pack history %s", r.Name)
	}
	v, err := m.reviveOld(ctx, s, *r, o.step)
	if err != nil {
		return nil, err
	}
	c := &Change{
		Change: RolledBack, Version: r.Version, Digest: r.Digest, From: bad.row.Digest, Time: m.now(), By: o.By, Why: o.Reason, Corr: o.Corr,
		Verdict: r.Verdict.summary(),
	}
	h := &handover{carrier: carrier{Manager: m, old: bad, man: v.man, digest: r.Digest, corr: o.Corr, by: o.By, outcome: m.linkOutcome(v)}}
	o.step("commit")
	s.tidy.Lock()
	if err := m.DB.Write(ctx, func(tx *sql.Tx) error { return m.rollbackTx(tx, v, h, c) }); err != nil {
		s.tidy.Unlock()
		return nil, errors.Join(err, v.close(context.WithoutCancel(ctx)))
	}
	o.step("done")
	m.replace(s, v, h.shelf)
	s.tidy.Unlock()
	m.retire(retirement{s: s, v: bad, corr: o.Corr, by: r.Version, leases: h.left})
	m.settle(ctx, s)
	c.Current = true
	return c, nil
}

// reviveOld makes a kept version ready to take calls.
func (m *Manager) reviveOld(ctx context.Context, s *slot, r row, step func(string)) (v *version, err error) {
	step("judge")
	if v = m.judge(ctx, r); v.broken != nil {
		return nil, v.broken
	}
	if err := m.clash(v.man, s); err != nil {
		return nil, err
	}
	step("load")
	v.prog, err = m.reload(v)
	return v, err
}

// target finds the version to go back to.
func (m *Manager) target(ctx context.Context, name string, o RollbackOptions) (*row, error) {
	held, err := m.holds(ctx, name)
	if err != nil {
		return nil, err
	}
	var have []string
	for _, r := range m.keptAll(name) {
		switch {
		case o.Digest != "" && r.Digest == o.Digest, o.Digest == "" && o.Version != "" && r.Version == o.Version:
			return r, nil
		case o.Digest == "" && o.Version == "" && held[r.Digest] == "":
			return r, nil
		}
		have = append(have, r.Version)
	}
	e := abi.Errorf(abi.NotFound, "this host keeps no such version")
	if want := cmp.Or(o.Version, o.Digest); want != "" {
		e = abi.Errorf(abi.NotFound, "this host keeps no version %q", want)
	}
	if len(have) > 0 {
		return nil, e.WithHint("it keeps %s; name one with --to", strings.Join(have, ", "))
	}
	return nil, e.WithHint("nothing was replaced yet; see arw pack history %s", name)
}

// linkOutcome asks Cedar about a version as it is asked at an install.
func (m *Manager) linkOutcome(v *version) func(abi.Capability) string {
	return func(name abi.Capability) string {
		c, ok := v.man.Capability(name)
		if !ok {
			return Denied
		}
		switch d := m.mayLink(v.who, v.row.Verdict, *c); {
		case d.Outcome == policy.Ask || d.Allowed && c.Ask:
			return Asked
		case d.Allowed:
			return Granted
		}
		return Denied
	}
}

func (m *Manager) rollbackTx(tx *sql.Tx, v *version, h *handover, c *Change) error {
	h.carried, h.left = nil, nil
	was := m.left(v, h.old)
	h.skip = was.superseded
	if err := h.tx(tx); err != nil {
		return err
	}
	if err := m.giveBackTx(tx, v, h, was); err != nil {
		return err
	}
	goes := h.old.paper()
	goes.Standing.Left = h.left
	h.shelf = m.shelve(v.row.Name, goes, v.row.Digest)
	r := v.row
	r.Standing.Left, r.Standing.Suspended = nil, follow(r.Standing.Suspended, goes.Standing.Suspended)
	v.stand(r, m)
	reason := cmp.Or(c.Why, "rolled back by "+c.By)
	if err := errors.Join(r.put(tx), putShelf(tx, r.Name, h.shelf), putHold(tx, r.Name, h.old.row.Digest, reason, c.Time), putChange(tx, r.Name, *c)); err != nil {
		return err
	}
	_, err := m.Journal.AppendTx(tx, journal.Event{Kind: "pack.rolled_back", Corr: c.Corr, Actor: c.By, Pack: r.Name, Body: map[string]any{
		"name": r.Name, "version": r.Version, "digest": r.Digest, "from_version": h.old.row.Version, "from": h.old.row.Digest,
		"by": c.By, "reason": c.Why, "carried": h.carried,
	}})
	return err
}

// remains are the leases that a version kept to itself when it was replaced, and what became of them since.
type remains struct {
	leases   []lease.Lease
	narrowed map[string]lease.Lease // by the id of the old one: the lease on a part of it that its successor got
	byPolicy map[abi.Capability]bool
	stranger bool // the successor was made by others: what people gave it is not for this one
}

func (m *Manager) left(v, successor *version) *remains {
	was := &remains{
		narrowed: map[string]lease.Lease{}, byPolicy: map[abi.Capability]bool{},
		stranger: signerChange(successor.row.Verdict.Signature, v.row.Verdict.Signature) != nil,
	}
	for _, id := range v.row.Standing.Left {
		l, err := m.Leases.Get(id)
		if err != nil || l.Pack != v.row.Name || l.Digest != v.row.Digest {
			continue
		}
		was.leases = append(was.leases, l)
		if l.By == byPolicy {
			was.byPolicy[l.Capability] = true
		}
		for _, c := range successor.row.Verdict.Carried {
			if part, err := m.Leases.Get(c.Lease); err == nil && c.From == id && c.Lease != id {
				was.narrowed[id] = part
			}
		}
	}
	return was
}

// superseded reports whether a lease of the successor is not carried, because the version has an older one of its own.
func (was *remains) superseded(l lease.Lease) bool {
	if l.By == byPolicy {
		return was.byPolicy[l.Capability]
	}
	for _, part := range was.narrowed {
		if part.ID == l.ID {
			return true
		}
	}
	return was.stranger
}

// giveBackTx grants again what the version held before it was replaced and its successor did not carry, with the time and
// budget that were left, less what its successor used of it.
func (m *Manager) giveBackTx(tx *sql.Tx, v *version, h *handover, was *remains) error {
	for _, l := range was.leases {
		if l.State != lease.Revoked || l.Ended.By != byHost {
			continue // it is there, or ended otherwise: as it stands
		}
		c, ok := v.man.Capability(l.Capability)
		outcome := h.outcome(l.Capability)
		if !ok || outcome == Denied || l.By == byPolicy && outcome != Granted {
			continue
		}
		l.State = lease.Live
		if part, ok := was.narrowed[l.ID]; ok {
			l.Used.Calls += part.Used.Calls
			l.Used.Bytes += part.Used.Bytes
		}
		g, ok := rest(l, c.Scope)
		if !ok {
			continue
		}
		back, err := m.Leases.GrantTx(tx, h.corr, g)
		if err != nil {
			return err
		}
		h.carried = append(h.carried, Carry{string(l.Capability), back.ID, l.ID})
	}
	return nil
}

// clash refuses to bring back tools or read models that another pack has taken meanwhile.
func (m *Manager) clash(man *manifests.Pack, mine *slot) error {
	in := &install{Manager: m, man: man, slot: mine}
	return in.collides()
}
