package lease

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests/pattern"
)

// Holder is one version of one pack and the leases it holds. It is safe for concurrent use and valid as long as its Book.
type Holder struct {
	book         *Book
	pack, digest string
	view         atomic.Pointer[view]
	entries      map[*entry]bool // guarded by Book.mu
}

// view is an immutable picture of a holder's leases; it is replaced when one is granted, renewed or dropped. A state that
// changes does so inside the entries.
type view struct {
	capabilities []held
}

// held are the leases of one capability, in the order in which they serve.
type held struct {
	name   abi.Capability
	family family
	leases []*entry
}

// Use asks for one use of a capability on a target, moving n bytes where that is known, and counts it against a lease.
// It returns the scope entry that covers the target ("" for a capability without scope), so that the host function can
// confine itself to it. Every call reads the clock and the state anew: once Revoke has returned, no Use that begins
// succeeds.
//
// Any live lease that covers the target serves; unlimited ones come first, then the one that ends first. Each use is
// counted against exactly one. A use that does not fit the budget that is left ends that lease, and so does the use that
// empties it.
//
// The error is an *abi.Error whose Detail is a Refusal: LeaseRevoked, LeaseExpired or BudgetExhausted when the lease that
// covered the target and ended last ended so, Denied when no lease ever covered it. Cancelled, Deadline and StorageFull
// can come from reserving a bounded budget: its first use waits for the database, later ones only when they outrun Run.
// A capability needs no lease when it carries no authority (abi.Capability.Ambient).
func (h *Holder) Use(ctx context.Context, capability abi.Capability, wanted string, n int) (scope string, err error) {
	scope, _, err = h.At(Where{}).Take(ctx, capability, wanted, n)
	return scope, err
}

// Take is Use that also names the lease the use was counted against.
func (h *Holder) Take(ctx context.Context, capability abi.Capability, wanted string, n int) (scope, id string, err error) {
	return h.At(Where{}).Take(ctx, capability, wanted, n)
}

// Seat is a holder at one place: its uses are also served by leases bound to that project or session. It is a value.
type Seat struct {
	h  *Holder
	at Where
}

// At is the holder at a place.
func (h *Holder) At(w Where) Seat { return Seat{h, w} }

// Use is Holder.Use at this place.
func (s Seat) Use(ctx context.Context, capability abi.Capability, wanted string, n int) (scope string, err error) {
	scope, _, err = s.Take(ctx, capability, wanted, n)
	return scope, err
}

// Take is Holder.Take at this place.
func (s Seat) Take(ctx context.Context, capability abi.Capability, wanted string, n int) (scope, id string, err error) {
	return s.TakeWith(ctx, capability, wanted, nil, n)
}

// TakeWith is Take for the call of a tool with these arguments, on which an entry of a scope may have conditions. They are not
// kept and not told to anybody.
func (s Seat) TakeWith(ctx context.Context, capability abi.Capability, wanted string, args []byte, n int) (scope, id string, err error) {
	h := s.h
	if capability.Ambient() {
		return "", "", nil
	}
	if n < 0 {
		return "", "", abi.Errorf(abi.Invalid, "use %q for pack %q: %d bytes", capability, h.pack, n)
	}
	v := h.view.Load()
	for i := range v.capabilities {
		c := &v.capabilities[i]
		if c.name != capability {
			continue
		}
		var t target
		t.parse(c.family, wanted)
		t.args = pattern.NewArguments(args)
		now := h.book.now()
		for _, e := range c.leases {
			if !e.usable(now) || !e.grant.Where.holds(&s.at) || c.family == paths && !sameProject(e.grant.Project, s.at.Project) {
				continue
			}
			scope, ok := e.match(&t)
			if !ok {
				continue
			}
			if !e.take(int64(n)) {
				h.book.exhaust(e)
				continue
			}
			if !e.count[dimCalls].watched() && !e.count[dimBytes].watched() {
				return scope, e.id, nil
			}
			if err := h.book.attend(ctx, e, Budget{Calls: 1, Bytes: int64(n)}.sides()); err != nil {
				return "", "", err
			}
			if e.state.Load() != stateRevoked {
				return scope, e.id, nil
			}
		}
		return "", "", s.refuse(capability, wanted, &t, c.leases)
	}
	return "", "", s.refuse(capability, wanted, nil, nil)
}

// newView sorts leases into a view.
func newView(entries []*entry) *view {
	slices.SortStableFunc(entries, func(a, b *entry) int {
		return cmp.Or(
			cmp.Compare(a.grant.Capability, b.grant.Capability),
			boolOrder(b.state.Load() == stateLive, a.state.Load() == stateLive),
			boolOrder(b.unlimited(), a.unlimited()),
			cmp.Compare(a.deadline.Load(), b.deadline.Load()),
			cmp.Compare(a.id, b.id),
		)
	})
	v := &view{}
	for _, e := range entries {
		last := len(v.capabilities) - 1
		if last < 0 || v.capabilities[last].name != e.grant.Capability {
			f, _ := familyOf(e.grant.Capability)
			v.capabilities = append(v.capabilities, held{name: e.grant.Capability, family: f})
			last++
		}
		v.capabilities[last].leases = append(v.capabilities[last].leases, e)
	}
	return v
}

func boolOrder(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
