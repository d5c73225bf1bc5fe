package lease

import (
	"context"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests/pattern"
)

// Spend counts n bytes more of a use that Use or Take has begun, as they pass: the use of a stream ends when its lease does. It
// counts no call. Any live lease that covers the target serves, in the order of Use, so that a transfer goes on when a
// second lease takes over. Errors are Use's.
func (h *Holder) Spend(ctx context.Context, capability abi.Capability, wanted string, n int64) error {
	return h.At(Where{}).Spend(ctx, capability, wanted, n)
}

// Would tells which lease a use would be counted against, and counts nothing. Errors are Use's.
func (h *Holder) Would(capability abi.Capability, wanted string, n int64) (scope, id string, err error) {
	return h.At(Where{}).Would(capability, wanted, n)
}

// Charge counts any amount against the lease that Use would have chosen: tokens and money of a model's answer, say, that are
// known only when it comes. A part that does not fit ends the lease and is not counted. Errors are Use's.
func (h *Holder) Charge(ctx context.Context, capability abi.Capability, wanted string, amount Budget) error {
	return h.At(Where{}).Charge(ctx, capability, wanted, amount)
}

// Spend is Holder.Spend at this place.
func (s Seat) Spend(ctx context.Context, capability abi.Capability, wanted string, n int64) error {
	return s.Charge(ctx, capability, wanted, Budget{Bytes: n})
}

// Charge is Holder.Charge at this place.
func (s Seat) Charge(ctx context.Context, capability abi.Capability, wanted string, amount Budget) error {
	return s.ChargeWith(ctx, capability, wanted, nil, amount)
}

// ChargeWith is Charge for the call of a tool with these arguments.
func (s Seat) ChargeWith(ctx context.Context, capability abi.Capability, wanted string, args []byte, amount Budget) error {
	if !amount.sound() {
		return abi.Errorf(abi.Invalid, "charge %q for pack %q: an amount is not negative", capability, s.h.pack)
	}
	b, sides := s.h.book, amount.sides()
	leases, t := s.h.of(capability, wanted)
	t.args = pattern.NewArguments(args)
	now := b.now()
	for _, e := range leases {
		if !e.usable(now) || !e.grant.Where.holds(&s.at) {
			continue
		}
		if _, ok := e.match(&t); !ok {
			continue
		}
		if !e.charge(sides) {
			b.exhaust(e)
			continue
		}
		if !e.watched() {
			return nil
		}
		if err := b.attend(ctx, e, sides); err != nil {
			return err
		}
		if e.state.Load() != stateRevoked {
			return nil
		}
	}
	return s.refuseAny(capability, wanted, leases, &t)
}

// Would is Holder.Would at this place.
func (s Seat) Would(capability abi.Capability, wanted string, n int64) (scope, id string, err error) {
	leases, t := s.h.of(capability, wanted)
	now, amount := s.h.book.now(), Budget{Calls: 1, Bytes: n}.sides()
	for _, e := range leases {
		if !e.usable(now) || !e.grant.Where.holds(&s.at) || !e.fits(amount) {
			continue
		}
		if scope, ok := e.match(&t); ok {
			return scope, e.id, nil
		}
	}
	return "", "", s.refuseAny(capability, wanted, leases, &t)
}

// of finds the leases of a capability and reads the target their way.
func (h *Holder) of(capability abi.Capability, wanted string) ([]*entry, target) {
	v := h.view.Load()
	for i := range v.capabilities {
		if c := &v.capabilities[i]; c.name == capability {
			var t target
			t.parse(c.family, wanted)
			return c.leases, t
		}
	}
	return nil, target{}
}

func (s Seat) refuseAny(capability abi.Capability, wanted string, leases []*entry, t *target) error {
	if leases == nil {
		return s.refuse(capability, wanted, nil, nil)
	}
	return s.refuse(capability, wanted, t, leases)
}
