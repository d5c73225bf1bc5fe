package pack

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/wasm"
)

// heldBack is what a version goes without; it is replaced whole.
type heldBack struct {
	subjects map[string]Item
	limits   map[string]wasm.Limits // by tool: what stays in force
}

// hold makes a version go without what waits for a person: a tool that is new or does more answers an error, limits stay
// where they were, a new read model is not written. Capabilities need nothing here: there is no lease for what is held.
func (v *version) hold(items []Item) {
	h := &heldBack{map[string]Item{}, map[string]wasm.Limits{}}
	for _, i := range items {
		h.subjects[i.Subject()] = i
		id, ok := strings.CutPrefix(i.Subject(), "limits:")
		t := v.tools[id]
		if !ok || t == nil {
			continue
		}
		l, known := h.limits[id]
		if !known {
			l = t.limits
		}
		switch i.ID[len(i.Subject()):] {
		case "/memory":
			l.MemoryBytes = i.Bound
		case "/gas":
			l.Gas = uint64(i.Bound)
		case "/time":
			l.Time = time.Duration(i.Bound)
		case "/input":
			l.Input = i.Bound
		case "/output":
			l.Output = i.Bound
		case "/stream":
			l.Streamed = i.Bound
		}
		h.limits[id] = l
	}
	v.held.Store(h)
}

// waits reports whether a subject waits for a person.
func (v *version) waits(kind, id string) bool {
	h := v.held.Load()
	if len(h.subjects) == 0 {
		return false // the common case, without making a string
	}
	_, ok := h.subjects[kind+id]
	return ok
}

// holding is the error of using a subject that waits for a person, nil when it does not.
func (v *version) holding(kind, id string) *abi.Error {
	if !v.waits(kind, id) {
		return nil
	}
	i := v.held.Load().subjects[kind+id]
	return abi.Errorf(abi.Denied, "use %q of pack %q: it is held until a person accepts it, since version %s widened it: %s", kind+id, v.row.Name, v.row.Version, i.Words).
		WithHint("arw pack accept %s %s", v.row.Name, kind+id).WithDetail(i)
}

// limitsOf are a tool's limits in force: those of the version before where more waits for a person.
func (v *version) limitsOf(t *tool) wasm.Limits {
	if l, ok := v.held.Load().limits[t.ID]; ok {
		return l
	}
	return t.limits
}

// overLimit adds what to do to an error that a wider limit would spare.
func (v *version) overLimit(t *tool, err error) error {
	if !v.waits("limits:", t.ID) {
		return err
	}
	switch abi.CodeOf(err) {
	case abi.GasExhausted, abi.MemoryExhausted, abi.Deadline, abi.TooLarge:
		return wrap(err, "under the limits of the version before").
			WithHint("version %s asks for more: arw pack accept %s limits:%s", v.row.Version, v.row.Name, t.ID)
	}
	return err
}

// Accept gives an installed pack what its last upgrade widened: the named subjects ("tool:a.b", "capability:fs"), or all
// that are held when none is named. A capability becomes a lease by policy where Cedar gives one, else a person's, as far
// as Cedar lets the actor. Errors: NotFound for a pack, or a subject that is not held; Denied; those of the database. What
// was accepted before an error stays accepted.
func (m *Manager) Accept(ctx context.Context, corr, actor, name string, subjects ...string) ([]Item, error) {
	s := m.index.Load().packs[name]
	if s == nil || s.current() == nil || s.current().man == nil {
		return nil, notInstalled(name)
	}
	v := s.current()
	actor, corr = cmp.Or(actor, "operator"), cmp.Or(corr, newCorr())
	v.mu.Lock()
	held := slices.Clone(v.row.Standing.Held)
	v.mu.Unlock()
	if len(subjects) == 0 {
		for _, i := range held {
			if !slices.Contains(subjects, i.Subject()) {
				subjects = append(subjects, i.Subject())
			}
		}
	}
	accepted := []Item{}
	for _, subject := range subjects {
		if !slices.ContainsFunc(held, func(i Item) bool { return i.Subject() == subject }) {
			return accepted, abi.Errorf(abi.NotFound, "accept %q of pack %q: nothing of that name is held", subject, name).
				WithHint("see what is held: arw why %s", name)
		}
		if err := m.giveHeld(ctx, corr, actor, v, subject); err != nil {
			return accepted, wrap(err, "accept %q of pack %q", subject, name)
		}
		got, err := m.release(ctx, corr, actor, v, func(i Item) bool { return i.Subject() == subject })
		if err != nil {
			return accepted, wrap(err, "accept %q of pack %q", subject, name)
		}
		accepted = append(accepted, got...)
	}
	return accepted, nil
}

// giveHeld makes the lease that a held capability needs; other subjects need none.
func (m *Manager) giveHeld(ctx context.Context, corr, actor string, v *version, subject string) error {
	for i := range v.man.Capabilities {
		c := &v.man.Capabilities[i]
		if subject != "capability:"+string(c.Name) {
			continue
		}
		d := m.mayLink(v.who, v.row.Verdict, *c)
		if !d.Allowed || c.Ask {
			_, err := m.Grant(ctx, corr, actor, Grant{Pack: v.row.Name, Capability: c.Name, Reason: "accepted with version " + v.row.Version})
			return err
		}
		for _, l := range m.Leases.List(lease.Filter{Pack: v.row.Name, Digest: v.row.Digest}) {
			if l.Capability == c.Name && l.By == byPolicy { // the wider one takes its place
				if err := m.revoke(ctx, corr, l, actor, "a wider lease was accepted with version "+v.row.Version); err != nil {
					return err
				}
			}
		}
		_, err := m.Leases.Grant(ctx, corr, leaseFor(v.who, *c, d))
		v.renewAt.Store(1)
		return err
	}
	return nil
}

// release takes items off what is held, in one write with the event, and returns them.
func (m *Manager) release(ctx context.Context, corr, actor string, v *version, which func(Item) bool) ([]Item, error) {
	v.mu.Lock()
	st := v.row.Standing
	v.mu.Unlock()
	var kept, gone []Item
	for _, i := range st.Held {
		if which(i) {
			gone = append(gone, i)
		} else {
			kept = append(kept, i)
		}
	}
	if len(gone) == 0 {
		return nil, nil
	}
	st.Held = kept
	err := m.DB.Write(ctx, func(tx *sql.Tx) error {
		if err := putStanding(tx, v.row.Name, v.row.Digest, st); err != nil {
			return err
		}
		return m.changed(tx, v, Accepted, actor, gone[0].Words, corr, map[string]any{"items": gone})
	})
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	v.row.Standing.Held = kept
	v.hold(kept)
	v.mu.Unlock()
	return gone, nil
}

// granted notes a lease that a person gave: what it covers of a held capability is not held any more. It is not worth an
// error: the lease holds.
func (m *Manager) granted(ctx context.Context, corr string, v *version, l lease.Lease) {
	_, err := m.release(ctx, corr, l.By, v, func(i Item) bool {
		if i.Subject() != "capability:"+string(l.Capability) {
			return false
		}
		return !slices.ContainsFunc(i.Added, func(entry string) bool {
			mode, choice := strings.CutSuffix(entry, ":*") // a folder of the person's choice: any will do
			return lease.Covers(l.Capability, l.Scope, []string{entry}) != nil &&
				!(choice && slices.ContainsFunc(l.Scope, func(s string) bool { return strings.HasPrefix(s, mode+":") }))
		})
	})
	if err != nil {
		m.Log.Error("note what a lease releases", "pack", v.row.Name, "lease", l.ID, "error", err)
	}
}
